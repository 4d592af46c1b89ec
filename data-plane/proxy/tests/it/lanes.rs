//! Both lanes, whole and streamed, from both dialects to both; each event leaves before the next arrives.

use futures_util::StreamExt as _;
use gateway_fake::reply::{anthropic, openai};
use gateway_fake::{Gate, Script, Upstream};
use serde_json::json;

use crate::gateway::{Gateway, KEY, UPSTREAM_KEY, anthropic_at, openai_at, read};

#[tokio::test]
async fn bytes_pass_with_the_model_replaced_and_nothing_else() {
    let upstream = Upstream::start().await;
    upstream.push(Script::json(200, &openai::reply("own-name", "hello", 7)));
    let gateway = Gateway::start(&openai_at(&upstream.url())).await;
    let body = r#"{ "odd_field": 1.0e0, "model" : "m", "messages":[{"role":"user","content":"h\u00e9"}] }"#;
    let request = gateway.client().post(gateway.url("/v1/chat/completions")).header("x-api-key", KEY);
    let answer = read(request.header("content-type", "application/json").body(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let received = upstream.request(0).await;
    assert_eq!(received.body, body.replace("\"m\"", "\"own-name\"").as_bytes());
    assert_eq!(received.header("authorization"), Some(format!("Bearer {UPSTREAM_KEY}").as_str()));
    assert_eq!(received.header("x-api-key"), None, "the client's key must not reach the upstream");
    assert_eq!(answer.header("x-gateway-provider"), Some("up"));
    assert_eq!(answer.header("x-lunargate-model"), Some("up/own-name"));
    assert_eq!(answer.header("x-gateway-retries"), Some("0"));
    assert!(answer.header("x-gateway-request-id").is_some() && answer.header("x-gateway-latency-ms").is_some());
    let record = &gateway.records(1).await[0];
    assert_eq!((record["lane"].as_str(), record["ending"].as_str()), (Some("pass"), Some("finished")));
    assert_eq!(record["tokens"]["input"], 7);
}

/// What an upstream of the same dialect would refuse is repaired on the way; what is sound passes as it is.
#[tokio::test]
async fn what_equals_would_refuse_is_repaired_on_the_way() {
    let call = json!({"role": "assistant", "content": null,
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    let result = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "1"});
    let ask = json!({"role": "user", "content": "hi"});
    let function = json!({"name": "f"});
    let tools = json!([{"type": "function", "function": function}]);
    let dropped = Some("messages[] (tool result without its call)");
    let cases = [
        (json!({"messages": [ask, call, result("a")]}), "/messages/2/tool_call_id", json!("a"), "pass", None),
        (json!({"messages": [ask, result("x"), ask]}), "/messages/1", ask.clone(), "translate", dropped),
        (json!({"messages": [ask], "functions": [function]}), "/tools", tools, "translate", None),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]}),
            "/messages/0/content",
            json!("hi"),
            "translate",
            None,
        ),
        (json!({"input": "hi"}), "/messages/0/content", json!("hi"), "translate", None),
    ];
    for (mut body, place, expected, lane, dropped) in cases {
        let upstream = Upstream::start().await;
        upstream.push(Script::json(200, &openai::reply("own-name", "hello", 7)));
        let gateway = Gateway::start(&openai_at(&upstream.url())).await;
        body["model"] = "m".into();
        let answer = gateway.chat(&body).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text);
        let received = upstream.request(0).await.json();
        assert_eq!(received.pointer(place), Some(&expected), "{body}: {received}");
        assert_eq!(answer.header("x-gateway-dropped-parameters"), dropped, "{body}");
        assert_eq!(gateway.records(1).await[0]["lane"], lane, "{body}");
    }
}

