//! `POST /v1beta/models/{model}:countTokens`, <https://ai.google.dev/api/tokens>, towards upstreams.

use bytes::BytesMut;
use gateway_ir::chat::ChatRequest;
use gateway_ir::failure::Failure;

use super::{GeminiGenerate, encode};
use crate::counting;
use crate::dialect::{Counter, Encoded, Upstream};
use crate::writer::object;

/// What is a part of the prompt.
const COUNTED: [&str; 5] = ["contents", "systemInstruction", "tools", "toolConfig", "cachedContent"];

impl Counter for GeminiGenerate {
    /// Only within a whole request are instructions and tools counted too, and there the model is named once more.
    fn encode_count(&self, request: &ChatRequest, upstream: &Upstream<'_>) -> Result<Encoded, Box<Failure>> {
        let encoded = encode::request(request, upstream)?;
        let mut out = BytesMut::with_capacity(encoded.body.len() + 128);
        object(&mut out, |body| {
            body.object("generateContentRequest", |whole| {
                whole.string("model", &format!("models/{}", upstream.model));
                counting::keep(&encoded, whole, |name| COUNTED.contains(&name));
            });
        });
        Ok(Encoded { body: out.freeze(), ..encoded })
    }

    fn decode_counted(&self, body: &[u8]) -> Result<u64, Box<Failure>> {
        counting::number(body, "totalTokens")
    }
}
