//! `POST /model/{model}/count-tokens`,
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CountTokens.html>.

use bytes::BytesMut;
use gateway_ir::chat::ChatRequest;
use gateway_ir::failure::Failure;

use super::{BedrockConverse, encode};
use crate::counting;
use crate::dialect::{Counter, Encoded, Upstream};
use crate::writer::object;

/// What is a part of the prompt.
const COUNTED: [&str; 4] = ["messages", "system", "toolConfig", "additionalModelRequestFields"];

impl Counter for BedrockConverse {
    fn encode_count(&self, request: &ChatRequest, upstream: &Upstream<'_>) -> Result<Encoded, Box<Failure>> {
        let encoded = encode::request(request, upstream)?;
        let mut out = BytesMut::with_capacity(encoded.body.len() + 64);
        object(&mut out, |body| {
            body.object("input", |input| {
                input.object("converse", |converse| {
                    counting::keep(&encoded, converse, |name| COUNTED.contains(&name));
                });
            });
        });
        Ok(Encoded { body: out.freeze(), ..encoded })
    }

    fn decode_counted(&self, body: &[u8]) -> Result<u64, Box<Failure>> {
        counting::number(body, "inputTokens")
    }
}
