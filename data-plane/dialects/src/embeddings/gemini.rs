//! `POST /v1beta/models/{model}:batchEmbedContents`, <https://ai.google.dev/api/embeddings>, towards upstreams.

use bytes::BytesMut;
use gateway_ir::embeddings::{Input, Reply, Request};
use gateway_ir::failure::Failure;
use gateway_ir::usage::Usage;

use super::openai::{text_of, write_extra};
use super::purpose::{self, Vendor};
use super::vector;
use crate::dialect::Encoded;
use crate::dropped::Dropped;
use crate::reading::{elements, members, members_of, unsigned};
use crate::writer::object;

/// The model stands in each of the requests once more.
pub(super) fn encode(request: &Request, inputs: &[Input], model: &str) -> Result<Encoded, Box<Failure>> {
    let mut dropped = Dropped::default();
    let model = format!("models/{model}");
    let mut out = BytesMut::with_capacity(4096);
    object(&mut out, |body| {
        body.array("requests", |requests| {
            inputs.iter().try_for_each(|input| {
                let text = text_of(input)?;
                requests.object(|one| {
                    one.string("model", &model);
                    one.object("content", |content| {
                        content.array("parts", |parts| parts.object(|part| part.raw("text", text)));
                    });
                    if let Some(word) = request.purpose.and_then(|purpose| purpose::word(purpose, Vendor::Gemini)) {
                        one.string("taskType", word);
                    }
                    if let Some(dimensions) = request.dimensions {
                        one.unsigned("outputDimensionality", dimensions);
                    }
                });
                Ok::<_, Box<Failure>>(())
            })
        })?;
        dropped.note_if(request.user.is_some(), "user");
        write_extra(request, |_| false, body, &mut dropped);
        Ok::<_, Box<Failure>>(())
    })?;
    Ok(Encoded { body: out.freeze(), dropped: dropped.into_names(), headers: Vec::new() })
}

pub(super) fn decode(body: &[u8]) -> Result<Reply, Box<Failure>> {
    let mut reply = Reply::default();
    let mut vectors = None;
    let read = members(body, |name, raw| match name {
        "embeddings" => {
            let mut all = Vec::new();
            elements(raw, |entry| {
                members_of(entry, |name, raw| {
                    if name == "values" {
                        all.push(vector::read(raw));
                    }
                });
            });
            vectors = Some(all);
        }
        "usageMetadata" => members_of(raw, |name, raw| {
            if name == "promptTokenCount" {
                reply.usage = unsigned(raw).map(|input| Usage { input, ..Usage::default() });
            }
        }),
        _ => {}
    });
    match vectors.filter(|_| read.is_ok()) {
        Some(vectors) => reply.vectors = vectors.into_iter().collect::<Result<_, _>>()?,
        None => return Err(vector::missing_in(body)),
    }
    Ok(reply)
}
