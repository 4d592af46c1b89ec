//! Streams that never were: what goes wrong before the first word is a failure, and another target may still answer.

use bytes::Bytes;
use futures_util::StreamExt as _;
use gateway_fake::reply::{anthropic, openai};
use gateway_fake::{Gate, Script, Upstream};
use serde_json::json;

use crate::gateway::{Gateway, KEY};

/// What a first target sends in place of a stream, by its kind.
fn beginnings(kind: &str) -> Vec<(&'static str, Script)> {
    let (first, error) = match kind {
        "anthropic" => (
            anthropic::stream("x", "hi", 3)[0].clone(),
            Bytes::from_static(b"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}\n\n"),
        ),
        _ => (
            role(),
            Bytes::from_static(b"data: {\"error\":{\"type\":\"server_error\",\"message\":\"busy\"}}\n\n"),
        ),
    };
    let html = "<html><body>sign in</body></html>";
    vec![
        ("an empty body", Script::sse_head().end()),
        ("only a comment", Script::sse_head().chunk(": waiting\n\n").end()),
        ("an error", Script::sse_head().chunk(&error).end()),
        ("an error after the first event", Script::sse_head().chunk(&first).chunk(&error).end()),
        ("the end after the first event", Script::sse_head().chunk(&first).end()),
        ("a cut after the first event", Script::sse_head().chunk(&first).reset()),
        ("a page", Script::text(200, "text/html", html)),
        ("a page that says it is a stream", Script::sse_head().chunk(html).end()),
    ]
}

fn config(kind: &str, first: &str, second: &str) -> String {
    let base = if kind == "anthropic" { first.to_owned() } else { format!("{first}/v1") };
    format!(
        "providers:\n  - {{name: a, kind: {kind}, base_url: \"{base}\", api_key: k, allow_private_networks: true, breaker: {{enabled: false}}}}\n  \
         - {{name: b, kind: openai-compatible, base_url: \"{second}/v1\", api_key: k, allow_private_networks: true}}\n\
         models:\n  - {{name: m, strategy: priority, targets: [{{provider: a, model: x}}, {{provider: b, model: y}}]}}\n  \
         - {{name: alone, targets: [{{provider: a, model: x}}], retry: {{max_attempts: 1}}}}\n\
         keys:\n  - {{name: test, secret: {KEY}}}\n"
    )
}

#[tokio::test]
async fn empty_200_stream_fails_over() {
    for kind in ["openai-compatible", "anthropic"] {
        for (case, script) in beginnings(kind) {
            let (first, second) = (Upstream::start().await, Upstream::start().await);
            first.respond_with(move |_| script.clone());
            second.respond_with(|received| openai::answer(received, "served by the second"));
            let gateway = Gateway::start(&config(kind, &first.url(), &second.url())).await;
            let question =
                |model: &str| json!({"model": model, "stream": true, "messages": [{"role": "user", "content": "hi"}]});
            let answer = gateway.chat(&question("m")).await;
            let told = format!("{kind}, {case}: {}", answer.text);
            assert_eq!(answer.status, 200, "{told}");
            assert!(answer.text.contains("second") && answer.text.ends_with("data: [DONE]\n\n"), "{told}");
            assert_eq!(answer.header("x-gateway-retries"), Some("1"), "{told}");
            // With nobody else to ask the client is told the truth, by a status and in its own dialect.
            let alone = gateway.chat(&question("alone")).await;
            assert!(
                alone.status >= 500 && alone.json()["error"]["code"].is_string(),
                "{case}: {} {}",
                alone.status,
                alone.text
            );
            gateway.stop().await;
        }
    }
}

/// A stream that begins and then thinks is not held back for long, though nothing of the answer is there.
#[tokio::test]
async fn a_stream_without_words_yet_reaches_the_client() {
    let (upstream, gate) = (Upstream::start().await, Gate::new());
    let events = openai::stream("x", "hello", 3);
    let script = Script::sse_head().chunk(role()).wait(&gate);
    upstream.push(events.iter().fold(script, |script, event| script.chunk(event)).end());
    let gateway = Gateway::start(&config("openai-compatible", &upstream.url(), &upstream.url())).await;
    let question = json!({"model": "alone", "stream": true, "messages": [{"role": "user", "content": "hi"}]});
    let response = gateway.post("/v1/chat/completions", &question).send().await.expect("a head, before any word");
    let mut stream = response.bytes_stream();
    let first = stream.next().await.expect("the first event").expect("bytes");
    assert!(String::from_utf8_lossy(&first).contains("assistant"), "{first:?}");
    gate.open();
    let mut rest = Vec::new();
    while let Some(bytes) = stream.next().await {
        rest.extend_from_slice(&bytes.expect("bytes"));
    }
    assert!(rest.ends_with(b"data: [DONE]\n\n"), "{}", String::from_utf8_lossy(&rest));
    gateway.stop().await;
}

/// An answer's beginning without a word of it.
fn role() -> Bytes {
    Bytes::from_static(b"data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"},\"finish_reason\":null}]}\n\n")
}
