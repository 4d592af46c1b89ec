//! Whole replies and streams → events. Both are the same objects; in a stream the last one has `done: true`.

use gateway_ir::event::{Event, FinishReason};
use gateway_ir::failure::Failure;
use gateway_ir::usage::Usage;
use serde_json::value::RawValue;

use crate::call_id::call_id;
use crate::dialect::StreamDecoder;
use crate::framing::ndjson;
use crate::reading::{elements, garbage, members, members_of, text, unsigned};
use crate::refused;

/// More calls than any reply has.
const MAX_CALLS: u32 = 1024;

/// What has been read of one reply so far.
#[derive(Debug, Default)]
struct Reader {
    started: bool,
    over: bool,
    created_at: String,
    n_calls: u32,
}

/// The members of a reply object that are understood.
#[derive(Default)]
struct Parts<'a> {
    model: String,
    created_at: String,
    message: Option<&'a RawValue>,
    done: bool,
    done_reason: Option<String>,
    prompt: Option<u64>,
    output: Option<u64>,
    has_error: bool,
}

pub(super) fn decode(body: &[u8]) -> Result<Vec<Event>, Box<Failure>> {
    let mut events = Vec::new();
    let mut reader = Reader::default();
    reader.read(body, &mut events)?;
    if !reader.over {
        return Err(garbage("the upstream's reply is not done"));
    }
    Ok(events)
}

/// Decoder of one stream.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    lines: ndjson::Lines,
    reader: Reader,
}

// === impl Decoder ===

impl StreamDecoder for Decoder {
    fn push(&mut self, chunk: &[u8], events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        let reader = &mut self.reader;
        self.lines.push(chunk, |line| reader.read(line, events))
    }

    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        let reader = &mut self.reader;
        // What is left may be half a line, which is a cut and not garbage.
        self.lines.finish(|line| reader.read(line, events).or(Ok(())))
    }
}

// === impl Reader ===

impl Reader {
    fn read(&mut self, data: &[u8], events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        if self.over {
            return Ok(());
        }
        let parts = Parts::read(data)?;
        if parts.has_error {
            self.over = true;
            let unnamed = || garbage("the upstream reported an error it did not name");
            events.push(Event::Error(refused::inside(data).unwrap_or_else(unnamed)));
            return Ok(());
        }
        if !std::mem::replace(&mut self.started, true) {
            self.created_at = parts.created_at;
            events.push(Event::Start { id: String::new(), model: parts.model, created: None });
        }
        let choice = 0;
        let mut calls = Vec::new();
        if let Some(message) = parts.message {
            members_of(message, |name, raw| match name {
                "thinking" => events.extend(text(raw).map(|text| Event::Reasoning { choice, text: text.into_owned() })),
                "content" => events.extend(text(raw).map(|text| Event::Text { choice, text: text.into_owned() })),
                "tool_calls" => elements(raw, |call| calls.push(call)),
                _ => {}
            });
        }
        for call in calls {
            self.call(call, events)?;
        }
        if parts.done {
            self.over = true;
            // A prompt that was cached whole may come without its count.
            let (input, output) = (parts.prompt.unwrap_or(0), parts.output.unwrap_or(0));
            if parts.prompt.is_some() || parts.output.is_some() {
                events.push(Event::Usage(Usage { input, output, ..Usage::default() }));
            }
            let reason = match parts.done_reason.as_deref() {
                // `stop` is said also where results of calls are waited for.
                Some("stop") | None if self.n_calls > 0 => FinishReason::ToolCalls,
                Some("stop") | None => FinishReason::Stop,
                Some("length") => FinishReason::Length,
                Some(other) => FinishReason::Other(other.to_owned()),
            };
            events.push(Event::Finish { choice, reason, stop_sequence: None });
            events.push(Event::End);
        }
        Ok(())
    }

    /// A call comes whole, its arguments as an object.
    fn call(&mut self, raw: &RawValue, events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        let (mut id, mut name, mut arguments) = (String::new(), String::new(), "{}");
        members_of(raw, |member, value| match member {
            "id" => id = text(value).unwrap_or_default().into_owned(),
            "function" => members_of(value, |member, value| match member {
                "name" => name = text(value).unwrap_or_default().into_owned(),
                "arguments" if value.get().starts_with('{') => arguments = value.get(),
                _ => {}
            }),
            _ => {}
        });
        if self.n_calls == MAX_CALLS {
            return Err(garbage("the upstream's reply has too many tool calls"));
        }
        let call = self.n_calls;
        self.n_calls += 1;
        if id.is_empty() {
            id = call_id(&[&self.created_at, &name, &call.to_string()]);
        }
        events.push(Event::ToolCallStart { choice: 0, call, id, name });
        events.push(Event::ToolCallArguments { choice: 0, call, json: arguments.to_owned() });
        Ok(())
    }
}

// === impl Parts ===

impl<'a> Parts<'a> {
    fn read(data: &'a [u8]) -> Result<Self, Box<Failure>> {
        let mut parts = Self::default();
        members(data, |name, raw| match name {
            "model" => parts.model = text(raw).unwrap_or_default().into_owned(),
            "created_at" => parts.created_at = text(raw).unwrap_or_default().into_owned(),
            "message" => parts.message = Some(raw),
            "done" => parts.done = raw.get() == "true",
            "done_reason" => parts.done_reason = text(raw).map(std::borrow::Cow::into_owned),
            "prompt_eval_count" => parts.prompt = unsigned(raw),
            "eval_count" => parts.output = unsigned(raw),
            "error" => parts.has_error = raw.get() != "null",
            _ => {}
        })
        .map_err(|cause| garbage(format!("the upstream's reply is not what Ollama sends: {cause}")))?;
        Ok(parts)
    }
}
