//! An upstream's stream → events, <https://platform.openai.com/docs/api-reference/responses-streaming>.

use gateway_ir::event::Event;
use gateway_ir::failure::Failure;
use serde_json::value::RawValue;

use super::{error, reply};
use crate::dialect::StreamDecoder;
use crate::framing::sse;
use crate::reading::{garbage, members, members_of, text, unsigned};

/// More calls than any reply has.
const MAX_CALLS: usize = 1024;

/// Decoder of one stream.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    parser: sse::Parser,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    started: bool,
    over: bool,
    /// Output index of each call, and whether any piece of its arguments came.
    calls: Vec<(u64, bool)>,
}

/// The members of an event that are understood.
#[derive(Default)]
struct Frame<'a> {
    kind: String,
    output_index: u64,
    response: Option<&'a RawValue>,
    item: Option<&'a RawValue>,
    delta: Option<&'a RawValue>,
    annotation: Option<&'a RawValue>,
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
        let said = || frame.delta.and_then(text).map(std::borrow::Cow::into_owned);
        match frame.kind.as_str() {
            "response.created" | "response.in_progress" => self.start(frame.response, events),
            "response.output_text.delta" => events.extend(said().map(|text| Event::Text { choice, text })),
            "response.refusal.delta" => events.extend(said().map(|text| Event::Refusal { choice, text })),
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                events.extend(said().map(|text| Event::Reasoning { choice, text }));
            }
            "response.output_text.annotation.added" => events.extend(frame.annotation.and_then(reply::citation)),
            "response.output_item.added" => self.added(&frame, events)?,
            "response.function_call_arguments.delta" => {
                if let (Some(call), Some(json)) = (self.call(frame.output_index), said()) {
                    self.calls[call as usize].1 = true;
                    events.push(Event::ToolCallArguments { choice, call, json });
                }
            }
            "response.output_item.done" => self.done(&frame, events),
            "response.completed" | "response.incomplete" => {
                self.start(frame.response, events);
                self.over = true;
                let head = frame.response.map(reply::Head::of).unwrap_or_default();
                head.end(self.calls.len() as u32, events);
            }
            "response.failed" | "error" => {
                self.over = true;
                events.push(Event::Error(error::inside(data)));
            }
            // Progress of the provider's own tools, repetitions, and what comes to be added.
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, response: Option<&RawValue>, events: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.started, true) {
            events.push(response.map(reply::Head::of).unwrap_or_default().start());
        }
    }

    fn added(&mut self, frame: &Frame<'_>, events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        let Some(item) = frame.item else { return Ok(()) };
        let mut is_call = false;
        members_of(item, |name, raw| is_call |= name == "type" && text(raw).as_deref() == Some("function_call"));
        if !is_call {
            return Ok(());
        }
        if self.calls.len() == MAX_CALLS {
            return Err(garbage("the upstream's reply has too many tool calls"));
        }
        let (id, name, arguments) = reply::call(item);
        let call = self.calls.len() as u32;
        self.calls.push((frame.output_index, !arguments.is_empty()));
        events.push(Event::ToolCallStart { choice: 0, call, id, name });
        if !arguments.is_empty() {
            events.push(Event::ToolCallArguments { choice: 0, call, json: arguments });
        }
        Ok(())
    }

    /// A server that sends no pieces says the arguments here.
    fn done(&mut self, frame: &Frame<'_>, events: &mut Vec<Event>) {
        let (Some(call), Some(item)) = (self.call(frame.output_index), frame.item) else { return };
        if !std::mem::replace(&mut self.calls[call as usize].1, true) {
            let (_, _, json) = reply::call(item);
            if !json.is_empty() {
                events.push(Event::ToolCallArguments { choice: 0, call, json });
            }
        }
    }

    fn call(&self, output_index: u64) -> Option<u32> {
        self.calls.iter().rposition(|(index, _)| *index == output_index).map(|position| position as u32)
    }
}

// === impl Frame ===

impl<'a> Frame<'a> {
    fn read(data: &'a [u8]) -> Result<Self, Box<Failure>> {
        let mut frame = Self::default();
        members(data, |name, raw| match name {
            "type" => frame.kind = text(raw).unwrap_or_default().into_owned(),
            "output_index" => frame.output_index = unsigned(raw).unwrap_or(0),
            "response" => frame.response = Some(raw),
            "item" => frame.item = Some(raw),
            "delta" => frame.delta = Some(raw),
            "annotation" => frame.annotation = Some(raw),
            _ => {}
        })
        .map_err(|cause| garbage(format!("an event of the upstream is not JSON: {cause}")))?;
        Ok(frame)
    }
}
