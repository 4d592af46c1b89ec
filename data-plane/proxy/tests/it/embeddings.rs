//! `POST /v1/embeddings` as a client sees it, whatever the upstream speaks.

use gateway_fake::{Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Gateway, UPSTREAM_KEY, openai_at, provider_at, read};

fn openai_answer(n_vectors: usize) -> Value {
    let data: Vec<_> =
        (0..n_vectors).map(|at| json!({"object": "embedding", "index": at, "embedding": [0.5]})).collect();
    json!({"object": "list", "data": data, "model": "emb", "usage": {"prompt_tokens": 6, "total_tokens": 6}})
}

#[tokio::test]
async fn embeddings() {
    let upstream = Upstream::start().await;
    upstream.push(Script::json(200, &openai_answer(2)));
    let gateway = Gateway::start(&openai_at(&upstream.url())).await;
    let asked = json!({"model": "m", "input": ["a", "b"], "dimensions": 1, "user": "u", "anything": {"x": [1.0]}});
    let answer = read(gateway.post("/v1/embeddings", &asked)).await;
    assert_eq!((answer.status, answer.text), (200, openai_answer(2).to_string()), "the bytes pass");
    assert_eq!(answer.headers["x-gateway-llm-tokens-input"], "6");
    let received = upstream.request(0).await;
    assert_eq!(received.target, "/v1/embeddings");
    assert_eq!(received.header("authorization"), Some(format!("Bearer {UPSTREAM_KEY}").as_str()));
    let mut expected = asked;
    expected["model"] = "own-name".into();
    assert_eq!(received.json(), expected);
    let record = &gateway.records(1).await[0];
    assert_eq!((&record["dialect"], &record["lane"]), (&json!("openai-embeddings"), &json!("pass")));
    assert_eq!((&record["tokens"]["input"], &record["settled_by"]), (&json!(6), &json!("exact")), "{record}");
}

