//! `lunargate/auto`: the gateway reads the prompt and chooses.

use gateway_fake::Upstream;
use gateway_fake::reply::openai;
use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway, KEY, read, within};

const NARROW: &str = "narrow-key-0123456789ab";

/// Models `small`, `mid` and `big` at one upstream, with these members of `settings.auto` and these routes.
async fn choosing(auto: &str, routes: &str) -> (Upstream, Gateway) {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "hello"));
    let url = upstream.url();
    let config = format!(
        "providers:
  - {{name: up, kind: openai-compatible, base_url: \"{url}/v1\", allow_private_networks: true}}
models:
  - {{name: small, targets: [{{provider: up, model: small}}]}}
  - {{name: mid, targets: [{{provider: up, model: mid}}]}}
  - {{name: big, targets: [{{provider: up, model: big}}]}}
settings: {{auto: {{default_model: small, {auto}}}}}
routes: [{routes}]
keys:
  - {{name: test, secret: {KEY}}}
  - {{name: narrow, secret: {NARROW}, models: [small]}}
"
    );
    let gateway = Gateway::start(&config).await;
    (upstream, gateway)
}

const TIERS: &str = "tiers: {simple: small, medium: mid, complex: big}";
const HARD: &str = "Prove step by step that the integral of this Python code's algorithm converges: 2x + 3 = 7";

fn question(text: &str) -> Value {
    json!({"model": "lunargate/auto", "messages": [{"role": "user", "content": text}]})
}

fn demanding(text: &str) -> Value {
    let long = format!("{text}\n```python\n```\n{}", "more words ".repeat(400));
    json!({"model": "auto", "messages": [{"role": "user", "content": long}]})
}

fn served(answer: &Answer) -> Option<&str> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.header("x-gateway-model")
}

#[tokio::test]
async fn lunargate_auto_tiers() {
    let routes = "{name: hard, match: {headers: {x-lunargate-complexity: '6+'}}, model: big}, \
        {name: middling, match: {model: 'lunargate/auto', headers: {x-lunargate-complexity-score: {regex: '^[2-5]$'}}}, model: mid}";
    let (_upstream, gateway) = choosing("score: {code: 3}", routes).await;
    for (prompt, model, tier, route) in [
        ("hi", "up/small", "0-1", None),
        ("fix my python", "up/mid", "2-3", Some("middling")),
        (HARD, "up/mid", "4-5", Some("middling")),
        (&format!("Compare. {HARD}"), "up/big", "6+", Some("hard")),
    ] {
        let answer = gateway.chat(&question(prompt)).await;
        assert_eq!(served(&answer), Some(model), "{prompt}");
        assert_eq!(answer.header("x-lunargate-complexity"), Some(tier), "{prompt}");
        assert_eq!(answer.header("x-lunargate-route"), route, "{prompt}");
    }
    let others = gateway.chat(&json!({"model": "small", "messages": [{"role": "user", "content": HARD}]})).await;
    assert_eq!((served(&others), others.header("x-lunargate-complexity")), (Some("up/small"), None));
    gateway.stop().await;
}

