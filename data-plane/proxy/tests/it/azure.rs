//! Azure OpenAI as a client sees it: its URLs, its credentials, its filter results, its errors.

use bytes::Bytes;
use gateway_fake::reply::openai;
use gateway_fake::{Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Gateway, UPSTREAM_KEY, provider_at, read};

fn ask(stream: bool) -> Value {
    json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hi"}]})
}

/// A stream as Azure begins it: a chunk about the prompt, with nothing else in it.
fn stream() -> Vec<Bytes> {
    let filter =
        json!([{"prompt_index": 0, "content_filter_results": {"hate": {"filtered": false, "severity": "safe"}}}]);
    let first =
        json!({"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": filter});
    let mut events = vec![Bytes::from(format!("data: {first}\n\n"))];
    events.extend(openai::stream("gpt-own", "hello world", 7));
    events
}

#[tokio::test]
async fn azure() {
    let version = "azure: {api_version: 2025-01-01-preview}";
    let entra = "azure: {api_version: 2025-01-01-preview, auth: entra}";
    let bearer = format!("Bearer {UPSTREAM_KEY}");
    let cases = [
        ("", version, "/openai/deployments/own-name/chat/completions?api-version=2025-01-01-preview", false),
        ("", "", "/openai/deployments/own-name/chat/completions?api-version=2024-10-21", false),
        ("/models", version, "/models/chat/completions?api-version=2025-01-01-preview", false),
        ("/openai/v1", "", "/openai/v1/chat/completions", false),
        ("/openai/v1", entra, "/openai/v1/chat/completions?api-version=2025-01-01-preview", true),
    ];
    for (root, more, target, is_entra) in cases {
        let upstream = Upstream::start().await;
        upstream.push(Script::json(200, &openai::reply("gpt-own", "hello", 7)));
        let gateway = Gateway::start(&provider_at("azure", &format!("{}{root}", upstream.url()), more)).await;
        let answer = gateway.chat(&ask(false)).await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text);
        let received = upstream.request(0).await;
        assert_eq!(received.target, target);
        let (key, token) = if is_entra { (None, Some(bearer.as_str())) } else { (Some(UPSTREAM_KEY), None) };
        assert_eq!((received.header("api-key"), received.header("authorization")), (key, token), "{target}");
    }
}

#[tokio::test]
async fn azures_first_chunk_troubles_nobody() {
    let upstream = Upstream::start().await;
    upstream.push(Script::sse(&stream()));
    upstream.push(Script::sse(&stream()));
    let gateway = Gateway::start(&provider_at("azure", &upstream.url(), "")).await;
    let passed = gateway.chat(&ask(true)).await;
    assert!(passed.text.starts_with("data: {\"choices\":[],"), "{}", passed.text);
    assert!(passed.text.contains("prompt_filter_results") && passed.text.ends_with("data: [DONE]\n\n"));
    let mut question = ask(true);
    question["max_tokens"] = 9.into();
    let translated = read(gateway.post("/v1/messages", &question)).await.text;
    let starts: Vec<&str> = translated.lines().filter(|line| line.contains("\"type\":\"message_start\"")).collect();
    assert!(starts.len() == 1 && starts[0].contains("gpt-own"), "{translated}");
    assert!(translated.contains("hello") && translated.contains("message_stop"), "{translated}");
    for record in gateway.records(2).await {
        assert_eq!((&record["tokens"]["input"], record["ending"].as_str()), (&json!(7), Some("finished")));
    }
}

#[tokio::test]
async fn azures_errors_keep_their_words() {
    let filtered = json!({"error": {"message": "The response was filtered", "type": null, "param": "prompt",
        "code": "content_filter", "status": 400, "innererror": {"code": "ResponsibleAIPolicyViolation"}}});
    let cases = [
        (400, filtered, 400, "content_filter", "The response was filtered"),
        (
            404,
            json!({"error": {"code": "DeploymentNotFound", "message": "no such deployment"}}),
            404,
            "DeploymentNotFound",
            "no such deployment",
        ),
        (401, json!({"statusCode": 401, "message": "Access denied"}), 401, "upstream_credential", "Access denied"),
        (
            429,
            json!({"error": {"code": "429", "message": "Please retry after 26 seconds."}}),
            429,
            "429",
            "Please retry after 26 seconds.",
        ),
    ];
    for (status, body, told, code, message) in cases {
        let upstream = Upstream::start().await;
        upstream.push(Script::json(status, &body));
        let gateway = Gateway::start(&provider_at("azure", &upstream.url(), "")).await;
        let answer = gateway.chat(&ask(false)).await;
        let error = &answer.json()["error"];
        assert_eq!(
            (answer.status, &error["code"], &error["message"]),
            (told, &json!(code), &json!(message)),
            "{}",
            answer.text
        );
        assert!(error["type"].is_string(), "{}", answer.text);
    }
}
