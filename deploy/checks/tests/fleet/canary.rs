//! Secrets in what is asked and answered, where bodies are kept: they go through, and afterwards they are nowhere. Not in the database, not in
//! a file of any process, not in an answer.

use std::fs;
use std::path::Path;

use gateway_fake::{Received, Script};
use gateway_testing::figure;
use serde_json::{Value, json};

use crate::eventually;
use crate::http::{self, Reply};
use crate::world::Fleet;

const TEST: &str = "secret_canary_of_bodies";
/// The value of a member that the rule hides by name.
const NOTE: &str = "canary-of-a-member-7f3a91";
/// Of the providers, as the fleet's configuration has it.
const UPSTREAM_KEY: &str = "upstream-key-of-the-test";
/// Known by how they look.
const LOOKS: [&str; 3] = [
    concat!("sk-ant-", "api03-canary4fC9bK2mXz7Qw1Lp8Rt5Yv3Nh6Jd0Gs4Ae9Ub2Ic7Of1Pk8Zl5Xm3Wn"),
    "canary.somebody@example.com",
    "4111 1111 1111 1111",
];
/// Of nobody, and shown to the gateway as a key.
const WRONG_KEY: &str = "sk-canary-of-a-stranger-5d11c0";
/// What is no secret, and is kept: it shows that there was something to find.
const MARKER: &str = "and keep this sentence";

/// Asks with all the secrets; the provider repeats those that it knows.
async fn ask(fleet: &Fleet, key: &str, stream: bool) -> Reply {
    let content = format!("{MARKER}: {}, {key}", LOOKS.join(", "));
    let body = json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": content}], "secret_note": {"deep": [NOTE]}});
    let addr = fleet.nodes[0].address("base_url");
    http::send(addr, "POST", "/v1/chat/completions", key, body.to_string()).await.expect("an answer")
}

fn answer(received: &Received) -> Script {
    let content = format!("{MARKER}; your key {UPSTREAM_KEY} is fine, {}", LOOKS[0]);
    if received.json()["stream"] == true {
        let error = json!({"error": {"message": format!("Incorrect API key provided: {UPSTREAM_KEY}. {MARKER}"), "type": "invalid_request_error",
            "code": "invalid_api_key", "secret_note": NOTE}});
        return Script::json(401, &error);
    }
    let choice = json!({"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}});
    let usage = json!({"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8});
    Script::json(
        200,
        &json!({"id": "x", "object": "chat.completion", "model": "upstream-model", "secret_note": NOTE, "choices": [choice],
        "usage": usage}),
    )
}

/// Everything below a folder, by path. What people wrote there themselves is left out: the files that hold the secrets.
fn on_disk(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).expect("the folder is ours").flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() {
            on_disk(&path, found);
        } else if !name.ends_with("-ready.json") && name != "gateway.yaml" {
            found.push((path.display().to_string(), fs::read(&path).unwrap_or_default()));
        }
    }
}

fn holds(bytes: &[u8], what: &str) -> bool {
    bytes.windows(what.len()).any(|window| window == what.as_bytes())
}

/// All that the admin API and the node tell of it, by path.
async fn told(fleet: &Fleet, n_requests: usize) -> Vec<(String, Vec<u8>)> {
    let mut told = Vec::new();
    let logs = fleet.admin("GET", "/admin/logs", Value::Null).await;
    let ids: Vec<String> = logs["data"]
        .as_array()
        .expect("records")
        .iter()
        .map(|record| record["id"].as_str().expect("an id").to_owned())
        .collect();
    assert!(ids.len() >= n_requests, "{logs}");
    told.push(("/admin/logs".to_owned(), logs.to_string().into_bytes()));
    let paths = ids.iter().map(|id| format!("/admin/logs/{id}/body"));
    let paths = paths.chain(
        ["/admin/usage", "/admin/audit", "/admin/status", "/admin/nodes", "/admin/traffic", "/metrics"]
            .map(str::to_owned),
    );
    for path in paths {
        let reply = fleet.ask(0, "GET", &path, Value::Null).await.expect("an answer");
        told.push((path, reply.body.to_vec()));
    }
    for path in ["/metrics", "/statsz"] {
        let reply = http::send(fleet.nodes[0].address("base_url"), "GET", path, &fleet.key, String::new()).await;
        told.push((format!("node: {path}"), reply.expect("an answer").body.to_vec()));
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secret_canary_of_bodies() {
    let Some(mut fleet) = Fleet::start(1, 1).await else { return };
    let rule = json!({"log_bodies": {"request": true, "response": true, "redact": ["secret_note"]}});
    fleet.admin("PATCH", "/admin/settings", rule).await;
    // Not the first one, which a new database's control plane says out loud.
    let key =
        fleet.admin("POST", "/admin/keys", json!({"name": "app"})).await["key"].as_str().expect("a key").to_owned();
    fleet.in_step().await;
    fleet.upstream.respond_with(answer);
    let stranger = async |fleet: &Fleet| {
        let addr = fleet.nodes[0].address("base_url");
        let path = format!("/v1/models?key={WRONG_KEY}");
        let refused = http::send(addr, "GET", &path, WRONG_KEY, String::new()).await.expect("an answer");
        assert!([400, 401].contains(&refused.status), "{}", refused.text());
    };
    for stream in [false, true] {
        let reply = ask(&fleet, &key, stream).await;
        assert_eq!(reply.status == 200, !stream, "{}", reply.text());
    }
    stranger(&fleet).await;
    // What nobody collects waits on the node's disk; it is looked at there, and again where it comes to in the end.
    fleet.control[0].kill().await;
    for stream in [false, true] {
        ask(&fleet, &key, stream).await;
    }
    stranger(&fleet).await;
    let (mut places, _) = eventually("bodies on the node's disk", || async {
        let mut waiting = Vec::new();
        on_disk(&fleet.path("node1"), &mut waiting);
        waiting.iter().any(|(_, bytes)| holds(bytes, MARKER)).then_some(waiting)
    })
    .await;
    fleet.control[0].start().await;
    fleet.in_step().await;
    let is_stored = || async { (fleet.count("SELECT count(*) FROM log_body") == 4).then_some(()) };
    eventually("all bodies to be stored", is_stored).await;
    places.extend(told(&fleet, 4).await);
    let n_markers = places.iter().filter(|(place, bytes)| place.ends_with("/body") && holds(bytes, MARKER)).count();
    places.push(("the database".to_owned(), fleet.dump().into_bytes()));
    on_disk(&fleet.path(""), &mut places);

    let secrets = LOOKS.into_iter().chain([NOTE, UPSTREAM_KEY, WRONG_KEY, key.as_str()]);
    let secrets: Vec<&str> = secrets.collect();
    let seen: Vec<_> = places
        .iter()
        .flat_map(|(place, bytes)| {
            secrets.iter().filter(|secret| holds(bytes, secret)).map(move |secret| (place, *secret))
        })
        .collect();
    figure::note(TEST, "secrets seen anywhere", seen.len() as f64, "places", 0.0);
    figure::note_at_least(TEST, "places that were looked at", places.len() as f64, "places", 20.0);
    assert!(seen.is_empty(), "{seen:?}");
    assert_eq!(n_markers, 4, "what is no secret is kept");
}
