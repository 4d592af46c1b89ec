//! Google's `generateContent` dialect (AI Studio and Vertex), <https://ai.google.dev/api/generate-content>.
//!
//! The model stands in the path and not in the body. A stream is SSE (`alt=sse`), with CRLF and without a terminal mark: a
//! candidate's `finishReason` says that it is whole. Clients may ask for the same as one JSON array, `framing::array`.

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

mod finish;
mod usage;
mod logprobs;
mod partial;
mod error;
mod signature;
mod candidate;
mod encode;
mod decode;
mod response;
mod reply;
mod stream_encode;
mod tap;
mod count;
#[cfg(test)]
mod tests;

/// `POST /v1beta/models/{model}:generateContent`.
pub struct GeminiGenerate;

// === impl GeminiGenerate ===

impl Dialect for GeminiGenerate {
    fn id(&self) -> Id {
        Id::GeminiGenerate
    }

    fn encode_request(&self, request: &ChatRequest, upstream: &Upstream<'_>) -> Result<Encoded, Box<Failure>> {
        encode::request(request, upstream)
    }

    fn decode_reply(&self, body: &[u8]) -> Result<Vec<Event>, Box<Failure>> {
        reply::decode(body)
    }

    fn stream_decoder(&self) -> Box<dyn StreamDecoder> {
        Box::new(reply::Decoder::default())
    }

    fn decode_error(&self, status: u16, body: &[u8]) -> Failure {
        error::decode(status, body)
    }
}

impl ClientDialect for GeminiGenerate {
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
        error::encode(failure, Some(request_id))
    }

    /// Google refuses a signature that it has not made.
    fn holds_foreign(&self, body: &[u8]) -> bool {
        signature::is_in(body)
    }

    /// Google always says usage, and no client minds.
    fn stream_tap(&self, _: TapOptions) -> Box<dyn StreamTap> {
        Box::new(tap::Tap::default())
    }

    fn usage_of_reply(&self, body: &[u8]) -> Option<Usage> {
        tap::usage_of_reply(body)
    }
}
