//! `POST /api/embed`, <https://docs.ollama.com/api/embed>, towards upstreams.

use std::borrow::Cow;

use bytes::BytesMut;
use gateway_ir::embeddings::{Input, Reply, Request};
use gateway_ir::failure::Failure;
use gateway_ir::usage::Usage;

use super::cohere::read_vectors;
use super::openai::{write_extra, write_texts};
use super::vector;
use crate::dialect::Encoded;
use crate::dropped::Dropped;
use crate::reading::{members, text, unsigned};
use crate::writer::object;

/// Members of the vendor's own, which pass.
const OWN: [&str; 3] = ["truncate", "keep_alive", "options"];

pub(super) fn encode(request: &Request, inputs: &[Input], model: &str) -> Result<Encoded, Box<Failure>> {
    let mut dropped = Dropped::default();
    let mut out = BytesMut::with_capacity(4096);
    object(&mut out, |body| {
        body.string("model", model);
        write_texts("input", inputs, body)?;
        if let Some(dimensions) = request.dimensions {
            body.unsigned("dimensions", dimensions);
        }
        dropped.note_if(request.user.is_some(), "user");
        write_extra(request, |name| OWN.contains(&name), body, &mut dropped);
        Ok::<_, Box<Failure>>(())
    })?;
    Ok(Encoded { body: out.freeze(), dropped: dropped.into_names(), headers: Vec::new() })
}

pub(super) fn decode(body: &[u8]) -> Result<Reply, Box<Failure>> {
    let mut reply = Reply::default();
    let mut vectors = None;
    let read = members(body, |name, raw| match name {
        "embeddings" => vectors = Some(read_vectors(raw)),
        "model" => reply.model = text(raw).map(Cow::into_owned),
        "prompt_eval_count" => reply.usage = unsigned(raw).map(|input| Usage { input, ..Usage::default() }),
        _ => {}
    });
    match vectors.filter(|_| read.is_ok()) {
        Some(vectors) => reply.vectors = vectors?,
        None => return Err(vector::missing_in(body)),
    }
    Ok(reply)
}
