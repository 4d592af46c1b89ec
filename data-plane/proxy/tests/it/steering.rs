//! What clients ask of the gateway by header, and what its own headers tell them.

use std::time::Duration;

use gateway_fake::reply::openai;
use gateway_fake::{Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway, KEY, openai_at, read};

/// Two upstreams that answer everything, a model with both as targets, the second as its fallback, routes by header.
async fn two() -> (Upstream, Upstream, Gateway) {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    for upstream in [&first, &second] {
        upstream.respond_with(|received| openai::answer(received, "hello"));
    }
    let gateway = Gateway::start(&config(&first.url(), &second.url())).await;
    (first, second, gateway)
}

fn config(first: &str, second: &str) -> String {
    format!(
        "providers:
  - {{name: a, kind: openai-compatible, base_url: \"{first}/v1\", allow_private_networks: true, retry: {{max_attempts: 2}}}}
  - {{name: b, kind: openai-compatible, base_url: \"{second}/v1\", allow_private_networks: true, retry: {{max_attempts: 1}}}}
models:
  - {{name: m, targets: [{{provider: a, model: one}}], fallbacks: [b/two]}}
  - {{name: either, targets: [{{provider: a, model: one, weight: 1000}}, {{provider: b, model: two, weight: 1}}]}}
routes:
  - {{name: named, match: {{headers: {{x-never: sent}}}}, model: b/routed}}
prices:
  - {{provider: a, model: one, input_per_1m: \"1\", output_per_1m: \"2\"}}
keys:
  - {{name: test, secret: {KEY}}}
  - {{name: narrow, secret: narrow-key-0123456789ab, models: [either]}}
"
    )
}

fn question(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "hi"}]})
}

async fn ask(gateway: &Gateway, model: &str, headers: &[(&str, &str)]) -> Answer {
    let request = gateway.post("/v1/chat/completions", &question(model));
    read(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
}

#[tokio::test]
async fn x_lunargate_provider_forces() {
    let (_first, _second, gateway) = two().await;
    for header in ["x-lunargate-provider", "x-gateway-provider"] {
        for provider in ["a", "b"] {
            let answer = ask(&gateway, "either", &[(header, provider)]).await;
            assert_eq!(answer.header("x-lunargate-provider"), Some(provider), "{header}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn x_lunargate_model_override() {
    let (_first, second, gateway) = two().await;
    let answer = ask(&gateway, "m", &[("x-lunargate-model", "b/own-choice")]).await;
    assert_eq!(answer.header("x-lunargate-model"), Some("b/own-choice"), "{}", answer.text);
    assert_eq!(second.request(0).await.json()["model"], "own-choice");
}

#[tokio::test]
async fn x_lunargate_route_forces() {
    let (_first, second, gateway) = two().await;
    assert_eq!(ask(&gateway, "m", &[]).await.header("x-lunargate-route"), None);
    let answer = ask(&gateway, "m", &[("x-lunargate-route", "named")]).await;
    assert_eq!(answer.header("x-lunargate-route"), Some("named"), "{}", answer.text);
    assert_eq!(second.request(0).await.json()["model"], "routed");
}

#[tokio::test]
async fn reply_headers_lunargate_family() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "hello"));
    let more = "routes: [{name: all, match: {path: '*'}, model: m}]\nsettings: {cache: {enabled: true}}\n";
    let gateway = Gateway::start(&format!("{}{more}", openai_at(&upstream.url()))).await;
    for cached in ["MISS", "HIT"] {
        let answer = gateway.chat(&question("m")).await;
        let id = answer.header("x-lunargate-request-id").expect("an id");
        assert_eq!(Some(id), answer.header("x-request-id"));
        for (name, expected) in [
            ("x-lunargate-provider", "up"),
            ("x-lunargate-model", "up/own-name"),
            ("x-lunargate-route", "all"),
            ("x-lunargate-cache-status", cached),
        ] {
            assert_eq!(answer.header(name), Some(expected), "{name}: {}", answer.text);
        }
        for name in ["x-lunargate-latency-ms", "x-lunargate-overhead-duration-ms"] {
            let ms: u64 = answer.header(name).expect(name).parse().expect("milliseconds");
            assert!(ms < 60_000, "{name}");
        }
    }
    assert_eq!(upstream.requests().len(), 1);
    gateway.stop().await;
}

#[tokio::test]
async fn forced_choice_respects_key_permission() {
    let (first, second, gateway) = two().await;
    let narrow = |name: &'static str, value: &'static str| {
        let request = gateway.client().post(gateway.url("/v1/chat/completions")).json(&question("either"));
        read(request.bearer_auth("narrow-key-0123456789ab").header(name, value))
    };
    assert_eq!(narrow("x-lunargate-provider", "b").await.status, 200, "within what the key may");
    for (name, value) in
        [("x-lunargate-model", "b/another"), ("x-lunargate-model", "m"), ("x-lunargate-route", "named")]
    {
        let refused = narrow(name, value).await;
        assert_eq!(refused.status, 403, "{name}: {value}: {}", refused.text);
    }
    assert_eq!((first.requests().len(), second.requests().len()), (0, 1));
}

#[tokio::test]
async fn x_lunargate_no_retry() {
    let (first, _second, gateway) = two().await;
    for (headers, status, n_asked) in [(&[("x-lunargate-no-retry", "true")][..], 500, 1), (&[], 200, 2)] {
        let n_before = first.requests().len();
        first.push(Script::json(500, &openai::error("server_error", "once")));
        let answer = ask(&gateway, "a/one", headers).await;
        assert_eq!(
            (answer.status, first.requests().len() - n_before),
            (status, n_asked),
            "{headers:?}: {}",
            answer.text
        );
    }
}

#[tokio::test]
async fn sessionid_in_logs() {
    let (_first, _second, gateway) = two().await;
    ask(&gateway, "m", &[("x-lunargate-sessionid", "conversation-17")]).await;
    assert_eq!(gateway.records(1).await[0]["session_id"], "conversation-17");
}

#[tokio::test]
async fn overhead_header_real() {
    const AWAY: u64 = 50;
    let upstream = Upstream::start().await;
    let reply = openai::reply("x", "hello", 7).to_string();
    let length = reply.len().to_string();
    let head = [("content-type", "application/json"), ("content-length", length.as_str())];
    upstream.push(Script::new().pause(Duration::from_millis(AWAY)).head(200, &head).write(reply));
    let gateway = Gateway::start(&openai_at(&upstream.url())).await;
    let answer = ask(&gateway, "m", &[]).await;
    let number = |name| answer.header(name).and_then(|value| value.parse::<u64>().ok()).expect("a number");
    let (latency, overhead) = (number("x-lunargate-latency-ms"), number("x-lunargate-overhead-duration-ms"));
    assert!(latency >= AWAY, "{latency} ms in all");
    assert!(overhead + AWAY <= latency + 1, "{overhead} of {latency} ms, of which the upstream had {AWAY}");
    assert_eq!(number("x-gateway-overhead-duration-us") / 1000, overhead);
}

#[tokio::test]
async fn x_gateway_decision() {
    let (_first, _second, gateway) = two().await;
    assert_eq!(ask(&gateway, "m", &[]).await.header("x-gateway-decision"), Some("a/one"));
    assert_eq!(ask(&gateway, "b/free", &[]).await.header("x-gateway-decision"), Some("b/free"));
}

#[tokio::test]
async fn x_gateway_retries() {
    let (first, second, gateway) = two().await;
    assert_eq!(ask(&gateway, "m", &[]).await.header("x-gateway-retries"), Some("0"));
    first.push(Script::json(500, &openai::error("server_error", "down")));
    let answer = ask(&gateway, "m", &[]).await;
    assert_eq!((answer.status, answer.header("x-gateway-retries")), (200, Some("1")), "{}", answer.text);
    assert_eq!(second.requests().len(), 1);
}

#[tokio::test]
async fn x_gateway_cost_usd() {
    let (_first, _second, gateway) = two().await;
    let answer = ask(&gateway, "m", &[]).await;
    let usage = answer.json()["usage"].take();
    let tokens = |name: &str| usage[name].as_u64().expect("a count");
    let micro_usd = tokens("prompt_tokens") + 2 * tokens("completion_tokens");
    assert_eq!(answer.header("x-gateway-cost-usd"), Some(format!("0.{micro_usd:06}").as_str()), "{usage}");
    assert_eq!(ask(&gateway, "b/unpriced", &[]).await.header("x-gateway-cost-usd"), None);
}

#[tokio::test]
async fn fallback_sends_target_s_own_model() {
    let (first, second, gateway) = two().await;
    first.respond_with(|_| Script::json(503, &openai::error("server_error", "down")));
    assert_eq!(ask(&gateway, "m", &[]).await.status, 200);
    assert_eq!(first.request(0).await.json()["model"], "one");
    assert_eq!(second.request(0).await.json()["model"], "two");
}

#[tokio::test]
async fn fail_over_on_429() {
    let (first, second, gateway) = two().await;
    first.respond_with(|_| Script::json(429, &openai::error("rate_limit_exceeded", "slow down")));
    let answer = ask(&gateway, "m", &[]).await;
    assert_eq!((answer.status, answer.header("x-gateway-provider")), (200, Some("b")), "{}", answer.text);
    assert_eq!(second.requests().len(), 1);
}

#[tokio::test]
async fn contradicting_headers_are_one_clear_error() {
    let (first, second, gateway) = two().await;
    for (headers, status) in [
        (&[("x-gateway-provider", "a"), ("x-lunargate-provider", "b")][..], 400),
        (&[("x-gateway-provider", "a"), ("x-lunargate-provider", "a")], 200),
        (&[("x-lunargate-model", "a/one"), ("x-lunargate-model", "b/two")], 400),
        (&[("x-gateway-route", "named"), ("x-lunargate-route", "other")], 400),
    ] {
        let answer = ask(&gateway, "either", headers).await;
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.text);
        if status == 400 {
            let error = answer.json()["error"].take();
            assert_eq!(
                (&error["code"], &error["param"]),
                (&json!("invalid_request"), &json!(headers[0].0.replace("lunargate", "gateway")))
            );
        }
    }
    assert_eq!(first.requests().len() + second.requests().len(), 1);
}

#[tokio::test]
async fn any_header_can_match() {
    let (_first, second, gateway) = two().await;
    assert_eq!(ask(&gateway, "m", &[("x-never", "sent")]).await.header("x-gateway-route"), Some("named"));
    assert_eq!(second.request(0).await.json()["model"], "routed");
}

#[tokio::test]
async fn who_cannot_hold_the_prompt_or_see_the_picture_is_not_asked() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    for upstream in [&first, &second] {
        upstream.respond_with(|received| openai::answer(received, "hello"));
    }
    let models = config(&first.url(), &second.url()).replace(
        "models:\n",
        "models:\n  - {name: small, targets: [{provider: a, model: one}], fallbacks: [eyes], facts: {context_window: 1000, supports_vision: false}}
  - {name: eyes, targets: [{provider: b, model: two}], facts: {context_window: 4000}}
  - {name: blind, targets: [{provider: a, model: one}], facts: {supports_vision: false}}\n",
    );
    let gateway = Gateway::start(&models).await;
    let picture = json!([{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]);
    let cases = [
        ("small", json!("hi"), 200, Some("a")),
        ("small", json!("x".repeat(12_000)), 200, Some("b")),
        ("small", picture.clone(), 200, Some("b")),
        ("small", json!("x".repeat(40_000)), 413, None),
        ("blind", picture, 400, None),
    ];
    for (model, content, status, provider) in cases {
        let answer = gateway.chat(&json!({"model": model, "messages": [{"role": "user", "content": content}]})).await;
        assert_eq!(
            (answer.status, answer.header("x-gateway-provider")),
            (status, provider),
            "{model}: {}",
            answer.text
        );
        if status == 413 {
            assert_eq!(answer.json()["error"]["code"], "context_length_exceeded", "{}", answer.text);
        }
    }
    let records = gateway.records(5).await;
    let reasons: Vec<_> =
        records.iter().flat_map(|record| record["passed_over"].as_array().cloned().unwrap_or_default()).collect();
    assert!(reasons.iter().any(|reason| reason["reason"] == "context_too_small"), "{reasons:?}");
    assert!(reasons.iter().any(|reason| reason["reason"] == "lacks_vision"), "{reasons:?}");
}
