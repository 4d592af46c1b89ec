//! What becomes of open streams and sockets when their key is revoked (`revoke_mode`).

use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures_util::StreamExt as _;
use gateway_fake::reply::openai;
use gateway_fake::{Gate, PATIENCE, Script, Upstream};
use gateway_testing::figure;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::gateway::{Gateway, openai_at, provider_at};
use crate::{realtime, sockets};

const TEST: &str = "revoke_mode";

fn secret(name: &str) -> String {
    format!("sk-{name}-0123456789abcdef")
}

/// One line of configuration per key, but for those that are gone.
fn keys(named: &[(&str, &str)]) -> String {
    let line = |(name, more): &(&str, &str)| format!("  - {{name: {name}, secret: {}{more}}}\n", secret(name));
    format!("keys:\n  - {{name: stays, secret: {}}}\n{}", secret("stays"), named.iter().map(line).collect::<String>())
}

fn body(path: &str) -> Value {
    match path {
        "/v1/responses" => json!({"model": "m", "stream": true, "input": "hi"}),
        _ => json!({"model": "m", "stream": true, "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}),
    }
}

/// Streams of one key each, that have begun and wait for the rest.
async fn open(gateway: &Gateway, asked: &[(&str, &str)]) -> Vec<reqwest::Response> {
    let mut streams = Vec::new();
    for (name, path) in asked {
        let request = gateway.client().post(gateway.url(path)).bearer_auth(secret(name)).json(&body(path));
        let response = request.send().await.expect("a head");
        assert_eq!(response.status().as_u16(), 200, "{name} {path}");
        streams.push(response);
    }
    streams
}

async fn rest(stream: reqwest::Response) -> String {
    let mut chunks = stream.bytes_stream();
    let mut text = Vec::new();
    while let Some(chunk) = timeout(PATIENCE, chunks.next()).await.expect("it ends") {
        text.extend_from_slice(&chunk.expect("bytes"));
    }
    String::from_utf8(text).expect("text")
}

#[tokio::test]
async fn revoke_mode() {
    // Each stream begins, and is held with a gate of its own.
    let (upstream, gates) = (Upstream::start().await, Arc::new(Mutex::new(Vec::new())));
    let held = Arc::clone(&gates);
    upstream.respond_with(move |_| {
        let gate = Gate::new();
        gate.release(2);
        held.lock().expect("no panic").push(gate.clone());
        Script::sse_gated(&openai::stream("x", "one two", 7), &gate)
    });
    let settings = "settings: {revoke_mode: abort}\n";
    let base = format!("{}{settings}", openai_at(&upstream.url()));
    let all = [("cut", ""), ("claude", ""), ("answers", ""), ("off", ""), ("drains", ", revoke_mode: drain")];
    let gateway = Gateway::start(&format!("{base}{}", keys(&all))).await;
    let chat = "/v1/chat/completions";
    let asked = [
        ("cut", chat),
        ("claude", "/v1/messages"),
        ("answers", "/v1/responses"),
        ("off", chat),
        ("drains", chat),
        ("stays", chat),
    ];
    let mut streams = open(&gateway, &asked).await;
    let began = Instant::now();
    gateway.rewrite(&format!("{base}{}", keys(&[("off", ", enabled: false")])));
    let kept = streams.split_off(4);
    // An error in the words of whoever asked, and no mark of a whole reply.
    let marks =
        [("error", "[DONE]"), ("event: error", "message_stop"), ("error", "response.completed"), ("error", "[DONE]")];
    for (stream, (error, end)) in streams.into_iter().zip(marks) {
        let text = rest(stream).await;
        assert!(text.contains(error) && text.contains("revoked") && !text.contains(end), "{text}");
    }
    figure::note(TEST, "from the edit of a file to the end of four streams", began.elapsed().as_secs_f64(), "s", 1.0);
    let records = gateway.records_of(4, |record| record["ending"] == "revoked").await;
    assert!(records.iter().all(|record| record["status"] == 200), "{records:?}");
    gates.lock().expect("no panic").iter().for_each(Gate::open);
    for stream in kept {
        let text = rest(stream).await;
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    }
    gateway.stop().await;
}

/// Sockets say why, by the code that RFC 6455 has for a policy.
#[tokio::test]
async fn sockets_of_a_revoked_key_are_closed() {
    let (listener, url) = realtime::upstream().await;
    let base = format!("{}settings: {{revoke_mode: abort}}\n", provider_at("openai", &url, ""));
    let gateway = Gateway::start(&format!("{base}{}", keys(&[("cut", ", passthrough: [\"*\"]")]))).await;
    let mut socket = sockets::connect(&gateway, &secret("cut"), &[]).await.expect("a socket");
    let (path, key) = ("/v1/realtime?model=m", secret("cut"));
    let (mut client, (_upstream, _)) =
        tokio::join!(realtime::upgrade(&gateway, &key, path, ""), realtime::accepted(&listener));
    let head = realtime::head(&mut client).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    gateway.rewrite(&format!("{base}{}", keys(&[])));
    assert_eq!(socket.code().await, CloseCode::Policy);
    let mut last = [0; 4];
    timeout(PATIENCE, client.read_exact(&mut last)).await.expect("in time").expect("a frame");
    assert_eq!(last, [0x88, 2, 0x03, 0xf0], "closed with 1008");
    gateway.stop().await;
}
