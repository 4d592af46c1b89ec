//! How replies end: whole, cut, timed out, abandoned; and that none of these looks like another.

use std::time::Duration;

use futures_util::StreamExt as _;
use gateway_fake::reply::{anthropic, openai};
use gateway_fake::{Ending, Gate, Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Gateway, anthropic_at, openai_at, read};

fn ask(stream: bool) -> Value {
    json!({"model": "m", "stream": stream, "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]})
}

/// The reply of an upstream whose stream breaks off after two events, to a client of `path`.
async fn cut(path: &str, config: fn(&str) -> String, events: Vec<bytes::Bytes>, reset: bool) -> (String, Value) {
    let upstream = Upstream::start().await;
    let script = events[..2].iter().fold(Script::sse_head(), |script, event| script.chunk(event));
    upstream.push(if reset { script.reset() } else { script.end() });
    let gateway = Gateway::start(&config(&upstream.url())).await;
    let answer = read(gateway.post(path, &ask(true))).await;
    let record = gateway.records(1).await.remove(0);
    (answer.text, record)
}

#[tokio::test]
async fn a_cut_stream_never_reads_as_success() {
    for reset in [false, true] {
        let cases = [
            ("/v1/chat/completions", openai_at as fn(&str) -> String, openai::stream("x", "one two three", 7)),
            ("/v1/chat/completions", anthropic_at, anthropic::stream("x", "one two three", 7)),
            ("/v1/messages", openai_at, openai::stream("x", "one two three", 7)),
            ("/v1/messages", anthropic_at, anthropic::stream("x", "one two three", 7)),
        ];
        for (path, config, events) in cases {
            let (text, record) = cut(path, config, events, reset).await;
            assert_eq!(text.matches("\"error\"").count().min(1), 1, "{path} {reset}: {text}");
            for terminal in ["[DONE]", "message_stop", "\"finish_reason\":\"stop\"", "end_turn"] {
                assert!(!text.contains(terminal), "{path} {reset}: `{terminal}` in {text}");
            }
            assert_eq!(record["ending"], "upstream_cut", "{path} {reset}");
        }
    }
}

#[tokio::test]
async fn a_finished_stream_without_its_mark_gets_it() {
    let upstream = Upstream::start().await;
    let mut events = openai::stream("x", "hello", 7);
    events.retain(|event| !event.starts_with(b"data: [DONE]"));
    upstream.push(Script::sse(&events));
    let gateway = Gateway::start(&openai_at(&upstream.url())).await;
    let answer = gateway.chat(&ask(true)).await;
    assert!(answer.text.ends_with("data: [DONE]\n\n"), "{}", answer.text);
}

#[tokio::test]
async fn a_client_that_leaves_aborts_the_upstream_and_is_charged_for_what_passed() {
    let upstream = Upstream::start().await;
    let gate = Gate::new();
    upstream.push(Script::sse_gated(&openai::stream("x", "one two three", 7), &gate));
    let gateway = Gateway::start(&openai_at(&upstream.url())).await;
    gate.release(2);
    let response = gateway.post("/v1/chat/completions", &ask(true)).send().await.expect("a head");
    let mut stream = response.bytes_stream();
    let _ = stream.next().await;
    drop(stream);
    assert!(matches!(upstream.ending(0).await, Ending::ClientLeft), "the upstream is let go");
    let record = gateway.records(1).await.remove(0);
    assert_eq!(record["ending"], "client_gone");
    assert_eq!(record["settled_by"], "estimated");
    assert!(record["tokens"]["input"].as_u64() > Some(0));
}

#[tokio::test]
async fn each_timer_names_itself() {
    let cases = [
        ("first_byte: 200ms", Script::new().hang(), "first_byte_timeout"),
        (
            "idle: 200ms",
            Script::new().head(200, &[("content-type", "application/json"), ("content-length", "9")]).hang(),
            "idle_timeout",
        ),
        ("total: 200ms", Script::new().hang(), "total_timeout"),
    ];
    for (timer, script, code) in cases {
        let upstream = Upstream::start().await;
        upstream.push(script);
        let config = openai_at(&upstream.url()).replace("retry:", &format!("timeouts: {{{timer}}}, retry:"));
        let gateway = Gateway::start(&config).await;
        let answer = gateway.chat(&ask(false)).await;
        assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (504, Some(code)), "{timer}");
    }
}

#[tokio::test]
async fn an_idle_stream_is_ended_with_an_error_event() {
    let upstream = Upstream::start().await;
    let first = &openai::stream("x", "one two", 7)[0];
    upstream.push(Script::sse_head().chunk(first).hang());
    let config = openai_at(&upstream.url()).replace("retry:", "timeouts: {idle: 200ms}, retry:");
    let gateway = Gateway::start(&config).await;
    let answer = gateway.chat(&ask(true)).await;
    assert!(answer.text.contains("idle_timeout") && !answer.text.contains("[DONE]"), "{}", answer.text);
    assert_eq!(gateway.records(1).await[0]["ending"], "timeout");
}

#[tokio::test]
async fn garbage_is_no_answer() {
    let cases = [
        Script::text(200, "text/html", "<html>login</html>"),
        Script::text(200, "application/json", "{\"half\":"),
        Script::text(200, "application/json", ""),
        Script::new().write("not http at all\r\n\r\n").close(),
        Script::new().head(200, &[("content-type", "application/json"), ("content-length", "100")]).write("{}").close(),
    ];
    for (position, script) in cases.into_iter().enumerate() {
        let upstream = Upstream::start().await;
        upstream.push(script);
        let gateway = Gateway::start(&openai_at(&upstream.url())).await;
        let answer = gateway.chat(&ask(false)).await;
        assert_eq!(answer.status, 502, "case {position}: {}", answer.text);
        assert!(
            answer.json()["error"]["code"].as_str().is_some_and(|code| code.starts_with("upstream_")),
            "{}",
            answer.text
        );
    }
}

#[tokio::test]
async fn fallbacks_are_tried_and_told() {
    let (broken, sound) = (Upstream::start().await, Upstream::start().await);
    broken.push(Script::json(503, &openai::error("server_error", "overloaded")));
    sound.push(Script::json(200, &openai::reply("second", "hello", 7)));
    let config = format!(
        "providers:\n\
         \x20 - {{name: a, kind: openai-compatible, base_url: \"{}/v1\", allow_private_networks: true}}\n\
         \x20 - {{name: b, kind: openai-compatible, base_url: \"{}/v1\", allow_private_networks: true}}\n\
         models:\n  - name: m\n    targets: [{{provider: a, model: first}}]\n    fallbacks: [b/second]\n",
        broken.url(),
        sound.url()
    );
    let gateway = Gateway::start(&config).await;
    let answer = gateway.chat(&ask(false)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("x-gateway-provider"), Some("b"));
    assert_eq!(answer.header("x-gateway-retries"), Some("1"));
    assert_eq!(sound.request(0).await.json()["model"], "second", "the target's own model name is sent");
    let record = gateway.records(1).await.remove(0);
    assert_eq!(record["attempts"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_drain_ends_open_streams_with_an_error_event() {
    let upstream = Upstream::start().await;
    upstream.push(Script::sse_head().chunk(&openai::stream("x", "one two", 7)[0]).hang());
    let gateway = Gateway::start(&openai_at(&upstream.url())).await;
    let response = gateway.post("/v1/chat/completions", &ask(true)).send().await.expect("a head");
    let stopping = tokio::time::timeout(Duration::from_secs(20), gateway.stop());
    let (text, stopped) = tokio::join!(response.text(), stopping);
    stopped.expect("the node stops although a stream is open");
    let text = text.expect("a proper end of the body");
    assert!(text.contains("shutting_down") && !text.contains("[DONE]"), "{text}");
}

/// A failed attempt is logged with the status line that came, whatever became of what stood behind it; without one, with 0.
#[tokio::test]
async fn failed_attempts_have_the_status_that_came() {
    let (upstream, nobody) = (Upstream::start().await, gateway_testing::free_port());
    let yaml = format!(
        "providers:\n  - {{name: up, kind: openai-compatible, base_url: \"{}/v1\", allow_private_networks: true, retry: {{max_attempts: 1}}}}\n  \
         - {{name: gone, kind: openai-compatible, base_url: \"http://127.0.0.1:{nobody}/v1\", allow_private_networks: true}}\n\
         models:\n  - {{name: m, breaker: {{enabled: false}}, targets: [{{provider: up, model: x}}]}}\n  \
         - {{name: gone, targets: [{{provider: gone, model: x}}]}}\n",
        upstream.url()
    );
    let gateway = Gateway::start(&yaml).await;
    let refused = |status| Script::json(status, &openai::error("server_error", "out of order"));
    let page = || Script::text(200, "text/html", "<html>please sign in</html>");
    let cases = [
        (Some(refused(503)), "m", false, 503),
        (Some(refused(400)), "m", true, 400),
        // What came with it is no answer.
        (Some(page()), "m", false, 200),
        (Some(page()), "m", true, 200),
        (Some(refused(429)), "m", false, 429),
        (None, "gone", false, 0),
    ];
    for (number, (script, model, stream, expected)) in cases.into_iter().enumerate() {
        script.into_iter().for_each(|script| upstream.push(script));
        let body = json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}]});
        assert!(gateway.chat(&body).await.status >= 400);
        let record = gateway.records(number + 1).await.remove(number);
        let attempt = &record["attempts"][0];
        assert_eq!(attempt["status"], expected, "{record}");
        assert!(attempt["error_code"].as_str().is_some_and(|code| !code.is_empty()), "{record}");
    }
    gateway.stop().await;
}
