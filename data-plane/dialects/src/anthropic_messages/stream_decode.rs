//! An upstream's stream → events, <https://docs.anthropic.com/en/api/messages-streaming>.
//!
//! Text, thinking and tool arguments leave as they come. A block that only Anthropic knows leaves when it is whole; citations
//! leave behind the text they stand on, though Anthropic sends them before it.

use std::borrow::Cow;

use gateway_ir::dialect::Dialect;
use gateway_ir::event::{CitationKind, Event};
use gateway_ir::failure::{Code, Failure};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::error;
use super::message::{self, Reported};
use crate::dialect::StreamDecoder;
use crate::fields::{Fields, Path};
use crate::framing::sse;

/// The most a block that must be whole before it leaves may hold, in bytes of deltas.
const LARGEST_BLOCK: usize = 4 << 20;

/// The most blocks that may be open at once. Anthropic opens one after the other.
const MOST_OPEN: usize = 64;

/// Decoder of one stream.
#[derive(Default)]
pub(super) struct Decoder {
    parser: sse::Parser,
    state: State,
}

/// What the events so far said.
#[derive(Default)]
struct State {
    started: bool,
    over: bool,
    reported: Reported,
    n_calls: u32,
    open: Vec<(u64, Open)>,
}

/// A block between its start and its stop.
enum Open {
    Text {
        citations: Vec<Box<RawValue>>,
    },
    Thinking {
        signature: Option<String>,
    },
    /// `input` as the start said it; it counts only if no delta comes.
    ToolUse {
        call: u32,
        input: Option<Box<RawValue>>,
        any: bool,
    },
    Whole {
        kind: String,
        block: Map<String, Value>,
        input: String,
        size: usize,
    },
    Ignored,
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(default)]
    index: u64,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    content_block: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    thinking: Option<Cow<'a, str>>,
    #[serde(borrow)]
    partial_json: Option<Cow<'a, str>>,
    #[serde(borrow)]
    signature: Option<Cow<'a, str>>,
    #[serde(borrow)]
    citation: Option<&'a RawValue>,
}

// === impl Decoder ===

impl StreamDecoder for Decoder {
    fn push(&mut self, chunk: &[u8], events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        let state = &mut self.state;
        self.parser.push(chunk, |event| state.event(&event, events))
    }

    /// A stream without `message_stop` was cut, even if it said why it stopped.
    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        let state = &mut self.state;
        // What is left may be half an event, which is a cut and not garbage.
        self.parser.finish(|event| state.event(&event, events).or(Ok(())))
    }
}

// === impl State ===

