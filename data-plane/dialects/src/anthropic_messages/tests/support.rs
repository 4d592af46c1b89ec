//! What the tests share: driving the dialect, and what a reply comes down to.

use bytes::{Bytes, BytesMut};
use gateway_ir::event::Event;
use gateway_ir::failure::Failure;
use gateway_ir::fold::{Block, Reply, fold};
use gateway_ir::quirks::Quirks;
use serde_json::{Value, json};

use crate::anthropic_messages::AnthropicMessages;
use crate::dialect::{ClientDialect, Dialect, Encoded, ReplyContext, Seen, TapOptions, Upstream};

pub(super) fn context() -> ReplyContext {
    ReplyContext {
        request_id: "r1".to_owned(),
        model: "asked".to_owned(),
        created: 7,
        include_usage: true,
        functions: false,
        stored: false,
        previous: None,
        conversation: None,
    }
}

/// A request of `inbound` as it goes to an Anthropic upstream.
pub(super) fn translate(inbound: &dyn ClientDialect, body: &Value, quirks: &Quirks) -> Result<Encoded, Box<Failure>> {
    let request = inbound.decode_request(body.to_string().as_bytes())?;
    let mut encoded =
        AnthropicMessages.encode_request(&request, &Upstream { model: "claude", stream: false, quirks })?;
    encoded.dropped.splice(0..0, request.repaired);
    Ok(encoded)
}

pub(super) fn value(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("what we write is JSON")
}

/// Feeds the pieces of a stream; the events, and whether it was taken.
pub(super) fn decode_pieces<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Result<Vec<Event>, Box<Failure>> {
    let mut decoder = AnthropicMessages.stream_decoder();
    let mut events = Vec::new();
    for piece in pieces {
        decoder.push(piece, &mut events)?;
    }
    decoder.finish(&mut events)?;
    Ok(events)
}

/// The stream a client gets for `events`: what `push` writes for each, then `end`.
pub(super) fn encode_stream<'e>(events: impl IntoIterator<Item = &'e Event>) -> BytesMut {
    let mut encoder = AnthropicMessages.stream_encoder(&context());
    let mut out = BytesMut::new();
    for event in events {
        encoder.push(event, &mut out);
    }
    encoder.end(&mut out);
    out
}

/// What became of a stream that passed a tap.
pub(super) struct Tapped {
    /// All bytes that went on, the end included.
    pub(super) passed: Vec<u8>,
    pub(super) seen: Seen,
    /// Whether the tap took the end for one.
    pub(super) ended: bool,
}

pub(super) fn tap_pieces<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Tapped {
    let mut tap = AnthropicMessages.stream_tap(TapOptions::default());
    let mut passed = Vec::new();
    for piece in pieces {
        passed.extend_from_slice(&tap.push(Bytes::copy_from_slice(piece)).expect("small events"));
    }
    let ended = tap.finish().map(|last| passed.extend_from_slice(&last)).is_ok();
    Tapped { passed, seen: tap.seen().clone(), ended }
}

/// A reply brought down to what every dialect can say of it.
pub(super) fn gist(reply: &Reply) -> Value {
    let blocks = reply.choices.first().map(|choice| choice.blocks.as_slice()).unwrap_or_default();
    let (mut text, mut thinking, mut calls, mut opaque) = (String::new(), String::new(), Vec::new(), Vec::new());
    for block in blocks {
        match block {
            Block::Text { text: piece, .. } | Block::Refusal { text: piece } => text.push_str(piece),
            Block::Reasoning { text, signature } => {
                thinking.push_str(text);
                thinking.push_str(signature.as_deref().unwrap_or_default());
            }
            Block::RedactedReasoning { data } => thinking.push_str(data),
            Block::ToolCall { id, name, arguments, .. } => {
                let arguments: Value = serde_json::from_str(arguments).unwrap_or(json!({}));
                calls.push(json!({"id": id, "name": name, "arguments": arguments}));
            }
            Block::Opaque { json, .. } => opaque.push(value(json.get().as_bytes())),
        }
    }
    let finish = reply.choices.first().and_then(|choice| choice.finish.clone());
    let stop = reply.choices.first().and_then(|choice| choice.stop_sequence.clone());
    json!({
        "text": text, "thinking": thinking, "calls": calls, "opaque": opaque, "usage": format!("{:?}", reply.usage),
        "finish": format!("{finish:?}"), "stop": stop, "ended": reply.ended,
    })
}

pub(super) fn gist_of(events: &[Event]) -> Value {
    gist(&fold(events.iter().cloned()))
}

/// The events of a stream, if it is legal.
pub(super) fn legal(stream: &[u8]) -> Result<Vec<Value>, String> {
    crate::legal::check(gateway_ir::dialect::Dialect::AnthropicMessages, stream, true).map(|told| told.events)
}
