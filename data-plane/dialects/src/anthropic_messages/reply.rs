//! Whole replies, both ways.

use bytes::{Bytes, BytesMut};
use gateway_ir::dialect::Dialect;
use gateway_ir::event::{CitationKind, Event, FinishReason};
use gateway_ir::failure::{Code, Failure};
use gateway_ir::fold::{Block, Choice, Reply};
use gateway_ir::json;
use gateway_ir::usage::Usage;
use serde_json::value::RawValue;

use super::error;
use super::message::{self, Reported};
use crate::dialect::ReplyContext;
use crate::fields::{Fields, Path};
use crate::writer::{self, Array};

/// Reads a whole reply. An error envelope inside a success is an `Event::Error`.
pub(super) fn decode(body: &[u8]) -> Result<Vec<Event>, Box<Failure>> {
    read(body).map_err(|cause| {
        let message = format!("the upstream's reply is not an Anthropic message: {}", cause.message);
        Box::new(Failure::new(Code::UpstreamGarbage, message))
    })
}

fn read(body: &[u8]) -> Result<Vec<Event>, Box<Failure>> {
    let raw = json::prove(body).map_err(|fault| Box::new(Failure::invalid(format!("not JSON: {fault}"))))?;
    let mut top = Fields::read(raw, &Path::ROOT)?;
    let kind = text(&mut top, "type");
    if kind == "error" || top.take("error").is_some() {
        return Ok(vec![Event::Error(Box::new(error::inside_reply(raw)))]);
    }
    let blocks = match top.array("content")? {
        Some(blocks) => blocks,
        None if kind == "message" => Vec::new(),
        None => return Err(top.missing("content")),
    };
    let mut events = vec![Event::Start { id: text(&mut top, "id"), model: text(&mut top, "model"), created: None }];
    let mut n_calls = 0;
    for (index, block) in blocks.into_iter().enumerate() {
        block_events(block, &Path::ROOT.name("content").index(index), &mut n_calls, &mut events)?;
    }
    if let Some(raw) = top.take("usage") {
        message::usage_events(&mut Reported::default(), raw, &mut events);
    }
    let stop_sequence = top.string("stop_sequence")?.map(Into::into);
    let reason = match top.string("stop_reason")? {
        Some(said) => message::finish_reason(&said),
        // A whole reply is over, whether or not a compatible server says why.
        None if n_calls > 0 => FinishReason::ToolCalls,
        None => FinishReason::Stop,
    };
    top.take("role");
    message::meta_events("", top, &mut events);
    events.push(Event::Finish { choice: 0, reason, stop_sequence });
    events.push(Event::End);
    Ok(events)
}

/// A string that may be missing or of another type: nothing depends on it.
fn text(fields: &mut Fields<'_, '_>, name: &str) -> String {
    fields.string(name).ok().flatten().unwrap_or_default().into_owned()
}

fn block_events(
    raw: &RawValue,
    path: &Path<'_>,
    n_calls: &mut u32,
    events: &mut Vec<Event>,
) -> Result<(), Box<Failure>> {
    let choice = 0;
    let mut block = Fields::read(raw, path)?;
    let kind = block.required_string("type")?;
    match kind.as_ref() {
        "text" => {
            let text = block.string("text")?.unwrap_or_default().into_owned();
            let citations = block.array("citations")?.unwrap_or_default();
            if !text.is_empty() || !citations.is_empty() {
                events.push(Event::Text { choice, text });
            }
            let kind = CitationKind::Anthropic;
            events.extend(citations.into_iter().map(|raw| Event::Citation { choice, kind, json: raw.to_owned() }));
        }
        "thinking" => {
            let text = block.string("thinking")?.unwrap_or_default().into_owned();
            if !text.is_empty() {
                events.push(Event::Reasoning { choice, text });
            }
            if let Some(signature) = block.string("signature")?.filter(|signature| !signature.is_empty()) {
                events.push(Event::ReasoningSignature { choice, signature: signature.into_owned() });
            }
        }
        "redacted_thinking" => {
            events.push(Event::RedactedReasoning { choice, data: block.required_string("data")?.into_owned() });
        }
        "tool_use" => {
            let (id, name) = (text(&mut block, "id"), block.required_string("name")?.into_owned());
            let input = block.take("input").map_or("{}", RawValue::get).to_owned();
            events.push(Event::ToolCallStart { choice, call: *n_calls, id, name });
            events.push(Event::ToolCallArguments { choice, call: *n_calls, json: input });
            *n_calls += 1;
        }
        // Tools that the provider ran itself are not the client's to run.
        _ => {
            let dialect = Dialect::AnthropicMessages;
            events.push(Event::Opaque { choice, kind: kind.into_owned(), json: raw.to_owned(), dialect });
        }
    }
    Ok(())
}

