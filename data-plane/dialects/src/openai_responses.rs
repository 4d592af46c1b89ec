//! The OpenAI Responses dialect, <https://platform.openai.com/docs/api-reference/responses>, in both directions.
//!
//! What a client sees of a translated reply is whole items in order, with every event that opens and closes them. The terminal
//! event repeats the reply, so that this is the one dialect whose stream cannot be told without keeping it.

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

mod usage;
mod error;
mod decode;
mod encode;
mod item;
mod response;
mod reply;
mod stream_decode;
mod stream_encode;
mod tap;
mod count;
#[cfg(test)]
mod tests;

/// `POST /v1/responses`.
pub struct OpenAiResponses;

// === impl OpenAiResponses ===

impl Dialect for OpenAiResponses {
    fn id(&self) -> Id {
        Id::OpenAiResponses
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

impl ClientDialect for OpenAiResponses {
    fn decode_document(&self, document: &RawValue) -> Result<ChatRequest, Box<Failure>> {
        decode::request(document)
    }

    fn encode_reply(&self, reply: &Reply, context: &ReplyContext) -> Bytes {
        response::encode(reply, context)
    }

    fn stream_encoder(&self, context: &ReplyContext) -> Box<dyn StreamEncoder> {
        Box::new(stream_encode::Encoder::new(context.clone()))
    }

    fn encode_error(&self, failure: &Failure, request_id: &str) -> Bytes {
        crate::openai_chat::error_body(failure, request_id)
    }

    fn stream_tap(&self, _: TapOptions) -> Box<dyn StreamTap> {
        Box::new(tap::Tap::default())
    }

    fn usage_of_reply(&self, body: &[u8]) -> Option<Usage> {
        usage::in_reply(body)
    }
}
