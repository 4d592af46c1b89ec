//! `POST /v1/messages/count_tokens`, <https://docs.anthropic.com/en/api/messages-count-tokens>, in both directions.

use bytes::Bytes;
use gateway_ir::chat::ChatRequest;
use gateway_ir::failure::Failure;

use super::{AnthropicMessages, encode};
use crate::counting;
use crate::dialect::{ClientCounter, Counter, Encoded, Upstream};

/// What is a part of the prompt. Anthropic refuses what is only about the reply.
const COUNTED: [&str; 10] = [
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "cache_control",
    "context_management",
    "mcp_servers",
];

impl Counter for AnthropicMessages {
    fn encode_count(&self, request: &ChatRequest, upstream: &Upstream<'_>) -> Result<Encoded, Box<Failure>> {
        Ok(counting::only(encode::request(request, upstream)?, |name| COUNTED.contains(&name)))
    }

    fn decode_counted(&self, body: &[u8]) -> Result<u64, Box<Failure>> {
        counting::number(body, "input_tokens")
    }
}

impl ClientCounter for AnthropicMessages {
    fn encode_counted(&self, n_tokens: u64) -> Bytes {
        counting::answer(&[], "input_tokens", n_tokens)
    }
}
