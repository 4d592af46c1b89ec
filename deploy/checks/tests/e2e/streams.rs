//! Streams through the whole: each event leaves before the next arrives, in both translations; a cut never reads as success.

use bytes::Bytes;
use gateway_fake::reply::{anthropic, openai};
use gateway_fake::{Ending, Gate, Script, Upstream};
use serde_json::json;

use crate::gateway::{Gateway, Place};
use crate::http::{self, Stream};

const WORDS: &str = "alpha beta gamma omega";

#[tokio::test]
async fn each_event_leaves_before_the_next_arrives() {
    let (openai_upstream, anthropic_upstream) = (Upstream::start().await, Upstream::start().await);
    let place = Place::new();
    place.write("gateway.yaml", &config(&openai_upstream, &anthropic_upstream));
    let gateway = place.up(&["-f", "gateway.yaml"]).await;
    for (path, model) in [
        ("/v1/chat/completions", "openai"),
        ("/v1/chat/completions", "anthropic"),
        ("/v1/messages", "openai"),
        ("/v1/messages", "anthropic"),
    ] {
        let gate = Gate::new();
        let (upstream, events) = match model {
            "openai" => (&openai_upstream, openai::stream("x", WORDS, 3)),
            _ => (&anthropic_upstream, anthropic::stream("x", WORDS, 3)),
        };
        upstream.push(Script::sse_gated(&events, &gate));
        // Everything before the first word is let go at once; from there on one event at a time.
        let n_before = events.iter().position(|event| holds(event, "alpha")).expect("the words are in the events");
        gate.release(n_before);
        let mut stream = ask(&gateway, path, model).await;
        for word in WORDS.split(' ') {
            gate.release(1);
            let got = stream.read_until(word).await;
            let later = WORDS.split(' ').skip_while(|other| *other != word).skip(1);
            assert!(later.clone().all(|other| !got.contains(other)), "{path} {model}: more than {word:?}: {got}");
        }
        gate.open();
        let end = if path == "/v1/messages" { "message_stop" } else { "data: [DONE]" };
        let rest = stream.rest().await.expect("the stream ends in order");
        assert!(rest.contains(end), "{path} {model}: {rest}");
    }
}

#[tokio::test]
async fn cut_and_aborted_streams_never_read_as_success() {
    let (openai_upstream, anthropic_upstream) = (Upstream::start().await, Upstream::start().await);
    let place = Place::new();
    place.write("gateway.yaml", &config(&openai_upstream, &anthropic_upstream));
    let gateway = place.up(&["-f", "gateway.yaml"]).await;
    for (path, model) in [
        ("/v1/chat/completions", "openai"),
        ("/v1/chat/completions", "anthropic"),
        ("/v1/messages", "openai"),
        ("/v1/messages", "anthropic"),
    ] {
        let (upstream, events) = match model {
            "openai" => (&openai_upstream, openai::stream("x", WORDS, 3)),
            _ => (&anthropic_upstream, anthropic::stream("x", WORDS, 3)),
        };
        let begun = events.iter().take(5).fold(Script::sse_head(), |script, event| script.chunk(event));
        for cut in ["closed", "reset", "ended early", "garbage"] {
            // What is cut before the client has seen a word is no stream at all.
            let gate = Gate::new();
            let begun = begun.clone().wait(&gate);
            upstream.push(match cut {
                "closed" => begun.close(),
                "reset" => begun.reset(),
                "ended early" => begun.end(),
                _ => begun.chunk("data: {\"nonsense\n\n").close(),
            });
            let mut stream = ask(&gateway, path, model).await;
            stream.read_until("alpha").await;
            gate.open();
            let got = stream.rest().await.unwrap_or_default();
            for success in ["[DONE]", "message_stop", "\"finish_reason\":\"", "\"stop_reason\":\""] {
                assert!(!got.contains(success), "{cut}, {path} {model}: {success} in {got}");
            }
            assert!(got.is_empty() || got.contains("error"), "{cut}, {path} {model}: no error told: {got}");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_upstream_request() {
    let (openai_upstream, anthropic_upstream) = (Upstream::start().await, Upstream::start().await);
    let place = Place::new();
    place.write("gateway.yaml", &config(&openai_upstream, &anthropic_upstream));
    let gateway = place.up(&["-f", "gateway.yaml"]).await;
    for (upstream, model, events) in [
        (&openai_upstream, "openai", openai::stream("x", WORDS, 3)),
        (&anthropic_upstream, "anthropic", anthropic::stream("x", WORDS, 3)),
    ] {
        let begun = events.iter().take(5).fold(Script::sse_head(), |script, event| script.chunk(event));
        upstream.push(begun.hang());
        let mut stream = ask(&gateway, "/v1/chat/completions", model).await;
        stream.read_until("alpha").await;
        drop(stream);
        assert_eq!(upstream.ending(0).await, Ending::ClientLeft, "{model}");
    }
}

async fn ask(gateway: &Gateway, path: &str, model: &str) -> Stream {
    let body = json!({"model": model, "max_tokens": 100, "stream": true,
        "messages": [{"role": "user", "content": "Say hello."}]});
    let headers = [("x-api-key", gateway.key.as_str()), ("content-type", "application/json")];
    let stream = http::open(gateway.addr, "POST", path, &headers, body.to_string()).await;
    assert_eq!(stream.status, 200, "{path} {model}");
    stream
}

fn config(openai_upstream: &Upstream, anthropic_upstream: &Upstream) -> String {
    format!(
        "providers:
  - {{name: o, kind: openai-compatible, base_url: \"{}/v1\", api_key: k, allow_private_networks: true, breaker: {{enabled: false}}, retry: {{max_attempts: 1}}}}
  - {{name: a, kind: anthropic, base_url: \"{}\", api_key: k, allow_private_networks: true, breaker: {{enabled: false}}, retry: {{max_attempts: 1}}}}
models:
  - {{name: openai, targets: [{{provider: o, model: x}}]}}
  - {{name: anthropic, targets: [{{provider: a, model: x}}]}}
",
        openai_upstream.url(),
        anthropic_upstream.url()
    )
}

fn holds(event: &Bytes, word: &str) -> bool {
    String::from_utf8_lossy(event).contains(word)
}
