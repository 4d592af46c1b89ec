//! The Anthropic Messages dialect, <https://docs.anthropic.com/en/api/messages>, in both directions.
//!
//! Provider-run tools (`server_tool_use` and the results of such tools) are opaque: never the client's calls, verbatim to and
//! from Anthropic itself, nothing to anyone else.

mod error;
mod message;
mod decode;
mod encode;
mod reply;
mod stream_decode;
mod stream_encode;
mod tap;
mod count;
#[cfg(test)]
mod tests;

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

/// `POST /v1/messages`.
pub struct AnthropicMessages;

// === impl AnthropicMessages ===

impl Dialect for AnthropicMessages {
    fn id(&self) -> Id {
        Id::AnthropicMessages
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
        error::decode(status, body)
    }
}

impl ClientDialect for AnthropicMessages {
    fn decode_document(&self, document: &RawValue) -> Result<ChatRequest, Box<Failure>> {
        decode::request(document)
    }

    fn encode_reply(&self, reply: &Reply, context: &ReplyContext) -> Bytes {
        reply::encode(reply, context)
    }

    fn stream_encoder(&self, context: &ReplyContext) -> Box<dyn StreamEncoder> {
        Box::new(stream_encode::Encoder::new(context))
    }

    fn encode_error(&self, failure: &Failure, request_id: &str) -> Bytes {
        error::encode(failure, request_id)
    }

    /// Usage is part of every Anthropic stream, so that there is nothing to ask for and nothing to take out.
    fn stream_tap(&self, _options: TapOptions) -> Box<dyn StreamTap> {
        Box::new(tap::Tap::default())
    }

    fn usage_of_reply(&self, body: &[u8]) -> Option<Usage> {
        reply::usage(body)
    }
}
