//! What a vendor allows is kept here: who is full is passed over, and who asks when everybody is full is told until when.

use gateway_fake::reply::openai;
use gateway_fake::{Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Gateway, KEY, client, read};

fn config(urls: &[(&str, String, &str)]) -> String {
    let mut yaml = "providers:\n".to_owned();
    for (name, url, more) in urls {
        yaml += &format!(
            "  - {{name: {name}, kind: openai-compatible, base_url: \"{url}/v1\", allow_private_networks: true{more}}}\n"
        );
    }
    let targets: Vec<_> = urls.iter().map(|(name, ..)| format!("{{provider: {name}, model: up}}")).collect();
    yaml += &format!("models:\n  - {{name: m, strategy: priority, targets: [{}]}}\n", targets.join(", "));
    yaml + &format!("keys:\n  - {{name: test, secret: {KEY}, passthrough: ['*']}}\n")
}

fn question() -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 100})
}

async fn upstream() -> Upstream {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "hello"));
    upstream
}

#[tokio::test]
async fn upstream_host_rpm_tpm() {
    let (first, second, third) = (upstream().await, upstream().await, upstream().await);
    let gateway = Gateway::start(&config(&[
        ("a", first.url(), ", limits: {rpm: 2}"),
        ("b", second.url(), ", limits: {tpm: 200}"),
        ("c", third.url(), ", limits: {rpm: 1}"),
    ]))
    .await;
    for _ in 0..5 {
        let answer = gateway.chat(&question()).await;
        assert!(answer.status == 200 && answer.header("x-gateway-retries") == Some("0"), "{}", answer.text);
    }
    let served = [&first, &second, &third].map(|upstream| upstream.requests().len());
    assert_eq!(served[0], 2);
    assert_eq!(served.iter().sum::<usize>(), 5);
    assert!(served[1] >= 1, "{served:?}");
    let logs = gateway.records(5).await;
    let passed_over = &logs[2]["passed_over"][0];
    assert_eq!((&passed_over["provider"], &passed_over["reason"]), (&json!("a"), &json!("full")), "{passed_over}");
    let told = read(client().get(gateway.url("/statsz"))).await.json();
    assert_eq!(told["upstream_limits"]["a"]["rpm"], json!({"limit": 2, "remaining": 0}), "{told}");
    let metrics = read(client().get(gateway.url("/metrics"))).await.text;
    for line in ["{provider=\"a\",kind=\"rpm\"} 2", "_remaining{provider=\"a\",kind=\"rpm\"} 0"] {
        assert!(metrics.contains(&format!("gateway_upstream_limit{line}")), "{metrics}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_limit_of_a_credential_is_taken_when_that_is_picked() {
    let (first, second) = (upstream().await, upstream().await);
    let keys = ", api_keys: [{name: one, key: k1}, {name: two, key: k2}]";
    let yaml = config(&[("a", first.url(), keys), ("b", second.url(), "")]);
    let rules = "limits:\n  - {name: of-one, match: {credentials: ['a#one'], keys: [test]}, per: key, limits: {rpm: 1}}\n  \
        - {name: of-two, match: {credentials: ['a#two']}, limits: {tpm: 200}}\n";
    let gateway = Gateway::start(&(yaml + rules)).await;
    for _ in 0..5 {
        assert_eq!(gateway.chat(&question()).await.status, 200);
    }
    let with = |key: &str| {
        let bearer = format!("Bearer {key}");
        first.requests().iter().filter(|request| request.header("authorization") == Some(bearer.as_str())).count()
    };
    let (n_one, n_two) = (with("k1"), with("k2"));
    assert_eq!(n_one, 1, "one a minute");
    assert!(n_two >= 1 && n_one + n_two + second.requests().len() == 5, "{n_two}");
    // What passes as it is goes with the first key, whose limit is taken with all others.
    let passed = read(client().get(gateway.url("/proxy/a/v1/files")).bearer_auth(KEY)).await;
    assert_eq!((passed.status, passed.header("x-gateway-limit-kind")), (429, Some("rpm")), "{}", passed.text);
    assert!(passed.text.contains("Limit of-one for key "), "{}", passed.text);
    gateway.stop().await;
}

#[tokio::test]
async fn who_asks_when_everybody_is_full_is_told_until_when() {
    let (first, second) = (upstream().await, upstream().await);
    let full = ", limits: {rpm: 1}";
    let gateway = Gateway::start(&config(&[("a", first.url(), full), ("b", second.url(), ", limits: {rpm: 2}")])).await;
    for _ in 0..3 {
        assert_eq!(gateway.chat(&question()).await.status, 200);
    }
    let refused = gateway.chat(&question()).await;
    let error = &refused.json()["error"];
    assert_eq!((refused.status, &error["code"]), (429, &json!("upstream_rate_limited")), "{error}");
    let wait: u64 = refused.header("retry-after").and_then(|wait| wait.parse().ok()).expect("seconds");
    assert!((20..=30).contains(&wait), "one of two in a minute comes back after half of it: {wait}");
    let passed = read(client().get(gateway.url("/proxy/a/v1/files")).bearer_auth(KEY)).await;
    assert_eq!((passed.status, passed.header("retry-after").is_some()), (429, true), "{}", passed.text);
    assert_eq!((first.requests().len(), second.requests().len()), (1, 2));
    gateway.stop().await;
}

#[tokio::test]
async fn an_estimate_is_corrected_by_what_was_used() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|_| {
        let mut reply = openai::reply("up", "hello", 3);
        reply["usage"] = json!({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5});
        Script::json(200, &reply)
    });
    let limits = ", api_keys: [{name: only, key: k, limits: {tpm: 1000}}]";
    let gateway = Gateway::start(&config(&[("a", upstream.url(), limits)])).await;
    // Each is taken for several hundred tokens, and has used five.
    let question = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 600});
    for n in 0..6 {
        assert_eq!(gateway.chat(&question).await.status, 200, "{n}");
    }
    let told = read(client().get(gateway.url("/statsz"))).await.json();
    let remaining = told["upstream_limits"]["a#only"]["tpm"]["remaining"].as_u64().expect("a number");
    assert!((900..=1000).contains(&remaining), "{told}");
    gateway.stop().await;
}