#[tokio::test]
async fn skill_headers() {
    let auto = "skills: [{name: coding, regex_any: ['(?i)\\bpython\\b']}, {name: poetry, regex_any: [poem, 诗]}]";
    let routes = "{name: poets, match: {headers: {x-lunargate-skill: poetry}}, model: mid}";
    let (_upstream, gateway) = choosing(auto, routes).await;
    for (prompt, skill, model) in [
        ("Some Python, as a poem", "coding", "up/small"),
        ("写一首诗", "poetry", "up/mid"),
        ("hi", "default", "up/small"),
    ] {
        let answer = gateway.chat(&question(prompt)).await;
        assert_eq!((answer.header("x-lunargate-skill"), served(&answer)), (Some(skill), Some(model)), "{prompt}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn smart_buckets() {
    let (_upstream, gateway) = choosing(TIERS, "").await;
    let in_parts =
        json!({"model": "auto", "messages": [{"role": "user", "content": [{"type": "text", "text": HARD}]}]});
    for (body, bucket, model) in
        [(question("hi"), "simple", "up/small"), (in_parts, "medium", "up/mid"), (demanding(HARD), "complex", "up/big")]
    {
        let answer = gateway.chat(&body).await;
        assert_eq!((answer.header("x-gateway-route-bucket"), served(&answer)), (Some(bucket), Some(model)));
    }
    let log = &gateway.records(3).await[2];
    let choice = &log["auto_choice"];
    assert_eq!(
        (&choice["model"], &choice["bucket"], &log["model"]),
        (&json!("big"), &json!("complex"), &json!("auto"))
    );
    assert_eq!(choice["signals"], json!(["code", "maths", "reasoning"]), "{log}");
    gateway.stop().await;
}

#[tokio::test]
async fn x_gateway_route_bucket_score() {
    let (_upstream, gateway) = choosing(TIERS, "").await;
    let score = async |body: Value| {
        let answer = gateway.chat(&body).await;
        let score: f64 = answer.header("x-gateway-route-score").expect("a score").parse().expect("a number");
        (answer.header("x-gateway-route-bucket").map(str::to_owned), score)
    };
    assert_eq!(score(question("hi")).await, (Some("simple".to_owned()), 0.0));
    let (bucket, most) = score(demanding(HARD)).await;
    assert!(bucket.as_deref() == Some("complex") && most > 0.66 && most <= 1.0, "{bucket:?} {most}");
    gateway.stop().await;
}

#[tokio::test]
async fn every_dialect_may_leave_the_choice_open() {
    let (_upstream, gateway) = choosing(TIERS, "").await;
    let turn = json!([{"role": "user", "content": HARD}]);
    for (path, body) in [
        ("/v1/messages", json!({"model": "lunargate/auto", "max_tokens": 5, "messages": turn})),
        ("/v1/responses", json!({"model": "lunargate/auto", "input": HARD})),
        ("/v1beta/models/auto:generateContent", json!({"contents": [{"parts": [{"text": HARD}]}]})),
        ("/v1/completions", json!({"model": "auto", "prompt": HARD})),
    ] {
        let answer = read(gateway.post(path, &body)).await;
        assert_eq!(served(&answer), Some("up/mid"), "{path}");
    }
    gateway.stop().await;
}

/// A tier, a route or the default: none of them is a way past what a key may use.
#[tokio::test]
async fn a_key_gets_no_more_than_it_may_use() {
    let routes = "{name: hard, match: {headers: {x-lunargate-complexity: '4-5'}}, model: big}";
    let (_upstream, gateway) = choosing(TIERS, routes).await;
    let ask =
        |body: Value| read(gateway.client().post(gateway.url("/v1/chat/completions")).bearer_auth(NARROW).json(&body));
    assert_eq!(served(&ask(question(HARD)).await), Some("up/small"));
    assert_eq!(served(&ask(demanding(HARD)).await), Some("up/small"));
    let config = std::fs::read_to_string(gateway.file()).expect("the configuration");
    gateway.rewrite(&config.replace("default_model: small", "default_model: mid"));
    within("a default that this key may not use", || async {
        let refused = ask(question(HARD)).await;
        (refused.status == 403 && refused.text.contains("lunargate/auto")).then_some(())
    })
    .await;
    assert_eq!(served(&ask(question("hi")).await), Some("up/small"), "its tier is one that it may use");
    gateway.stop().await;
}

#[tokio::test]
async fn it_is_listed_where_it_is_on_and_nothing_else_pays_for_it() {
    let (_upstream, gateway) = choosing("tiers: {}", "").await;
    let listed = async || {
        let models = read(gateway.client().get(gateway.url("/v1/models")).bearer_auth(KEY)).await.json();
        models["data"].as_array().expect("a list").iter().any(|model| model["id"] == json!("lunargate/auto"))
    };
    assert!(listed().await);
    let config = std::fs::read_to_string(gateway.file()).expect("the configuration");
    gateway.rewrite(&config.replace("tiers: {}", "enabled: false"));
    within("a configuration without it", || async { (!listed().await).then_some(()) }).await;
    assert_eq!(gateway.chat(&question("hi")).await.status, 404);
    gateway.stop().await;
}
