//! Embeddings: asked for in OpenAI's form, <https://platform.openai.com/docs/api-reference/embeddings>, or in Google's, answered by
//! upstreams of any form. Requests of more inputs than an upstream takes at once become several.

use bytes::Bytes;
use gateway_ir::embeddings::{Input, Reply, Request};
use gateway_ir::failure::Failure;
use gateway_ir::task::Form;
use gateway_ir::usage::Usage;

use crate::dialect::Encoded;
use crate::openai_chat;
use crate::reading::garbage;
use crate::task::{Answer, Asked, Context, Family, Upstream};

mod vector;
mod purpose;
mod openai;
mod cohere;
mod gemini;
mod ollama;
mod bedrock;
mod google;
#[cfg(test)]
mod tests;

/// `POST /v1/embeddings` for clients, and what Google has for it.
pub(crate) struct Embeddings;

// === impl Embeddings ===

impl Family for Embeddings {
    fn read(&self, form: Form, body: &[u8]) -> Result<Box<dyn Asked>, Box<Failure>> {
        Ok(match form {
            Form::GeminiEmbed => Box::new(google::decode(body, false)?),
            Form::GeminiEmbedOne => Box::new(google::decode(body, true)?),
            _ => Box::new(openai::decode(body)?),
        })
    }

    fn n_inputs(&self, body: &[u8]) -> usize {
        openai::n_inputs(body)
    }

    fn usage_of_reply(&self, body: &[u8]) -> Option<Usage> {
        openai_chat::usage::last_task_in(body).or_else(|| cohere::usage_in(body))
    }
}

// === impl Request ===

impl Asked for Request {
    fn encode(&self, upstream: &Upstream<'_>) -> Result<Vec<Encoded>, Box<Failure>> {
        let at_once = match upstream.form {
            Form::BedrockTitanEmbed | Form::BedrockNovaEmbed => 1,
            _ => upstream.at_once.unwrap_or(usize::MAX).max(1),
        };
        let part = |inputs: &[Input]| match upstream.form {
            Form::CohereEmbed => cohere::encode(self, inputs, Some(upstream.model)),
            Form::BedrockCohereEmbed => cohere::encode(self, inputs, None),
            Form::BedrockTitanEmbed => bedrock::encode_titan(self, inputs),
            Form::BedrockNovaEmbed => bedrock::encode_nova(self, inputs),
            Form::GeminiEmbed => gemini::encode(self, inputs, upstream.model),
            Form::OllamaEmbed => ollama::encode(self, inputs, upstream.model),
            form => openai::encode(self, inputs, form, upstream.model),
        };
        self.inputs.chunks(at_once).map(part).collect()
    }

    fn answer(
        &self,
        upstream: &Upstream<'_>,
        replies: &[Bytes],
        context: &Context<'_>,
    ) -> Result<Answer, Box<Failure>> {
        let (whole, usage) = whole(self, upstream, replies)?;
        Ok(Answer { bytes: openai::encode_reply(&whole, self.encoding, context)?, usage })
    }

    fn n_content_bytes(&self) -> u64 {
        // A token is what an estimate takes four bytes for.
        let of_one = |input: &Input| match input {
            Input::Text(text) => text.get().len() - 2,
            Input::Tokens(_, n_tokens) => 4 * n_tokens,
        };
        self.inputs.iter().map(of_one).sum::<usize>() as u64
    }
}

/// The vectors of all parts in one reply, and what the upstream counted.
fn whole(
    request: &Request,
    upstream: &Upstream<'_>,
    replies: &[Bytes],
) -> Result<(Reply, Option<Usage>), Box<Failure>> {
    let mut whole = Reply::default();
    let mut usage = Some(Usage::default());
    for bytes in replies {
        let part = match upstream.form {
            Form::CohereEmbed | Form::BedrockCohereEmbed => cohere::decode(bytes),
            Form::BedrockTitanEmbed => bedrock::decode_titan(bytes),
            Form::BedrockNovaEmbed => bedrock::decode_nova(bytes),
            Form::GeminiEmbed => gemini::decode(bytes),
            Form::OllamaEmbed => ollama::decode(bytes),
            _ => openai::decode_reply(bytes),
        }?;
        whole.vectors.extend(part.vectors);
        whole.model = whole.model.or(part.model);
        // What is known of some parts only is not known of the whole.
        usage = usage.zip(part.usage).map(|(sum, part)| Usage { input: sum.input + part.prompt(), ..sum });
    }
    if whole.vectors.len() != request.inputs.len() {
        let message = format!("the upstream gave {} vectors for {} inputs", whole.vectors.len(), request.inputs.len());
        return Err(garbage(message));
    }
    whole.usage = usage;
    Ok((whole, usage))
}
