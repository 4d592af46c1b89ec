//! What is neither a conversation nor embeddings: reranking, moderations, pictures, speech.

use bytes::Bytes;
use gateway_fake::{Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Gateway, openai_at, provider_at, read};

fn question() -> Value {
    json!({"model": "m", "query": "q", "documents": ["a", "b"], "top_n": 1})
}

#[tokio::test]
async fn rerank() {
    let upstream = Upstream::start().await;
    let said = json!({"id": "i", "results": [{"index": 1, "relevance_score": 0.5}],
        "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}});
    upstream.push(Script::json(200, &said));
    upstream.push(Script::json(200, &said));
    let gateway = Gateway::start(&provider_at("cohere", &upstream.url(), "")).await;
    let passed = read(gateway.post("/v2/rerank", &question())).await;
    assert_eq!((passed.status, passed.text), (200, said.to_string()), "the bytes pass");
    let translated = read(gateway.post("/v1/rerank", &question())).await;
    assert_eq!(translated.status, 200, "{}", translated.text);
    assert_eq!(translated.json()["results"], said["results"]);
    for at in 0..2 {
        let received = upstream.request(at).await;
        let mut expected = question();
        expected["model"] = "own-name".into();
        assert_eq!((received.target.as_str(), received.json()), ("/v2/rerank", expected));
    }
    for (record, (dialect, lane)) in
        gateway.records(2).await.iter().zip([("cohere-rerank", "pass"), ("jina-rerank", "translate")])
    {
        assert_eq!((&record["dialect"], &record["lane"]), (&json!(dialect), &json!(lane)));
        // What is charged by the search has no tokens, and that is not an estimate.
        assert_eq!((&record["settled_by"], &record["tokens"]["input"]), (&json!("exact"), &json!(0)), "{record}");
    }
}

#[tokio::test]
async fn rerank_of_other_vendors() {
    let voyage =
        json!({"object": "list", "data": [{"index": 1, "relevance_score": 0.5}], "usage": {"total_tokens": 7}});
    let jina = json!({"model": "x", "results": [{"index": 1, "relevance_score": 0.5}], "usage": {"total_tokens": 7}});
    for (kind, said) in [("voyage", voyage), ("jina", jina.clone()), ("openai-compatible", jina)] {
        let upstream = Upstream::start().await;
        upstream.push(Script::json(200, &said));
        let gateway = Gateway::start(&provider_at(kind, &format!("{}/v1", upstream.url()), "")).await;
        let answer = read(gateway.post("/v1/rerank", &question())).await;
        assert_eq!((answer.status, &answer.json()["results"][0]["index"]), (200, &json!(1)), "{kind}: {}", answer.text);
        assert_eq!(upstream.request(0).await.target, "/v1/rerank", "{kind}");
        assert_eq!(gateway.records(1).await[0]["tokens"]["input"], 7, "{kind}");
    }
}

#[tokio::test]
async fn moderations() {
    let upstream = Upstream::start().await;
    let said = json!({"id": "modr-1", "model": "omni-moderation-latest", "results": [{"flagged": false}]});
    upstream.push(Script::json(200, &said));
    let gateway = Gateway::start(&openai_at(&upstream.url())).await;
    let answer = read(gateway.post("/v1/moderations", &json!({"model": "m", "input": "hello"}))).await;
    assert_eq!((answer.status, answer.text), (200, said.to_string()));
    let received = upstream.request(0).await;
    assert_eq!(received.target, "/v1/moderations");
    assert_eq!(received.json(), json!({"model": "own-name", "input": "hello"}));
}

#[tokio::test]
async fn images() {
    let upstream = Upstream::start().await;
    let said =
        json!({"created": 1, "data": [{"b64_json": "aGk="}], "usage": {"input_tokens": 14, "output_tokens": 272}});
    upstream.push(Script::json(200, &said));
    let gateway = Gateway::start(&openai_at(&upstream.url())).await;
    let answer = read(gateway.post("/v1/images/generations", &json!({"model": "m", "prompt": "a cat"}))).await;
    assert_eq!((answer.status, answer.text), (200, said.to_string()));
    assert_eq!(upstream.request(0).await.target, "/v1/images/generations");
    let tokens = &gateway.records(1).await[0]["tokens"];
    assert_eq!((&tokens["input"], &tokens["output"]), (&json!(14), &json!(272)));
}

#[tokio::test]
async fn pictures_that_stream_go_on_as_they_come() {
    let upstream = Upstream::start().await;
    let partial = Bytes::from("event: image_generation.partial_image\ndata: {\"b64_json\":\"YQ==\"}\n\n");
    let done = json!({"b64_json": "YWI=", "usage": {"input_tokens": 3, "output_tokens": 5}});
    let done = Bytes::from(format!("event: image_generation.completed\ndata: {done}\n\n"));
    upstream.push(Script::sse(&[partial.clone(), done.clone()]));
    let gateway = Gateway::start(&openai_at(&upstream.url())).await;
    let asked = json!({"model": "m", "prompt": "a cat", "stream": true, "partial_images": 1});
    let answer = read(gateway.post("/v1/images/generations", &asked)).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream; charset=utf-8")));
    assert_eq!(answer.text.as_bytes(), [partial, done].concat());
    assert_eq!(gateway.records(1).await[0]["tokens"]["output"], 5);
}

#[tokio::test]
async fn speech() {
    let upstream = Upstream::start().await;
    let sound: Vec<u8> = (0..200_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    upstream.push(Script::text(200, "audio/mpeg", sound.clone()));
    let gateway = Gateway::start(&openai_at(&upstream.url())).await;
    let asked = json!({"model": "m", "input": "hello", "voice": "alloy"});
    let response = gateway.post("/v1/audio/speech", &asked).send().await.expect("an answer");
    assert_eq!(response.headers()["content-type"], "audio/mpeg");
    assert_eq!(response.bytes().await.expect("all of it"), sound);
    let record = &gateway.records(1).await[0];
    assert_eq!((&record["ending"], &record["tokens"]["output"]), (&json!("finished"), &json!(0)), "{record}");
}

#[tokio::test]
async fn speech_that_is_cut_is_not_called_whole() {
    let upstream = Upstream::start().await;
    let head = Script::new().head(200, &[("content-type", "audio/mpeg"), ("content-length", "1000")]);
    upstream.push(head.write("only this").close());
    let gateway = Gateway::start(&openai_at(&upstream.url())).await;
    let response = gateway.post("/v1/audio/speech", &json!({"model": "m", "input": "a", "voice": "b"})).send().await;
    assert!(response.expect("a head").bytes().await.is_err());
    assert_eq!(gateway.records(1).await[0]["ending"], "upstream_cut");
}

#[tokio::test]
async fn a_provider_without_conversations_is_not_asked_for_one() {
    let upstream = Upstream::start().await;
    for kind in ["voyage", "jina"] {
        let gateway = Gateway::start(&provider_at(kind, &format!("{}/v1", upstream.url()), "")).await;
        let refused = gateway.chat(&json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]})).await;
        assert_eq!(refused.status, 400, "{}", refused.text);
        assert!(refused.text.contains("`up` has no conversations"), "{}", refused.text);
    }
    assert!(upstream.requests().is_empty());
}
