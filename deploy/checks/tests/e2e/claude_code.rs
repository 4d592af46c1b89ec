//! Claude Code, unmodified, through the gateway: it reads a file because the scripted model asks it to, and says what the model
//! says. Once over the passing lane and once translated.

use std::path::Path;

use gateway_fake::reply::{anthropic, openai};
use gateway_fake::{Received, Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::Place;
use crate::{PATIENCE, clients, eventually};

const ANSWER: &str = "The note is about a heron.";
const NOTE: &str = "Seen today: one grey heron, two coots.";

#[tokio::test]
async fn anthropic_in_v1_messages() {
    tool_loop("anthropic", "pass").await;
    tool_loop("openai", "translate").await;
}

async fn tool_loop(model: &str, lane: &str) {
    let Some(mut client) = clients::claude_code() else { return };
    let (upstream, place) = (Upstream::start().await, Place::new());
    let note = place.write("note.txt", NOTE);
    upstream.respond_with(move |received| model_of_the_script(received, &note));
    place.write("gateway.yaml", &config(&upstream.url()));
    let gateway = place.up(&["-f", "gateway.yaml"]).await;

    client.args(["-p", "What is in note.txt?", "--output-format", "json", "--allowedTools", "Read"]);
    client.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    std::fs::create_dir(place.path("home")).expect("a temporary folder is writable");
    client.env("HOME", place.path("home")).current_dir(place.path(""));
    client.env("ANTHROPIC_BASE_URL", format!("http://{}", gateway.addr)).env("ANTHROPIC_AUTH_TOKEN", &gateway.key);
    for name in ["ANTHROPIC_MODEL", "ANTHROPIC_DEFAULT_HAIKU_MODEL"] {
        client.env(name, model);
    }
    for switched_off in [
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
        "DISABLE_AUTOUPDATER",
        "DISABLE_ERROR_REPORTING",
        "DISABLE_TELEMETRY",
    ] {
        client.env(switched_off, "1");
    }
    // Whatever would leave this machine all the same ends here.
    client
        .env("HTTPS_PROXY", "http://127.0.0.1:9")
        .env("HTTP_PROXY", "http://127.0.0.1:9")
        .env("NO_PROXY", "127.0.0.1");
    client.stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, client.output()).await.expect("the client ends").expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{model}: {said}\n{}", String::from_utf8_lossy(&output.stderr));

    let result: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{model}: {error}: {said}"));
    assert_eq!((&result["result"], &result["is_error"]), (&json!(ANSWER), &json!(false)), "{model}: {said}");
    assert_eq!(result["num_turns"], 2, "{model}: {said}");
    let n_results = upstream.requests().iter().filter(|received| tool_result(received).contains(NOTE)).count();
    assert_eq!(n_results, 1, "{model}: the file's words reach the model as the result of its call");
    for received in upstream.requests() {
        let is_anthropic = received.target.ends_with("/messages");
        assert_eq!(received.header("anthropic-beta").is_some(), is_anthropic, "{model}: {}", received.target);
        assert!(!received.headers.iter().any(|(_, value)| value.contains(&gateway.key)), "the client's key stays here");
    }
    let logs = eventually("the log of both requests", || async {
        let logs = gateway.admin("GET", "/admin/logs", Value::Null).await.json()["data"].take();
        (logs.as_array().is_some_and(|logs| logs.len() == upstream.requests().len())).then_some(logs)
    })
    .await;
    for record in logs.as_array().into_iter().flatten() {
        let ended = (&record["lane"], &record["status"], &record["ending"]);
        assert_eq!(ended, (&json!(lane), &json!(200), &json!("finished")), "{record}");
    }
}

/// Asks for the file once, then answers.
fn model_of_the_script(received: &Received, note: &Path) -> Script {
    let may_read = received.json()["tools"].to_string().contains("\"Read\"");
    let ask = may_read && tool_result(received).is_empty();
    let input = json!({"file_path": note}).to_string();
    let events = match (received.target.ends_with("/messages"), ask) {
        (true, true) => anthropic::tool_stream("up", "Read", &input, 7),
        (true, false) => anthropic::stream("up", ANSWER, 7),
        (false, true) => openai::tool_stream("up", "Read", &input, 7),
        (false, false) => openai::stream("up", ANSWER, 7),
    };
    Script::sse(&events)
}

/// The results of calls in a request, in either language; empty without any.
fn tool_result(received: &Received) -> String {
    let body = received.json();
    let messages = body["messages"].as_array().into_iter().flatten();
    let results =
        messages.filter(|message| message["role"] == "tool" || message["content"].to_string().contains("tool_result"));
    results.map(|message| message["content"].to_string()).collect()
}

fn config(upstream: &str) -> String {
    format!(
        "providers:
  - {{name: a, kind: anthropic, base_url: \"{upstream}\", api_key: k, allow_private_networks: true, retry: {{max_attempts: 1}}}}
  - {{name: o, kind: openai-compatible, base_url: \"{upstream}/v1\", api_key: k, allow_private_networks: true, retry: {{max_attempts: 1}}}}
models:
  - {{name: anthropic, targets: [{{provider: a, model: x}}]}}
  - {{name: openai, targets: [{{provider: o, model: x}}]}}
"
    )
}
