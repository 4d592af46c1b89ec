//! Watches a passing stream: usage, why each candidate stopped, errors. The bytes stay as they are, whole events only.

use bytes::{BufMut, Bytes, BytesMut};
use gateway_ir::failure::{Code, Failure};
use gateway_ir::usage::Usage;
use memchr::memmem;
use serde_json::value::RawValue;

use super::{error, usage};
use crate::dialect::{Seen, StreamTap};
use crate::framing::passing::{Passing, Verdict};
use crate::framing::sse;
use crate::reading::{elements, members, members_of, text, unsigned};
use crate::refused;

/// Tap of one stream.
#[derive(Default)]
pub(super) struct Tap {
    passing: Passing,
    watch: Watch,
}

/// What the events so far said.
#[derive(Default)]
struct Watch {
    /// Candidates by index, and whether each said why it stopped.
    candidates: Vec<(u64, bool)>,
    is_blocked: bool,
    seen: Seen,
}

/// More candidates than any reply has.
const MAX_CANDIDATES: usize = 64;

/// Usage in a whole reply, or in what is kept of its end.
pub(super) fn usage_of_reply(body: &[u8]) -> Option<Usage> {
    const NAME: &[u8] = b"\"usageMetadata\"";
    let mut said = None;
    let read = members(body, |name, raw| {
        if name == "usageMetadata" {
            said = Some(usage::read(raw));
        }
    });
    if read.is_ok() {
        return said;
    }
    let behind = body.get(memmem::rfind(body, NAME)? + NAME.len()..)?;
    let value = behind.trim_ascii_start().strip_prefix(b":")?;
    let raw: Box<RawValue> = serde_json::Deserializer::from_slice(value).into_iter().next()?.ok()?;
    Some(usage::read(&raw))
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
            last.put_slice(if rest.ends_with(b"\n") { b"\r\n".as_slice() } else { b"\r\n\r\n" });
            self.watch.look(&last);
        }
        let seen = &mut self.watch.seen;
        if !seen.finished && seen.error.is_none() {
            return Err(Box::new(Failure::new(
                Code::UpstreamCut,
                "the upstream's stream ended before its candidates were finished",
            )));
        }
        seen.ended = seen.error.is_none();
        Ok(last.freeze())
    }

    fn fail(&mut self, failure: &Failure) -> Bytes {
        let mut out = BytesMut::new();
        error::event(failure, &mut out);
        out.freeze()
    }

    fn seen(&self) -> &Seen {
        &self.watch.seen
    }
}

// === impl Watch ===

impl Watch {
    fn look(&mut self, block: &[u8]) {
        let Some(event) = sse::read_block(block) else { return };
        let read = members(&event.data, |name, raw| match name {
            "candidates" => elements(raw, |candidate| self.candidate(candidate)),
            "usageMetadata" => self.seen.usage = Some(usage::read(raw)),
            "promptFeedback" => {
                members_of(raw, |name, value| self.is_blocked |= name == "blockReason" && text(value).is_some())
            }
            "error" if raw.get() != "null" => self.seen.error = refused::inside(&event.data),
            _ => {}
        });
        if read.is_ok() {
            let has_said = self.candidates.iter().all(|(_, is_finished)| *is_finished);
            self.seen.finished = has_said && (self.is_blocked || !self.candidates.is_empty());
        }
    }

    fn candidate(&mut self, raw: &RawValue) {
        let (mut index, mut reason) = (0, None);
        members_of(raw, |name, value| match name {
            "index" => index = unsigned(value).unwrap_or(0),
            "finishReason" => reason = text(value),
            "content" => {
                self.seen.content_events += 1;
                self.seen.content_bytes += value.get().len() as u64;
                self.seen.is_reasoning = is_thought(value);
            }
            _ => {}
        });
        let is_finished = reason.is_some_and(|reason| reason != "FINISH_REASON_UNSPECIFIED");
        if let Some((_, known)) = self.candidates.iter_mut().find(|(known, _)| *known == index) {
            *known |= is_finished;
        } else if self.candidates.len() < MAX_CANDIDATES {
            self.candidates.push((index, is_finished));
        }
    }
}

/// Whether the last part of a content is one of thinking.
fn is_thought(content: &RawValue) -> bool {
    let mut is_thought = false;
    members_of(content, |name, parts| {
        if name == "parts" {
            elements(parts, |part| {
                is_thought = false;
                members_of(part, |name, value| is_thought |= name == "thought" && value.get() == "true");
            });
        }
    });
    is_thought
}

/// Whether what is left at the end is an event that lacks no more than its blank line.
fn is_event(rest: &[u8]) -> bool {
    sse::read_block(rest).is_some_and(|event| serde_json::from_slice::<&RawValue>(&event.data).is_ok())
}
