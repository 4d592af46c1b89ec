//! What a credential may spend, over two nodes and one ledger: all of them the real ones.

use std::time::{Duration, Instant};

use gateway_fake::reply::openai;
use gateway_fake::{Received, Upstream};
use gateway_proxy::config::{Drain, Endpoint, Options, Source};
use gateway_proxy::{Node, start};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::turn;
use crate::world::World;

/// A word of a reply costs a cent, and a request has one.
const CENT: i64 = 10_000_000;
/// What each credential may spend, in requests.
const OF_MAIN: usize = 20;
const OF_SPARE: usize = 10;
const PATIENCE: Duration = Duration::from_secs(60);

/// What came of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Answered,
    /// No credential has a budget left.
    Exhausted,
    /// It is not known to the node yet what they have.
    Unavailable,
}

async fn node(world: &World) -> (Node, TempDir) {
    let home = tempfile::tempdir().unwrap();
    let options = Options {
        data_dir: Some(home.path().to_owned()),
        listen: Some("127.0.0.1:0".parse().unwrap()),
        workers: Some(1),
        drain: Drain { delay: Duration::ZERO, timeout: Duration::from_secs(5) },
        ..Options::new(Source::Fleet(Endpoint::Pipe(world.control.pipe())))
    };
    let node = start(options).await.unwrap();
    node.ready().await;
    (node, home)
}

/// One provider with two keys and a budget for each; the key that asks.
async fn configured(world: &World, upstream: &Upstream) -> String {
    let keys = json!([{"name": "main", "key": "key-main-0001"}, {"name": "spare", "key": "key-spare-0002"}]);
    let provider = json!({"name": "p", "kind": "openai-compatible", "base_url": format!("{}/v1", upstream.url()),
        "allow_private_networks": true, "api_keys": keys});
    world.call("POST", "/admin/providers", provider).await;
    let model = json!({"name": "m", "targets": [{"provider": "p", "model": "x"}]});
    world.call("POST", "/admin/models", model).await;
    let price = json!({"provider": "p", "model": "x", "input_per_1m": 0, "output_per_1m": 10_000});
    world.call("POST", "/admin/prices", price).await;
    for (name, amount) in [("main", "0.20"), ("spare", "0.10")] {
        let budget = json!({"name": format!("of-{name}"), "amount_usd": amount, "window": "monthly",
            "match": {"credentials": [format!("p#{name}")]}});
        world.call("POST", "/admin/budgets", budget).await;
    }
    let made = world.call("POST", "/admin/keys", json!({"name": "app"})).await;
    made["key"].as_str().unwrap().to_owned()
}

async fn ask(client: &reqwest::Client, node: &Node, key: &str) -> Outcome {
    let question = json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Is it?"}]});
    let request = client.post(format!("http://{}/v1/chat/completions", node.addr()));
    let request = request.header("content-type", "application/json").body(question.to_string());
    let answer = request.bearer_auth(key).send().await.unwrap();
    let status = answer.status().as_u16();
    let kind = answer.headers().get("x-gateway-limit-kind").map(|kind| kind.to_str().unwrap().to_owned());
    let text = answer.text().await.unwrap();
    if status == 200 {
        return Outcome::Answered;
    }
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, kind.as_deref(), &told["error"]["kind"]), (429, Some("budget"), &json!("budget")), "{text}");
    match told["error"]["code"].as_str() {
        Some("rate_limit_exceeded") => Outcome::Exhausted,
        Some("budget_unavailable") => Outcome::Unavailable,
        _ => panic!("{text}"),
    }
}

/// How often each credential was asked.
fn asked(upstream: &Upstream) -> (usize, usize) {
    let requests = upstream.requests();
    let of = |key: &str| requests.iter().filter(|received: &&Received| credential(received) == key).count();
    (of("key-main-0001"), of("key-spare-0002"))
}

fn credential(received: &Received) -> &str {
    received.header("authorization").unwrap_or_default().trim_start_matches("Bearer ")
}

/// By the ledger, spent and held by nodes.
async fn booked(world: &World) -> Vec<(String, i64, i64)> {
    let listed = world.call("GET", "/admin/usage/budgets", Value::Null).await;
    let of = |row: &Value| {
        let amount = |field: &str| row[field].as_i64().unwrap();
        (row["name"].as_str().unwrap().to_owned(), amount("spent_nano_usd"), amount("leased_nano_usd"))
    };
    let mut rows: Vec<_> = listed["data"].as_array().unwrap().iter().map(of).collect();
    rows.sort();
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_of_a_credential_is_kept_over_two_nodes() {
    let _turn = turn().await;
    let (upstream, world) = (Upstream::start().await, World::empty().await);
    upstream.respond_with(|received| openai::answer(received, "Yes"));
    let key = configured(&world, &upstream).await;
    let nodes = [node(&world).await, node(&world).await];
    // Installed by an earlier test, it is the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (client, began) = (reqwest::Client::builder().no_proxy().build().unwrap(), Instant::now());
    // Both at once, again and again: whoever has too little gives it back, until nobody has anything.
    loop {
        let several = async |node: &Node| {
            [ask(&client, node, &key).await, ask(&client, node, &key).await, ask(&client, node, &key).await]
        };
        let (of_one, of_other) = tokio::join!(several(&nodes[0].0), several(&nodes[1].0));
        let outcomes = [of_one, of_other].concat();
        let (main, spare) = asked(&upstream);
        assert!(
            main <= OF_MAIN && spare <= OF_SPARE,
            "{main} and {spare} requests, of {OF_MAIN} and {OF_SPARE} paid for"
        );
        if (main, spare) == (OF_MAIN, OF_SPARE) && outcomes.iter().all(|outcome| *outcome == Outcome::Exhausted) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{main} and {spare} requests, and {outcomes:?}");
    }
    let spent = |name: &str, n: usize| (name.to_owned(), n as i64 * CENT, 0);
    let expected = [spent("of-main", OF_MAIN), spent("of-spare", OF_SPARE)];
    while booked(&world).await != expected {
        assert!(began.elapsed() < 2 * PATIENCE, "{:?}", booked(&world).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (node, _home) in nodes {
        node.shutdown().await;
    }
    world.control.shutdown().await;
}
