//! One budget for all nodes: what the provider was asked for never costs more, whoever is killed with money in hand.

use std::time::{Duration, Instant};

use gateway_testing::figure;
use serde_json::{Value, json};

use crate::eventually;
use crate::http;
use crate::load::Random;
use crate::upstream::SHORT;
use crate::world::Fleet;

const N_NODES: usize = 10;
/// A word costs a cent, and `SHORT` has three.
const CENTS: usize = 3;
/// The amount, in requests.
const N_PAID: usize = 400;
/// How long the control plane is away.
const OUTAGE: Duration = Duration::from_secs(30);

/// What came of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Answered,
    /// The budget is spent.
    Exhausted,
    /// The control plane is away.
    Unavailable,
}

async fn ask(fleet: &Fleet, node: usize) -> Outcome {
    let body = json!({"model": "m", "max_tokens": CENTS, "messages": [{"role": "user", "content": "short"}]});
    let address = fleet.nodes[node].address("base_url");
    let reply = http::send(address, "POST", "/v1/chat/completions", &fleet.key, body.to_string()).await;
    let reply = reply.unwrap_or_else(|error| panic!("node {node}: {error}"));
    match (reply.status, reply.json()["error"]["code"].as_str()) {
        (200, _) => Outcome::Answered,
        (429, Some("rate_limit_exceeded")) => Outcome::Exhausted,
        (429, Some("budget_unavailable")) => Outcome::Unavailable,
        _ => panic!("node {node}: {}: {}", reply.status, reply.text()),
    }
}

/// Each node at random moments, about `per_second` times a second.
async fn ask_at_random(fleet: &Fleet, nodes: &[usize], span: Duration, per_second: u64) -> Vec<Outcome> {
    let began = Instant::now();
    let of_node = |node: usize| async move {
        let (mut outcomes, mut random) = (Vec::new(), Random(node as u64));
        while began.elapsed() < span {
            tokio::time::sleep(Duration::from_millis(random.below(2000 / per_second))).await;
            outcomes.push(ask(fleet, node).await);
        }
        outcomes
    };
    futures_util::future::join_all(nodes.iter().map(|node| of_node(*node))).await.concat()
}

async fn ask_all(fleet: &Fleet, nodes: &[usize], n_each: usize) -> Vec<Outcome> {
    let of_node = |node: usize| async move {
        let mut outcomes = Vec::new();
        for _ in 0..n_each {
            outcomes.push(ask(fleet, node).await);
        }
        outcomes
    };
    futures_util::future::join_all(nodes.iter().map(|node| of_node(*node))).await.concat()
}

/// Asks until no node has anything left, and the ledger neither.
async fn spend_all(fleet: &Fleet, nodes: &[usize]) {
    eventually("the budget to be spent", || async {
        let outcomes = ask_all(fleet, nodes, 5).await;
        outcomes.iter().all(|outcome| *outcome == Outcome::Exhausted).then_some(())
    })
    .await;
}

async fn cents(fleet: &Fleet, field: &str) -> usize {
    let listed = fleet.admin("GET", "/admin/usage/budgets", Value::Null).await;
    usize::try_from(listed["data"][0][field].as_u64().expect("a number") / 10_000_000).expect("few")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn budget_fleet_leases() {
    const TEST: &str = "budget_fleet_leases";
    let Some(mut fleet) = Fleet::start(1, N_NODES).await else { return };
    assert_eq!(SHORT.split(' ').count(), CENTS);
    let price = json!({"provider": "fake", "model": "upstream-model", "input_per_1m": 0, "output_per_1m": 10000});
    fleet.admin("POST", "/admin/prices", price).await;
    let amount = format!("{}.{:02}", N_PAID * CENTS / 100, N_PAID * CENTS % 100);
    let budget = json!({"name": "all", "amount_usd": amount, "window": "monthly", "match": {"models": ["*"]}});
    fleet.admin("POST", "/admin/budgets", budget).await;
    fleet.in_step().await;
    let (all, living, dead) = ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [3, 4, 5, 6, 7, 8, 9], [0, 1, 2]);
    for node in all {
        let answered = || async { (ask(&fleet, node).await == Outcome::Answered).then_some(()) };
        eventually("a node's first lease", answered).await;
    }
    let outcomes = ask_at_random(&fleet, &all, Duration::from_secs(5), 2).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Answered), "{outcomes:?}");

    // Three nodes die with money in hand, and then nobody can be asked for more.
    for node in dead {
        fleet.nodes[node].kill().await;
    }
    fleet.control[0].kill().await;
    let outcomes = ask_at_random(&fleet, &living, OUTAGE, 4).await;
    let count = |wanted: Outcome| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    let (n_held, n_unavailable) = (count(Outcome::Answered), count(Outcome::Unavailable));
    assert!(n_unavailable > 0 && count(Outcome::Exhausted) == 0, "what was held is all there is: {outcomes:?}");
    let n_asked = fleet.upstream.requests().len();
    assert!(n_asked <= N_PAID, "{n_asked} of {N_PAID} paid for");

    // Those who live spend the rest; what the dead hold stays theirs.
    fleet.control[0].start().await;
    spend_all(&fleet, &living).await;
    let n_without_the_dead = fleet.upstream.requests().len();
    assert!(n_without_the_dead <= N_PAID, "{n_without_the_dead} of {N_PAID} paid for");

    // They come back, deliver what they owe, and give back what they held.
    for node in dead {
        fleet.nodes[node].start().await;
    }
    eventually("nobody to hold any money", || async {
        spend_all(&fleet, &all).await;
        (cents(&fleet, "leased_nano_usd").await == 0).then_some(())
    })
    .await;
    let n_asked = fleet.upstream.requests().len();
    let spent = cents(&fleet, "spent_nano_usd").await;
    figure::note(
        TEST,
        "requests answered of what leases held while nobody could be asked",
        n_held as f64,
        "requests",
        N_PAID as f64,
    );
    figure::note(TEST, "spent at the provider, of the budget", n_asked as f64 / N_PAID as f64 * 100.0, "%", 100.0);
    figure::note(
        TEST,
        "held by dead nodes until they came back",
        (N_PAID - n_without_the_dead) as f64,
        "requests",
        N_PAID as f64,
    );
    figure::note(TEST, "not used in the end", (N_PAID - n_asked) as f64 / N_PAID as f64 * 100.0, "%", 5.0);
    assert_eq!(spent, n_asked * CENTS, "what the ledger has is what the provider was asked for");
    assert!(n_asked <= N_PAID && n_asked * 100 > N_PAID * 95, "{n_asked} of {N_PAID}");
}
