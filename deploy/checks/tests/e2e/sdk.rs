//! Clients as people use them through the gateway, against an OpenAI-compatible, an Anthropic and a Gemini upstream, all scripted.
//! Their own assertions are in `sdk/`; this file sets the stage.

use gateway_checks::source::root;
use gateway_fake::reply::{anthropic, gemini, openai};
use gateway_fake::{Received, Script, Upstream};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::gateway::Place;
use crate::{PATIENCE, clients, wire};

const TEXT: &str = "Grüße from the scripted upstream";

#[tokio::test]
async fn the_openai_sdk_works_against_both_upstreams() {
    run(clients::python(), "openai_client.py").await;
}

#[tokio::test]
async fn the_openai_sdk_works_over_tls() {
    run_with(clients::python(), "openai_client.py", &["--tls-cert", "tls.pem", "--tls-key", "tls.key"]).await;
}

#[tokio::test]
async fn the_anthropic_sdk_works_against_both_upstreams() {
    run(clients::python(), "anthropic_client.py").await;
}

#[tokio::test]
async fn the_google_sdk_works_against_upstreams_of_three_dialects() {
    run(clients::python(), "google_client.py").await;
}

#[tokio::test]
async fn langchain_streams_a_tool_loop() {
    run(clients::python(), "langchain_client.py").await;
}

#[tokio::test]
async fn the_vercel_ai_sdk_streams_a_tool_loop() {
    run(clients::node(), "vercel_ai.mjs").await;
}

async fn run(client: Option<Command>, script: &str) {
    run_with(client, script, &[]).await;
}

