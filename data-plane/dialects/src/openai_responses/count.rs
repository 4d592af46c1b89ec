//! `POST /v1/responses/input_tokens`, <https://platform.openai.com/docs/api-reference/responses/input-tokens>, in both
//! directions.

use bytes::Bytes;
use gateway_ir::chat::ChatRequest;
use gateway_ir::failure::Failure;

use super::{OpenAiResponses, encode};
use crate::counting;
use crate::dialect::{ClientCounter, Counter, Encoded, Upstream};

/// What is a part of the prompt. OpenAI refuses what is only about the reply.
const COUNTED: [&str; 9] = [
    "model",
    "input",
    "instructions",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning",
    "text",
    "truncation",
];

impl Counter for OpenAiResponses {
    fn encode_count(&self, request: &ChatRequest, upstream: &Upstream<'_>) -> Result<Encoded, Box<Failure>> {
        Ok(counting::only(encode::request(request, upstream)?, |name| COUNTED.contains(&name)))
    }

    fn decode_counted(&self, body: &[u8]) -> Result<u64, Box<Failure>> {
        counting::number(body, "input_tokens")
    }
}

impl ClientCounter for OpenAiResponses {
    fn encode_counted(&self, n_tokens: u64) -> Bytes {
        counting::answer(&[("object", "response.input_tokens")], "input_tokens", n_tokens)
    }
}
