//! Whole replies, both directions.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use gateway_ir::dialect::Dialect;
use gateway_ir::event::Event;
use gateway_ir::failure::Failure;
use gateway_ir::fold::{Block, Choice, Reply};
use serde_json::value::RawValue;

use super::delta::Reader;
use super::{annotation, finish, reasoning, usage};
use crate::dialect::ReplyContext;
use crate::reading::{Shape, elements, members_of};
use crate::writer::{Object, object};

/// An upstream's whole reply as events.
pub(crate) fn decode(body: &[u8]) -> Result<Vec<Event>, Box<Failure>> {
    let mut reader = Reader::default();
    let mut events = Vec::new();
    reader.read(body, Shape::Whole, &mut events)?;
    if !reader.has_failed() {
        reader.end(&mut events);
        events.push(Event::End);
    }
    Ok(events)
}

/// A whole reply for a client.
pub(super) fn encode(reply: &Reply, context: &ReplyContext) -> Bytes {
    let mut out = BytesMut::with_capacity(1024);
    object(&mut out, |body| {
        body.string("id", &id(&reply.id, context));
        body.string("object", "chat.completion");
        body.unsigned("created", created(reply.created, context));
        body.string("model", if reply.model.is_empty() { &context.model } else { &reply.model });
        body.array("choices", |choices| {
            for choice in &reply.choices {
                choices.object(|object| write_choice(choice, context.functions, object));
            }
        });
        usage::write(reply.usage, body);
        for (name, json) in reply.meta.iter().filter(|(name, _)| is_free(name)) {
            body.raw(name, json.get());
        }
    });
    out.freeze()
}

/// The upstream's id where it has one.
pub(super) fn id<'a>(id: &'a str, context: &ReplyContext) -> Cow<'a, str> {
    if id.is_empty() { format!("chatcmpl-{}", context.request_id).into() } else { id.into() }
}

pub(crate) fn created(created: Option<i64>, context: &ReplyContext) -> u64 {
    created.unwrap_or(context.created).try_into().unwrap_or(0)
}

/// Whether a detail's name is not one of the members that every reply has.
pub(crate) fn is_free(name: &str) -> bool {
    // A dot marks a detail of another dialect.
    !name.contains('.') && !matches!(name, "id" | "object" | "created" | "model" | "choices" | "usage" | "error")
}

fn write_choice(choice: &Choice, functions: bool, object: &mut Object<'_>) {
    object.unsigned("index", choice.index.into());
    object.object("message", |message| write_message(choice, functions, message));
    write_logprobs(&choice.logprobs, object);
    let has_calls = choice.blocks.iter().any(|block| matches!(block, Block::ToolCall { .. }));
    let reason = match &choice.finish {
        Some(reason) => finish::word(reason),
        None if has_calls => "tool_calls",
        None => "stop",
    };
    let reason = finish::spoken(reason, functions);
    object.string("finish_reason", reason);
}

fn write_message(choice: &Choice, functions: bool, message: &mut Object<'_>) {
    let (mut text, mut refusal, mut thinking) = (String::new(), String::new(), String::new());
    let mut calls = Vec::new();
    for block in &choice.blocks {
        match block {
            Block::Text { text: piece, .. } => text.push_str(piece),
            Block::Refusal { text: piece } => refusal.push_str(piece),
            Block::Reasoning { text: piece, .. } => thinking.push_str(piece),
            Block::ToolCall { id, name, arguments, .. } => calls.push((id, name, arguments)),
            Block::RedactedReasoning { .. } | Block::Opaque { .. } => {}
        }
    }
    message.string("role", "assistant");
    if text.is_empty() && !(calls.is_empty() && refusal.is_empty()) {
        message.raw("content", "null");
    } else {
        message.string("content", &text);
    }
    if refusal.is_empty() {
        message.raw("refusal", "null");
    } else {
        message.string("refusal", &refusal);
    }
    if !thinking.is_empty() {
        message.string("reasoning_content", &thinking);
    }
    reasoning::write_details(&choice.blocks, message);
    annotation::write_all(&choice.blocks, message);
    let write_function = |name: &str, arguments: &str, function: &mut Object<'_>| {
        function.string("name", name);
        function.string("arguments", if arguments.is_empty() { "{}" } else { arguments });
    };
    match calls.as_slice() {
        [] => {}
        // That form has room for one.
        [(_, name, arguments), ..] if functions => {
            message.object("function_call", |function| write_function(name, arguments, function));
        }
        calls => message.array("tool_calls", |array| {
            for (id, name, arguments) in calls {
                array.object(|call| {
                    call.string("id", id);
                    call.string("type", "function");
                    call.object("function", |function| write_function(name, arguments, function));
                });
            }
        }),
    }
    write_opaque(&choice.blocks, message);
}

/// Members only this dialect has. Of lists (a stream brings them in pieces) all elements count, of anything else the last.
fn write_opaque(blocks: &[Block], message: &mut Object<'_>) {
    let mut told: Vec<(&str, Vec<&RawValue>)> = Vec::new();
    for block in blocks {
        if let Block::Opaque { kind, json, dialect: Dialect::OpenAiChat } = block {
            match told.iter_mut().find(|(name, _)| name == kind) {
                Some((_, pieces)) => pieces.push(json),
                None => told.push((kind, vec![json])),
            }
        }
    }
    for (name, pieces) in told {
        let are_lists = pieces.iter().all(|piece| piece.get().starts_with('['));
        match pieces.as_slice() {
            [.., last] if !are_lists || pieces.len() == 1 => message.raw(name, last.get()),
            pieces => message.array(name, |array| {
                for piece in pieces {
                    elements(piece, |element| array.raw(element.get()));
                }
            }),
        }
    }
}

/// Pieces of a stream are lists under the same names; joined, they are what a whole reply says.
fn write_logprobs(pieces: &[Box<RawValue>], object: &mut Object<'_>) {
    match pieces {
        [] => object.raw("logprobs", "null"),
        [whole] => object.raw("logprobs", whole.get()),
        pieces => object.object("logprobs", |logprobs| {
            for name in ["content", "refusal"] {
                let mut lists = Vec::new();
                for piece in pieces {
                    members_of(piece, |known, list| {
                        if known == name {
                            lists.push(list)
                        }
                    });
                }
                if lists.iter().all(|list| list.get() == "null") {
                    logprobs.raw(name, "null");
                } else {
                    logprobs.array(name, |array| {
                        for list in lists {
                            elements(list, |entry| array.raw(entry.get()));
                        }
                    });
                }
            }
        }),
    }
}
