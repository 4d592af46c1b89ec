//! What each vendor is sent and what is made of its answers, where a row of the feature table asks for it.

use gateway_fake::reply::{anthropic, openai};
use gateway_fake::{Received, Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Gateway, UPSTREAM_KEY, anthropic_at, openai_at, provider_at, read};
use crate::wires::frame;

const PIXEL: &str = "iVBORw0KGgo=";

/// What the upstream got for a chat request; it answers with a failure, for nobody looks at the answer.
async fn sent(kind: &str, body: Value) -> Received {
    let upstream = Upstream::start().await;
    upstream.push(Script::json(400, &json!({"message": "seen"})));
    let gateway = Gateway::start(&provider_at(kind, &upstream.url(), "")).await;
    let answer = gateway.chat(&body).await;
    assert_eq!(upstream.requests().len(), 1, "nothing was sent: {}", answer.text);
    upstream.request(0).await
}

fn weather() -> Value {
    json!({"type": "function", "function": {"name": "weather", "description": "d",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}})
}

fn chat(more: Value) -> Value {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    body
}

#[tokio::test]
async fn anthropic_out() {
    let body = json!({"model": "m", "max_tokens": 9, "temperature": 0.5, "stop": ["x"], "user": "u", "tools": [weather()],
        "messages": [
            {"role": "system", "content": "be short"},
            {"role": "user", "content": "how is it?"},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Paris\"}"}}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "rain"}]});
    let received = sent("anthropic", body).await;
    assert_eq!(received.target, "/v1/messages");
    assert!(received.header("anthropic-version").is_some());
    let expected = json!({"model": "own-name", "max_tokens": 9, "temperature": 0.5, "stop_sequences": ["x"],
        "metadata": {"user_id": "u"}, "system": [{"type": "text", "text": "be short"}],
        "tools": [{"name": "weather", "description": "d",
            "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "how is it?"}]},
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Paris"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "rain"}]}]});
    assert_eq!(received.json(), expected);
}

#[tokio::test]
async fn tool_choice_required_to_any() {
    let cases = [
        (json!("required"), json!({"type": "any"})),
        (json!("auto"), json!({"type": "auto"})),
        (json!("none"), json!({"type": "none"})),
        (json!({"type": "function", "function": {"name": "weather"}}), json!({"type": "tool", "name": "weather"})),
    ];
    for (asked, expected) in cases {
        let received = sent("anthropic", chat(json!({"tools": [weather()], "tool_choice": asked}))).await;
        assert_eq!(received.json()["tool_choice"], expected, "{asked}");
    }
}

#[tokio::test]
async fn images_to_anthropic_gemini() {
    let image = |url: &str| {
        chat(json!({"messages": [{"role": "user", "content": [
            {"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": url}}]}]}))
    };
    let inline = format!("data:image/png;base64,{PIXEL}");
    let linked = "https://images.example/a.png";
    let cases = [
        (
            "anthropic",
            inline.as_str(),
            "/messages/0/content/1/source",
            json!({"type": "base64", "media_type": "image/png", "data": PIXEL}),
        ),
        ("anthropic", linked, "/messages/0/content/1/source", json!({"type": "url", "url": linked})),
        ("gemini", &inline, "/contents/0/parts/1/inlineData", json!({"mimeType": "image/png", "data": PIXEL})),
    ];
    for (kind, url, place, expected) in cases {
        let body = sent(kind, image(url)).await.json();
        assert_eq!(body.pointer(place), Some(&expected), "{kind} {url}: {body}");
    }
}

#[tokio::test]
async fn prompt_cache_markers() {
    let marked = json!({"type": "text", "text": "long", "cache_control": {"type": "ephemeral"}});
    let body = chat(json!({"messages": [
        {"role": "system", "content": [marked]}, {"role": "user", "content": [marked, {"type": "text", "text": "hi"}]}]}));
    let to_anthropic = sent("anthropic", body.clone()).await.json();
    let mark = json!({"type": "ephemeral"});
    assert_eq!(to_anthropic["system"][0]["cache_control"], mark, "{to_anthropic}");
    assert_eq!(to_anthropic["messages"][0]["content"][0]["cache_control"], mark, "{to_anthropic}");
    assert!(to_anthropic["messages"][0]["content"][1]["cache_control"].is_null(), "{to_anthropic}");
    let again = sent("anthropic", body).await.json();
    assert_eq!(again.to_string(), to_anthropic.to_string(), "the same prompt is the same bytes, else no cache helps");
}

#[tokio::test]
async fn gemini_thought_signature_loop() {
    const SIGNATURE: &str = "c2lnbmVkK3RoZXJlLw==";
    let call = json!({"functionCall": {"name": "weather", "args": {"city": "Paris"}}, "thoughtSignature": SIGNATURE});
    let reply = json!({"candidates": [{"content": {"role": "model", "parts": [call]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 3}});
    // What comes back of the call is what a client that knows nothing of signatures keeps: its id, name and arguments.
    for path in ["/v1/chat/completions", "/v1/messages", "/v1/responses"] {
        let upstream = Upstream::start().await;
        let answered = reply.clone();
        upstream.respond_with(move |_| Script::json(200, &answered));
        let gateway = Gateway::start(&provider_at("gemini", &upstream.url(), "")).await;
        let first = read(gateway.post(path, &turn(path, None))).await;
        assert_eq!(first.status, 200, "{path}: {}", first.text);
        let id = ["/choices/0/message/tool_calls/0/id", "/content/0/id", "/output/0/call_id"];
        let reply = first.json();
        let id = id.iter().find_map(|place| reply.pointer(place)?.as_str()).expect("the call has an id");
        let second = read(gateway.post(path, &turn(path, Some(id)))).await;
        assert_eq!(second.status, 200, "{path}: {}", second.text);
        let sent = upstream.request(1).await.json();
        assert_eq!(sent["contents"][1]["parts"][0]["thoughtSignature"], SIGNATURE, "{path}: {sent}");
        assert_eq!(sent["contents"][1]["parts"][0]["functionCall"]["args"], json!({"city": "Paris"}), "{path}: {sent}");
        assert_eq!(sent["contents"][2]["parts"][0]["functionResponse"]["name"], "weather", "{path}: {sent}");
    }
}

/// The first turn, or the second with the call of that id and its result.
fn turn(path: &str, id: Option<&str>) -> Value {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let (name, arguments) = ("weather", r#"{"city":"Paris"}"#);
    let (tools, list, mut turns) = match path {
        "/v1/messages" => (json!([{"name": name, "input_schema": schema}]), "messages", vec![]),
        "/v1/responses" => (json!([{"type": "function", "name": name, "parameters": schema}]), "input", vec![]),
        _ => (json!([weather()]), "messages", vec![]),
    };
    turns.push(json!({"role": "user", "content": "hi"}));
    let later = id.map(|id| match path {
        "/v1/messages" => [
            json!({"role": "assistant", "content": [{"type": "tool_use", "id": id, "name": name, "input": {"city": "Paris"}}]}),
            json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": "rain"}]}),
        ],
        "/v1/responses" => [
            json!({"type": "function_call", "call_id": id, "name": name, "arguments": arguments}),
            json!({"type": "function_call_output", "call_id": id, "output": "rain"}),
        ],
        _ => [
            json!({"role": "assistant", "tool_calls": [
                {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}]}),
            json!({"role": "tool", "tool_call_id": id, "content": "rain"}),
        ],
    });
    turns.extend(later.into_iter().flatten());
    let mut body = json!({"model": "m", "max_tokens": 9, "tools": tools});
    body[list] = turns.into();
    body
}

/// The reply of a chat client to an upstream that calls `weather` in a stream, and what the upstream was asked.
async fn called(kind: &str, more: &str, script: Script) -> (Value, Received) {
    let upstream = Upstream::start().await;
    upstream.push(script);
    let mut config = provider_at(kind, &upstream.url(), more);
    if !more.is_empty() {
        // Signed requests carry no key.
        config = config.replace(&format!("api_key: {UPSTREAM_KEY}, "), "");
    }
    let gateway = Gateway::start(&config).await;
    let body = chat(json!({"stream": true, "stream_options": {"include_usage": true}, "tools": [weather()]}));
    let answer = gateway.chat(&body).await;
    assert_eq!(answer.status, 200, "{kind}: {}", answer.text);
    assert!(answer.text.ends_with("data: [DONE]\n\n"), "{kind}: {}", answer.text);
    let (mut call, mut finish, mut usage) = ((String::new(), String::new()), Value::Null, Value::Null);
    for data in answer.text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]") {
        let mut chunk: Value = serde_json::from_str(data).expect("JSON");
        let function = &chunk["choices"][0]["delta"]["tool_calls"][0]["function"];
        call.0.push_str(function["name"].as_str().unwrap_or_default());
        call.1.push_str(function["arguments"].as_str().unwrap_or_default());
        for (seen, place) in [(&mut finish, "/choices/0/finish_reason"), (&mut usage, "/usage/total_tokens")] {
            if let Some(said) = chunk.pointer_mut(place).filter(|said| !said.is_null()) {
                *seen = said.take();
            }
        }
    }
    let arguments: Value = serde_json::from_str(&call.1).expect("the arguments are JSON");
    (json!({"name": call.0, "arguments": arguments, "finish": finish, "usage": usage}), upstream.request(0).await)
}

fn called_weather() -> Value {
    json!({"name": "weather", "arguments": {"city": "Paris"}, "finish": "tool_calls", "usage": 10})
}

#[tokio::test]
async fn ollama_native() {
    let lines = [
        json!({"model": "own-name", "message": {"role": "assistant", "content": "",
            "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Paris"}}}]}, "done": false}),
        json!({"model": "own-name", "message": {"role": "assistant", "content": ""}, "done": true, "done_reason": "stop",
            "prompt_eval_count": 7, "eval_count": 3}),
    ];
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let (reply, received) = called("ollama", "", Script::text(200, "application/x-ndjson", text)).await;
    assert_eq!(reply, called_weather());
    assert_eq!(received.target, "/api/chat");
    let sent = received.json();
    assert_eq!((&sent["model"], &sent["stream"]), (&json!("own-name"), &json!(true)), "{sent}");
    assert_eq!(sent["tools"][0]["function"]["name"], "weather", "{sent}");
}

