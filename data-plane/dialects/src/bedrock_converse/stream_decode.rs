//! A stream → events,
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html>. `messageStop` is the terminal mark; usage
//! comes behind it.

use gateway_ir::event::Event;
use gateway_ir::failure::{Code, Failure};
use gateway_ir::usage::Usage;
use serde_json::value::RawValue;

use super::{message, reply};
use crate::dialect::StreamDecoder;
use crate::framing::eventstream::{Message, Messages};
use crate::reading::{garbage, members, members_of, text, unsigned};

/// More blocks than any reply has.
const MAX_BLOCKS: usize = 4096;

/// Decoder of one stream.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    messages: Messages,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    started: bool,
    failed: bool,
    stopped: bool,
    n_calls: u32,
    /// Blocks that are calls, by their index: the client's, or the provider's own.
    calls: Vec<(u64, Option<u32>)>,
}

// === impl Decoder ===

impl StreamDecoder for Decoder {
    fn push(&mut self, chunk: &[u8], events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        let state = &mut self.state;
        self.messages.push(chunk, |message| state.message(message, events))
    }

    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        if self.state.stopped && !self.state.failed {
            events.push(Event::End);
        }
        Ok(())
    }
}

// === impl State ===

impl State {
    fn message(&mut self, message: Message<'_>, events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        if self.failed {
            return Ok(());
        }
        if message.kind != "event" {
            self.failed = true;
            events.push(Event::Error(exception(message.name, message.payload)));
            return Ok(());
        }
        if !std::mem::replace(&mut self.started, true) {
            events.push(Event::Start { id: String::new(), model: String::new(), created: None });
        }
        let (mut index, mut start, mut delta, mut stop) = (0, None, None, None);
        let (mut usage, mut tier) = (None, None);
        members(message.payload, |name, raw| match name {
            "contentBlockIndex" => index = unsigned(raw).unwrap_or(0),
            "start" => start = Some(raw),
            "delta" => delta = Some(raw),
            "stopReason" => stop = text(raw),
            "usage" => usage = Some(raw),
            "serviceTier" => tier = Some(raw),
            _ => {}
        })
        .map_err(|cause| garbage(format!("a `{}` event is not what Bedrock sends: {cause}", message.name)))?;
        match message.name {
            "contentBlockStart" => self.start(index, start, events)?,
            "contentBlockDelta" => self.delta(index, delta, events),
            "messageStop" if !self.stopped => {
                self.stopped = true;
                let reason = message::finish_reason(stop.as_deref().unwrap_or("end_turn"));
                events.push(Event::Finish { choice: 0, reason, stop_sequence: None });
            }
            "metadata" => {
                let tier = message::tier(tier);
                events.extend(usage.map(|raw| Event::Usage(Usage { tier, ..message::usage(raw) })));
            }
            // `contentBlockStop`, and what comes to be added.
            _ => {}
        }
        Ok(())
    }

    /// Only calls begin with a start of their own; text just comes.
    fn start(&mut self, index: u64, start: Option<&RawValue>, events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        let Some(start) = start else { return Ok(()) };
        if self.calls.len() == MAX_BLOCKS {
            return Err(garbage("the upstream's reply has too many blocks"));
        }
        members_of(start, |kind, raw| {
            let call = (kind == "toolUse" && !reply::is_server_tool(raw)).then(|| {
                let (id, name, _) = reply::tool_use(raw);
                let call = self.n_calls;
                self.n_calls += 1;
                events.push(Event::ToolCallStart { choice: 0, call, id, name });
                call
            });
            self.calls.push((index, call));
        });
        Ok(())
    }

    fn delta(&mut self, index: u64, delta: Option<&RawValue>, events: &mut Vec<Event>) {
        let Some(delta) = delta else { return };
        let choice = 0;
        members_of(delta, |kind, raw| match kind {
            "text" => events.extend(text(raw).map(|text| Event::Text { choice, text: text.into_owned() })),
            "toolUse" => {
                let call = self.calls.iter().rev().find(|(known, _)| *known == index).and_then(|(_, call)| *call);
                members_of(raw, |name, value| {
                    if let ("input", Some(call), Some(json)) = (name, call, text(value)) {
                        events.push(Event::ToolCallArguments { choice, call, json: json.into_owned() });
                    }
                });
            }
            "reasoningContent" => members_of(raw, |name, value| {
                let Some(said) = text(value).map(std::borrow::Cow::into_owned) else { return };
                match name {
                    "text" => events.push(Event::Reasoning { choice, text: said }),
                    "signature" => events.push(Event::ReasoningSignature { choice, signature: said }),
                    "redactedContent" => events.push(Event::RedactedReasoning { choice, data: said }),
                    _ => {}
                }
            }),
            "citation" => message::citation(raw, events),
            _ => {}
        });
    }
}

/// What broke the stream, with the status that AWS documents for it.
fn exception(name: &str, payload: &[u8]) -> Box<Failure> {
    let mut said = None;
    let _ = members(payload, |member, raw| {
        if matches!(member, "message" | "Message" | "originalMessage") {
            said = said.take().or(text(raw));
        }
    });
    let message =
        said.map_or_else(|| format!("the upstream broke its stream off: {name}"), std::borrow::Cow::into_owned);
    let status = match name {
        "throttlingException" => 429,
        "validationException" => 400,
        "accessDeniedException" => 403,
        "modelTimeoutException" => 408,
        "serviceUnavailableException" => 503,
        "internalServerException" => 500,
        _ => Code::UpstreamError.row().status,
    };
    let mut failure = Failure::from_upstream_status(status, message);
    failure.upstream_type = Some(name.to_owned()).filter(|name| !name.is_empty());
    Box::new(failure)
}
