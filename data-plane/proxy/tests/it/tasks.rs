//! What is neither a conversation nor embeddings: reranking, moderations, pictures, speech.

use bytes::Bytes;
use gateway_fake::{Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Gateway, openai_at, provider_at, read};

fn question() -> Value {
    json!({"model": "m", "query": "q", "documents": ["a", "b"], "top_n": 1})
}

/// A price of the one model, and what comes behind it.
fn priced(rates: &str) -> String {
    format!("prices:\n  - {{provider: up, model: own-name, {rates}}}\nmodels:")
}

#[tokio::test]
async fn rerank() {
    let upstream = Upstream::start().await;
    let said = json!({"id": "i", "results": [{"index": 1, "relevance_score": 0.5}],
        "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}});
    upstream.push(Script::json(200, &said));
    upstream.push(Script::json(200, &said));
    let price = priced("per_1k_searches: 2");
    let gateway = Gateway::start(&provider_at("cohere", &upstream.url(), "").replace("models:", &price)).await;
    let passed = read(gateway.post("/v2/rerank", &question())).await;
    assert_eq!((passed.status, passed.text.as_str()), (200, said.to_string().as_str()), "the bytes pass");
    let translated = read(gateway.post("/v1/rerank", &question())).await;
    assert_eq!(translated.status, 200, "{}", translated.text);
    for answer in [&passed, &translated] {
        assert_eq!(answer.header("x-gateway-cost-usd"), Some("0.002000"));
    }
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
        let charged = (&record["units"]["searches"], &record["priced"], &record["cost_nano_usd"]);
        assert_eq!(charged, (&json!(1), &json!(true), &json!(2_000_000)), "{record}");
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
    let price = priced("input_per_1m: 5, output_per_1m: 10, output_image_per_1m: 40");
    let gateway = Gateway::start(&openai_at(&upstream.url()).replace("models:", &price)).await;
    let answer = read(gateway.post("/v1/images/generations", &json!({"model": "m", "prompt": "a cat"}))).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, said.to_string().as_str()));
    assert_eq!(answer.header("x-gateway-cost-usd"), Some("0.010950"));
    assert_eq!(upstream.request(0).await.target, "/v1/images/generations");
    let record = &gateway.records(1).await[0];
    let tokens = &record["tokens"];
    assert_eq!((&tokens["input"], &tokens["output"], &tokens["output_image"]), (&json!(14), &json!(272), &json!(272)));
    let charged = (&record["units"]["pictures_made"], &record["cost_nano_usd"]);
    assert_eq!(charged, (&json!(1), &json!(14 * 5_000 + 272 * 40_000)), "{record}");
}

/// However large the reply is, and whether or not its tokens are counted.
#[tokio::test]
async fn images_are_charged_by_the_piece() {
    let picture = |n_bytes: usize| json!({"b64_json": "A".repeat(n_bytes)});
    for (pictures, cost) in [
        (vec![json!({"url": "https://x"}), json!({"url": "https://y", "b64_json": null})], 80_000_000),
        (vec![picture(2 << 20), picture(2 << 20), picture(1 << 20)], 120_000_000),
    ] {
        let upstream = Upstream::start().await;
        let said = json!({"created": 1, "data": pictures});
        upstream.push(Script::json(200, &said));
        let price = priced("per_image: 0.04");
        let gateway = Gateway::start(&openai_at(&upstream.url()).replace("models:", &price)).await;
        let asked = json!({"model": "m", "prompt": "a cat", "n": 3});
        let answer = read(gateway.post("/v1/images/generations", &asked)).await;
        assert_eq!((answer.status, answer.json() == said), (200, true));
        let record = &gateway.records(1).await[0];
        let charged = (&record["units"]["pictures_made"], &record["settled_by"], &record["cost_nano_usd"]);
        assert_eq!(charged, (&json!(pictures.len()), &json!("exact"), &json!(cost)), "{record}");
    }
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
    let record = &gateway.records(1).await[0];
    assert_eq!(
        (&record["tokens"]["output_image"], &record["units"]["pictures_made"]),
        (&json!(5), &json!(1)),
        "{record}"
    );
}

#[tokio::test]
async fn speech() {
    let upstream = Upstream::start().await;
    let sound: Vec<u8> = (0..200_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    upstream.push(Script::text(200, "audio/mpeg", sound.clone()));
    let price = priced("per_1m_characters: 15");
    let gateway = Gateway::start(&openai_at(&upstream.url()).replace("models:", &price)).await;
    let asked = json!({"model": "m", "input": "hëllo", "voice": "alloy"});
    let response = gateway.post("/v1/audio/speech", &asked).send().await.expect("an answer");
    assert_eq!(response.headers()["content-type"], "audio/mpeg");
    assert_eq!(response.headers()["x-gateway-cost-usd"], "0.000075");
    assert_eq!(response.bytes().await.expect("all of it"), sound);
    let record = &gateway.records(1).await[0];
    assert_eq!((&record["ending"], &record["tokens"]["output"]), (&json!("finished"), &json!(0)), "{record}");
    // What the request says is charged, whatever came back.
    let charged = (&record["units"]["characters"], &record["settled_by"], &record["cost_nano_usd"]);
    assert_eq!(charged, (&json!(5), &json!("exact"), &json!(75_000)), "{record}");
}

/// A price by tokens says nothing of a reply that counts none: the cost is not known, and not zero.
#[tokio::test]
async fn speech_without_a_price_for_it_is_not_free() {
    let upstream = Upstream::start().await;
    upstream.push(Script::text(200, "audio/mpeg", "sound"));
    let events = "data: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":2,\"output_tokens\":10}}\n\n";
    upstream.push(Script::text(200, "text/event-stream", events));
    let price = priced("input_per_1m: 1, output_audio_per_1m: 12");
    let gateway = Gateway::start(&openai_at(&upstream.url()).replace("models:", &price)).await;
    for (stream_format, cost) in [("audio", None), ("sse", Some(2_000 + 120_000))] {
        let asked = json!({"model": "m", "input": "hello", "voice": "alloy", "stream_format": stream_format});
        assert_eq!(read(gateway.post("/v1/audio/speech", &asked)).await.status, 200);
        let n_done = if cost.is_none() { 1 } else { 2 };
        let record = gateway.records(n_done).await.swap_remove(n_done - 1);
        assert_eq!(
            (&record["priced"], &record["units"]["characters"]),
            (&json!(cost.is_some()), &json!(5)),
            "{record}"
        );
        assert_eq!(record["cost_nano_usd"], json!(cost.unwrap_or(0)), "{record}");
    }
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