impl State {
    fn event(&mut self, event: &sse::Event<'_>, events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        // Compatible servers (OpenRouter) close with OpenAI's mark behind their own.
        if self.over || event.data.trim_ascii() == b"[DONE]" {
            return Ok(());
        }
        let frame: Frame<'_> = serde_json::from_slice(&event.data).map_err(|cause| {
            let name = String::from_utf8_lossy(event.name).into_owned();
            garbage(format!("a `{name}` event is not what Anthropic sends: {cause}"))
        })?;
        match frame.kind.as_ref() {
            "message_start" => self.message_start(&frame, events),
            "content_block_start" => self.block_start(&frame, events),
            "content_block_delta" => self.block_delta(&frame, events),
            "content_block_stop" => {
                if let Some(position) = self.open.iter().position(|(index, _)| *index == frame.index) {
                    let (_, open) = self.open.remove(position);
                    close(open, events);
                }
                Ok(())
            }
            "message_delta" => self.message_delta(&frame, events),
            "message_stop" => {
                self.close_all(events);
                self.over = true;
                events.push(Event::End);
                Ok(())
            }
            "error" => {
                self.over = true;
                let failure = serde_json::from_slice(&event.data).map(error::inside_reply);
                let unnamed = || Failure::new(Code::UpstreamError, "the upstream reported an error in its stream");
                events.push(Event::Error(Box::new(failure.unwrap_or_else(|_| unnamed()))));
                Ok(())
            }
            // `ping`, and whatever comes to be added: Anthropic asks clients to pass over what they do not know.
            _ => Ok(()),
        }
    }

    fn message_start(&mut self, frame: &Frame<'_>, events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        let Some(raw) = frame.message else { return Err(garbage("a `message_start` event without a message".into())) };
        let mut message = Fields::read(raw, &Path::ROOT).map_err(|cause| garbage(cause.message.into_owned()))?;
        let mut text = |name| message.string(name).ok().flatten().unwrap_or_default().into_owned();
        let (id, model) = (text("id"), text("model"));
        if !std::mem::replace(&mut self.started, true) {
            events.push(Event::Start { id, model, created: None });
        }
        if let Some(usage) = message.take("usage") {
            message::usage_events(&mut self.reported, usage, events);
        }
        for known in ["type", "role", "content", "stop_reason", "stop_sequence"] {
            message.take(known);
        }
        message::meta_events("", message, events);
        Ok(())
    }

    fn message_delta(&mut self, frame: &Frame<'_>, events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        self.close_all(events);
        if let Some(usage) = frame.usage {
            message::usage_events(&mut self.reported, usage, events);
        }
        let Some(raw) = frame.delta else { return Ok(()) };
        let garbled = |cause: Box<Failure>| garbage(cause.message.into_owned());
        let mut delta = Fields::read(raw, &Path::ROOT).map_err(garbled)?;
        let stop_sequence = delta.string("stop_sequence").map_err(garbled)?.map(Into::into);
        let reason = delta.string("stop_reason").map_err(garbled)?;
        message::meta_events("", delta, events);
        if let Some(reason) = reason {
            events.push(Event::Finish { choice: 0, reason: message::finish_reason(&reason), stop_sequence });
        }
        Ok(())
    }

    fn block_start(&mut self, frame: &Frame<'_>, events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        if self.open.len() >= MOST_OPEN {
            return Err(garbage(format!("more than {MOST_OPEN} content blocks are open at once")));
        }
        let garbled = |cause: Box<Failure>| garbage(cause.message.into_owned());
        let Some(raw) = frame.content_block else {
            return Err(garbage("a `content_block_start` event without a block".into()));
        };
        let mut block = Fields::read(raw, &Path::ROOT).map_err(garbled)?;
        let kind = block.required_string("type").map_err(garbled)?;
        let mut text = |name| block.string(name).ok().flatten().filter(|text| !text.is_empty()).map(Cow::into_owned);
        let choice = 0;
        let open = match kind.as_ref() {
            "text" => {
                events.extend(text("text").map(|text| Event::Text { choice, text }));
                let citations = block.array("citations").ok().flatten().unwrap_or_default();
                Open::Text { citations: citations.into_iter().map(ToOwned::to_owned).collect() }
            }
            "thinking" => {
                events.extend(text("thinking").map(|text| Event::Reasoning { choice, text }));
                Open::Thinking { signature: text("signature") }
            }
            "redacted_thinking" => {
                events.extend(text("data").map(|data| Event::RedactedReasoning { choice, data }));
                Open::Ignored
            }
            "tool_use" => {
                let call = self.n_calls;
                self.n_calls += 1;
                let (id, name) = (text("id").unwrap_or_default(), text("name").unwrap_or_default());
                events.push(Event::ToolCallStart { choice, call, id, name });
                Open::ToolUse { call, input: block.take("input").map(ToOwned::to_owned), any: false }
            }
            _ => Open::Whole {
                kind: kind.into_owned(),
                block: serde_json::from_str(raw.get()).unwrap_or_default(),
                input: String::new(),
                size: 0,
            },
        };
        self.open.push((frame.index, open));
        Ok(())
    }

    fn block_delta(&mut self, frame: &Frame<'_>, events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        let Some(raw) = frame.delta else { return Ok(()) };
        let open = self.open.iter_mut().find(|(index, _)| *index == frame.index).map(|(_, open)| open);
        if let Some(Open::Whole { block, input, size, .. }) = open {
            *size += raw.get().len();
            if *size > LARGEST_BLOCK {
                return Err(garbage(format!("a content block of more than {LARGEST_BLOCK} bytes")));
            }
            return grow(block, input, raw);
        }
        let delta: Delta<'_> = serde_json::from_str(raw.get())
            .map_err(|cause| garbage(format!("a `content_block_delta` event is not what Anthropic sends: {cause}")))?;
        let choice = 0;
        match (delta.kind.as_ref(), open) {
            ("text_delta", _) => {
                let text = delta.text.filter(|text| !text.is_empty());
                events.extend(text.map(|text| Event::Text { choice, text: text.into_owned() }));
            }
            ("thinking_delta", _) => {
                let text = delta.thinking.filter(|text| !text.is_empty());
                events.extend(text.map(|text| Event::Reasoning { choice, text: text.into_owned() }));
            }
            ("signature_delta", Some(Open::Thinking { signature })) => {
                signature.get_or_insert_default().push_str(&delta.signature.unwrap_or_default());
            }
            ("citations_delta", Some(Open::Text { citations })) => {
                citations.extend(delta.citation.map(ToOwned::to_owned));
            }
            ("input_json_delta", Some(Open::ToolUse { call, any, .. })) => {
                if let Some(json) = delta.partial_json.filter(|json| !json.is_empty()) {
                    *any = true;
                    events.push(Event::ToolCallArguments { choice, call: *call, json: json.into_owned() });
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// For upstreams that leave out a `content_block_stop`.
    fn close_all(&mut self, events: &mut Vec<Event>) {
        for (_, open) in self.open.drain(..) {
            close(open, events);
        }
    }
}

/// What only the end of a block tells.
fn close(open: Open, events: &mut Vec<Event>) {
    let choice = 0;
    match open {
        Open::Text { citations } => {
            let kind = CitationKind::Anthropic;
            events.extend(citations.into_iter().map(|json| Event::Citation { choice, kind, json }));
        }
        Open::Thinking { signature } => {
            events.extend(signature.map(|signature| Event::ReasoningSignature { choice, signature }));
        }
        Open::ToolUse { any: true, .. } | Open::Ignored => {}
        Open::ToolUse { call, input, .. } => {
            let json = input.as_deref().map_or("{}", RawValue::get).to_owned();
            events.push(Event::ToolCallArguments { choice, call, json });
        }
        Open::Whole { kind, mut block, input, .. } => {
            if !input.is_empty() {
                let whole = serde_json::from_str(&input).unwrap_or(Value::Object(Map::new()));
                block.insert("input".to_owned(), whole);
            }
            let json = serde_json::value::to_raw_value(&block).expect("a map with string keys is JSON");
            events.push(Event::Opaque { choice, kind, json, dialect: Dialect::AnthropicMessages });
        }
    }
}

/// Adds a delta to a block we do not know: pieces of `input`, and texts that continue the block's member of the same name.
fn grow(block: &mut Map<String, Value>, input: &mut String, raw: &RawValue) -> Result<(), Box<Failure>> {
    let delta: Map<String, Value> =
        serde_json::from_str(raw.get()).map_err(|cause| garbage(format!("a delta is not an object: {cause}")))?;
    for (name, value) in delta {
        match (name.as_str(), value) {
            ("type", _) => {}
            ("partial_json", Value::String(piece)) => input.push_str(&piece),
            (_, Value::String(piece)) => match block.get_mut(&name) {
                Some(Value::String(whole)) => whole.push_str(&piece),
                _ => {
                    block.insert(name, Value::String(piece));
                }
            },
            (_, value) => {
                block.insert(name, value);
            }
        }
    }
    Ok(())
}

fn garbage(what: String) -> Box<Failure> {
    Box::new(Failure::new(Code::UpstreamGarbage, format!("the upstream's stream is broken: {what}")))
}