async fn run_with(client: Option<Command>, script: &str, flags: &[&str]) {
    let Some(mut client) = client else { return };
    let [openai_upstream, anthropic_upstream, gemini_upstream] =
        [Upstream::start().await, Upstream::start().await, Upstream::start().await];
    openai_upstream.respond_with(|received| special(received).unwrap_or_else(|| openai::answer(received, TEXT)));
    anthropic_upstream.respond_with(|received| special(received).unwrap_or_else(|| anthropic::answer(received, TEXT)));
    gemini_upstream.respond_with(|received| special(received).unwrap_or_else(|| gemini::answer(received, TEXT)));
    let place = Place::new();
    place.write(
        "gateway.yaml",
        &format!(
            "providers:
  - {{name: o, kind: openai-compatible, base_url: \"{}/v1\", api_key: k, allow_private_networks: true, retry: {{max_attempts: 1}}}}
  - {{name: a, kind: anthropic, base_url: \"{}\", api_key: k, allow_private_networks: true, retry: {{max_attempts: 1}}}}
  - {{name: g, kind: gemini, base_url: \"{}\", api_key: k, allow_private_networks: true, retry: {{max_attempts: 1}}}}
models:
  - {{name: gemini, targets: [{{provider: g, model: x}}]}}
  - {{name: openai, targets: [{{provider: o, model: x}}]}}
  - {{name: anthropic, targets: [{{provider: a, model: x}}]}}
",
            openai_upstream.url(),
            anthropic_upstream.url(),
            gemini_upstream.url()
        ),
    );
    wire::certificate(&place);
    let gateway = place.up(&[&["-f", "gateway.yaml"], flags].concat()).await;
    client.env("SSL_CERT_FILE", place.path("tls.pem"));
    client.arg(root().join("deploy/checks/tests/sdk").join(script)).kill_on_drop(true);
    client.env("GATEWAY_URL", gateway.ready["base_url"].as_str().expect("a URL")).env("GATEWAY_KEY", &gateway.key);
    client.env("EXPECTED_TEXT", TEXT);
    let output =
        tokio::time::timeout(PATIENCE * 2, client.output()).await.expect("the client ends").expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{}", place.read("up.log"));
}

/// Prompts that ask for something get it, in the upstream's own words.
fn special(received: &Received) -> Option<Script> {
    let said = String::from_utf8_lossy(&received.body);
    let asks = |what: &str| said.contains(what);
    if received.target.ends_with("/count_tokens") {
        return Some(Script::json(200, &json!({"input_tokens": 31})));
    }
    if asks("please refuse") {
        return Some(refusal(received));
    }
    if asks("please embed") {
        return Some(embedded(received));
    }
    if asks("please break off") {
        let mut whole = streamed(received);
        whole.steps.truncate(whole.steps.len() / 2);
        return Some(whole.close());
    }
    if asks("please check") {
        let has_seen = asks("iVBORw0KGgo") && asks("marker_of_schema") && (asks("2048") || asks("reasoning_effort"));
        return Some(plain(received, if has_seen { "\"seen\"" } else { "\"something is missing\"" }));
    }
    if asks("please remember") {
        let has_seen = asks("hm, well") && asks("a-signature==");
        return Some(plain(received, if has_seen { "remembered" } else { "the thoughts are gone" }));
    }
    if asks("please think") {
        return Some(Script::sse(&thinking()));
    }
    let lost_signature = asks("functionResponse") && asks("functionCall\"") && !asks(gemini::SIGNATURE);
    lost_signature.then(|| Script::json(400, &gemini::error(400, "INVALID_ARGUMENT", "a call lacks its signature")))
}

/// Vectors; nothing where they are not asked for as Google's client asked.
fn embedded(received: &Received) -> Script {
    let asked = received.json();
    let answer = match received.target.contains("batchEmbedContents") {
        true if asked["requests"][0]["taskType"] == "RETRIEVAL_QUERY" => {
            json!({"embeddings": [{"values": [0.5, 0.25]}]})
        }
        false if asked["dimensions"] == 2 && asked["input"][1] == "me, too" => {
            let vector = |index, vector| json!({"object": "embedding", "index": index, "embedding": vector});
            let data = [vector(0, [0.5, 0.25]), vector(1, [0.25, 0.5])];
            json!({"object": "list", "data": data, "model": "x", "usage": {"prompt_tokens": 4, "total_tokens": 4}})
        }
        _ => json!({}),
    };
    Script::json(200, &answer)
}

fn refusal(received: &Received) -> Script {
    let message = "slow down a little";
    let body = match dialect(received) {
        "anthropic" => anthropic::error("rate_limit_error", message),
        "gemini" => gemini::error(429, "RESOURCE_EXHAUSTED", message),
        _ => openai::error("rate_limit_exceeded", message),
    };
    Script::json(429, &body)
}

fn dialect(received: &Received) -> &'static str {
    match &received.target {
        target if target.ends_with("/messages") => "anthropic",
        target if target.contains("/models/") => "gemini",
        _ => "openai",
    }
}

fn plain(received: &Received, text: &str) -> Script {
    match dialect(received) {
        "anthropic" => Script::json(200, &anthropic::reply("x", text, 7)),
        "gemini" => gemini::answer(received, text),
        _ => Script::json(200, &openai::reply("x", text, 7)),
    }
}

fn streamed(received: &Received) -> Script {
    match dialect(received) {
        "anthropic" => Script::sse(&anthropic::stream("x", TEXT, 7)),
        "gemini" => gemini::answer(received, TEXT),
        _ => Script::sse(&openai::stream("x", TEXT, 7)),
    }
}

/// A block of signed thoughts before the text.
fn thinking() -> Vec<bytes::Bytes> {
    let event = |data: Value| format!("event: {}\ndata: {data}\n\n", data["type"].as_str().expect("a type")).into();
    let delta = |delta: Value| event(json!({"type": "content_block_delta", "index": 0, "delta": delta}));
    let mut events = anthropic::stream("x", TEXT, 7);
    let thoughts = [
        event(
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}),
        ),
        delta(json!({"type": "thinking_delta", "thinking": "hm, "})),
        delta(json!({"type": "thinking_delta", "thinking": "well"})),
        delta(json!({"type": "signature_delta", "signature": "a-signature=="})),
        event(json!({"type": "content_block_stop", "index": 0})),
    ];
    let moved = events.split_off(1).into_iter().map(|event| {
        let text = String::from_utf8(event.to_vec()).expect("text");
        text.replace("\"index\":0", "\"index\":1").into()
    });
    events.extend(thoughts.into_iter().chain(moved));
    events
}
