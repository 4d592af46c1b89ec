//! docs/dialects.md: what becomes of each feature of a request on each pair of dialects, as the code behaves.
//! `UPDATE_GENERATED=1 cargo test -p gateway-dialects --test it matrix` writes it anew.
//!
//! Each feature of `matrix/features.json` is said in the words of each client dialect that has words for it, read, and encoded for
//! each upstream dialect. What arrives is held against the same request without the feature.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use gateway_dialects::dialect::{ClientDialect, Upstream};
use gateway_dialects::registry;
use gateway_ir::dialect::Dialect;
use gateway_ir::failure::Failure;
use gateway_ir::quirks::Quirks;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Feature {
    feature: String,
    /// What must be found in the upstream's body if the feature's value arrived as it was.
    marker: Option<String>,
    /// What the feature needs beside it, by client dialect.
    #[serde(default)]
    base: BTreeMap<String, Value>,
    /// Members that say it, by client dialect.
    clients: BTreeMap<String, Value>,
}

/// What became of a feature.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// The client has no word for it.
    Unsayable,
    Carried,
    /// Said in other words.
    Mapped,
    /// Named in `x-gateway-dropped-parameters`; the rest of it, if there is any, arrives.
    Noted(Vec<String>),
    Refused,
    /// Not said, and not named.
    Lost,
}

/// A hint of which nobody needs to know that it was not taken, or a word for what the upstream does in any case.
const HINTS: &[&str] = &["cache mark"];

#[test]
fn the_page_on_pairs_of_dialects_is_current() {
    let features: Vec<Feature> = serde_json::from_str(include_str!("matrix/features.json")).expect("features");
    let page = page(&features);
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/dialects.md");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, &page).expect("docs/dialects.md can be written");
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(checked_in == page, "docs/dialects.md is not what the dialects do; run with UPDATE_GENERATED=1");
}

/// The rule behind the page: what does not arrive is named or refused.
#[test]
fn nothing_is_lost_without_a_word() {
    let features: Vec<Feature> = serde_json::from_str(include_str!("matrix/features.json")).expect("features");
    let mut lost = Vec::new();
    for client in clients() {
        for feature in features.iter().filter(|feature| !HINTS.contains(&feature.feature.as_str())) {
            for upstream in Dialect::ALL {
                if outcome(feature, client, upstream) == Outcome::Lost {
                    lost.push(format!("{} → {upstream}: {}", client.id(), feature.feature));
                }
            }
        }
    }
    assert!(lost.is_empty(), "not said and not named:\n{}", lost.join("\n"));
}

fn clients() -> impl Iterator<Item = &'static dyn ClientDialect> {
    Dialect::ALL.into_iter().filter_map(registry::client_dialect)
}

fn outcome(feature: &Feature, client: &dyn ClientDialect, upstream: Dialect) -> Outcome {
    let name = client.id().name();
    let Some(members) = feature.clients.get(name) else { return Outcome::Unsayable };
    let mut without = least(client.id());
    if let Some(base) = feature.base.get(name) {
        merge(&mut without, base);
    }
    let mut with = without.clone();
    merge(&mut with, members);
    let plain = sent(client, upstream, &without);
    let Ok((body, mut dropped)) = sent(client, upstream, &with) else { return Outcome::Refused };
    let (plain_body, plain_dropped) = plain.unwrap_or_default();
    dropped.retain(|name| !plain_dropped.contains(name));
    if !dropped.is_empty() {
        return Outcome::Noted(dropped);
    }
    if body == plain_body {
        return Outcome::Lost;
    }
    match &feature.marker {
        Some(marker) if !body.contains(marker.as_str()) => Outcome::Mapped,
        _ => Outcome::Carried,
    }
}

/// The upstream's body and the names of what it was not told.
fn sent(client: &dyn ClientDialect, upstream: Dialect, body: &Value) -> Result<(String, Vec<String>), Box<Failure>> {
    let request = client.decode_request(body.to_string().as_bytes())?;
    let quirks = Quirks::default();
    let encoded = registry::dialect(upstream)
        .encode_request(&request, &Upstream { model: "m", stream: false, quirks: &quirks })?;
    let headers: String = encoded.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    Ok((format!("{headers}{}", String::from_utf8_lossy(&encoded.body)), encoded.dropped))
}

/// The least that a client must say.
fn least(client: Dialect) -> Value {
    match client {
        Dialect::OpenAiCompletions => json!({"model": "m", "prompt": "Hi"}),
        Dialect::OpenAiResponses => json!({"model": "m", "input": "Hi"}),
        Dialect::AnthropicMessages => {
            json!({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]})
        }
        Dialect::GeminiGenerate => json!({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}),
        _ => json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}),
    }
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

const HEAD: &str = "\
# What becomes of a request on each pair of dialects

Generated from how the code behaves: `UPDATE_GENERATED=1 cargo test -p gateway-dialects --test it matrix`.

One table per dialect of the client; a column per dialect of the upstream. On the same dialect the bytes pass unless a declared
quirk or a repair needs them read (ARCHITECTURE.md); the column tells what translation does then. What one vendor's API lacks beside
its dialect is on the page of [providers](providers.md).

| sign | means |
|---|---|
| carried | the value arrives as it was said |
| mapped | it is said in the upstream's own words |
| dropped: name | the upstream is not told; the name stands in `x-gateway-dropped-parameters`, and strict mode refuses with it |
| refused | status 400, `unsupported_parameter`; another target of the model that can is asked instead |
| left out | a hint that the upstream does not take |
";

fn page(features: &[Feature]) -> String {
    let mut page = HEAD.to_owned();
    for client in clients() {
        let columns: Vec<String> = Dialect::ALL.into_iter().map(|dialect| dialect.name().to_owned()).collect();
        let _ = writeln!(page, "\n## Clients of {}\n\n| feature | {} |", client.id(), columns.join(" | "));
        let _ = writeln!(page, "|---|{}", "---|".repeat(columns.len()));
        for feature in features.iter().filter(|feature| feature.clients.contains_key(client.id().name())) {
            let cells = Dialect::ALL.map(|upstream| cell(&outcome(feature, client, upstream)));
            let _ = writeln!(page, "| {} | {} |", feature.feature, cells.join(" | "));
        }
    }
    page
}

fn cell(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Unsayable => String::new(),
        Outcome::Carried => "carried".to_owned(),
        Outcome::Mapped => "mapped".to_owned(),
        Outcome::Noted(names) => format!("dropped: {}", names.join(", ")),
        Outcome::Refused => "refused".to_owned(),
        Outcome::Lost => "left out".to_owned(),
    }
}
