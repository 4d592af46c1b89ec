//! OpenAI's legacy completions dialect, <https://platform.openai.com/docs/api-reference/completions>, in both directions: a prompt
//! in, text out, no roles and no tools.
//!
//! Replies, errors and streams are those of the chat dialect but for the form of a choice, so its readers and its tap serve here
//! too. Between vendors of other dialects and clients of this one a prompt is one user message; towards servers that have nothing
//! else a conversation is one prompt ([`prompt`]).

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
use crate::openai_chat;
use crate::refused;

mod logprobs;
mod prompt;
mod decode;
mod encode;
mod reply;
mod stream_decode;
mod stream_encode;
#[cfg(test)]
mod tests;

/// `POST /v1/completions`.
pub struct OpenAiCompletions;

// === impl OpenAiCompletions ===

impl Dialect for OpenAiCompletions {
    fn id(&self) -> Id {
        Id::OpenAiCompletions
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

impl ClientDialect for OpenAiCompletions {
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
        openai_chat::error_body(failure, request_id)
    }

    fn stream_tap(&self, options: TapOptions) -> Box<dyn StreamTap> {
        Box::new(openai_chat::tap::Tap::new(options))
    }

    fn usage_of_reply(&self, body: &[u8]) -> Option<Usage> {
        openai_chat::usage::last_in(body)
    }
}