#[tokio::test]
async fn embeddings_to_ollama() {
    let upstream = Upstream::start().await;
    let vectors = json!([[0.1, -0.25], [1, 2]]);
    upstream.push(Script::json(200, &json!({"model": "nomic", "embeddings": vectors, "prompt_eval_count": 4})));
    let gateway = Gateway::start(&provider_at("ollama", &upstream.url(), "")).await;
    let asked = json!({"model": "up/nomic-embed-text-v2-moe", "input": ["a", "b"]});
    let answer = read(gateway.post("/v1/embeddings", &asked)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let json = answer.json();
    assert_eq!((&json["data"][1]["embedding"], &json["usage"]["prompt_tokens"]), (&vectors[1], &json!(4)));
    let received = upstream.request(0).await;
    assert_eq!(received.target, "/api/embed");
    assert_eq!(received.json(), json!({"model": "nomic-embed-text-v2-moe", "input": ["a", "b"]}));
}

#[tokio::test]
async fn each_provider_is_asked_where_it_has_them() {
    let flat = openai_answer(1);
    let cases = [
        ("openai", "/v1", "/v1/embeddings", flat.clone()),
        ("azure", "", "/openai/deployments/own-name/embeddings?api-version=2024-10-21", flat.clone()),
        ("azure", "/openai/v1", "/openai/v1/embeddings", flat.clone()),
        ("mistral", "/v1", "/v1/embeddings", flat.clone()),
        ("voyage", "/v1", "/v1/embeddings", flat.clone()),
        ("jina", "/v1", "/v1/embeddings", flat.clone()),
        ("perplexity", "", "/v1/embeddings", flat),
        ("cohere", "", "/v2/embed", json!({"embeddings": {"float": [[0.5]]}})),
        ("gemini", "", "/v1beta/models/own-name:batchEmbedContents", json!({"embeddings": [{"values": [0.5]}]})),
    ];
    for (kind, root, target, said) in cases {
        let upstream = Upstream::start().await;
        upstream.push(Script::json(200, &said));
        let gateway = Gateway::start(&provider_at(kind, &format!("{}{root}", upstream.url()), "")).await;
        let asked = json!({"model": "m", "input": "a", "encoding_format": "float"});
        let answer = read(gateway.post("/v1/embeddings", &asked)).await;
        assert_eq!(
            (answer.status, &answer.json()["data"][0]["embedding"]),
            (200, &json!([0.5])),
            "{kind}: {}",
            answer.text
        );
        assert_eq!(upstream.request(0).await.target, target, "{kind}");
    }
}

#[tokio::test]
async fn more_inputs_than_a_vendor_takes_at_once_are_asked_in_parts() {
    let upstream = Upstream::start().await;
    // Parts may reach the upstream in any order, so that each is answered by what it asks.
    let texts: Vec<String> = (0..250).map(|n| n.to_string()).collect();
    upstream.respond_with(|received| {
        let requests = received.json()["requests"].as_array().cloned().unwrap_or_default();
        let vector =
            |one: &Value| json!({"values": [one["content"]["parts"][0]["text"].as_str()?.parse::<u32>().ok()?]}).into();
        let vectors: Option<Vec<Value>> = requests.iter().map(vector).collect();
        Script::json(200, &json!({"embeddings": vectors, "usageMetadata": {"promptTokenCount": requests.len()}}))
    });
    let gateway = Gateway::start(&provider_at("gemini", &upstream.url(), "")).await;
    let asked = json!({"model": "m", "input": texts, "encoding_format": "float"});
    let answer = read(gateway.post("/v1/embeddings", &asked)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let json = answer.json();
    let told: Vec<_> = json["data"].as_array().expect("data").iter().map(|one| one["embedding"][0].as_u64()).collect();
    assert_eq!(told, (0..250).map(Some).collect::<Vec<_>>());
    assert_eq!(json["usage"]["prompt_tokens"], 250);
    let mut sizes: Vec<_> =
        upstream.requests().iter().map(|received| received.json()["requests"].as_array().map(Vec::len)).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [Some(50), Some(100), Some(100)]);
    assert_eq!(gateway.records(1).await[0]["attempts"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_in_openais_words() {
    let upstream = Upstream::start().await;
    let config = provider_at("anthropic", &upstream.url(), "");
    let gateway = Gateway::start(&config).await;
    let cases = [
        (json!({"model": "m", "input": "a"}), 400, "unsupported_parameter"),
        (json!({"model": "nobody", "input": "a"}), 404, "model_not_found"),
        (json!({"input": "a"}), 400, "invalid_request"),
    ];
    for (asked, status, code) in cases {
        let answer = read(gateway.post("/v1/embeddings", &asked)).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (status, &json!(code)), "{}", answer.text);
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_refusal_of_the_vendor_keeps_its_words() {
    let upstream = Upstream::start().await;
    upstream.push(Script::json(404, &json!({"id": "x", "message": "model 'own-name' not found"})));
    let gateway = Gateway::start(&provider_at("cohere", &upstream.url(), "")).await;
    let answer = read(gateway.post("/v1/embeddings", &json!({"model": "m", "input": "a"}))).await;
    assert_eq!((answer.status, &answer.json()["error"]["message"]), (404, &json!("model 'own-name' not found")));
}

#[tokio::test]
async fn what_nobody_counted_is_estimated_by_the_texts_alone() {
    let upstream = Upstream::start().await;
    upstream.push(Script::json(200, &json!({"embeddings": [{"values": vec![0.5; 100]}]})));
    let gateway = Gateway::start(&provider_at("gemini", &upstream.url(), "")).await;
    let asked = json!({"model": "m", "input": "twelve bytes"});
    let answer = read(gateway.post("/v1/embeddings", &asked)).await;
    assert_eq!(answer.json()["usage"], json!({"prompt_tokens": 3, "total_tokens": 3}), "{}", answer.text);
    let record = &gateway.records(1).await[0];
    let tokens = &record["tokens"];
    assert_eq!(
        (&record["settled_by"], &tokens["input"], &tokens["output"]),
        (&json!("estimated"), &json!(3), &json!(0))
    );
}
