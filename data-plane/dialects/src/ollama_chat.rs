//! Ollama's own chat dialect, <https://docs.ollama.com/api/chat>. Spoken to upstreams only; streams are lines of JSON.

use gateway_ir::chat::ChatRequest;
use gateway_ir::dialect::Dialect as Id;
use gateway_ir::event::Event;
use gateway_ir::failure::Failure;

use crate::dialect::{Dialect, Encoded, StreamDecoder, Upstream};
use crate::refused;

mod encode;
mod reply;
#[cfg(test)]
mod tests;

/// `POST /api/chat`.
pub struct OllamaChat;

// === impl OllamaChat ===

impl Dialect for OllamaChat {
    fn id(&self) -> Id {
        Id::OllamaChat
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
        refused::decode(status, body)
    }

    fn stream_media_type(&self) -> &'static str {
        "application/x-ndjson"
    }
}
