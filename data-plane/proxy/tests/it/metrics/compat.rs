//! The names of other gateways: told to who asks, moved by what moves ours, and with the same values.

use std::collections::BTreeSet;
use std::path::Path;

use gateway_fake::reply::openai;
use gateway_fake::{Script, Upstream};
use gateway_proxy::meters::compat::{self, ALIASES, Dialect, UNTOLD};
use serde_json::json;

use super::{samples, traffic};
use crate::gateway::{Gateway, client, openai_at, read};

/// One request that is answered, partly from the upstream's cache, and one of a stranger.
async fn served() -> [String; 2] {
    let upstream = Upstream::start().await;
    upstream.respond_with(|_| {
        let mut reply = openai::reply("own-name", "one two three", 20);
        reply["usage"]["prompt_tokens_details"] = json!({"cached_tokens": 4, "cache_write_tokens": 3});
        Script::json(200, &reply)
    });
    let prices = "prices:\n  - {provider: up, model: own-name, input_per_1m: 1000, output_per_1m: 2000}\n";
    let gateway = Gateway::start(&format!("{}{prices}", openai_at(&upstream.url()))).await;
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(gateway.chat(&body).await.status, 200);
    let stranger = client().post(gateway.url("/v1/chat/completions")).bearer_auth("sk-nobody").json(&body);
    assert_eq!(read(stranger).await.status, 401);
    gateway.records(1).await;
    let get = async |query: &str| read(client().get(gateway.url(&format!("/metrics{query}")))).await;
    let plain = get("").await.text;
    for alias in ALIASES {
        assert!(!plain.contains(alias.name), "nobody asked for {}", alias.name);
    }
    let one = get("?compat=lunargate").await.text;
    assert!(one.contains("ai_router_requests_total") && !one.contains("nenya_") && !one.contains("gatewayllm_"));
    assert_eq!(get("?compat=lunargate,litellm").await.status, 400);
    let all = get("?compat=lunargate,nenya,gateway-llm").await.text;
    gateway.stop().await;
    [plain, all]
}

#[tokio::test]
async fn names_of_other_gateways_have_our_values() {
    let [_, text] = served().await;
    let value = |series: &str| samples(&text).find(|(name, _)| *name == series).map(|(_, value)| value);
    let ours = |name: &str, holds: &str| {
        samples(&text).filter(|(series, _)| series.starts_with(name) && series.contains(holds)).map(|(_, v)| v).sum()
    };
    let tokens: f64 = ours("gateway_tokens_total{", "class=\"output\"");
    let cost: f64 = ours("gateway_cost_nano_usd_total{", "provider=\"up\"");
    assert!(tokens > 0.0 && cost > 0.0, "{text}");
    for (series, expected) in [
        (r#"ai_router_requests_total{provider="up",status_code="200"}"#, 1.0),
        (r#"ai_router_request_duration_seconds_count{provider="up"}"#, 1.0),
        (r#"ai_router_request_duration_seconds_bucket{provider="up",le="+Inf"}"#, 1.0),
        (r#"ai_router_tokens_total{provider="up",direction="output"}"#, tokens),
        (r#"gatewayllm_requests_total{provider="up",status="2xx"}"#, 1.0),
        (r#"gatewayllm_cost_usd_total{provider="up"}"#, cost / 1e9),
        (r#"nenya_http_requests_total{status="200"}"#, 1.0),
        (r#"nenya_auth_failure_total{type="invalid_api_key"}"#, 1.0),
        (r#"nenya_cache_read_tokens_total{provider="up"}"#, 4.0),
        (r#"nenya_cache_creation_tokens_total{provider="up"}"#, 3.0),
        (r#"nenya_cache_miss_tokens_total{provider="up"}"#, 13.0),
        (r#"nenya_upstream_request_duration_seconds_count{provider="up"}"#, 1.0),
        ("nenya_http_request_duration_seconds_count", ours("gateway_request_duration_seconds_count", "")),
    ] {
        assert_eq!(value(series), Some(expected), "{series}\n{text}");
    }
}

#[tokio::test]
async fn every_name_of_another_gateway_moves() {
    let [plain, _] = served().await;
    let mut moved = BTreeSet::new();
    for text in traffic::scrapes().await.into_iter().chain([plain]) {
        let told = compat::of(&text, &Dialect::ALL);
        for (series, value) in samples(&told) {
            let name = series.split('{').next().unwrap_or_default();
            let alias = ALIASES.iter().find(|alias| name.starts_with(alias.name)).expect("it is in the table");
            if value > 0.0 {
                moved.insert(alias.name);
            }
        }
    }
    let names = ALIASES.iter().map(|alias| alias.name);
    let still: Vec<_> = names.filter(|name| !moved.contains(name)).collect();
    assert!(still.is_empty(), "told, and nothing moves them: {still:?}");
}

#[test]
fn docs_list_the_names_of_other_gateways() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    gateway_testing::generated::section(&page, "compat", &compat::page());
}

#[test]
fn every_alias_is_of_a_metric_of_ours() {
    for alias in ALIASES {
        assert_eq!(alias.metric().kind, alias.kind, "{}", alias.name);
        let is_untold = |name: &&str| {
            let told = format!("{}_{name}", alias.name.split('_').next().unwrap_or_default());
            alias.name == told
        };
        let untold = UNTOLD.iter().filter(|(dialect, _)| *dialect == alias.dialect);
        assert!(!untold.flat_map(|(_, names)| *names).any(is_untold), "{} is told", alias.name);
    }
}
