//! How many tokens a request is: asked of vendors that say so, estimated for the others, never charged.

use gateway_fake::reply::openai;
use gateway_fake::{Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Gateway, anthropic_at, client, openai_at, provider_at, read};

fn question() -> Value {
    json!({
        "model": "m",
        "system": "Be terse.",
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "tools": [{"name": "look", "description": "Looks it up", "input_schema": {"type": "object", "properties": {}}}],
    })
}

#[tokio::test]
async fn the_vendor_of_the_same_dialect_is_asked_with_the_clients_own_bytes() {
    for path in ["/v1/messages/count_tokens", "/anthropic/v1/messages/count_tokens?beta=true"] {
        let upstream = Upstream::start().await;
        upstream.push(Script::json(200, &json!({"input_tokens": 588, "context_management": {"x": 1}})));
        let gateway = Gateway::start(&anthropic_at(&upstream.url())).await;
        let answer = read(gateway.post(path, &question())).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.json(), json!({"input_tokens": 588, "context_management": {"x": 1}}));
        assert_eq!(answer.header("x-gateway-token-count"), Some("exact"));
        let received = upstream.request(0).await;
        assert_eq!(received.target, "/v1/messages/count_tokens");
        let mut expected = question();
        expected["model"] = "own-name".into();
        assert_eq!(received.json(), expected);
    }
}

#[tokio::test]
async fn other_vendors_are_asked_in_their_own_words() {
    let cases = [
        ("gemini", "", "/v1beta/models/own-name:countTokens", json!({"totalTokens": 61}), "generateContentRequest"),
        ("bedrock", "aws: {region: us-east-1}", "/model/own-name/count-tokens", json!({"inputTokens": 61}), "input"),
        (
            "openai",
            "",
            "/responses/input_tokens",
            json!({"object": "response.input_tokens", "input_tokens": 61}),
            "tools",
        ),
    ];
    for (kind, more, target, said, member) in cases {
        let upstream = Upstream::start().await;
        upstream.push(Script::json(200, &said));
        let gateway = Gateway::start(&provider_at(kind, &upstream.url(), more)).await;
        let answer = read(gateway.post("/v1/messages/count_tokens", &question())).await;
        assert_eq!((answer.status, answer.json()), (200, json!({"input_tokens": 61})), "{kind}: {}", answer.text);
        assert_eq!(answer.header("x-gateway-token-count"), Some("exact"), "{kind}");
        let received = upstream.request(0).await;
        assert_eq!(received.target, target, "{kind}");
        let sent = received.json();
        assert!(!sent[member].is_null(), "{kind}: {sent}");
        for word in ["capital of France", "Be terse.", "Looks it up"] {
            assert!(sent.to_string().contains(word), "{kind}: no `{word}` in {sent}");
        }
        for word in ["max_tokens", "stream", "store", "generationConfig"] {
            assert!(!sent.to_string().contains(word), "{kind}: `{word}` in {sent}");
        }
    }
}

#[tokio::test]
async fn where_nobody_counts_it_is_an_estimate_and_says_so() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&openai_at(&upstream.url())).await;
    for (path, body) in [
        ("/v1/messages/count_tokens", question()),
        ("/v1/responses/input_tokens", json!({"model": "m", "input": "What is the capital of France?"})),
    ] {
        let answer = read(gateway.post(path, &body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let n_tokens = answer.json()["input_tokens"].as_u64().expect("a number");
        assert!((8..40).contains(&n_tokens), "{}", answer.text);
        assert_eq!(answer.header("x-gateway-token-count"), Some("estimate"));
    }
    assert_eq!(upstream.requests().len(), 0, "an estimate asks nobody");
}

/// No side door: a count passes every check that a reply passes, and leaves a record, with nothing charged.
#[tokio::test]
async fn counting_is_checked_and_recorded_like_a_reply_but_free() {
    let upstream = Upstream::start().await;
    upstream.push(Script::json(200, &json!({"input_tokens": 588})));
    upstream.push(Script::json(
        529,
        &json!({"type": "error", "error": {"type": "overloaded_error", "message": "too many"}}),
    ));
    let config = format!(
        "{}prices:\n  - {{name: p, provider: up, model: own-name, input_per_1m: 1000, output_per_1m: 1000}}\n\
         keys:\n  - {{name: test, secret: {}, limits: {{rpm: 2}}}}\n",
        anthropic_at(&upstream.url()),
        crate::gateway::KEY
    );
    let gateway = Gateway::start(&config).await;
    let path = "/v1/messages/count_tokens";
    let stranger = gateway.client().post(gateway.url(path)).json(&question());
    assert_eq!(read(stranger).await.json()["error"]["type"], "authentication_error");
    assert_eq!(read(gateway.post(path, &question())).await.status, 200);
    let overloaded = read(gateway.post(path, &question())).await;
    assert_eq!((overloaded.status, overloaded.json()["type"].as_str()), (529, Some("error")));
    let limited = read(gateway.post(path, &question())).await;
    assert_eq!(limited.status, 429, "{}", limited.text);
    let records = gateway.records(4).await;
    assert_eq!(records[1]["path"], path);
    assert_eq!(records[1]["settled_by"], "nothing");
    assert_eq!(
        (&records[1]["cost_nano_usd"], &records[1]["tokens"]["input"]),
        (&json!(0), &json!(0)),
        "{}",
        records[1]
    );
}

/// The row of the usage is by the vendor's own vocabulary where a limit needs it; the upstream says nothing of what it has used.
#[tokio::test]
async fn token_count_bpe() {
    // 3 for the reply's beginning, 4 around the message, and its own: as `tiktoken` counts them.
    let cases = [
        ("up", "o200k", "漢字かな交じり文とカタカナ。漢A漢B漢CDE", 3 + 4 + 20),
        ("gpt-4", "cl100k", "漢字かな交じり文とカタカナ。漢A漢B漢CDE", 3 + 4 + 25),
    ];
    for (model, vocabulary, text, expected) in cases {
        let upstream = Upstream::start().await;
        let mut silent = openai::reply(model, "yes", 0);
        silent.as_object_mut().expect("an object").remove("usage");
        upstream.push(Script::json(200, &silent));
        let yaml = openai_at(&upstream.url()).replace("model: own-name", &format!("model: {model}"));
        let yaml = yaml.replace("kind: openai-compatible", "kind: openai");
        let limited = "keys:\n  - {name: limited, secret: sk-limited-0123456789abcdef, limits: {tpm: 100000}}\n";
        let gateway = Gateway::start(&format!("{yaml}\n{limited}")).await;
        let question = json!({"model": "m", "messages": [{"role": "user", "content": text}]});
        let asked = client().post(gateway.url("/v1/chat/completions")).bearer_auth("sk-limited-0123456789abcdef");
        let answer = read(asked.json(&question)).await;
        assert_eq!(answer.status, 200, "{vocabulary}: {}", answer.text);
        let log = gateway.records(1).await.remove(0);
        assert_eq!(log["tokens"]["input"], expected, "{vocabulary}: {log}");
        let told = read(client().get(gateway.url("/statsz"))).await.json();
        assert_eq!(told["models"]["m"]["input_tokens"], expected, "{vocabulary}: {}", told["models"]);
        gateway.stop().await;
    }
}
