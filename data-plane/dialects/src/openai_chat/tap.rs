//! Watches a stream of this dialect whose bytes pass to a client of the same dialect.
//!
//! Every event is looked at, hardly any is parsed: only what names usage or an error costs more than a scan.

use bytes::{Bytes, BytesMut};
use gateway_ir::failure::{Code, Failure};
use gateway_ir::usage::Usage;
use memchr::memmem::{self, Finder};

use super::stream_decode::TERMINAL_MARK;
use super::stream_encode::END;
use super::{error, scan, usage};
use crate::dialect::{Seen, StreamTap, TapOptions};
use crate::framing::passing::{Passing, Verdict};
use crate::framing::sse;
use crate::refused;

/// No longer event can be the terminal mark and nothing else.
const MAX_TERMINAL_EVENT: usize = 64;

pub(crate) struct Tap {
    passing: Passing,
    watch: Watch,
}

/// What is known of the stream so far.
struct Watch {
    strip_usage: bool,
    seen: Seen,
    /// One bit per choice index, see [`scan::Choices`].
    present: u128,
    finished: u128,
    choices: scan::Scanner,
    usage: Finder<'static>,
    error: Finder<'static>,
}

// === impl Tap ===

impl Tap {
    pub(crate) fn new(options: TapOptions) -> Self {
        let watch = Watch {
            strip_usage: options.strip_usage,
            seen: Seen::default(),
            present: 0,
            finished: 0,
            choices: scan::Scanner::new(),
            usage: Finder::new(usage::NAME),
            error: Finder::new(b"\"error\""),
        };
        Self { passing: Passing::default(), watch }
    }
}

impl StreamTap for Tap {
    fn push(&mut self, chunk: Bytes) -> Result<Bytes, Box<Failure>> {
        let watch = &mut self.watch;
        self.passing.push(chunk, |block| watch.judge(block))
    }

    fn finish(&mut self) -> Result<Bytes, Box<Failure>> {
        let mut last = BytesMut::new();
        let rest = self.passing.take_rest();
        // An event may lack its blank line at the very end; half an event never passes.
        if sse::read_block(&rest).is_some_and(|event| is_whole(&event.data)) && self.watch.judge(&rest) == Verdict::Keep
        {
            last.extend_from_slice(&rest);
            last.extend_from_slice(b"\n\n");
        }
        let seen = &self.watch.seen;
        if seen.error.is_none() && !seen.ended {
            if !seen.finished {
                let message = "the upstream closed the stream before it had finished its reply";
                return Err(Box::new(Failure::new(Code::UpstreamCut, message)));
            }
            last.extend_from_slice(END);
        }
        Ok(last.freeze())
    }

    fn fail(&mut self, failure: &Failure) -> Bytes {
        let mut out = BytesMut::new();
        // The upstream's own error event has passed, and is enough.
        if self.watch.seen.error.is_none() {
            error::event(failure, &mut out);
        }
        out.freeze()
    }

    fn seen(&self) -> &Seen {
        &self.watch.seen
    }
}

fn is_whole(data: &[u8]) -> bool {
    data.trim_ascii() == TERMINAL_MARK || serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok()
}

// === impl Watch ===

impl Watch {
    fn judge(&mut self, block: &[u8]) -> Verdict {
        if self.seen.error.is_some() {
            // Nothing may follow an error, a terminal mark least of all.
            return Verdict::Drop;
        }
        if block.len() <= MAX_TERMINAL_EVENT && memmem::find(block, TERMINAL_MARK).is_some() {
            self.seen.ended |= sse::read_block(block).is_some_and(|event| event.data.trim_ascii() == TERMINAL_MARK);
        }
        let choices = self.choices.choices(block);
        self.present |= choices.present;
        self.finished |= choices.finished;
        self.seen.finished = self.finished != 0 && self.present == self.finished;
        if choices.n_content_bytes > 0 {
            self.seen.content_events += 1;
            self.seen.content_bytes += choices.n_content_bytes;
            self.seen.is_reasoning = choices.n_reasoning_bytes == choices.n_content_bytes;
        }
        if self.error.find(block).is_some() || block.starts_with(b"event:") {
            self.seen.error = sse::read_block(block).and_then(|event| error_in(&event));
        }
        let places = self.usage.find_iter(block).take(usage::MAX_PLACES);
        let told = places.filter_map(|place| Some((place, usage::at(block, place)?))).last();
        if let Some((place, usage)) = told {
            self.seen.usage = Some(Usage { tier: usage::tier_beside(block, place), ..usage });
            if self.strip_usage && choices.present == 0 && self.seen.error.is_none() {
                return Verdict::Drop;
            }
        }
        Verdict::Keep
    }
}

fn error_in(event: &sse::Event<'_>) -> Option<Box<Failure>> {
    let told = refused::inside(&event.data);
    if told.is_none() && event.name == b"error" {
        let message = "the upstream reported an error inside its stream";
        return Some(Box::new(Failure::new(Code::UpstreamError, message)));
    }
    told
}
