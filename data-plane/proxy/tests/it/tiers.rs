//! Service tiers: what the reply says is what is charged, in both lanes, streams included. And what nobody has a price for.

use bytes::Bytes;
use gateway_fake::{Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Gateway, provider_at, read};

const PRICES: &str = "prices:
  - {provider: up, model: own-name, input_per_1m: 10, output_per_1m: 10, tiers: {priority: {percent: 200}, flex: {input_per_1m: 5}}}
models:";

/// What the same question costs in nano-dollars: a hundred tokens in, ten out.
const COSTS: [(&str, &str, u64); 4] = [
    ("priority", "priority", 2_200_000),
    ("flex", "flex", 600_000),
    ("default", "", 1_100_000),
    ("scale", "", 1_100_000),
];

fn question(stream: bool) -> Value {
    json!({"model": "m", "stream": stream, "service_tier": "auto", "max_tokens": 10, "messages": [{"role": "user", "content": "hello"}]})
}

fn chat(tier: &str) -> Value {
    json!({"id": "x", "object": "chat.completion", "created": 1, "model": "own-name",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}, "service_tier": tier})
}

fn chat_stream(tier: &str) -> Script {
    let chunk = |more: Value| {
        let mut chunk = json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "own-name", "service_tier": tier});
        chunk.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        Bytes::from(format!("data: {chunk}\n\n"))
    };
    let choice =
        |delta: Value, finish: Value| json!({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
    Script::sse(&[
        chunk(choice(json!({"role": "assistant", "content": "hi"}), Value::Null)),
        chunk(choice(json!({}), json!("stop"))),
        chunk(json!({"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}})),
        Bytes::from_static(b"data: [DONE]\n\n"),
    ])
}

fn message(tier: &str) -> Value {
    json!({"id": "m", "type": "message", "role": "assistant", "model": "own-name", "content": [{"type": "text", "text": "hi"}],
        "stop_reason": "end_turn", "stop_sequence": null,
        "usage": {"input_tokens": 100, "output_tokens": 10, "service_tier": tier}})
}

#[tokio::test]
async fn the_tier_of_the_reply_is_charged() {
    let upstream = Upstream::start().await;
    let yaml = |kind: &str, url: &str| provider_at(kind, url, "").replace("models:", PRICES);
    let openai = Gateway::start(&yaml("openai-compatible", &format!("{}/v1", upstream.url()))).await;
    let anthropic = Gateway::start(&yaml("anthropic", &upstream.url())).await;
    for (at, (said, tier, cost)) in COSTS.into_iter().enumerate() {
        let dollars = format!("0.{:06}", cost / 1_000);
        upstream.push(Script::json(200, &chat(said)));
        let passed = openai.chat(&question(false)).await;
        assert_eq!(passed.header("x-gateway-cost-usd"), Some(dollars.as_str()), "{said}: {}", passed.text);
        upstream.push(chat_stream(said));
        assert_eq!(openai.chat(&question(true)).await.status, 200);
        // In another dialect than the upstream's.
        upstream.push(Script::json(200, &chat(said)));
        let asked = json!({"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "hello"}]});
        let translated = read(openai.post("/v1/messages", &asked)).await;
        assert_eq!(translated.header("x-gateway-cost-usd"), Some(dollars.as_str()), "{said}: {}", translated.text);
        upstream.push(chat_stream(said));
        let mut streamed = asked.clone();
        streamed["stream"] = json!(true);
        assert_eq!(read(openai.post("/v1/messages", &streamed)).await.status, 200);
        for record in openai.records(4 * (at + 1)).await.iter().skip(4 * at) {
            assert_eq!((&record["tier"], &record["cost_nano_usd"]), (&json!(tier), &json!(cost)), "{said}: {record}");
        }
        upstream.push(Script::json(200, &message(said)));
        let native = read(anthropic.post("/v1/messages", &asked)).await;
        assert_eq!(native.header("x-gateway-cost-usd"), Some(dollars.as_str()), "{said}: {}", native.text);
    }
    openai.stop().await;
    anthropic.stop().await;
}

/// Gemini tells it in the head of its reply; where the body says it as well, that counts.
#[tokio::test]
async fn the_tier_in_the_head_of_a_reply_is_charged() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&provider_at("gemini", &upstream.url(), "").replace("models:", PRICES)).await;
    let reply = |said: Option<&str>| {
        json!({"candidates": [{"content": {"parts": [{"text": "hi"}], "role": "model"}, "index": 0, "finishReason": "STOP"}],
            "modelVersion": "own-name", "responseId": "x", "usageMetadata": {"promptTokenCount": 100,
            "candidatesTokenCount": 10, "totalTokenCount": 110, "serviceTier": said}})
    };
    let script = |kind: &str, tier: &str, body: String| {
        Script::new().head(200, &[("content-type", kind), ("x-gemini-service-tier", tier)]).write(body).close()
    };
    let whole = |tier: &str, said| script("application/json", tier, reply(said).to_string());
    let streamed = |tier: &str| script("text/event-stream", tier, format!("data: {}\r\n\r\n", reply(None)));
    let native = json!({"contents": [{"role": "user", "parts": [{"text": "hello"}]}]});
    for (at, (said, tier, cost)) in COSTS.into_iter().enumerate() {
        for (path, question, script) in [
            ("/v1beta/models/m:generateContent", &native, whole(said, None)),
            ("/v1beta/models/m:streamGenerateContent?alt=sse", &native, streamed(said)),
            ("/v1/chat/completions", &question(false), whole(said, None)),
            ("/v1/chat/completions", &question(true), streamed(said)),
        ] {
            upstream.push(script);
            let answer = read(gateway.post(path, question)).await;
            assert_eq!(answer.status, 200, "{path} {said}: {}", answer.text);
        }
        for record in gateway.records(4 * (at + 1)).await.iter().skip(4 * at) {
            assert_eq!((&record["tier"], &record["cost_nano_usd"]), (&json!(tier), &json!(cost)), "{said}: {record}");
        }
    }
    upstream.push(whole("priority", Some("flex")));
    assert_eq!(read(gateway.post("/v1beta/models/m:generateContent", &native)).await.status, 200);
    assert_eq!(gateway.records(4 * COSTS.len() + 1).await.last().expect("a record")["tier"], "flex");
    gateway.stop().await;
}

#[tokio::test]
async fn what_nobody_has_a_price_for_is_flagged_where_that_is_wanted() {
    let upstream = Upstream::start().await;
    let yaml = provider_at("openai-compatible", &format!("{}/v1", upstream.url()), "");
    for (settings, flag) in [("", None), ("settings: {unpriced: flag}\n", Some("true"))] {
        let gateway = Gateway::start(&format!("{yaml}{settings}")).await;
        for (script, stream) in [(Script::json(200, &chat("default")), false), (chat_stream("default"), true)] {
            upstream.push(script);
            let answer = gateway.chat(&question(stream)).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            assert_eq!((answer.header("x-gateway-unpriced"), answer.header("x-gateway-cost-usd")), (flag, None));
        }
        for record in gateway.records(2).await {
            assert_eq!(record["priced"], false, "{record}");
        }
        let metrics = read(gateway.client().get(gateway.url("/metrics"))).await.text;
        let line = metrics.lines().find(|line| line.starts_with("gateway_unpriced_requests_total")).expect("a counter");
        assert!(line.ends_with(" 2") && line.contains("up"), "{line}");
        gateway.stop().await;
    }
    let priced = Gateway::start(&format!("{}settings: {{unpriced: flag}}\n", yaml.replace("models:", PRICES))).await;
    upstream.push(Script::json(200, &chat("default")));
    assert_eq!(priced.chat(&question(false)).await.header("x-gateway-unpriced"), None);
    priced.stop().await;
}
