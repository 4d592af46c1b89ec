//! Legacy completions: passed to upstreams that have them, translated to chat for the others, and the other way about.

use gateway_fake::reply::{anthropic, openai};
use gateway_fake::{Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Gateway, anthropic_at, openai_at, provider_at, read};
use crate::wires::{TEXT, completions};

fn whole() -> Value {
    let choice = |index: u32| json!({"text": "b", "index": index, "logprobs": null, "finish_reason": "stop"});
    json!({"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "own-name",
        "choices": [choice(0), choice(1)], "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}})
}

#[tokio::test]
async fn legacy_completions() {
    let upstream = Upstream::start().await;
    upstream.push(Script::json(200, &anthropic::reply("own-name", "hello", 7)));
    upstream.push(Script::sse(&anthropic::stream("own-name", "ha ha", 7)));
    let gateway = Gateway::start(&anthropic_at(&upstream.url())).await;
    let ask = json!({"model": "m", "prompt": ["Once upon"], "max_tokens": 9, "stop": "\n"});
    let answer = read(gateway.post("/v1/completions", &ask)).await;
    let reply = answer.json();
    assert_eq!((answer.status, &reply["object"]), (200, &json!("text_completion")), "{}", answer.text);
    let choice = json!({"text": "hello", "index": 0, "logprobs": null, "finish_reason": "stop"});
    assert_eq!((&reply["choices"], &reply["usage"]["prompt_tokens"]), (&json!([choice]), &json!(7)));
    let sent = upstream.request(0).await.json();
    assert_eq!(sent["messages"][0]["role"], "user");
    assert!(sent["messages"].to_string().contains("Once upon"), "{sent}");
    let ask = json!({"model": "m", "prompt": "Ha", "stream": true, "stream_options": {"include_usage": true}});
    let answer = read(gateway.post("/v1/completions", &ask)).await;
    let chunks: Vec<Value> =
        answer.text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect();
    let text: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["text"].as_str()).collect();
    assert_eq!(text, "ha ha", "{}", answer.text);
    assert!(chunks.iter().all(|chunk| chunk["object"] == "text_completion"), "{}", answer.text);
    assert_eq!(chunks.last().map(|last| &last["usage"]["prompt_tokens"]), Some(&json!(7)), "{}", answer.text);
    assert!(answer.text.ends_with("data: [DONE]\n\n"));
}

/// Tokens, several prompts and the like are the vendor's own business where it speaks the dialect.
#[tokio::test]
async fn an_upstream_that_has_completions_gets_the_clients_bytes() {
    let upstream = Upstream::start().await;
    upstream.push(Script::json(200, &whole()));
    upstream.push(Script::sse(&completions()));
    upstream.push(Script::json(404, &openai::error("invalid_request_error", "no such model")));
    // A quirk of its chat does not matter here.
    let config = openai_at(&upstream.url()).replace("retry:", "quirks: [no_tools, max_tokens_name], retry:");
    let gateway = Gateway::start(&config).await;
    let ask = json!({"model": "m", "prompt": [[1, 2], [3]], "echo": true, "best_of": 3, "suffix": "x"});
    let answer = read(gateway.post("/v1/completions", &ask)).await;
    assert_eq!((answer.status, answer.json()), (200, whole()));
    let received = upstream.request(0).await;
    assert_eq!((received.target.as_str(), &received.json()["prompt"]), ("/v1/completions", &ask["prompt"]));
    assert_eq!(received.json()["model"], "own-name");
    let streamed = read(gateway.post("/v1/completions", &json!({"model": "m", "prompt": [7], "stream": true}))).await;
    assert_eq!(upstream.request(1).await.json()["stream_options"], json!({"include_usage": true}));
    assert!(!streamed.text.contains("usage") && streamed.text.ends_with("data: [DONE]\n\n"), "{}", streamed.text);
    let failed = read(gateway.post("/v1/completions", &json!({"model": "m", "prompt": "x"}))).await;
    assert_eq!((failed.status, &failed.json()["error"]["message"]), (404, &json!("no such model")));
    let records = gateway.records(3).await;
    for (record, input) in records.iter().zip([5, 7]) {
        assert_eq!((record["lane"].as_str(), record["dialect"].as_str()), (Some("pass"), Some("openai-completions")));
        assert_eq!((&record["tokens"]["input"], record["settled_by"].as_str()), (&json!(input), Some("exact")));
    }
}

#[tokio::test]
async fn what_no_chat_upstream_can_do_is_refused_before_it_is_asked() {
    let upstream = Upstream::start().await;
    let lacking = openai_at(&upstream.url()).replace("retry:", "quirks: [no_completions], retry:");
    for config in [anthropic_at(&upstream.url()), lacking] {
        let gateway = Gateway::start(&config).await;
        for (member, value, param) in [
            ("prompt", json!(["a", "b"]), "prompt"),
            ("prompt", json!([1, 2]), "prompt"),
            ("echo", json!(true), "echo"),
            ("suffix", json!("x"), "suffix"),
        ] {
            let mut ask = json!({"model": "m", "prompt": "a"});
            ask[member] = value;
            let answer = read(gateway.post("/v1/completions", &ask)).await;
            assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!(param)), "{}", answer.text);
            assert_eq!(answer.json()["error"]["code"], "unsupported_parameter");
        }
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_target_that_can_is_asked_after_one_that_cannot() {
    let upstream = Upstream::start().await;
    upstream.push(Script::json(200, &whole()));
    let url = upstream.url();
    let config = format!(
        "providers:\n  - {{name: talks, kind: anthropic, base_url: \"{url}\", api_key: k, allow_private_networks: true}}\n  \
         - {{name: completes, kind: openai-compatible, base_url: \"{url}/v1\", api_key: k, allow_private_networks: true}}\n\
         models:\n  - name: m\n    targets: [{{provider: talks, model: a, priority: 0}}, {{provider: completes, model: b, priority: 1}}]\n"
    );
    let gateway = Gateway::start(&config).await;
    let answer = read(gateway.post("/v1/completions", &json!({"model": "m", "prompt": ["a", "b"]}))).await;
    assert_eq!((answer.status, answer.header("x-gateway-provider")), (200, Some("completes")), "{}", answer.text);
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_chat_client_on_a_server_that_has_nothing_else() {
    let upstream = Upstream::start().await;
    upstream.push(Script::sse(&completions()));
    let gateway = Gateway::start(&provider_at("openai-completions", &format!("{}/v1", upstream.url()), "")).await;
    let messages = json!([{"role": "system", "content": "Be terse."}, {"role": "user", "content": "Hi"}]);
    let answer = gateway.chat(&json!({"model": "m", "messages": messages, "stream": true})).await;
    let text: String = answer
        .text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(text, TEXT, "{}", answer.text);
    let received = upstream.request(0).await;
    assert_eq!(received.target, "/v1/completions");
    assert_eq!(received.json()["prompt"], "System: Be terse.\n\nUser: Hi\n\nAssistant:");
}
