//! Experiments and shadows: what is tried out on a model's traffic, and what clients see of it.

use std::collections::BTreeMap;

use gateway_fake::reply::openai;
use gateway_fake::{Gate, Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway, KEY, client, read, within};

/// A model `m` at the first upstream with these members, and a model `challenger` at the second.
async fn two(members: &str, limits: &str) -> (Upstream, Upstream, Gateway) {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    for upstream in [&first, &second] {
        upstream.respond_with(|received| openai::answer(received, "hello"));
    }
    let config = format!(
        "providers:
  - {{name: a, kind: openai-compatible, base_url: \"{}/v1\", allow_private_networks: true}}
  - {{name: b, kind: openai-compatible, base_url: \"{}/v1\", allow_private_networks: true}}
models:
  - {{name: m, targets: [{{provider: a, model: own}}], {members}}}
  - {{name: challenger, targets: [{{provider: b, model: other}}], breaker: {{enabled: false}}}}
prices:
  - {{provider: b, model: other, input_per_1m: \"1\", output_per_1m: \"2\"}}
keys:
  - {{name: test, secret: {KEY}{limits}}}
",
        first.url(),
        second.url()
    );
    let gateway = Gateway::start(&config).await;
    (first, second, gateway)
}

fn question(user: &str) -> Value {
    json!({"model": "m", "user": user, "messages": [{"role": "user", "content": "hi"}]})
}

async fn metrics(gateway: &Gateway) -> String {
    read(client().get(gateway.url("/metrics"))).await.text
}

fn experiment(answer: &Answer) -> Option<String> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.header("x-gateway-experiment").map(str::to_owned)
}

const HALVES: &str =
    "experiment: {name: cheaper, by: user, variants: [{name: control}, {name: treatment, model: challenger}]}";

#[tokio::test]
async fn everybody_keeps_to_their_variant() {
    let (first, second, gateway) = two(HALVES, "").await;
    let mut given: BTreeMap<String, u32> = BTreeMap::new();
    for n in 0..40 {
        let user = format!("user-{n}");
        let arm = experiment(&gateway.chat(&question(&user)).await).expect("an arm");
        let again = gateway.post("/v1/chat/completions", &question("ignored")).header("x-gateway-user", &user);
        assert_eq!(experiment(&read(again).await), Some(arm.clone()), "{user}");
        *given.entry(arm).or_default() += 2;
    }
    let (control, treatment) = (given["cheaper/control"], given["cheaper/treatment"]);
    assert!(given.len() == 2 && control >= 16 && treatment >= 16, "{given:?}");
    assert_eq!((first.requests().len(), second.requests().len()), (control as usize, treatment as usize));
    assert_eq!(second.request(0).await.json()["model"], "other");

    let log = gateway.records(80).await;
    let treated: Vec<_> = log.iter().filter(|record| record["experiment"]["variant"] == "treatment").collect();
    assert_eq!(treated.len(), treatment as usize);
    assert_eq!((&treated[0]["experiment"]["model"], &treated[0]["model"]), (&json!("challenger"), &json!("m")));
    let metrics = metrics(&gateway).await;
    let counted = format!(
        "gateway_experiment_requests_total{{experiment=\"cheaper\",variant=\"treatment\",outcome=\"answered\"}} {treatment}"
    );
    assert!(metrics.contains(&counted), "{metrics}");
    assert!(metrics.contains("gateway_experiment_cost_nano_usd_total{experiment=\"cheaper\",variant=\"treatment\"}"));
    gateway.stop().await;
}

#[tokio::test]
async fn who_forces_a_target_takes_no_part() {
    let (first, second, gateway) = two(HALVES, "").await;
    for n in 0..10 {
        let request = gateway.post("/v1/chat/completions", &question(&format!("user-{n}")));
        assert_eq!(experiment(&read(request.header("x-gateway-provider", "a")).await), None);
    }
    assert_eq!((first.requests().len(), second.requests().len()), (10, 0));
    gateway.stop().await;
}

#[tokio::test]
async fn shadow_runs() {
    let (first, second, gateway) = two("shadow: {model: challenger, percent: 30}", ", limits: {rpm: 50}").await;
    for _ in 0..50 {
        assert_eq!(gateway.chat(&question("u")).await.status, 200);
    }
    assert_eq!(gateway.chat(&question("u")).await.status, 429, "shadows count towards no limit, and replace none");
    let records = gateway.records(50 + 15 + 1).await;
    let shadows: Vec<_> = records.iter().filter(|record| record["shadow_of"] != "").collect();
    assert_eq!((first.requests().len(), second.requests().len(), shadows.len()), (50, 15, 15));
    for shadow in shadows {
        let of = records.iter().find(|record| record["id"] == shadow["shadow_of"]).expect("whose shadow it is");
        assert_eq!((&of["model"], &of["key_name"]), (&json!("m"), &json!("test")));
        assert_eq!(
            (&shadow["model"], &shadow["key_id"], &shadow["status"]),
            (&json!("challenger"), &json!(""), &json!(200))
        );
        assert!(shadow["cost_nano_usd"].as_i64() > Some(0) && shadow["ending"] == "finished", "{shadow}");
    }
    let metrics = metrics(&gateway).await;
    assert!(
        metrics.contains("gateway_shadow_requests_total{model=\"challenger\",outcome=\"answered\"} 15"),
        "{metrics}"
    );
    gateway.stop().await;
}

/// A challenger that hangs or fails costs its clients nothing, and takes no more than the places there are.
#[tokio::test]
async fn a_shadow_delays_and_fails_nobody() {
    let (_first, second, gateway) = two("shadow: {model: challenger, percent: 100, max_concurrent: 2}", "").await;
    let gate = Gate::new();
    let held = gate.clone();
    second.respond_with(move |_| Script::new().wait(&held).head(500, &[("content-length", "0")]));
    for stream in [false, true, false, true, false] {
        let mut body = question("u");
        body["stream"] = json!(stream);
        let answer = gateway.chat(&body).await;
        assert!(answer.status == 200 && answer.text.contains("hello"), "{}", answer.text);
    }
    gate.reached(2).await;
    assert_eq!(second.requests().len(), 2, "the places are taken");
    gate.open();
    let counted = "gateway_shadow_requests_total{model=\"challenger\",outcome=\"failed\"} 2";
    within("both to have failed", || async { metrics(&gateway).await.contains(counted).then_some(()) }).await;
    second.respond_with(|received| openai::answer(received, "hello"));
    assert_eq!(gateway.chat(&question("u")).await.status, 200);
    within("a place that is free again", || async { (second.requests().len() == 3).then_some(()) }).await;
    gateway.stop().await;
}
