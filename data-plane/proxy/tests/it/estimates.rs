//! How near the estimate of a prompt comes to what vendors counted, over recorded traffic beside the checkout. Not part of the
//! project; without it this says so and checks nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gateway_dialects::registry;
use gateway_engine::count::{self, Tokenizer};
use gateway_ir::chat::{ChatRequest, Content, Source};
use gateway_ir::dialect::Dialect;
use gateway_ir::event::Event;
use gateway_model::catalog;
use serde_json::Value;

/// Sums for one provider.
#[derive(Default)]
struct Errors {
    n_requests: u64,
    estimated: u64,
    counted: u64,
    /// Of each request, in thousandths of what the vendor counted.
    absolute: u64,
}

const FOLDERS: [(&str, Dialect); 4] = [
    ("openai-chat", Dialect::OpenAiChat),
    ("openai-responses", Dialect::OpenAiResponses),
    ("anthropic-messages", Dialect::AnthropicMessages),
    ("gemini-generate", Dialect::GeminiGenerate),
];

fn recorded(folder: &str) -> Vec<Value> {
    let root = std::env::var_os("GATEWAY_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")), PathBuf::from);
    let Ok(entries) = std::fs::read_dir(root.join("fixtures").join(folder)) else {
        eprintln!("SKIPPED: no recorded traffic: set GATEWAY_SHARED to the folder that has `fixtures/{folder}`");
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let paths = paths.filter(|path| !path.to_string_lossy().ends_with(".expected.json"));
    paths.map(|path| serde_json::from_slice(&std::fs::read(path).expect("a fixture")).expect("JSON")).collect()
}

/// What the vendor counted of the prompt.
fn counted(dialect: Dialect, response: &Value) -> Option<u64> {
    let dialect = registry::dialect(dialect);
    let mut events = Vec::new();
    match response["sse"].as_str() {
        Some(sse) => {
            let mut decoder = dialect.stream_decoder();
            decoder.push(sse.as_bytes(), &mut events).ok()?;
            decoder.finish(&mut events).ok()?;
        }
        None => events = dialect.decode_reply(response["body"].to_string().as_bytes()).ok()?,
    }
    let usage = events.iter().rev().find_map(|event| if let Event::Usage(usage) = event { Some(*usage) } else { None });
    usage.map(|usage| usage.prompt()).filter(|n_tokens| *n_tokens > 0)
}

/// Only text, and nothing that the vendor adds to the prompt by itself.
fn is_plain(request: &ChatRequest) -> bool {
    let part = |content: &Content| match content {
        Content::Image(_) | Content::Audio(_) | Content::Opaque { .. } | Content::Reasoning(_) => false,
        Content::Document(document) => matches!(document.media.source, Source::Text(_)),
        _ => true,
    };
    request.messages.iter().flat_map(|message| &message.parts).all(|part_of| part(&part_of.content))
        && request.tools.is_empty()
        && request.response_format.is_none()
}

#[test]
fn estimates_are_near_what_vendors_count() {
    let mut by_provider: BTreeMap<String, Errors> = BTreeMap::new();
    for (folder, dialect) in FOLDERS {
        for fixture in recorded(folder) {
            let (provider, model) =
                (fixture["provider"].as_str().unwrap_or(""), fixture["model"].as_str().unwrap_or(""));
            let Some(row) = catalog::row(provider) else { continue };
            let body = &fixture["request"]["body"];
            // Of which the vendor reads more than is in it.
            if ["previous_response_id", "conversation", "prompt"].iter().any(|member| !body[member].is_null()) {
                continue;
            }
            let body = body.to_string();
            let client = registry::client_dialect(dialect).expect("clients speak it");
            let Ok(request) = client.decode_request(body.as_bytes()) else { continue };
            let Some(counted) = counted(dialect, &fixture["response"]) else { continue };
            if !is_plain(&request) {
                continue;
            }
            let estimated = count::prompt(&request, Tokenizer::new(row, model, None), 1);
            let errors = by_provider.entry(format!("{folder} {provider}")).or_default();
            errors.n_requests += 1;
            errors.estimated += estimated;
            errors.counted += counted;
            errors.absolute += estimated.abs_diff(counted) * 1000 / counted;
        }
    }
    // The vendors whose vocabularies these are: what is left is the prompt's form, and what is in it that is no text.
    if let Some(own) = by_provider.get("openai-chat openai").filter(|own| own.n_requests >= 10) {
        assert!(own.absolute / own.n_requests <= 30, "a mean error of {} per mille", own.absolute / own.n_requests);
    }
    for (provider, Errors { n_requests, estimated, counted, absolute }) in &by_provider {
        let mean = absolute / n_requests;
        println!(
            "{provider}: {n_requests} requests, {estimated} for {counted} tokens, mean error {}.{} %",
            mean / 10,
            mean % 10
        );
    }
}