/// Usage of a passing reply: one scan of the top level, nothing built.
pub(super) fn usage(body: &[u8]) -> Option<Usage> {
    let mut found = None;
    json::scan_object(body, |member| {
        if member.is("usage") {
            found = Some(member.value);
        }
    })
    .ok()?;
    let raw: &RawValue = serde_json::from_slice(&body[found?]).ok()?;
    let mut reported = Reported::default();
    reported.update(raw).then(|| reported.usage())
}

/// Writes a whole reply. Anthropic has one choice; the first counts.
pub(super) fn encode(reply: &Reply, context: &ReplyContext) -> Bytes {
    let nothing = Choice::default();
    let choice = reply.choices.first().unwrap_or(&nothing);
    let refused = choice.blocks.iter().any(|block| matches!(block, Block::Refusal { .. }));
    let mut out = BytesMut::with_capacity(1024);
    writer::object(&mut out, |object| {
        object.string("id", &message_id(&reply.id, context));
        object.string("type", "message");
        object.string("role", "assistant");
        object.string("model", if reply.model.is_empty() { &context.model } else { &reply.model });
        object.array("content", |content| choice.blocks.iter().for_each(|block| write_block(content, block)));
        let reason = choice.finish.as_ref().map(|reason| message::stop_reason(reason, refused));
        object.string_or_null("stop_reason", reason);
        object.string_or_null("stop_sequence", choice.stop_sequence.as_deref());
        let usage = reply.usage.unwrap_or_default();
        object.object("usage", |object| message::write_usage(object, &usage, &reply.meta));
        for (name, json) in message::details(&reply.meta, "") {
            object.raw(name, json.get());
        }
    });
    out.freeze()
}

/// The upstream's id, or one made of the request's.
pub(super) fn message_id(said: &str, context: &ReplyContext) -> String {
    if said.is_empty() { format!("msg_{}", context.request_id) } else { said.to_owned() }
}

fn write_block(content: &mut Array<'_>, block: &Block) {
    match block {
        Block::Opaque { json, dialect: Dialect::AnthropicMessages, .. } => content.raw(json.get()),
        Block::Opaque { .. } => {}
        Block::Text { text, citations } => content.object(|object| {
            object.string("type", "text");
            object.string("text", text);
            let ours: Vec<_> = citations.iter().filter(|(kind, _)| *kind == CitationKind::Anthropic).collect();
            if !ours.is_empty() {
                object.array("citations", |array| ours.iter().for_each(|(_, json)| array.raw(json.get())));
            }
        }),
        Block::Refusal { text } => content.object(|object| {
            object.string("type", "text");
            object.string("text", text);
        }),
        Block::Reasoning { text, signature } => content.object(|object| {
            object.string("type", "thinking");
            object.string("thinking", text);
            object.string("signature", signature.as_deref().unwrap_or_default());
        }),
        Block::RedactedReasoning { data } => content.object(|object| {
            object.string("type", "redacted_thinking");
            object.string("data", data);
        }),
        Block::ToolCall { id, name, arguments, .. } => content.object(|object| {
            object.string("type", "tool_use");
            object.string("id", id);
            object.string("name", name);
            let is_object = json::scan_object(arguments.as_bytes(), |_| ()).is_ok();
            object.raw("input", if is_object { arguments.trim() } else { "{}" });
        }),
    }
}