#[tokio::test]
async fn bedrock_stream_tools() {
    let pieces = [r#"{"ci"#, r#"ty":"Par"#, r#"is"}"#];
    let piece =
        |piece| frame("contentBlockDelta", &json!({"contentBlockIndex": 1, "delta": {"toolUse": {"input": piece}}}));
    let mut events = vec![
        frame("messageStart", &json!({"role": "assistant"})),
        frame("contentBlockDelta", &json!({"contentBlockIndex": 0, "delta": {"text": "I look."}})),
        frame("contentBlockStop", &json!({"contentBlockIndex": 0})),
        frame(
            "contentBlockStart",
            &json!({"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "tooluse_1", "name": "weather"}}}),
        ),
    ];
    events.extend(pieces.iter().map(piece));
    events.extend([
        frame("contentBlockStop", &json!({"contentBlockIndex": 1})),
        frame("messageStop", &json!({"stopReason": "tool_use"})),
        frame(
            "metadata",
            &json!({"usage": {"inputTokens": 7, "outputTokens": 3, "totalTokens": 10}, "metrics": {"latencyMs": 1}}),
        ),
    ]);
    let whole = events.concat();
    // Once as it is, once cut wherever that falls.
    for n_bytes in [whole.len(), 7] {
        let script = Script::new()
            .head(200, &[("content-type", "application/vnd.amazon.eventstream"), ("transfer-encoding", "chunked")]);
        let script = whole.chunks(n_bytes).fold(script, |script, piece| script.chunk(piece)).end();
        let (reply, received) =
            called("bedrock", "aws: {region: us-east-1, access_key_id: AKIDEXAMPLE, secret_access_key: s}", script)
                .await;
        assert_eq!(reply, called_weather());
        assert_eq!(received.target, "/model/own-name/converse-stream");
        let signed = received.header("authorization").is_some_and(|value| value.starts_with("AWS4-HMAC-SHA256 "));
        assert!(signed, "{:?}", received.headers);
        let sent = received.json();
        assert_eq!(sent["toolConfig"]["tools"][0]["toolSpec"]["name"], "weather", "{sent}");
    }
}

/// A gateway before an upstream that answers in either of two languages, for each of them.
async fn in_both_languages() -> [(Upstream, Gateway); 2] {
    let answering = |config: fn(&str) -> String| async move {
        let upstream = Upstream::start().await;
        upstream.respond_with(|received| match received.target.ends_with("/messages") {
            true => anthropic::answer(received, "hello you"),
            false => openai::answer(received, "hello you"),
        });
        let gateway = Gateway::start(&config(&upstream.url())).await;
        (upstream, gateway)
    };
    [answering(openai_at).await, answering(anthropic_at).await]
}

#[tokio::test]
async fn chat_json() {
    for (_upstream, gateway) in in_both_languages().await {
        let reply = gateway.chat(&chat(json!({}))).await.json();
        assert_eq!(reply["object"], "chat.completion", "{reply}");
        let message = &reply["choices"][0]["message"];
        assert_eq!((&message["role"], &message["content"]), (&json!("assistant"), &json!("hello you")), "{reply}");
    }
}

#[tokio::test]
async fn chat_sse() {
    for (_upstream, gateway) in in_both_languages().await {
        let streamed = gateway.chat(&chat(json!({"stream": true}))).await;
        assert_eq!(streamed.header("content-type"), Some("text/event-stream; charset=utf-8"));
        let data: Vec<&str> = streamed.text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert!(data.len() > 3 && data.last() == Some(&"[DONE]"), "{}", streamed.text);
        let chunks = data[..data.len() - 1].iter().map(|data| serde_json::from_str::<Value>(data).expect("JSON"));
        let text: String = chunks
            .map(|chunk| {
                assert_eq!(chunk["object"], "chat.completion.chunk");
                chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned()
            })
            .collect();
        assert_eq!(text, "hello you");
    }
}
