//! Google's `generateContent` dialect (AI Studio and Vertex), <https://ai.google.dev/api/generate-content>.
//!
//! The model stands in the path and not in the body. A stream is SSE (`alt=sse`), with CRLF and without a terminal mark: a
//! candidate's `finishReason` says that it is whole.

use gateway_ir::chat::ChatRequest;
use gateway_ir::dialect::Dialect as Id;
use gateway_ir::event::Event;
use gateway_ir::failure::Failure;

use crate::dialect::{Dialect, Encoded, StreamDecoder, Upstream};

mod finish;
mod usage;
mod logprobs;
mod partial;
mod error;
mod candidate;
mod encode;
mod reply;
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
