//! The OpenAI chat-completions dialect, <https://platform.openai.com/docs/api-reference/chat>, in both directions.
//!
//! Speaks what OpenAI documents and understands what compatible servers make of it; how a server departs is declared in
//! [`Quirks`](gateway_ir::quirks::Quirks), never guessed from names.

use bytes::Bytes;
use gateway_ir::chat::ChatRequest;
use gateway_ir::dialect::Dialect as Id;
use gateway_ir::event::Event;
use gateway_ir::failure::Failure;
use gateway_ir::fold::Reply;
use gateway_ir::usage::Usage;
use serde_json::value::RawValue;

use crate::dialect::{
    ClientDialect, Dialect, Encoded, ReplyContext, StreamDecoder, StreamEncoder, StreamTap, TapOptions, Upstream,
};
use crate::refused;

pub(crate) mod finish;
pub(crate) mod usage;
mod reasoning;
mod annotation;
pub(crate) mod error;
mod calls;
pub(crate) mod delta;
mod scan;
pub(crate) mod decode;
mod encode;
pub(crate) mod reply;
pub(crate) mod stream_decode;
pub(crate) mod stream_encode;
pub(crate) mod tap;
#[cfg(test)]
mod tests;

/// `POST /v1/chat/completions`.
pub struct OpenAiChat;

/// The body of an error answer, the same in all of OpenAI's dialects.
pub(crate) fn error_body(failure: &Failure, request_id: &str) -> Bytes {
    error::encode(failure, request_id)
}

// === impl OpenAiChat ===

impl Dialect for OpenAiChat {
    fn id(&self) -> Id {
        Id::OpenAiChat
    }

    fn encode_request(&self, request: &ChatRequest, upstream: &Upstream<'_>) -> Result<Encoded, Box<Failure>> {
        encode::request(request, upstream)
    }

    fn decode_reply(&self, body: &[u8]) -> Result<Vec<Event>, Box<Failure>> {
        reply::decode(body)
    }

    fn stream_decoder(&self) -> Box<dyn StreamDecoder> {
        Box::new(stream_decode::Decoder::default())
    }

    fn decode_error(&self, status: u16, body: &[u8]) -> Failure {
        refused::decode(status, body)
    }
}

impl ClientDialect for OpenAiChat {
    fn decode_document(&self, document: &RawValue) -> Result<ChatRequest, Box<Failure>> {
        decode::request(document)
    }

    fn encode_reply(&self, reply: &Reply, context: &ReplyContext) -> Bytes {
        reply::encode(reply, context)
    }

    fn stream_encoder(&self, context: &ReplyContext) -> Box<dyn StreamEncoder> {
        Box::new(stream_encode::Encoder::new(context.clone()))
    }

    fn encode_error(&self, failure: &Failure, request_id: &str) -> Bytes {
        error::encode(failure, request_id)
    }

    fn stream_tap(&self, options: TapOptions) -> Box<dyn StreamTap> {
        Box::new(tap::Tap::new(options))
    }

    fn usage_of_reply(&self, body: &[u8]) -> Option<Usage> {
        usage::last_in(body)
    }
}
