//! Watches a stream of this dialect whose bytes pass to a client of the same dialect.

use bytes::{Bytes, BytesMut};
use gateway_ir::failure::{Code, Failure};
use gateway_ir::usage::{Tier, Usage};
use memchr::memmem;
use serde_json::value::RawValue;

use super::{error, usage};
use crate::dialect::{Seen, StreamTap};
use crate::framing::passing::{Passing, Verdict};
use crate::framing::sse;
use crate::reading::{members, members_of, text};

#[derive(Default)]
pub(super) struct Tap {
    passing: Passing,
    watch: Watch,
}

#[derive(Default)]
struct Watch {
    seen: Seen,
    n_events: u64,
}

// === impl Tap ===

impl StreamTap for Tap {
    fn push(&mut self, chunk: Bytes) -> Result<Bytes, Box<Failure>> {
        let watch = &mut self.watch;
        self.passing.push(chunk, |block| watch.judge(block))
    }

    fn finish(&mut self) -> Result<Bytes, Box<Failure>> {
        let mut last = BytesMut::new();
        let rest = self.passing.take_rest();
        // An event may lack its blank line at the very end; half an event never passes.
        let whole = |event: sse::Event<'_>| serde_json::from_slice::<serde::de::IgnoredAny>(&event.data).is_ok();
        if sse::read_block(&rest).is_some_and(whole) && self.watch.judge(&rest) == Verdict::Keep {
            last.extend_from_slice(&rest);
            last.extend_from_slice(b"\n\n");
        }
        let seen = &self.watch.seen;
        if seen.error.is_none() && !seen.ended {
            let message = "the upstream closed the stream before it had finished its reply";
            return Err(Box::new(Failure::new(Code::UpstreamCut, message)));
        }
        Ok(last.freeze())
    }

    fn fail(&mut self, failure: &Failure) -> Bytes {
        let mut out = BytesMut::new();
        // The upstream's own error event has passed, and is enough.
        if self.watch.seen.error.is_none() {
            error::event(failure, self.watch.n_events, &mut out);
        }
        out.freeze()
    }

    fn seen(&self) -> &Seen {
        &self.watch.seen
    }
}

// === impl Watch ===

impl Watch {
    /// Deltas are only counted; what ends a reply is read.
    fn judge(&mut self, block: &[u8]) -> Verdict {
        self.n_events += 1;
        if self.seen.ended || self.seen.error.is_some() {
            return Verdict::Keep;
        }
        if memmem::find(block, b".delta\"").is_some() {
            self.seen.content_events += 1;
            self.seen.content_bytes += block.len() as u64;
            self.seen.is_reasoning = memmem::find(block, b"response.reasoning").is_some();
            return Verdict::Keep;
        }
        // Some models think without a word of it: the item is all that is seen.
        if memmem::find(block, b"response.output_item.added").is_some() {
            let event = sse::read_block(block);
            self.seen.is_reasoning = event.is_some_and(|event| item_type(&event.data).as_deref() == Some("reasoning"));
        }
        let may_end = [b"response.completed".as_slice(), b"response.incomplete", b"response.failed", b"error"];
        if may_end.iter().any(|word| memmem::find(block, word).is_some())
            && let Some(event) = sse::read_block(block)
        {
            self.read(&event.data);
        }
        Verdict::Keep
    }

    fn read(&mut self, data: &[u8]) {
        let (mut kind, mut response) = (None, None);
        // What is no JSON object tells nothing.
        let _ = members(data, |name, raw| match name {
            "type" => kind = text(raw),
            "response" => response = Some(raw),
            _ => {}
        });
        match kind.as_deref() {
            Some("response.completed" | "response.incomplete") => {
                self.seen.finished = true;
                self.seen.ended = true;
                self.seen.usage = response.and_then(usage_of).or(self.seen.usage);
            }
            Some("response.failed" | "error") => {
                self.seen.usage = response.and_then(usage_of).or(self.seen.usage);
                self.seen.error = Some(error::inside(data));
            }
            _ => {}
        }
    }
}

fn item_type(data: &[u8]) -> Option<String> {
    let mut kind = None;
    // What is no JSON object tells nothing.
    let _ = members(data, |name, raw| {
        if name == "item" {
            members_of(raw, |name, value| {
                if name == "type" {
                    kind = text(value).map(std::borrow::Cow::into_owned);
                }
            });
        }
    });
    kind
}

fn usage_of(response: &RawValue) -> Option<Usage> {
    let (mut found, mut tier) = (None, Tier::default());
    members_of(response, |name, raw| match name {
        "usage" => found = usage::read(raw),
        "service_tier" => tier = text(raw).map(|tier| Tier::parse(&tier)).unwrap_or_default(),
        _ => {}
    });
    found.map(|usage| Usage { tier, ..usage })
}
