//! Budgets: what is spent is never more than the amount, whoever asks at once and whatever is killed.

use gateway_fake::reply::openai;
use gateway_fake::{Received, Script, Upstream};
use gateway_testing::figure;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::eventually;
use crate::gateway::{Gateway, Place, config};
use crate::http::Reply;

const CENT: i64 = 10_000_000;
const DOLLAR: i64 = 100 * CENT;

/// A token that is written costs a cent, one that is read nothing.
const PRICE: &str = "prices: [{provider: fake, model: upstream-model, input_per_1m: 0, output_per_1m: 10000}]\n";
const KEYS: &str = "keys: [{name: app, secret: a-key-for-the-test-0123456789}]\n";

fn budget(amount: &str) -> String {
    format!("budgets: [{{name: all, amount_usd: {amount}, window: monthly, match: {{models: [\"*\"]}}}}]\n")
}

/// One word, as `max_tokens` allows.
fn one_word(received: &Received) -> Script {
    openai::answer(received, "Yes")
}

/// At a cent at most.
fn question() -> String {
    json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Is it?"}]}).to_string()
}

async fn ask(gateway: &Gateway) -> Reply {
    gateway.post("/v1/chat/completions", &question()).await
}

async fn spending(gateway: &Gateway) -> Value {
    let reply = gateway.admin("GET", "/admin/usage/budgets", Value::Null).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["data"][0].clone()
}

fn check_refused(reply: &Reply) {
    let error = &reply.json()["error"];
    assert_eq!(
        (reply.status, &error["kind"], reply.headers["x-gateway-limit-kind"].as_bytes()),
        (429, &json!("budget"), b"budget".as_slice()),
        "{}",
        reply.text()
    );
    let seconds: u64 = reply.headers["retry-after"].to_str().expect("text").parse().expect("seconds");
    assert!(seconds > 1 && seconds <= 31 * 86_400, "until the month ends: {seconds}");
    assert_eq!(error["retry_after_seconds"].as_u64(), Some(seconds));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn budget_concurrency_single() {
    const TEST: &str = "budget_concurrency_single";
    const N_ASKED: usize = 500;
    let upstream = Upstream::start().await;
    upstream.respond_with(one_word);
    let place = Place::new();
    place.write("gateway.yaml", &(config(&upstream.url()) + PRICE + &budget("1")));
    let gateway = std::sync::Arc::new(place.up(&["-f", "gateway.yaml"]).await);
    let mut asked = JoinSet::new();
    for _ in 0..N_ASKED {
        let gateway = std::sync::Arc::clone(&gateway);
        asked.spawn(async move { ask(&gateway).await });
    }
    let replies = asked.join_all().await;
    let (admitted, refused): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 200);
    refused.iter().for_each(check_refused);
    let spent = eventually("what was spent to arrive", || async {
        let spent = spending(&gateway).await["spent_nano_usd"].as_i64().expect("a number");
        (spent >= CENT * admitted.len() as i64).then_some(spent)
    })
    .await;
    figure::note(TEST, "requests of a cent admitted of 500 for a dollar", admitted.len() as f64, "requests", 100.0);
    figure::note(TEST, "spent", spent as f64 / DOLLAR as f64, "USD", 1.0);
    assert_eq!(upstream.requests().len(), admitted.len(), "who is refused is not asked for");
    assert_eq!((admitted.len(), spent), (100, DOLLAR), "all of it is spent, and no more");

    // What the operator changes counts at once.
    let raised = gateway.admin("PATCH", "/admin/budgets/all", json!({"amount_usd": "1.01"})).await;
    assert_eq!(raised.status, 200, "{}", raised.text());
    eventually("one more", || async { (ask(&gateway).await.status == 200).then_some(()) }).await;
    check_refused(&ask(&gateway).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_overshoot_with_50_parallel_calls() {
    let upstream = Upstream::start().await;
    upstream.respond_with(one_word);
    let place = Place::new();
    let key = KEYS.replace("}]", ", budget: {amount_usd: 0.2, window: 30d}}]");
    place.write("gateway.yaml", &(config(&upstream.url()) + PRICE + &key));
    let mut node = place.node(&[]).await;
    "a-key-for-the-test-0123456789".clone_into(&mut node.key);
    let replies = futures_util::future::join_all((0..50).map(|_| ask(&node))).await;
    let (admitted, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    refused.into_iter().for_each(check_refused);
    assert_eq!((admitted.len(), upstream.requests().len()), (20, 20));
}

#[tokio::test]
async fn key_budget() {
    let upstream = Upstream::start().await;
    upstream.respond_with(one_word);
    let place = Place::new();
    // A millionth of a dollar for a word.
    let price = PRICE.replace("10000", "1");
    let key = KEYS.replace("}]", ", budget: {amount_usd: 0.000001, window: daily}}]");
    place.write("gateway.yaml", &(config(&upstream.url()) + &price + &key));
    let mut gateway = place.up(&["-f", "gateway.yaml"]).await;
    "a-key-for-the-test-0123456789".clone_into(&mut gateway.key);
    assert_eq!(ask(&gateway).await.status, 200);
    let refused = ask(&gateway).await;
    check_refused(&refused);
    let message = refused.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.ends_with(" has no budget left for this request: $0.000001 (daily)."), "{message}");
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_budget_is_what_it_was_after_a_restart_and_after_a_kill() {
    let upstream = Upstream::start().await;
    upstream.respond_with(one_word);
    let place = Place::new();
    let of_up = config(&upstream.url()) + PRICE + &budget("0.05");
    place.write("gateway.yaml", &(of_up.clone() + KEYS));
    // Alone from a file: the node itself keeps the ledger.
    let served = |replies: &[u16]| replies.iter().filter(|status| **status == 200).count();
    let mut statuses = Vec::new();
    for round in 0..3 {
        let mut node = place.node(&[]).await;
        "a-key-for-the-test-0123456789".clone_into(&mut node.key);
        for _ in 0..[2, 1, 6][round] {
            statuses.push(ask(&node).await.status);
        }
        if round == 0 { node.stop().await } else { node.kill().await }
    }
    let n_served = served(&statuses);
    assert!((3..=5).contains(&n_served), "after a kill what it held counts as spent: {statuses:?}");
    assert_eq!(statuses[..3], [200, 200, 200], "a restart loses nothing");
    assert_eq!(statuses.last(), Some(&429));

    // With a control plane the ledger is in its database.
    place.write("gateway.yaml", &of_up);
    let gateway = place.up(&["-f", "gateway.yaml"]).await;
    let key = gateway.key.clone();
    assert_eq!((ask(&gateway).await.status, ask(&gateway).await.status), (200, 200));
    gateway.kill().await;
    let mut gateway = place.up(&["-f", "gateway.yaml"]).await;
    gateway.key = key;
    // What the dead process held is free when its usage has been delivered.
    eventually("all five", || async {
        let spent = spending(&gateway).await["spent_nano_usd"].as_i64().expect("a number");
        (ask(&gateway).await.status == 429 && spent == 5 * CENT).then_some(())
    })
    .await;
    let spent = spending(&gateway).await;
    assert_eq!((&spent["spent_nano_usd"], &spent["leased_nano_usd"]), (&json!(5 * CENT), &json!(0)), "{spent}");
}
