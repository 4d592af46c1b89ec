//! Cohere's chat dialect, version 2, <https://docs.cohere.com/reference/chat>. Spoken to upstreams only.

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
#[cfg(test)]
mod tests;

/// `POST /v2/chat`.
pub struct CohereV2;

// === impl CohereV2 ===

impl Dialect for CohereV2 {
    fn id(&self) -> Id {
        Id::CohereV2
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
