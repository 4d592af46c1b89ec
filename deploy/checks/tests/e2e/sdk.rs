//! Clients as people use them through the gateway, against an OpenAI-compatible and an Anthropic upstream, both scripted. Their
//! own assertions are in `sdk/`; this file sets the stage.

use gateway_checks::source::root;
use gateway_fake::reply::{anthropic, openai};
use gateway_fake::{Received, Script, Upstream};
use tokio::process::Command;

use crate::gateway::Place;
use crate::{PATIENCE, clients};

const TEXT: &str = "Grüße from the scripted upstream";

#[tokio::test]
async fn the_openai_sdk_works_against_both_upstreams() {
    run(clients::python(), "openai_client.py").await;
}

#[tokio::test]
async fn the_anthropic_sdk_works_against_both_upstreams() {
    run(clients::python(), "anthropic_client.py").await;
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
    let Some(mut client) = client else { return };
    let (openai_upstream, anthropic_upstream) = (Upstream::start().await, Upstream::start().await);
    openai_upstream.respond_with(|received| refusal(received).unwrap_or_else(|| openai::answer(received, TEXT)));
    anthropic_upstream.respond_with(|received| refusal(received).unwrap_or_else(|| anthropic::answer(received, TEXT)));
    let place = Place::new();
    place.write(
        "gateway.yaml",
        &format!(
            "providers:
  - {{name: o, kind: openai-compatible, base_url: \"{}/v1\", api_key: k, allow_private_networks: true, retry: {{max_attempts: 1}}}}
  - {{name: a, kind: anthropic, base_url: \"{}\", api_key: k, allow_private_networks: true, retry: {{max_attempts: 1}}}}
models:
  - {{name: openai, targets: [{{provider: o, model: x}}]}}
  - {{name: anthropic, targets: [{{provider: a, model: x}}]}}
",
            openai_upstream.url(),
            anthropic_upstream.url()
        ),
    );
    let gateway = place.up(&["-f", "gateway.yaml"]).await;
    client.arg(root().join("deploy/checks/tests/sdk").join(script)).kill_on_drop(true);
    client.env("GATEWAY_URL", format!("http://{}", gateway.addr)).env("GATEWAY_KEY", &gateway.key);
    client.env("EXPECTED_TEXT", TEXT);
    let output =
        tokio::time::timeout(PATIENCE * 2, client.output()).await.expect("the client ends").expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{}", place.read("up.log"));
}

/// A prompt that asks for a refusal gets one, in the upstream's own envelope.
fn refusal(received: &Received) -> Option<Script> {
    if !String::from_utf8_lossy(&received.body).contains("please refuse") {
        return None;
    }
    let message = "slow down a little";
    let body = if received.target.ends_with("/messages") {
        anthropic::error("rate_limit_error", message)
    } else {
        openai::error("rate_limit_exceeded", message)
    };
    Some(Script::json(429, &body))
}