#[tokio::test]
async fn an_openai_client_on_an_anthropic_upstream() {
    let upstream = Upstream::start().await;
    upstream.push(Script::json(200, &anthropic::reply("own-name", "hello", 7)));
    let gateway = Gateway::start(&anthropic_at(&upstream.url())).await;
    let answer = gateway.chat(&json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let reply = answer.json();
    assert_eq!(reply["choices"][0]["message"]["content"], "hello");
    assert_eq!(reply["choices"][0]["finish_reason"], "stop");
    assert_eq!(reply["usage"]["prompt_tokens"], 7);
    let received = upstream.request(0).await;
    assert_eq!(received.target, "/v1/messages");
    assert_eq!(received.header("x-api-key"), Some(UPSTREAM_KEY));
    assert!(received.header("anthropic-version").is_some());
    assert_eq!(received.json()["model"], "own-name");
}

#[tokio::test]
async fn an_anthropic_client_on_an_openai_upstream() {
    let upstream = Upstream::start().await;
    upstream.push(Script::sse(&openai::stream("own-name", "hello world", 7)));
    let gateway = Gateway::start(&openai_at(&upstream.url())).await;
    let body = json!({"model": "m", "max_tokens": 9, "stream": true, "messages": [{"role": "user", "content": "hi"}]});
    let answer = read(gateway.post("/v1/messages", &body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    for part in ["event: message_start", "event: content_block_delta", "event: message_delta", "event: message_stop"] {
        assert!(answer.text.contains(part), "no `{part}` in {}", answer.text);
    }
    assert_eq!(gateway.records(1).await[0]["lane"], "translate");
}

/// The upstream sends an event only after the client has the one before: a held-back event would hang here.
async fn each_event_leaves_at_once(config: String, upstream: Upstream, events: Vec<bytes::Bytes>, words: &[&str]) {
    let gate = Gate::new();
    upstream.push(Script::sse_gated(&events, &gate));
    let gateway = Gateway::start(&config).await;
    let body = json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "hi"}]});
    let response = gateway.post("/v1/chat/completions", &body).send();
    let mut seen = String::new();
    let reading = async {
        gate.release(1);
        let mut stream = response.await.expect("a reply head before the reply's end").bytes_stream();
        for word in words {
            while !seen.contains(word) {
                gate.release(1);
                // With nothing held back the word comes as soon as its event was released.
                while let Ok(Some(bytes)) =
                    tokio::time::timeout(std::time::Duration::from_millis(300), stream.next()).await
                {
                    seen.push_str(std::str::from_utf8(&bytes.expect("bytes")).expect("text"));
                    if seen.contains(word) {
                        break;
                    }
                }
            }
        }
        gate.open();
        while let Some(bytes) = stream.next().await {
            seen.push_str(std::str::from_utf8(&bytes.expect("bytes")).expect("text"));
        }
    };
    tokio::time::timeout(gateway_fake::PATIENCE, reading).await.expect("every event left before the next arrived");
    assert!(seen.ends_with("data: [DONE]\n\n"), "{seen}");
}

#[tokio::test]
async fn a_passing_event_leaves_before_the_next_arrives() {
    let upstream = Upstream::start().await;
    let config = openai_at(&upstream.url());
    each_event_leaves_at_once(
        config,
        upstream,
        openai::stream("x", "alpha beta gamma", 7),
        &["alpha", "beta", "gamma"],
    )
    .await;
}

#[tokio::test]
async fn a_translated_event_leaves_before_the_next_arrives() {
    let upstream = Upstream::start().await;
    let config = anthropic_at(&upstream.url());
    each_event_leaves_at_once(
        config,
        upstream,
        anthropic::stream("x", "alpha beta gamma", 7),
        &["alpha", "beta", "gamma"],
    )
    .await;
}

#[tokio::test]
async fn usage_is_asked_for_and_kept_from_those_who_did_not_ask() {
    let upstream = Upstream::start().await;
    upstream.push(Script::sse(&openai::stream("own-name", "hello world", 7)));
    let gateway = Gateway::start(&openai_at(&upstream.url())).await;
    let answer =
        gateway.chat(&json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "hi"}]})).await;
    assert_eq!(upstream.request(0).await.json()["stream_options"]["include_usage"], true);
    assert!(!answer.text.contains("\"usage\":{"), "{}", answer.text);
    assert!(answer.text.ends_with("data: [DONE]\n\n"));
    let record = &gateway.records(1).await[0];
    assert_eq!(record["tokens"]["input"], 7);
    assert_eq!(record["settled_by"], "exact");
}

#[tokio::test]
async fn the_default_of_stream_is_a_setting() {
    let upstream = Upstream::start().await;
    upstream.push(Script::sse(&openai::stream("own-name", "hello", 7)));
    let gateway =
        Gateway::start(&format!("settings: {{chat: {{default_stream: true}}}}\n{}", openai_at(&upstream.url()))).await;
    let answer = gateway.chat(&json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]})).await;
    assert!(answer.text.starts_with("data: "), "{}", answer.text);
}
