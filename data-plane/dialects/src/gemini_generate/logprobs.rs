//! `logprobsResult` ⇄ entries in OpenAI's form, which is what the canonical event carries.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::writer::{Array, Object};

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

#[derive(Deserialize)]
struct Entries {
    content: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    token: String,
    #[serde(default)]
    logprob: f64,
    #[serde(default)]
    top_logprobs: Vec<Entry>,
}

/// The other way: the members of one `logprobsResult`.
pub(super) fn write(entries: &[Box<RawValue>], result: &mut Object<'_>) {
    let read = entries.iter().filter_map(|raw| serde_json::from_str::<Entries>(raw.get()).ok()?.content);
    let tokens: Vec<Entry> = read.flatten().collect();
    let write_token = |entry: &Entry, array: &mut Array<'_>| {
        array.object(|token| {
            token.string("token", &entry.token);
            token.raw("logProbability", &Value::from(entry.logprob).to_string());
        });
    };
    result.array("chosenCandidates", |chosen| tokens.iter().for_each(|entry| write_token(entry, chosen)));
    if tokens.iter().any(|entry| !entry.top_logprobs.is_empty()) {
        result.array("topCandidates", |top| {
            for entry in &tokens {
                top.object(|alternatives| {
                    alternatives.array("candidates", |array| {
                        entry.top_logprobs.iter().for_each(|entry| write_token(entry, array));
                    });
                });
            }
        });
    }
}
