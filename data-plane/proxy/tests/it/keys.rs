//! Several keys of one provider: who is refused is left alone, the others serve, and everything says which it was.

use gateway_fake::reply::openai;
use gateway_fake::{Received, Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Gateway, KEY, client, read};

fn config(url: &str, keys: &str) -> String {
    format!(
        "providers:
  - {{name: p, kind: openai, base_url: \"{url}/v1\", allow_private_networks: true, api_keys: [{keys}]}}
models:
  - {{name: m, targets: [{{provider: p, model: up}}]}}
keys:
  - {{name: test, secret: {KEY}, passthrough: [p]}}
"
    )
}

const TWO: &str = "{name: main, key: key-main-0001}, {name: spare, key: key-spare-0002}";

/// The key that came, without its scheme.
fn shown(received: &Received) -> String {
    received.header("authorization").unwrap_or_default().trim_start_matches("Bearer ").to_owned()
}

/// Refuses one key, answers every other.
fn refusing(key: &'static str, status: u16) -> impl Fn(&Received) -> Script + Send + Sync + 'static {
    move |received| match shown(received) == key {
        true => Script::json(status, &openai::error("refused", &format!("no more for {key}"))),
        false => openai::answer(received, "hello"),
    }
}

fn question() -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]})
}

#[tokio::test]
async fn a_refused_key_is_left_alone_and_the_next_one_is_tried_at_once() {
    for status in [401, 403, 429] {
        let upstream = Upstream::start().await;
        upstream.respond_with(refusing("key-main-0001", status));
        let gateway = Gateway::start(&config(&upstream.url(), TWO)).await;
        let answers = [gateway.chat(&question()).await, gateway.chat(&question()).await];
        assert!(answers.iter().all(|answer| answer.status == 200), "{status}");
        assert_eq!(answers[0].header("x-gateway-retries"), Some("1"), "{status}");
        let sent: Vec<_> = upstream.requests().iter().map(shown).collect();
        assert_eq!(sent, ["key-main-0001", "key-spare-0002", "key-spare-0002"], "{status}");
        let log = &gateway.records(2).await[0];
        let keys = ["main", "spare"].map(|name| json!(name));
        assert_eq!([&log["attempts"][0]["provider_key"], &log["attempts"][1]["provider_key"]], [&keys[0], &keys[1]]);
        let log = &gateway.records(2).await[1];
        let is_free = log["passed_over"].as_array().is_none_or(Vec::is_empty);
        assert!(is_free || log["passed_over"][0]["provider_key"] == "main", "{log}");
        let told = read(client().get(gateway.url("/statsz"))).await;
        let circuits = &told.json()["circuit_breakers"]["circuits"];
        let passed_over = |name: &str| circuits[name]["passed_over"].clone();
        assert_eq!((passed_over("p#spare/up"), passed_over("p/up")), (Value::Null, Value::Null), "{circuits}");
        if status != 429 {
            assert_eq!(passed_over("p#main/up"), json!("cooling_down"), "{circuits}");
        }
        let metrics = read(client().get(gateway.url("/metrics"))).await;
        for line in ["{provider=\"p\",model=\"up\"} 0", "{provider=\"p\",model=\"up\",key=\"spare\"} 0"] {
            assert!(metrics.text.contains(&format!("gateway_breaker_state{line}")), "{}", metrics.text);
        }
        let log = serde_json::to_string(&gateway.records(2).await).expect("JSON");
        assert!(!(log + &told.text + &metrics.text).contains("-000"), "a key's value is nowhere to be read");
        gateway.stop().await;
    }
}

#[tokio::test]
async fn the_last_refusal_is_told_when_no_key_is_left() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| {
        Script::json(401, &openai::error("invalid_api_key", &format!("Incorrect API key: {}", shown(received))))
    });
    let gateway = Gateway::start(&config(&upstream.url(), TWO)).await;
    let answer = gateway.chat(&question()).await;
    let error = &answer.json()["error"];
    assert_eq!((upstream.requests().len(), &error["code"]), (2, &json!("upstream_credential")), "{error}");
    assert!(!answer.text.contains("-000"), "{error}");
    gateway.stop().await;
}

