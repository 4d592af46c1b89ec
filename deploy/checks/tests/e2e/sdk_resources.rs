//! Every resource of the official clients that applies, against one gateway and a scripted account that has them all. Their
//! assertions on typed results are in `sdk/*_resources.*`.

use gateway_checks::source::root;
use gateway_fake::reply::anthropic;
use gateway_fake::{Received, Script, Upstream};
use serde_json::json;
use tokio::process::Command;

use crate::account::{self, Realtime};
use crate::gateway::Place;
use crate::{PATIENCE, clients, wire};

const KEY: &str = "sk-owner-0123456789abcdef";
/// May use every model, and no account as it is.
const PLAIN_KEY: &str = "sk-plain-0123456789abcdef";

#[tokio::test]
async fn every_resource_of_openai_python() {
    run(clients::python(), "openai_resources.py", "1.1").await;
}

#[tokio::test]
async fn every_resource_of_openai_python_over_http2() {
    run(clients::python(), "openai_resources.py", "2").await;
}

/// Its realtime client speaks TLS only.
#[tokio::test]
async fn every_resource_of_openai_node() {
    run(clients::node(), "openai_resources.mjs", "1.1 over TLS").await;
}

#[tokio::test]
async fn every_resource_of_anthropic_python() {
    run(clients::python(), "anthropic_resources.py", "1.1").await;
}

/// Every version but plain 1.1 is over TLS, with a certificate that is its own authority.
async fn run(client: Option<Command>, script: &str, http_version: &str) {
    let Some(mut client) = client else { return };
    let (account, other, realtime) = (Upstream::start().await, Upstream::start().await, Realtime::start().await);
    account.respond_with(account::answer);
    other.respond_with(|received| beside(received).unwrap_or_else(|| anthropic::answer(received, account::TEXT)));
    let place = Place::new();
    place.write("gateway.yaml", &config(&account.url(), &other.url(), &realtime.url));
    wire::certificate(&place);
    let tls = ["--tls-cert", "tls.pem", "--tls-key", "tls.key"];
    let gateway = place.node(if http_version == "1.1" { &[] } else { &tls }).await;
    client.arg(root().join("deploy/checks/tests/sdk").join(script)).kill_on_drop(true);
    client.env("GATEWAY_URL", gateway.ready["base_url"].as_str().expect("a URL")).env("HTTP_VERSION", http_version);
    client.env("GATEWAY_KEY", KEY).env("GATEWAY_PLAIN_KEY", PLAIN_KEY).env("EXPECTED_TEXT", account::TEXT);
    client.env("SSL_CERT_FILE", place.path("tls.pem")).env("NODE_EXTRA_CA_CERTS", place.path("tls.pem"));
    // Some resources are old, and the client says so.
    client.env("PYTHONWARNINGS", "ignore");
    let output =
        tokio::time::timeout(PATIENCE * 2, client.output()).await.expect("the client ends").expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "HTTP/{http_version}: {said}");
}

/// What Anthropic's API has beside messages.
fn beside(received: &Received) -> Option<Script> {
    let batch = |status: &str| {
        json!({"id": "msgbatch_1", "type": "message_batch", "processing_status": status, "created_at": "2026-01-01T00:00:00Z",
            "expires_at": "2026-01-02T00:00:00Z", "ended_at": null, "archived_at": null, "cancel_initiated_at": null,
            "results_url": null, "expiring_at": null,
            "request_counts": {"processing": 0, "succeeded": 1, "errored": 0, "canceled": 0, "expired": 0}})
    };
    let path = received.target.split('?').next().unwrap_or_default();
    let said = match (received.method.as_str(), path) {
        ("POST", "/v1/messages/count_tokens") => json!({"input_tokens": 31}),
        ("POST", "/v1/messages/batches") => batch("in_progress"),
        ("GET", "/v1/messages/batches/msgbatch_1") => batch("ended"),
        ("POST", "/v1/messages/batches/msgbatch_1/cancel") => batch("canceling"),
        ("DELETE", "/v1/messages/batches/msgbatch_1") => json!({"id": "msgbatch_1", "type": "message_batch_deleted"}),
        ("GET", "/v1/messages/batches") => {
            json!({"data": [batch("ended")], "has_more": false, "first_id": "msgbatch_1", "last_id": "msgbatch_1"})
        }
        _ => return None,
    };
    Some(Script::json(200, &said))
}

fn config(account: &str, other: &str, realtime: &str) -> String {
    format!(
        "providers:
  - {{name: openai, kind: openai, base_url: \"{account}/v1\", api_key: k, allow_private_networks: true, retry: {{max_attempts: 1}}}}
  - {{name: a, kind: anthropic, base_url: \"{other}\", api_key: k, allow_private_networks: true, retry: {{max_attempts: 1}}}}
  - {{name: live, kind: openai, base_url: \"{realtime}/v1\", api_key: k, allow_private_networks: true}}
models:
  - {{name: native, targets: [{{provider: openai, model: x}}]}}
  - {{name: translated, targets: [{{provider: a, model: x}}]}}
  - {{name: team/large, targets: [{{provider: openai, model: x}}]}}
  - {{name: spoken, targets: [{{provider: live, model: x}}]}}
settings: {{passthrough: {{default_provider: openai}}}}
keys:
  - {{name: owner, secret: {KEY}, passthrough: [\"*\"]}}
  - {{name: plain, secret: {PLAIN_KEY}}}
"
    )
}
