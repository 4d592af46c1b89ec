//! A stream → events, <https://docs.cohere.com/docs/streaming>. `message-end` is the terminal mark.

use gateway_ir::event::Event;
use gateway_ir::failure::Failure;
use serde_json::value::RawValue;

use super::message;
use super::reply::{Call, failed};
use crate::dialect::StreamDecoder;
use crate::framing::sse;
use crate::reading::{garbage, members, members_of, text};
use crate::refused;

/// More calls than any reply has.
const MAX_CALLS: u32 = 1024;

/// Decoder of one stream.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    parser: sse::Parser,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    id: String,
    n_calls: u32,
    over: bool,
}

/// The members of an event that are understood.
#[derive(Default)]
struct Frame<'a> {
    kind: String,
    id: Option<&'a RawValue>,
    message: Option<&'a RawValue>,
    finish: Option<&'a RawValue>,
    usage: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
}

// === impl Decoder ===

impl StreamDecoder for Decoder {
    fn push(&mut self, chunk: &[u8], events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        let state = &mut self.state;
        self.parser.push(chunk, |event| state.event(&event.data, events))
    }

    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        let state = &mut self.state;
        // What is left may be half an event, which is a cut and not garbage.
        self.parser.finish(|event| state.event(&event.data, events).or(Ok(())))
    }
}

// === impl State ===

impl State {
    fn event(&mut self, data: &[u8], events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        if self.over || data.trim_ascii() == b"[DONE]" {
            return Ok(());
        }
        let frame = Frame::read(data)?;
        let choice = 0;
        match frame.kind.as_str() {
            "message-start" => {
                self.id = frame.id.and_then(text).unwrap_or_default().into_owned();
                events.push(Event::Start { id: self.id.clone(), model: String::new(), created: None });
            }
            "content-start" | "content-delta" | "tool-plan-delta" => frame.each("content", |raw| {
                members_of(raw, |name, value| match name {
                    "text" => events.extend(text(value).map(|text| Event::Text { choice, text: text.into_owned() })),
                    "thinking" => {
                        events.extend(text(value).map(|text| Event::Reasoning { choice, text: text.into_owned() }));
                    }
                    _ => {}
                });
            }),
            "tool-call-start" | "tool-call-delta" => self.call(&frame, events)?,
            "citation-start" => frame.each("citations", |raw| message::citations(raw, events)),
            "message-end" => self.end(&frame, events),
            _ if frame.kind.is_empty() => {
                self.over = true;
                let failure = refused::inside(data);
                events.push(Event::Error(failure.ok_or_else(|| garbage("an event of the upstream says nothing"))?));
            }
            // What comes to be added.
            _ => {}
        }
        if frame.kind == "tool-plan-delta" {
            frame.each("tool_plan", |raw| {
                events.extend(text(raw).map(|text| Event::Reasoning { choice, text: text.into_owned() }));
            });
        }
        Ok(())
    }

    /// Calls come one after the other.
    fn call(&mut self, frame: &Frame<'_>, events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        let mut call = Call::default();
        frame.each("tool_calls", |raw| call = Call::read(raw));
        if frame.kind == "tool-call-start" {
            if self.n_calls == MAX_CALLS {
                return Err(garbage("the upstream's reply has too many tool calls"));
            }
            call.begin(&self.id, self.n_calls, events);
            self.n_calls += 1;
        }
        if let (Some(json), Some(number)) = (call.arguments, self.n_calls.checked_sub(1)) {
            events.push(Event::ToolCallArguments { choice: 0, call: number, json });
        }
        Ok(())
    }

    fn end(&mut self, frame: &Frame<'_>, events: &mut Vec<Event>) {
        self.over = true;
        events.extend(frame.usage.map(|raw| Event::Usage(message::usage(raw))));
        let error = frame.error.and_then(text);
        match frame.finish.and_then(text).as_deref() {
            Some("ERROR" | "TIMEOUT") => events.push(Event::Error(failed(error.as_deref()))),
            None if error.is_some() => events.push(Event::Error(failed(error.as_deref()))),
            said => {
                let reason = message::finish_reason(said.unwrap_or("COMPLETE"));
                events.push(Event::Finish { choice: 0, reason, stop_sequence: None });
                events.push(Event::End);
            }
        }
    }
}

// === impl Frame ===

impl<'a> Frame<'a> {
    fn read(data: &'a [u8]) -> Result<Self, Box<Failure>> {
        let mut frame = Self::default();
        members(data, |name, raw| match name {
            "type" => frame.kind = text(raw).unwrap_or_default().into_owned(),
            "id" => frame.id = Some(raw),
            "delta" => members_of(raw, |name, value| match name {
                "message" => frame.message = Some(value),
                "finish_reason" => frame.finish = Some(value),
                "usage" => frame.usage = Some(value),
                "error" => frame.error = Some(value),
                _ => {}
            }),
            _ => {}
        })
        .map_err(|cause| garbage(format!("an event is not what Cohere sends: {cause}")))?;
        Ok(frame)
    }

    fn each(&self, wanted: &str, mut visit: impl FnMut(&'a RawValue)) {
        if let Some(message) = self.message {
            members_of(message, |name, value| {
                if name == wanted {
                    visit(value);
                }
            });
        }
    }
}
