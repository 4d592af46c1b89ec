//! Whole replies, both directions.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use gateway_ir::event::{Event, FinishReason};
use gateway_ir::failure::Failure;
use gateway_ir::fold::{Block, Choice, Reply};

use super::logprobs;
use crate::dialect::ReplyContext;
use crate::openai_chat::reply::{created, is_free};
use crate::openai_chat::{finish, reply, usage};
use crate::writer::{Object, object};

/// An upstream's whole reply as events.
pub(super) fn decode(body: &[u8]) -> Result<Vec<Event>, Box<Failure>> {
    let mut events = reply::decode(body)?;
    canonical(&mut events);
    Ok(events)
}

/// What the chat dialect's reader left as this dialect writes it, made canonical. What is no list of logprobs goes.
pub(super) fn canonical(events: &mut Vec<Event>) {
    events.retain_mut(|event| match event {
        Event::Logprobs { json, .. } => logprobs::read(json).map(|canonical| *json = canonical).is_some(),
        _ => true,
    });
}

/// A whole reply for a client.
pub(super) fn encode(reply: &Reply, context: &ReplyContext) -> Bytes {
    let mut out = BytesMut::with_capacity(1024);
    object(&mut out, |body| {
        body.string("id", &id(&reply.id, context));
        body.string("object", "text_completion");
        body.unsigned("created", created(reply.created, context));
        body.string("model", if reply.model.is_empty() { &context.model } else { &reply.model });
        body.array("choices", |choices| {
            for choice in &reply.choices {
                choices.object(|object| write_choice(choice, object));
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
    if id.is_empty() { format!("cmpl-{}", context.request_id).into() } else { id.into() }
}

/// This dialect has three words. A reason nobody knows is passed on as said.
pub(super) fn word(reason: &FinishReason) -> &str {
    match reason {
        FinishReason::ToolCalls => "stop",
        reason => finish::word(reason),
    }
}

/// A choice is its text. Thoughts, calls and citations have no place here.
fn write_choice(choice: &Choice, object: &mut Object<'_>) {
    let texts = choice.blocks.iter().filter_map(|block| match block {
        Block::Text { text, .. } | Block::Refusal { text } => Some(text.as_str()),
        _ => None,
    });
    object.string("text", &texts.collect::<String>());
    object.unsigned("index", choice.index.into());
    logprobs::write(&choice.logprobs, 0, object);
    object.string("finish_reason", choice.finish.as_ref().map_or("stop", word));
}
