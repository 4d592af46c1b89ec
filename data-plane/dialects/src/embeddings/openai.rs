//! OpenAI's form in both directions, and the forms that differ from it by a few names.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use gateway_ir::embeddings::{Encoding, Input, Reply, Request, Vector};
use gateway_ir::failure::Failure;
use gateway_ir::task::Form;
use serde_json::value::RawValue;

use super::purpose::{self, Vendor};
use super::vector;
use crate::dialect::Encoded;
use crate::dropped::Dropped;
use crate::fields::{self, Fields, Path};
use crate::openai_chat::usage;
use crate::reading::{elements, garbage, members, members_of, text, unsigned};
use crate::task::{Context, unsupported};
use crate::writer::{Object, object};

/// What a form calls things.
struct Names {
    dimensions: &'static str,
    encoding: &'static str,
    /// The form has a word for numbers; else it takes none for that.
    has_float: bool,
    /// It takes token numbers and `user`.
    is_openai: bool,
    purpose: Option<(&'static str, Vendor)>,
    /// The vendor's own members, which pass.
    own: &'static [&'static str],
}

const OPENAI: Names = Names {
    dimensions: "dimensions",
    encoding: "encoding_format",
    has_float: true,
    is_openai: true,
    purpose: None,
    own: &[],
};

const MISTRAL: Names =
    Names { dimensions: "output_dimension", is_openai: false, own: &["output_dtype", "metadata"], ..OPENAI };

const VOYAGE: Names = Names {
    dimensions: "output_dimension",
    has_float: false,
    is_openai: false,
    purpose: Some(("input_type", Vendor::Voyage)),
    own: &["input_type", "output_dtype", "truncation"],
    ..OPENAI
};

const JINA: Names = Names {
    encoding: "embedding_type",
    is_openai: false,
    purpose: Some(("task", Vendor::Jina)),
    own: &["task", "late_chunking", "normalized", "truncate"],
    ..OPENAI
};

/// A client's request.
pub(super) fn decode(body: &[u8]) -> Result<Request, Box<Failure>> {
    let mut top = Fields::read(fields::document(body)?, &Path::ROOT)?;
    // The target's own name is written in its place.
    top.take("model");
    let inputs = match top.take("input") {
        Some(raw) => inputs(raw, &Path::ROOT.name("input"))?,
        None => return Err(top.missing("input")),
    };
    let encoding = match top.string("encoding_format")?.as_deref() {
        None | Some("float") => Encoding::Float,
        Some("base64") => Encoding::Base64,
        Some(_) => return Err(Path::ROOT.name("encoding_format").must_be("`float` or `base64`")),
    };
    let dimensions = top.unsigned("dimensions")?;
    if dimensions == Some(0) {
        return Err(Path::ROOT.name("dimensions").must_be("at least 1"));
    }
    let user = top.string("user")?.map(Cow::into_owned);
    // They stay where they are for upstreams of OpenAI's form, which may know them by the same word.
    let said = top.peek("input_type").or_else(|| top.peek("task"));
    let purpose = said.and_then(text).and_then(|word| purpose::parse(&word));
    Ok(Request { inputs, dimensions, encoding, purpose, user, extra: top.rest().collect() })
}

/// A string, an array of strings, an array of token numbers, or an array of such arrays.
fn inputs(raw: &RawValue, path: &Path<'_>) -> Result<Vec<Input>, Box<Failure>> {
    if raw.get().starts_with('"') {
        return Ok(vec![input(raw, path)?]);
    }
    let all = fields::array(raw, path)?;
    match all.first() {
        None => Err(path.must_be("a text or an array that is not empty")),
        Some(first) if first.get().starts_with(|letter: char| letter.is_ascii_digit()) => Ok(vec![input(raw, path)?]),
        Some(_) => all.iter().enumerate().map(|(at, raw)| input(raw, &path.index(at))).collect(),
    }
}

/// How many inputs a request has that nobody has checked yet.
pub(super) fn n_inputs(body: &[u8]) -> usize {
    let (mut n_inputs, mut has_numbers) = (0, false);
    let count = |name: &str, raw: &RawValue| {
        if name == "input" {
            elements(raw, |element| {
                n_inputs += 1;
                has_numbers |= element.get().starts_with(|letter: char| letter.is_ascii_digit());
            });
        }
    };
    // What is no JSON object has been refused before, or will be by the upstream.
    members(body, count).ok();
    if has_numbers { 1 } else { n_inputs }
}

fn input(raw: &RawValue, path: &Path<'_>) -> Result<Input, Box<Failure>> {
    match raw.get().as_bytes().first() {
        Some(b'"') => fields::string(raw, path).map(|_| Input::Text(raw.to_owned())),
        Some(b'[') => match serde_json::from_str::<Vec<u32>>(raw.get()) {
            Ok(tokens) if !tokens.is_empty() => Ok(Input::Tokens(raw.to_owned(), tokens.len())),
            _ => Err(path.must_be("an array of token numbers that is not empty")),
        },
        _ => Err(path.must_be("a text or an array of token numbers")),
    }
}

