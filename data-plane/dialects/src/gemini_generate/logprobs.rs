//! `logprobsResult` → entries in OpenAI's form, which is what the canonical event carries.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Logprobs {
    chosen_candidates: Vec<Token>,
    top_candidates: Vec<Alternatives>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Alternatives {
    candidates: Vec<Token>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Token {
    token: String,
    log_probability: f64,
}

/// `None` where it holds no tokens or is not what Google documents.
pub(super) fn read(raw: &RawValue) -> Option<Box<RawValue>> {
    let said: Logprobs = serde_json::from_str(raw.get()).ok()?;
    if said.chosen_candidates.is_empty() {
        return None;
    }
    let none = Alternatives::default();
    let entries = said.chosen_candidates.iter().enumerate().map(|(position, chosen)| {
        let top = &said.top_candidates.get(position).unwrap_or(&none).candidates;
        let mut entry = entry(chosen);
        entry["top_logprobs"] = top.iter().map(self::entry).collect();
        entry
    });
    let content: Vec<Value> = entries.collect();
    serde_json::value::to_raw_value(&json!({"content": content, "refusal": null})).ok()
}

fn entry(token: &Token) -> Value {
    json!({"token": token.token, "logprob": token.log_probability, "bytes": token.token.as_bytes()})
}
