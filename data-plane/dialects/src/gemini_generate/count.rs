//! `POST /v1beta/models/{model}:countTokens`, <https://ai.google.dev/api/tokens>, in both directions.

use bytes::{Bytes, BytesMut};
use gateway_ir::chat::ChatRequest;
use gateway_ir::failure::Failure;
use serde_json::value::RawValue;

use super::{GeminiGenerate, decode, encode, signature};
use crate::counting;
use crate::dialect::{ClientCounter, Counter, Encoded, Upstream};
use crate::writer::object;

/// What is a part of the prompt.
const COUNTED: [&str; 5] = ["contents", "systemInstruction", "tools", "toolConfig", "cachedContent"];

const TOTAL: &str = "totalTokens";

impl Counter for GeminiGenerate {
    /// Only within a whole request are instructions and tools counted too, and there the model is named once more.
    fn encode_count(&self, request: &ChatRequest, upstream: &Upstream<'_>) -> Result<Encoded, Box<Failure>> {
        let encoded = encode::request(request, upstream)?;
        let mut out = BytesMut::with_capacity(encoded.body.len() + 128);
        object(&mut out, |body| {
            body.object(decode::WHOLE, |whole| {
                whole.string("model", &format!("models/{}", upstream.model));
                counting::keep(&encoded, whole, |name| COUNTED.contains(&name));
            });
        });
        Ok(Encoded { body: out.freeze(), ..encoded })
    }

    fn decode_counted(&self, body: &[u8]) -> Result<u64, Box<Failure>> {
        counting::number(body, TOTAL)
    }
}

impl ClientCounter for GeminiGenerate {
    fn decode_count(&self, document: &RawValue) -> Result<ChatRequest, Box<Failure>> {
        decode::counted(document)
    }

    /// A whole request within the question names the model again, by the name that the client knows; and Google refuses a
    /// signature that it has not made.
    fn may_pass(&self, body: &[u8]) -> bool {
        const SNAKE_CASE: &[u8] = b"generate_content_request";
        let holds = |name: &[u8]| memchr::memmem::find(body, name).is_some();
        !holds(decode::WHOLE.as_bytes()) && !holds(SNAKE_CASE) && !signature::is_in(body)
    }

    fn encode_counted(&self, n_tokens: u64) -> Bytes {
        counting::answer(&[], TOTAL, n_tokens)
    }
}
