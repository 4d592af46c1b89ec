//! The edited file: the next request uses it, streams in flight do not notice, a broken file changes nothing.

use gateway_fake::reply::openai;
use gateway_fake::{Gate, Script, Upstream};
use serde_json::json;

use crate::gateway::{Gateway, KEY, openai_at, read, within};

#[tokio::test]
async fn an_edit_is_used_by_the_next_request_and_a_broken_one_by_none() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let gate = Gate::new();
    first.push(Script::sse_gated(&openai::stream("x", "one two", 7), &gate));
    second.respond_with(|received| openai::answer(received, "from the second"));
    let gateway = Gateway::start(&openai_at(&first.url())).await;
    let streaming = json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "hi"}]});
    gate.release(1);
    let open = gateway.post("/v1/chat/completions", &streaming).send().await.expect("a head");

    let before = revision(&gateway).await;
    gateway.rewrite(&openai_at(&second.url()));
    within("the new revision", || async { (revision(&gateway).await > before).then_some(()) }).await;
    let plain = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    assert!(gateway.chat(&plain).await.text.contains("from the second"));

    let now = revision(&gateway).await;
    gateway.rewrite("providers:\n  - {name: up, kind: no-such-kind}\n");
    gateway.rewrite(&format!("{}  broken", openai_at(&second.url())));
    assert!(gateway.chat(&plain).await.text.contains("from the second"));
    gateway.rewrite(&openai_at(&second.url()).replace("own-name", "renamed"));
    within("the mended file", || async { (revision(&gateway).await > now).then_some(()) }).await;

    gate.open();
    let text = open.text().await.expect("the stream's end");
    assert!(text.ends_with("data: [DONE]\n\n"), "the open stream was untouched: {text}");
}

async fn revision(gateway: &Gateway) -> u64 {
    let health = read(gateway.client().get(gateway.url("/health"))).await;
    health.json()["revision"].as_u64().expect("a revision")
}

#[tokio::test]
async fn readiness_health_metrics_and_models() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "hello"));
    let gateway = Gateway::start(&openai_at(&upstream.url())).await;
    for path in ["/health", "/healthz", "/ready"] {
        assert_eq!(read(gateway.client().get(gateway.url(path))).await.status, 200, "{path}");
    }
    let models = read(gateway.client().get(gateway.url("/v1/models")).bearer_auth(KEY)).await.json();
    assert!(models["data"].as_array().is_some_and(|models| models.iter().any(|model| model["id"] == "m")), "{models}");
    assert_eq!(read(gateway.client().get(gateway.url("/v1/models"))).await.status, 401);
    gateway.chat(&json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]})).await;
    gateway.records(1).await;
    let metrics = read(gateway.client().get(gateway.url("/metrics"))).await.text;
    for name in [
        "gateway_requests_total{",
        "gateway_upstream_attempts_total{",
        "gateway_tokens_total{",
        "gateway_requests_in_flight",
        "gateway_usage_spool_bytes",
        "gateway_usage_dropped_total",
        "gateway_log_records_dropped_total",
        "gateway_request_duration_seconds",
        "gateway_overhead_seconds",
        "gateway_time_to_first_byte_seconds",
        "gateway_config_revision",
        "gateway_uptime_seconds",
    ] {
        assert!(metrics.contains(name), "no {name} in {metrics}");
    }
}

#[tokio::test]
async fn model_details_with_slash() {
    let config = openai_at("http://127.0.0.1:1").replace("name: m\n", "name: openai/gpt-5.2\n");
    let gateway = Gateway::start(&config).await;
    for path in ["/v1/models/openai/gpt-5.2", "/v1/models/openai%2Fgpt-5.2"] {
        let answer = read(gateway.client().get(gateway.url(path)).bearer_auth(KEY)).await;
        assert_eq!((answer.status, answer.json()["id"].as_str()), (200, Some("openai/gpt-5.2")), "{path}");
    }
    let unknown = read(gateway.client().get(gateway.url("/v1/models/openai/gpt-6")).bearer_auth(KEY)).await;
    assert_eq!(unknown.status, 404);
}
