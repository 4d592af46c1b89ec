//! Clients that leave: the upstream is let go at once, or read on for what it has used.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use gateway_fake::reply::openai;
use gateway_fake::{Ending, Gate, Script, Upstream};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::gateway::{Gateway, KEY, openai_at};

fn question(stream: bool) -> Value {
    json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hi"}]})
}

/// Until the upstream sees its connection close after the client has closed its own.
async fn abort(has_begun: bool, path: &str, script: Script) -> Duration {
    let (upstream, gate) = (Upstream::start().await, Gate::new());
    upstream.push(script.wait(&gate));
    let gateway = Gateway::start(&openai_at(&upstream.url())).await;
    let mut question = question(has_begun);
    if path == "/v1/messages" {
        question["max_tokens"] = json!(5);
    }
    // What has begun is left after its first piece, what has not while it is waited for.
    let asked = gateway.post(path, &question).send();
    let begun = tokio::select! {
        response = asked => {
            let mut pieces = response.expect("a head").bytes_stream();
            let _ = pieces.next().await;
            Some(pieces)
        }
        () = gate.reached(1), if !has_begun => None,
    };
    let left = Instant::now();
    drop(begun);
    assert_eq!(upstream.ending(0).await, Ending::ClientLeft);
    let took = left.elapsed();
    let log = gateway.records(1).await.remove(0);
    assert_eq!(log["ending"], "client_gone", "{log}");
    gateway.stop().await;
    took
}

#[tokio::test]
async fn a_client_that_leaves_aborts_the_upstream_within_100_ms() {
    let begun = || openai::stream("x", "one two", 3)[..2].concat();
    let cases: [(&str, bool, Script); 3] = [
        ("a stream that has begun", true, Script::sse_head().chunk(begun())),
        ("no head yet", false, Script::new()),
        (
            "half a reply",
            false,
            Script::new().head(200, &[("content-type", "application/json"), ("content-length", "99")]).write("{"),
        ),
    ];
    for (case, has_begun, script) in cases {
        for path in ["/v1/chat/completions", "/v1/messages"] {
            // Machines that are busy with something else may take longer once.
            let mut best = Duration::MAX;
            for _ in 0..5 {
                best = best.min(abort(has_begun, path, script.clone()).await);
                if best < Duration::from_millis(100) {
                    break;
                }
            }
            assert!(best < Duration::from_millis(100), "{case}, {path}: {best:?}");
        }
    }
}

#[tokio::test]
async fn an_upstream_that_charges_in_any_case_is_read_on() {
    let (upstream, gate) = (Upstream::start().await, Gate::new());
    let events = openai::stream("x", "one two three four", 7);
    let script = Script::sse_head().chunk(events[..2].concat()).wait(&gate);
    upstream.push(script.chunk(events[2..].concat()).end());
    let config = openai_at(&upstream.url()).replace("retry:", "on_client_gone: drain, retry:");
    let gateway = Gateway::start(&config).await;
    let n_read = leave_after(&gateway, "one").await;
    gate.open();
    assert_eq!(upstream.ending(0).await, Ending::Complete);
    let log = gateway.records(1).await.remove(0);
    assert_eq!((&log["ending"], &log["settled_by"]), (&json!("client_gone"), &json!("exact")), "{log}");
    assert_eq!((&log["tokens"]["input"], &log["tokens"]["output"]), (&json!(7), &json!(4)), "{log}");
    let n_bytes = log["response_bytes"].as_u64().expect("a number");
    assert!((1..=n_read as u64).contains(&n_bytes), "what reached nobody is not counted: {n_bytes} of {n_read}");
    gateway.stop().await;
}

/// Asks for a stream, leaves after this word, and returns when the gateway has seen that: so many bytes were read.
async fn leave_after(gateway: &Gateway, word: &str) -> usize {
    let address = gateway.url("").replace("http://", "");
    let mut socket = TcpStream::connect(&address).await.expect("connects");
    let body = question(true).to_string();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.expect("sends");
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(word) {
        assert!(socket.read_buf(&mut read).await.expect("reads") > 0, "{}", String::from_utf8_lossy(&read));
    }
    socket.shutdown().await.expect("leaves");
    // It closes its side when it has seen ours close.
    socket.read_to_end(&mut read).await.expect("reads to the end");
    read.len()
}

/// A node that stops waits for nobody who is read on for nobody.
#[tokio::test]
async fn what_is_read_on_ends_with_the_node() {
    let upstream = Upstream::start().await;
    upstream.push(Script::sse_head().chunk(openai::stream("x", "one two", 3)[..2].concat()).hang());
    let config = openai_at(&upstream.url()).replace("retry:", "on_client_gone: drain, retry:");
    let gateway = Gateway::start(&config).await;
    let mut pieces = gateway.post("/v1/chat/completions", &question(true)).send().await.expect("a head").bytes_stream();
    let _ = pieces.next().await;
    drop(pieces);
    let began = Instant::now();
    gateway.stop().await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(upstream.ending(0).await, Ending::ClientLeft);
}
