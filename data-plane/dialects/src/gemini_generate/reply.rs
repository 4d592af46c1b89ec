//! Whole replies and streams → events; a folded reply → one response for a client.

use bytes::{Bytes, BytesMut};
use gateway_ir::dialect::Dialect;
use gateway_ir::event::Event;
use gateway_ir::failure::Failure;
use gateway_ir::fold::{Block, Choice, Reply};

use super::candidate::{META, Reader};
use super::{response, signature};
use crate::dialect::{ReplyContext, StreamDecoder};
use crate::framing::sse;
use crate::reading::garbage;
use crate::writer::{Array, Object, object};

/// Reads a whole reply.
pub(super) fn decode(body: &[u8]) -> Result<Vec<Event>, Box<Failure>> {
    let mut events = Vec::new();
    let mut reader = Reader::default();
    reader.read(body, &mut events)?;
    if !reader.has_failed() && !reader.end(&mut events) {
        return Err(garbage("the upstream's reply has no finished candidate"));
    }
    Ok(events)
}

/// Decoder of one stream.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    parser: sse::Parser,
    reader: Reader,
}

// === impl Decoder ===

impl StreamDecoder for Decoder {
    fn push(&mut self, chunk: &[u8], events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        let reader = &mut self.reader;
        self.parser.push(chunk, |event| read(reader, &event, events))
    }

    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        let reader = &mut self.reader;
        // What is left may be half an event, which is a cut and not garbage.
        self.parser.finish(|event| read(reader, &event, events).or(Ok(())))?;
        self.reader.end(events);
        Ok(())
    }
}

fn read(reader: &mut Reader, event: &sse::Event<'_>, events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
    let data = event.data.trim_ascii();
    // Proxies in between close with OpenAI's mark.
    if data.is_empty() || data == b"[DONE]" || reader.has_failed() {
        return Ok(());
    }
    reader.read(data, events)
}

/// A whole reply for a client.
pub(super) fn encode(reply: &Reply, context: &ReplyContext) -> Bytes {
    let mut out = BytesMut::with_capacity(1024);
    object(&mut out, |body| {
        if !reply.choices.is_empty() {
            body.array("candidates", |candidates| {
                reply.choices.iter().for_each(|choice| candidates.object(|object| write_candidate(choice, object)));
            });
        }
        for (name, json) in &reply.meta {
            if let Some(name) = name.strip_prefix(META) {
                body.raw(name, json.get());
            }
        }
        let model = if reply.model.is_empty() { &context.model } else { &reply.model };
        let id = if reply.id.is_empty() { &context.request_id } else { &reply.id };
        response::write_rest(reply.usage.as_ref(), model, id, body);
    });
    out.freeze()
}

fn write_candidate(choice: &Choice, candidate: &mut Object<'_>) {
    let mut malformed = None;
    candidate.object("content", |content| {
        content.array("parts", |parts| {
            choice.blocks.iter().for_each(|block| malformed = write_block(block, parts).or(malformed.take()));
        });
        content.string("role", "model");
    });
    response::write_finish(choice.finish.as_ref(), malformed, candidate);
    candidate.unsigned("index", choice.index.into());
    response::write_logprobs(&choice.logprobs, candidate);
    let citations = choice.blocks.iter().filter_map(|block| match block {
        Block::Text { citations, .. } => Some(citations),
        _ => None,
    });
    response::write_citations(citations.flatten().map(|(_, json)| json.as_ref()), candidate);
}

/// Returns the name of a call that cannot be told.
fn write_block<'b>(block: &'b Block, parts: &mut Array<'_>) -> Option<&'b str> {
    match block {
        Block::Text { text, .. } | Block::Refusal { text } => response::write_text(text, parts),
        Block::Reasoning { text, signature } => {
            let signature = signature.as_deref().map(signature::foreign);
            response::write_thought(text, signature.as_deref(), parts);
        }
        Block::RedactedReasoning { data } => {
            response::write_thought("", Some(&signature::redacted(data)), parts);
        }
        Block::ToolCall { id, name, arguments, .. } => match response::arguments(arguments) {
            Some(arguments) => response::write_call(id, name, arguments, parts),
            None => return Some(name),
        },
        Block::Opaque { json, dialect: Dialect::GeminiGenerate, .. } => parts.raw(json.get()),
        // Other vendors' blocks have no words here.
        Block::Opaque { .. } => {}
    }
    None
}
