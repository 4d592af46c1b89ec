//! Amazon Bedrock's Converse dialect, <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>. Spoken to
//! upstreams only; streams are binary (`application/vnd.amazon.eventstream`).

use gateway_ir::chat::ChatRequest;
use gateway_ir::dialect::Dialect as Id;
use gateway_ir::event::Event;
use gateway_ir::failure::Failure;

use crate::dialect::{Dialect, Encoded, StreamDecoder, Upstream};
use crate::refused;

mod message;
mod encode;
mod reply;
mod stream_decode;
mod count;
#[cfg(test)]
mod tests;

/// `POST /model/{model}/converse` and `/converse-stream`.
pub struct BedrockConverse;

// === impl BedrockConverse ===

impl Dialect for BedrockConverse {
    fn id(&self) -> Id {
        Id::BedrockConverse
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

    fn stream_media_type(&self) -> &'static str {
        "application/vnd.amazon.eventstream"
    }
}
