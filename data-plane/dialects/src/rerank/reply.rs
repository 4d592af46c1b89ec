//! Answers: read from any form, written in the client's.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use gateway_ir::failure::Failure;
use gateway_ir::rerank::{Reply, Request, Scored};
use gateway_ir::task::Form;
use gateway_ir::usage::{Units, Usage};
use serde_json::value::RawValue;

use crate::openai_chat::usage;
use crate::reading::{elements, garbage, members, members_of, text, unsigned};
use crate::refused;
use crate::task::Context;
use crate::writer::{Object, object};

/// An upstream's answer. A result must be one of the `n_documents` that were sent.
pub(super) fn decode(body: &[u8], form: Form, n_documents: usize) -> Result<Reply, Box<Failure>> {
    let mut reply = Reply::default();
    let mut results = None;
    let list = if form == Form::VoyageRerank { "data" } else { "results" };
    let read = members(body, |name, raw| match name {
        _ if name == list && raw.get().starts_with('[') => results = Some(raw),
        "id" => reply.id = text(raw).map(Cow::into_owned),
        "model" => reply.model = text(raw).map(Cow::into_owned),
        "usage" => reply.usage = usage::read_task(raw),
        "meta" => reply.search_units = search_units(raw),
        _ => {}
    });
    let Some(results) = results.filter(|_| read.is_ok()) else {
        return Err(refused::inside(body).unwrap_or_else(|| garbage("the upstream's answer holds no results")));
    };
    let mut nonsense = false;
    elements(results, |entry| match scored(entry).filter(|scored| scored.index < n_documents) {
        Some(scored) => reply.results.push(scored),
        None => nonsense = true,
    });
    if nonsense {
        return Err(garbage("a result of the upstream has no score, or is of no document that was sent"));
    }
    if let Some(units) = reply.search_units {
        reply.usage = Some(searched(reply.usage, units));
    }
    Ok(reply)
}

/// An answer that counts searches may count no tokens, and that is exact.
pub(super) fn usage_in(body: &[u8]) -> Option<Usage> {
    let (mut units, mut tokens) = (None, None);
    members(body, |name, raw| match name {
        "meta" => units = search_units(raw),
        "usage" => tokens = usage::read_task(raw),
        _ => {}
    })
    .ok()?;
    units.map(|units| searched(tokens, units)).or(tokens)
}

fn searched(tokens: Option<Usage>, units: u64) -> Usage {
    Usage { units: Units::Searches(units), ..tokens.unwrap_or_default() }
}

fn scored(entry: &RawValue) -> Option<Scored> {
    let (mut index, mut score) = (None, None);
    members_of(entry, |name, raw| match name {
        "index" => index = unsigned(raw).and_then(|index| usize::try_from(index).ok()),
        "relevance_score" | "score" if raw.get().parse::<f64>().is_ok() => score = Some(raw.to_owned()),
        _ => {}
    });
    Some(Scored { index: index?, score: score? })
}

fn search_units(meta: &RawValue) -> Option<u64> {
    let mut units = None;
    members_of(meta, |name, raw| {
        if name == "billed_units" {
            members_of(raw, |name, raw| {
                if name == "search_units" {
                    units = unsigned(raw);
                }
            });
        }
    });
    units
}

/// The client's answer.
pub(super) fn encode(reply: &Reply, request: &Request, form: Form, context: &Context<'_>) -> Bytes {
    let mut out = BytesMut::with_capacity(256 + 96 * reply.results.len());
    object(&mut out, |body| {
        if form != Form::VoyageRerank {
            body.string("id", reply.id.as_deref().unwrap_or(context.request_id));
        }
        if form != Form::CohereRerank {
            body.string("object", "list");
            body.string("model", reply.model.as_deref().unwrap_or(context.model));
        }
        body.array(if form == Form::VoyageRerank { "data" } else { "results" }, |results| {
            for scored in &reply.results {
                results.object(|entry| write_result(scored, request, form, entry));
            }
        });
        if form != Form::CohereRerank {
            write_usage(reply, form, context, body);
        }
        if form == Form::CohereRerank || form == Form::JinaRerank && reply.search_units.is_some() {
            write_meta(reply, form, body);
        }
    });
    out.freeze()
}

fn write_result(scored: &Scored, request: &Request, form: Form, entry: &mut Object<'_>) {
    entry.unsigned("index", scored.index as u64);
    entry.raw("relevance_score", scored.score.get());
    let document = request.documents.get(scored.index).filter(|_| request.return_documents);
    match document.map(|document| document.get()) {
        // Cohere's second version never returns them.
        Some(text) if text.starts_with('"') && form == Form::JinaRerank => {
            entry.object("document", |document| document.raw("text", text));
        }
        Some(document) if form != Form::CohereRerank => entry.raw("document", document),
        _ => {}
    }
}

fn write_usage(reply: &Reply, form: Form, context: &Context<'_>, body: &mut Object<'_>) {
    let n_tokens = reply.usage.map_or(context.estimated, |usage| usage.prompt());
    body.object("usage", |usage| {
        if form == Form::JinaRerank {
            usage.unsigned("prompt_tokens", n_tokens);
        }
        usage.unsigned("total_tokens", n_tokens);
    });
}

/// What was charged for, in the vendor's unit.
fn write_meta(reply: &Reply, form: Form, body: &mut Object<'_>) {
    body.object("meta", |meta| {
        meta.object("api_version", |version| {
            version.string("version", if form == Form::CohereRerank { "2" } else { "1" });
        });
        match (reply.search_units, reply.usage) {
            (Some(units), _) => meta.object("billed_units", |billed| billed.unsigned("search_units", units)),
            (None, Some(usage)) => meta.object("tokens", |tokens| tokens.unsigned("input_tokens", usage.prompt())),
            (None, None) => {}
        }
    });
}
