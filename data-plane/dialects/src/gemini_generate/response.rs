//! One `GenerateContentResponse`, written: parts, the end of a candidate, and what stands beside the candidates. The same for
//! a whole reply and for a chunk of a stream.

use gateway_ir::event::FinishReason;
use gateway_ir::json;
use gateway_ir::usage::Usage;
use serde_json::value::RawValue;

use super::{finish, logprobs, usage};
use crate::reading::{members_of, text};
use crate::signed_id;
use crate::writer::{Array, Object};

/// Where citations of other vendors name their page.
const URLS: [&str; 2] = ["url", "uri"];

pub(super) fn write_text(text: &str, parts: &mut Array<'_>) {
    parts.object(|part| part.string("text", text));
}

/// A piece of thought; `signature` closes it.
pub(super) fn write_thought(text: &str, signature: Option<&str>, parts: &mut Array<'_>) {
    parts.object(|part| {
        part.string("text", text);
        part.boolean("thought", true);
        if let Some(signature) = signature {
            part.string("thoughtSignature", signature);
        }
    });
}

/// The arguments of a call, if they are one object: Google's field can hold nothing else.
pub(super) fn arguments(said: &str) -> Option<&str> {
    let said = said.trim();
    match said.is_empty() {
        true => Some("{}"),
        false => json::scan_object(said.as_bytes(), |_| ()).is_ok().then_some(said),
    }
}

/// A whole call, with the signature that its id may carry.
pub(super) fn write_call(id: &str, name: &str, arguments: &str, parts: &mut Array<'_>) {
    let (id, signature) = signed_id::split(id);
    parts.object(|part| {
        part.object("functionCall", |call| {
            call.string("id", id);
            call.string("name", name);
            call.raw("args", arguments);
        });
        if let Some(signature) = &signature {
            part.string("thoughtSignature", signature);
        }
    });
}

/// Why a candidate stopped. `malformed` names the call that could not be told.
pub(super) fn write_finish(reason: Option<&FinishReason>, malformed: Option<&str>, candidate: &mut Object<'_>) {
    let is_regular = matches!(reason, None | Some(FinishReason::Stop | FinishReason::ToolCalls));
    match malformed.filter(|_| is_regular) {
        Some(name) => {
            candidate.string("finishReason", "MALFORMED_FUNCTION_CALL");
            candidate.string("finishMessage", &format!("the arguments of the call of `{name}` are not a JSON object"));
        }
        None => candidate.string("finishReason", reason.map_or("STOP", finish::word)),
    }
}

pub(super) fn write_logprobs(entries: &[Box<RawValue>], candidate: &mut Object<'_>) {
    if !entries.is_empty() {
        candidate.object("logprobsResult", |result| logprobs::write(entries, result));
    }
}

/// The pages a text stands on.
pub(super) fn write_citations<'a>(citations: impl Iterator<Item = &'a RawValue>, candidate: &mut Object<'_>) {
    let pages: Vec<(String, Option<String>)> = citations.filter_map(page).collect();
    if !pages.is_empty() {
        candidate.object("groundingMetadata", |grounding| {
            grounding.array("groundingChunks", |chunks| {
                for (url, title) in &pages {
                    chunks.object(|chunk| {
                        chunk.object("web", |web| {
                            web.string("uri", url);
                            if let Some(title) = title {
                                web.string("title", title);
                            }
                        });
                    });
                }
            });
        });
    }
}

/// URL and title of a citation, also where they stand one level down (`url_citation`).
fn page(citation: &RawValue) -> Option<(String, Option<String>)> {
    let (mut url, mut title, mut inner) = (None, None, None);
    members_of(citation, |name, value| match name {
        name if URLS.contains(&name) => url = text(value).map(Into::into),
        "title" => title = text(value).map(Into::into),
        "url_citation" => inner = page(value),
        _ => {}
    });
    url.map(|url| (url, title)).or(inner)
}

/// What stands behind the candidates.
pub(super) fn write_rest(usage: Option<&Usage>, model: &str, id: &str, body: &mut Object<'_>) {
    if let Some(usage) = usage {
        body.object("usageMetadata", |object| usage::write(usage, object));
    }
    body.string("modelVersion", model);
    body.string("responseId", id);
}