#[tokio::test]
async fn files_go_with_the_first_key_and_stored_responses_with_their_own() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| match received.target.as_str() {
        "/v1/responses" => Script::json(200, &response()),
        _ => Script::json(200, &json!({"object": "list", "data": []})),
    });
    // Answered by the second in turn, which the first one knows nothing of.
    let gateway = Gateway::start(&config(&upstream.url(), TWO)).await;
    let ask = |body: Value| read(gateway.post("/v1/responses", &body));
    assert_eq!(ask(json!({"model": "m", "input": "a", "store": false})).await.status, 200);
    assert_eq!(ask(json!({"model": "m", "input": "b"})).await.status, 200);
    for _ in 0..2 {
        let next = json!({"model": "m", "input": "c", "previous_response_id": "resp_1", "store": false});
        let answer = ask(next).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let get = |path: &'static str| read(client().get(gateway.url(path)).bearer_auth(KEY));
    assert_eq!((get("/v1/responses/resp_1").await.status, get("/v1/files").await.status), (200, 200));
    let sent: Vec<_> = upstream.requests().iter().map(shown).collect();
    let (main, spare) = ("key-main-0001", "key-spare-0002");
    assert_eq!(sent, [main, spare, spare, spare, spare, main]);
    gateway.stop().await;
}

fn response() -> Value {
    json!({"id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "up", "output": [
        {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
         "content": [{"type": "output_text", "text": "hello", "annotations": []}]}],
        "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}})
}

/// A reply of one word costs a cent: one key may spend two of them, the other one.
#[tokio::test]
async fn a_key_whose_budget_is_spent_is_passed_over() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "Yes"));
    let budgets = "prices: [{provider: p, model: up, input_per_1m: 0, output_per_1m: 10000}]
budgets:
  - {name: of-main, match: {credentials: [\"p#main\"]}, amount_usd: 0.02, window: monthly}
  - {name: of-spare, match: {credentials: [\"p#s*\"], keys: [test]}, amount_usd: 0.01, window: monthly}
  - {name: of-others, match: {credentials: [\"p*\"], keys: [other]}, amount_usd: 0.01, window: monthly}
";
    let gateway = Gateway::start(&(config(&upstream.url(), TWO) + budgets)).await;
    let question = json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Is it?"}]});
    for _ in 0..3 {
        assert_eq!(gateway.chat(&question).await.status, 200);
    }
    let mut asked: Vec<_> = upstream.requests().iter().map(shown).collect();
    asked.sort();
    assert_eq!(asked, ["key-main-0001", "key-main-0001", "key-spare-0002"]);
    let refused = gateway.chat(&question).await;
    assert_eq!((refused.status, refused.header("x-gateway-limit-kind")), (429, Some("budget")), "{}", refused.text);
    let wait: u64 = refused.header("retry-after").and_then(|wait| wait.parse().ok()).expect("until the month ends");
    assert!(wait > 1 && refused.text.contains("no budget left"), "{wait}: {}", refused.text);
    let records = gateway.records(4).await;
    let mut passed_over: Vec<_> = records[3]["passed_over"].as_array().expect("a list").iter().collect();
    passed_over.sort_by_key(|target| target["provider_key"].to_string());
    let told: Vec<_> = passed_over.iter().map(|target| [&target["provider_key"], &target["reason"]]).collect();
    assert_eq!(told, [[&json!("main"), &json!("budget")], [&json!("spare"), &json!("budget")]]);
    let told = read(client().get(gateway.url("/statsz"))).await.json();
    let budgets = &told["budgets"];
    assert_eq!((&budgets["spent_nano_usd"], &budgets["open_requests"]), (&json!(30_000_000), &json!(0)), "{told}");

    // What passes as it is goes with the first key, whose budget is spent.
    let passed = read(gateway.post("/proxy/p/v1/chat/completions", &json!({"model": "up", "messages": []}))).await;
    assert_eq!((passed.status, passed.header("x-gateway-limit-kind")), (429, Some("budget")), "{}", passed.text);
    assert_eq!(upstream.requests().len(), 3);
    gateway.stop().await;
}
