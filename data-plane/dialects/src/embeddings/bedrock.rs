//! `POST /model/{model}/invoke` on Amazon Bedrock, towards upstreams. Each family of models has a form of its own; one request of
//! Amazon's models has one text.

use bytes::BytesMut;
use gateway_ir::embeddings::{Input, Purpose, Reply, Request, Vector};
use gateway_ir::failure::Failure;
use gateway_ir::usage::Usage;
use serde_json::value::RawValue;

use super::openai::{text_of, write_extra};
use super::vector;
use crate::dialect::Encoded;
use crate::dropped::Dropped;
use crate::reading::{elements, members, members_of, unsigned};
use crate::writer::object;

/// <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html>
pub(super) fn encode_titan(request: &Request, inputs: &[Input]) -> Result<Encoded, Box<Failure>> {
    let mut dropped = Dropped::default();
    let mut out = BytesMut::with_capacity(1024);
    object(&mut out, |body| {
        for input in inputs {
            body.raw("inputText", text_of(input)?);
        }
        if let Some(dimensions) = request.dimensions {
            body.unsigned("dimensions", dimensions);
        }
        dropped.note_if(request.purpose.is_some(), "input_type");
        dropped.note_if(request.user.is_some(), "user");
        write_extra(request, |name| name == "normalize", body, &mut dropped);
        Ok::<_, Box<Failure>>(())
    })?;
    Ok(Encoded { body: out.freeze(), dropped: dropped.into_names(), headers: Vec::new() })
}

/// <https://docs.aws.amazon.com/nova/latest/userguide/embeddings-schema.html>
pub(super) fn encode_nova(request: &Request, inputs: &[Input]) -> Result<Encoded, Box<Failure>> {
    let mut dropped = Dropped::default();
    let mut out = BytesMut::with_capacity(1024);
    object(&mut out, |body| {
        body.string("taskType", "SINGLE_EMBEDDING");
        body.object("singleEmbeddingParams", |one| {
            one.string("embeddingPurpose", nova_word(request.purpose));
            if let Some(dimensions) = request.dimensions {
                one.unsigned("embeddingDimension", dimensions);
            }
            one.object("text", |text| {
                // What becomes of a text that is too long has to be said; nothing is cut off unasked.
                text.string("truncationMode", "NONE");
                inputs.iter().try_for_each(|input| text_of(input).map(|value| text.raw("value", value)))
            })
        })?;
        dropped.note_if(request.user.is_some(), "user");
        write_extra(request, |_| false, body, &mut dropped);
        Ok::<_, Box<Failure>>(())
    })?;
    Ok(Encoded { body: out.freeze(), dropped: dropped.into_names(), headers: Vec::new() })
}

fn nova_word(purpose: Option<Purpose>) -> &'static str {
    match purpose {
        None | Some(Purpose::Document) => "GENERIC_INDEX",
        Some(Purpose::Query) => "GENERIC_RETRIEVAL",
        Some(Purpose::Classification | Purpose::Similarity) => "CLASSIFICATION",
        Some(Purpose::Clustering) => "CLUSTERING",
    }
}

pub(super) fn decode_titan(body: &[u8]) -> Result<Reply, Box<Failure>> {
    let mut reply = Reply::default();
    let mut found = None;
    let read = members(body, |name, raw| match name {
        "embedding" => found = Some(vector::read(raw)),
        "inputTextTokenCount" => reply.usage = unsigned(raw).map(|input| Usage { input, ..Usage::default() }),
        _ => {}
    });
    match found.filter(|_| read.is_ok()) {
        Some(vector) => reply.vectors = vec![vector?],
        None => return Err(vector::missing_in(body)),
    }
    Ok(reply)
}

/// It says nothing of tokens.
pub(super) fn decode_nova(body: &[u8]) -> Result<Reply, Box<Failure>> {
    let mut found: Option<Vec<Result<Vector, Box<Failure>>>> = None;
    let read = members(body, |name, raw| {
        if name == "embeddings" {
            found = Some(nova_vectors(raw));
        }
    });
    match found.filter(|_| read.is_ok()) {
        Some(vectors) => Ok(Reply { vectors: vectors.into_iter().collect::<Result<_, _>>()?, ..Reply::default() }),
        None => Err(vector::missing_in(body)),
    }
}

fn nova_vectors(raw: &RawValue) -> Vec<Result<Vector, Box<Failure>>> {
    let mut vectors = Vec::new();
    elements(raw, |entry| {
        members_of(entry, |name, raw| {
            if name == "embedding" {
                vectors.push(vector::read(raw));
            }
        });
    });
    vectors
}
