//! What an upstream lacks: passed by, renamed, dropped with a note, or refused in strict mode.

use gateway_fake::reply::openai;
use gateway_fake::{Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Gateway, provider_at, read};

/// A gateway before an upstream that knows no seed, and whose model knows no penalties.
async fn gateway(upstream: &Upstream, settings: &str) -> Gateway {
    upstream.push(Script::json(200, &openai::reply("own-name", "hello", 7)));
    let config =
        provider_at("openai-compatible", &format!("{}/v1", upstream.url()), "quirks: [no_seed, max_tokens_name]")
            .replace("model: own-name}", "model: own-name, quirks: [no_penalties]}");
    Gateway::start(&format!("{settings}{config}")).await
}

fn asking(members: Value) -> Value {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().expect("an object").extend(members.as_object().expect("members").clone());
    body
}

#[tokio::test]
async fn a_lacking_upstream_is_told_the_rest_and_the_client_what_was_dropped() {
    // Members, those that arrive, what the header names, the lane.
    type Case = (Value, Value, Option<&'static str>, &'static str);
    let cases: [Case; 4] = [
        (json!({"top_p": 0.5, "max_tokens": 5}), json!({"top_p": 0.5, "max_tokens": 5}), None, "pass"),
        (json!({"max_completion_tokens": 5}), json!({"max_tokens": 5}), None, "translate"),
        (json!({"seed": 1, "top_p": 0.5}), json!({"top_p": 0.5}), Some("seed"), "translate"),
        (
            json!({"seed": 1, "presence_penalty": 1.5, "frequency_penalty": 1.5}),
            json!({}),
            Some("seed, presence_penalty, frequency_penalty"),
            "translate",
        ),
    ];
    for (members, arrive, dropped, lane) in cases {
        let upstream = Upstream::start().await;
        let gateway = gateway(&upstream, "").await;
        let answer = gateway.chat(&asking(members.clone())).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let mut received = upstream.request(0).await.json();
        for name in ["model", "messages"] {
            received.as_object_mut().expect("an object").remove(name);
        }
        assert_eq!(received, arrive, "{members}");
        assert_eq!(answer.header("x-gateway-dropped-parameters"), dropped, "{members}");
        assert_eq!(gateway.records(1).await[0]["lane"], lane, "{members}");
    }
}

#[tokio::test]
async fn strict_mode_refuses_once_and_names_all() {
    let lacking = asking(json!({"seed": 1, "presence_penalty": 1.5}));
    let cases = [
        ("", None, 200),
        ("", Some("true"), 400),
        ("settings: {chat: {strict: true}}\n", None, 400),
        ("settings: {chat: {strict: true}}\n", Some("false"), 200),
    ];
    for (settings, header, status) in cases {
        let upstream = Upstream::start().await;
        let gateway = gateway(&upstream, settings).await;
        let mut request = gateway.post("/v1/chat/completions", &lacking);
        if let Some(header) = header {
            request = request.header("x-gateway-strict", header);
        }
        let answer = read(request).await;
        assert_eq!(answer.status, status, "{settings}{header:?}: {}", answer.text);
        if status == 400 {
            let error = &answer.json()["error"];
            assert_eq!(error["code"], "unsupported_parameter", "{error}");
            let message = error["message"].as_str().expect("a message");
            assert!(
                ["`seed`", "`presence_penalty`", "up/own-name"].iter().all(|word| message.contains(word)),
                "{message}"
            );
            assert_eq!(gateway.chat(&asking(json!({"top_p": 0.5}))).await.status, 200, "what fits is served");
        }
    }
}

/// An upstream that knows schemas only for tools: the client sees nothing of the tool, whole or streamed.
#[tokio::test]
async fn structured_output_by_tool() {
    let upstream = Upstream::start().await;
    let config = provider_at("openai-compatible", &format!("{}/v1", upstream.url()), "quirks: [no_json_schema]");
    let gateway = Gateway::start(&config).await;
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
    let format = json!({"type": "json_schema", "json_schema": {"name": "r", "schema": schema}});
    let call = |arguments: &str| json!([{"index": 0, "id": "c1", "type": "function", "function": {"name": "answer_in_json", "arguments": arguments}}]);

    let reply = json!({"id": "x", "object": "chat.completion", "created": 1, "model": "own-name", "choices": [{"index": 0,
        "finish_reason": "tool_calls", "message": {"role": "assistant", "content": null, "tool_calls": call("{\"a\":1}")}}]});
    upstream.push(Script::json(200, &reply));
    let answer = gateway.chat(&asking(json!({"response_format": format}))).await;
    let choice = &answer.json()["choices"][0];
    assert_eq!((&choice["message"]["content"], &choice["finish_reason"]), (&json!("{\"a\":1}"), &json!("stop")));
    assert!(choice["message"].get("tool_calls").is_none_or(Value::is_null), "{choice}");
    assert_eq!(answer.header("x-gateway-dropped-parameters"), None);
    let received = upstream.request(0).await.json();
    assert_eq!(received["tools"][0]["function"]["parameters"], schema);
    assert_eq!(received["tool_choice"]["function"]["name"], received["tools"][0]["function"]["name"]);

    let chunk = |delta: Value, finish: Value| {
        let chunk = json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "own-name",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
        bytes::Bytes::from(format!("data: {chunk}\n\n"))
    };
    let events = [
        chunk(json!({"role": "assistant", "tool_calls": call("{\"a\"")}), Value::Null),
        chunk(json!({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}), Value::Null),
        chunk(json!({}), json!("tool_calls")),
        bytes::Bytes::from_static(b"data: [DONE]\n\n"),
    ];
    upstream.push(Script::sse(&events));
    let streamed = gateway.chat(&asking(json!({"response_format": format, "stream": true}))).await;
    let chunks: Vec<Value> =
        streamed.text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect();
    let text: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, "{\"a\":1}", "{}", streamed.text);
    assert!(!streamed.text.contains("tool_calls") && streamed.text.contains("\"stop\""), "{}", streamed.text);
}
