//! Gemini: <https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent>.

use std::collections::BTreeMap;

use super::{Ending, Raw};

/// Every event is a response with candidates or an error; a candidate's parts each say one thing; nothing but usage after a candidate's
/// finish; every candidate has one, since there is no other mark of the end; usage, if asked for, comes with the last event; or an
/// error last.
pub(super) fn check(events: &[Raw], wants_usage: bool) -> Result<Ending, String> {
    let mut finished = BTreeMap::<u64, bool>::new();
    let mut has_usage = false;
    for (at, Raw { data, .. }) in events.iter().enumerate() {
        let is_last = at + 1 == events.len();
        let broken = |rule: &str| format!("{rule} at {data}");
        if data["error"].is_object() {
            let is_shaped = data["error"]["code"].is_u64() && data["error"]["status"].is_string();
            return if is_last && is_shaped {
                Ok(Ending::Failed)
            } else {
                Err(broken("a misshapen error, or not the last"))
            };
        }
        has_usage |= data["usageMetadata"]["promptTokenCount"].is_u64();
        for candidate in data["candidates"].as_array().into_iter().flatten() {
            let is_finished = finished.entry(candidate["index"].as_u64().unwrap_or(0)).or_default();
            let parts = candidate["content"]["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
            if *is_finished {
                return Err(broken("something after a finish"));
            }
            let says = |part: &serde_json::Value| {
                let kinds = ["text", "functionCall", "inlineData", "executableCode", "codeExecutionResult", "fileData"];
                kinds.iter().filter(|kind| part.get(**kind).is_some()).count()
            };
            // A part of another kind is the vendor's own affair.
            if parts.iter().any(|part| says(part) > 1) {
                return Err(broken("a part says one thing"));
            }
            if !parts.is_empty() && candidate["content"]["role"] != "model" {
                return Err(broken("the model speaks"));
            }
            *is_finished = candidate["finishReason"].is_string();
        }
    }
    match !finished.is_empty() && finished.values().all(|finished| *finished) {
        true if has_usage || !wants_usage => Ok(Ending::Finished),
        true => Err("usage is missing".to_owned()),
        false => Err("the stream does not end".to_owned()),
    }
}
