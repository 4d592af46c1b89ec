//! `POST /v2/embed`, <https://docs.cohere.com/reference/embed>, towards upstreams.

use bytes::BytesMut;
use gateway_ir::embeddings::{Input, Purpose, Reply, Request, Vector};
use gateway_ir::failure::Failure;
use gateway_ir::usage::{Units, Usage};
use serde_json::value::RawValue;

use super::openai::{write_extra, write_texts};
use super::purpose::{self, Vendor};
use super::vector;
use crate::dialect::Encoded;
use crate::dropped::Dropped;
use crate::reading::{elements, members, members_of, unsigned};
use crate::writer::object;

/// Members of the vendor's own, which pass.
const OWN: [&str; 3] = ["truncate", "max_tokens", "priority"];

/// On Bedrock the model stands in the path and may not be in the body.
pub(super) fn encode(request: &Request, inputs: &[Input], model: Option<&str>) -> Result<Encoded, Box<Failure>> {
    let mut dropped = Dropped::default();
    let mut out = BytesMut::with_capacity(4096);
    object(&mut out, |body| {
        if let Some(model) = model {
            body.string("model", model);
        }
        write_texts("texts", inputs, body)?;
        // Cohere demands one. What is stored first and searched later is the common case.
        let wanted = request.purpose.unwrap_or(Purpose::Document);
        let word = purpose::word(wanted, Vendor::Cohere);
        dropped.note_if(word.is_none(), "input_type");
        body.string("input_type", word.unwrap_or("search_document"));
        body.array("embedding_types", |types| types.string("float"));
        if let Some(dimensions) = request.dimensions {
            body.unsigned("output_dimension", dimensions);
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
        // By type; servers of the first version write an array where one type was asked for.
        "embeddings" if raw.get().starts_with('[') => vectors = Some(read_vectors(raw)),
        "embeddings" => members_of(raw, |kind, raw| {
            if kind == "float" {
                vectors = Some(read_vectors(raw));
            }
        }),
        "meta" => reply.usage = billed(raw),
        _ => {}
    });
    match vectors.filter(|_| read.is_ok()) {
        Some(vectors) => reply.vectors = vectors?,
        None => return Err(vector::missing_in(body)),
    }
    Ok(reply)
}

pub(super) fn read_vectors(raw: &RawValue) -> Result<Vec<Vector>, Box<Failure>> {
    let mut vectors = Vec::new();
    elements(raw, |raw| vectors.push(vector::read(raw)));
    vectors.into_iter().collect()
}

/// Usage in a passing reply.
pub(super) fn usage_in(body: &[u8]) -> Option<Usage> {
    let mut usage = None;
    members(body, |name, raw| {
        if name == "meta" {
            usage = billed(raw);
        }
    })
    .ok()?;
    usage
}

/// Tokens of texts and of pictures, which stand beside each other; the models before the fourth count pictures by the piece.
fn billed(meta: &RawValue) -> Option<Usage> {
    let (mut of_texts, mut of_images, mut n_images) = (None, None, None);
    members_of(meta, |name, raw| {
        if name == "billed_units" {
            members_of(raw, |name, raw| match name {
                "input_tokens" => of_texts = unsigned(raw),
                "image_tokens" => of_images = unsigned(raw),
                "images" => n_images = unsigned(raw),
                _ => {}
            });
        }
    });
    of_texts.or(of_images).or(n_images)?;
    let input_image = of_images.unwrap_or(0);
    let input = of_texts.unwrap_or(0).saturating_add(input_image);
    let units = n_images.filter(|n| *n > 0).map_or(Units::None, Units::PicturesRead);
    Some(Usage { input, input_image, units, ..Usage::default() })
}