/// A request for some of the inputs.
pub(super) fn encode(request: &Request, inputs: &[Input], form: Form, model: &str) -> Result<Encoded, Box<Failure>> {
    let names = match form {
        Form::MistralEmbeddings => &MISTRAL,
        Form::VoyageEmbeddings => &VOYAGE,
        Form::JinaEmbeddings => &JINA,
        _ => &OPENAI,
    };
    let mut dropped = Dropped::default();
    let mut out = BytesMut::with_capacity(256 + inputs.iter().map(|input| raw(input).len() + 1).sum::<usize>());
    object(&mut out, |body| {
        body.string("model", model);
        write_inputs(inputs, names.is_openai, body)?;
        if let Some(dimensions) = request.dimensions {
            body.unsigned(names.dimensions, dimensions);
        }
        match request.encoding {
            Encoding::Base64 => body.string(names.encoding, "base64"),
            Encoding::Float if names.has_float => body.string(names.encoding, "float"),
            Encoding::Float => {}
        }
        if let (Some(purpose), Some((name, vendor))) = (request.purpose, names.purpose) {
            match purpose::word(purpose, vendor) {
                Some(word) => body.string(name, word),
                None => dropped.note(name),
            }
        }
        match &request.user {
            Some(user) if names.is_openai => body.string("user", user),
            Some(_) => dropped.note("user"),
            None => {}
        }
        let is_said = |name: &str| names.purpose.is_some() && is_purpose(request, name);
        let is_known = |name: &str| names.is_openai || names.own.contains(&name) && !is_said(name);
        write_extra(request, is_known, body, &mut dropped);
        Ok::<_, Box<Failure>>(())
    })?;
    Ok(Encoded { body: out.freeze(), dropped: dropped.into_names(), headers: Vec::new() })
}

/// The client's other members: those that `is_known`, and the names of the rest.
pub(super) fn write_extra(
    request: &Request,
    is_known: impl Fn(&str) -> bool,
    body: &mut Object<'_>,
    dropped: &mut Dropped,
) {
    for (name, raw) in &request.extra {
        if is_known(name) {
            body.raw(name, raw.get());
        } else if !is_purpose(request, name) {
            dropped.note(name);
        }
    }
}

/// Whether the member has been read as the purpose.
fn is_purpose(request: &Request, name: &str) -> bool {
    request.purpose.is_some() && matches!(name, "input_type" | "task")
}

fn write_inputs(inputs: &[Input], takes_tokens: bool, body: &mut Object<'_>) -> Result<(), Box<Failure>> {
    if !takes_tokens {
        return write_texts("input", inputs, body);
    }
    body.array("input", |array| inputs.iter().for_each(|input| array.raw(raw(input))));
    Ok(())
}

/// Texts as an array, for upstreams that have tokens of their own.
pub(super) fn write_texts(name: &str, inputs: &[Input], body: &mut Object<'_>) -> Result<(), Box<Failure>> {
    body.array(name, |array| {
        for input in inputs {
            array.raw(text_of(input)?);
        }
        Ok(())
    })
}

/// A text as JSON.
pub(super) fn text_of(input: &Input) -> Result<&str, Box<Failure>> {
    match input {
        Input::Text(text) => Ok(text.get()),
        Input::Tokens(..) => Err(unsupported(
            "input",
            "the upstream takes no token numbers, which mean another text there; send the text",
        )),
    }
}

fn raw(input: &Input) -> &str {
    match input {
        Input::Text(raw) | Input::Tokens(raw, _) => raw.get(),
    }
}

/// An upstream's answer. Vectors may come in any order, each with the number of its input.
pub(super) fn decode_reply(body: &[u8]) -> Result<Reply, Box<Failure>> {
    let mut reply = Reply::default();
    let mut data = None;
    let read = members(body, |name, raw| match name {
        "data" => data = Some(raw),
        "model" => reply.model = text(raw).map(Cow::into_owned),
        "usage" => reply.usage = usage::read_task(raw),
        _ => {}
    });
    let Some(data) = data.filter(|_| read.is_ok()) else {
        return Err(vector::missing_in(body));
    };
    let mut numbered = Vec::new();
    let mut failure = None;
    elements(data, |entry| {
        let (mut index, mut read) = (None, Err(garbage("an entry of the upstream's answer holds no vector")));
        members_of(entry, |name, raw| match name {
            "index" => index = unsigned(raw),
            "embedding" => read = vector::read(raw),
            _ => {}
        });
        match read {
            Ok(vector) => numbered.push((index.unwrap_or(numbered.len() as u64), vector)),
            Err(error) => failure = Some(error),
        }
    });
    if let Some(failure) = failure {
        return Err(failure);
    }
    numbered.sort_by_key(|(index, _)| *index);
    reply.vectors = numbered.into_iter().map(|(_, vector)| vector).collect();
    Ok(reply)
}

/// The client's answer.
pub(super) fn encode_reply(reply: &Reply, encoding: Encoding, context: &Context<'_>) -> Result<Bytes, Box<Failure>> {
    let mut out = BytesMut::with_capacity(256 + reply.vectors.iter().map(size).sum::<usize>());
    let n_tokens = reply.usage.map_or(context.estimated, |usage| usage.prompt());
    object(&mut out, |body| {
        body.string("object", "list");
        body.array("data", |data| {
            reply.vectors.iter().zip(0..).try_for_each(|(vector, index)| {
                data.object(|entry| {
                    entry.string("object", "embedding");
                    entry.unsigned("index", index);
                    vector::write("embedding", vector, encoding, entry)
                })
            })
        })?;
        body.string("model", reply.model.as_deref().unwrap_or(context.model));
        body.object("usage", |usage| {
            usage.unsigned("prompt_tokens", n_tokens);
            usage.unsigned("total_tokens", n_tokens);
        });
        Ok::<_, Box<Failure>>(())
    })?;
    Ok(out.freeze())
}

fn size(vector: &Vector) -> usize {
    64 + match vector {
        Vector::Numbers(numbers) => numbers.get().len(),
        Vector::Base64(text) => text.len(),
    }
}
