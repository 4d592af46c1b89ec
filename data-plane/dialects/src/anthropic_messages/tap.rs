//! Watches a passing stream: usage, the reason to stop, the end, errors. The bytes stay as they are.
//!
//! Only whole events go on, so that after a cut the error event stands on a line of its own. Deltas, which are nearly all
//! events, are told by their first bytes and not parsed.

use bytes::{BufMut, Bytes, BytesMut};
use gateway_ir::failure::{Code, Failure};
use memchr::{memchr2, memmem};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::error;
use super::message::Reported;
use crate::dialect::{Seen, StreamTap};
use crate::framing::passing::{Passing, Verdict};
use crate::framing::sse;

/// Tap of one stream.
#[derive(Default)]
pub(super) struct Tap {
    passing: Passing,
    watch: Watch,
}

/// What the events so far said.
#[derive(Default)]
struct Watch {
    reported: Reported,
    seen: Seen,
}

const DELTA: &[u8] = b"content_block_delta";
const MESSAGE_STOP: &[u8] = b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    content_block: Option<Block<'a>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: std::borrow::Cow<'a, str>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    stop_reason: Option<&'a RawValue>,
}

// === impl Tap ===

impl StreamTap for Tap {
    fn push(&mut self, chunk: Bytes) -> Result<Bytes, Box<Failure>> {
        let watch = &mut self.watch;
        self.passing.push(chunk, |block| {
            watch.look(block);
            Verdict::Keep
        })
    }

    fn finish(&mut self) -> Result<Bytes, Box<Failure>> {
        let rest = self.passing.take_rest();
        let mut last = BytesMut::new();
        if is_event(&rest) {
            // Some servers leave out the blank line behind their last event.
            last.put_slice(&rest);
            last.put_slice(if rest.ends_with(b"\n") { b"\n".as_slice() } else { b"\n\n" });
            self.watch.look(&last);
        }
        let seen = &mut self.watch.seen;
        if !seen.ended && seen.error.is_none() {
            if !seen.finished {
                return Err(Box::new(Failure::new(
                    Code::UpstreamCut,
                    "the upstream's stream ended before its message was finished",
                )));
            }
            last.put_slice(MESSAGE_STOP);
            seen.ended = true;
        }
        Ok(last.freeze())
    }

    fn fail(&mut self, failure: &Failure) -> Bytes {
        let mut out = BytesMut::new();
        error::write_event(failure, &mut out);
        out.freeze()
    }

    fn seen(&self) -> &Seen {
        &self.watch.seen
    }
}

// === impl Watch ===

impl Watch {
    fn look(&mut self, block: &[u8]) {
        if is_delta(block) {
            self.seen.content_events += 1;
            self.seen.content_bytes += content_length(block) as u64;
            return;
        }
        let Some(event) = sse::read_block(block) else { return };
        let Ok(frame) = serde_json::from_slice::<Frame<'_>>(&event.data) else { return };
        match frame.kind.as_ref() {
            "message_start" => {
                let message = frame.message.and_then(|raw| serde_json::from_str::<Message<'_>>(raw.get()).ok());
                self.take_usage(message.and_then(|message| message.usage));
            }
            "message_delta" => {
                self.take_usage(frame.usage);
                let delta = frame.delta.and_then(|raw| serde_json::from_str::<Delta<'_>>(raw.get()).ok());
                self.seen.finished |= delta.is_some_and(|delta| delta.stop_reason.is_some());
            }
            // What a block is said to be holds for all of its deltas.
            "content_block_start" => {
                let kind = frame.content_block.map(|block| block.kind).unwrap_or_default();
                self.seen.is_reasoning = matches!(kind.as_ref(), "thinking" | "redacted_thinking");
            }
            "message_stop" => self.seen.ended = true,
            "error" => {
                let envelope = serde_json::from_slice::<&RawValue>(&event.data);
                self.seen.error = envelope.ok().map(|raw| Box::new(error::inside_reply(raw)));
            }
            _ => {}
        }
    }

    fn take_usage(&mut self, raw: Option<&RawValue>) {
        if raw.is_some_and(|raw| self.reported.update(raw)) {
            self.seen.usage = Some(self.reported.usage());
        }
    }
}

/// Whether what is left at the end is an event that lacks no more than its blank line.
fn is_event(rest: &[u8]) -> bool {
    sse::read_block(rest).is_some_and(|event| serde_json::from_slice::<&RawValue>(&event.data).is_ok())
}

/// By the `event:` line, or where a server writes none, by the `type` that stands at the front of the data.
fn is_delta(block: &[u8]) -> bool {
    const FRONT: usize = 64;
    let line = block.strip_prefix(b"event:").map(<[u8]>::trim_ascii_start);
    match line {
        Some(name) if name.starts_with(DELTA) => name[DELTA.len()..].first().is_some_and(u8::is_ascii_whitespace),
        Some(_) => false,
        None => memmem::find(&block[..block.len().min(FRONT)], b"\"type\":\"content_block_delta\"").is_some(),
    }
}

/// Bytes of text, thinking or arguments in a delta, as escaped.
fn content_length(block: &[u8]) -> usize {
    const NAMES: [&[u8]; 3] = [b"\"text\":", b"\"thinking\":", b"\"partial_json\":"];
    let value = NAMES.iter().find_map(|name| memmem::find(block, name).map(|at| &block[at + name.len()..]));
    let Some(text) = value.and_then(|value| value.trim_ascii_start().strip_prefix(b"\"")) else { return 0 };
    let mut at = 0;
    while let Some(special) = memchr2(b'"', b'\\', &text[at..]) {
        at += special;
        if text[at] == b'"' {
            return at;
        }
        at = (at + 2).min(text.len());
    }
    0
}
