//! Limits of a key that is used on several nodes at once.

use std::time::{Duration, Instant};

use gateway_testing::figure;
use serde_json::json;

use crate::eventually;
use crate::http::Connection;
use crate::world::Fleet;

const TEST: &str = "rate_limit_accuracy";
const N_NODES: usize = 3;
const LIMIT: u64 = 600;
const SPAN: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_limit_accuracy() {
    let Some(mut fleet) = Fleet::start(1, N_NODES).await else { return };
    fleet.in_step().await;
    let key = limited(&fleet).await;
    shared_by(&fleet, N_NODES).await;

    let began = Instant::now();
    let mut clients: Vec<_> = Vec::new();
    for node in &fleet.nodes {
        clients.push(tokio::spawn(admitted(node.address("base_url"), key.clone(), began)));
    }
    let mut n_admitted = 0;
    for client in clients {
        n_admitted += client.await.expect("no panic");
    }
    // A whole minute's worth at once, and what came to that meanwhile.
    let most = LIMIT as f64 * (1.0 + began.elapsed().as_secs_f64() / 60.0);
    let part = n_admitted as f64 / most;
    figure::note(TEST, "admitted by three nodes, of what one would", part * 100.0, "%", 102.0);
    assert!((0.95..=1.02).contains(&part), "{n_admitted} of {most}");

    // Without a control plane a node that starts anew knows that it is not alone.
    fleet.control[0].stop().await;
    fleet.nodes[0].stop().await;
    fleet.nodes[0].start().await;
    let n_admitted = admitted(fleet.nodes[0].address("base_url"), key, Instant::now()).await;
    let share = LIMIT as f64 / N_NODES as f64 * 1.2;
    figure::note(TEST, "admitted by a node that starts alone", n_admitted as f64, "requests", share);
    assert!(n_admitted as f64 <= share, "{n_admitted} of {share}");
}

/// A key of so many requests a minute; returns its secret.
async fn limited(fleet: &Fleet) -> String {
    let made = fleet
        .admin("POST", "/admin/keys?wait=applied&timeout=30s", json!({"name": "limited", "limits": {"rpm": LIMIT}}))
        .await;
    made["key"].as_str().expect("a secret").to_owned()
}

/// Every node knows of the others.
async fn shared_by(fleet: &Fleet, n_nodes: usize) {
    for node in &fleet.nodes {
        let addr = node.address("base_url");
        eventually("a node to know how many share its limits", || async move {
            let mut connection = Connection::open(addr).await.ok()?;
            let told = connection.send("GET", "/statsz", "", String::new()).await.ok()?;
            (told.json()["limits_shared_by"] == n_nodes).then_some(())
        })
        .await;
    }
}

/// As many as get through, asked as fast as they are answered.
async fn admitted(addr: std::net::SocketAddr, key: String, began: Instant) -> u64 {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]}).to_string();
    let mut n_admitted = 0;
    let Ok(mut connection) = Connection::open(addr).await else { return 0 };
    while began.elapsed() < SPAN {
        let reply = connection.send("POST", "/v1/chat/completions", &key, body.clone()).await.expect("an answer");
        match reply.status {
            200 => n_admitted += 1,
            429 => tokio::time::sleep(Duration::from_millis(20)).await,
            other => panic!("{other}: {}", reply.text()),
        }
    }
    n_admitted
}

/// Where all of a key's requests come to one node, that has nearly all of the rate and not a third of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_is_lent_to_the_node_that_is_asked() {
    const TEST: &str = "a_rate_is_lent_to_the_node_that_is_asked";
    /// Nodes yield when they have been connected for a minute, and are counted on and alone again after ten seconds.
    const UNTIL_LENT: Duration = Duration::from_secs(76);
    const UNTIL_ALONE: Duration = Duration::from_secs(14);
    let Some(mut fleet) = Fleet::start(1, N_NODES).await else { return };
    fleet.in_step().await;
    let key = limited(&fleet).await;
    shared_by(&fleet, N_NODES).await;
    let address = fleet.nodes[0].address("base_url");
    let began = Instant::now();
    // All that there is at once is used up before it is measured.
    while began.elapsed() < UNTIL_LENT {
        admitted(address, key.clone(), Instant::now()).await;
    }
    let began = Instant::now();
    let n_admitted = admitted(address, key.clone(), began).await;
    let part = n_admitted as f64 / (LIMIT as f64 * began.elapsed().as_secs_f64() / 60.0);
    figure::note(TEST, "of a rate, used by one of three nodes while the others are idle", part * 100.0, "%", 104.0);
    assert!((0.75..=1.04).contains(&part), "{n_admitted} in {:?}", began.elapsed());

    // Nobody lends any more, and a node has its part.
    fleet.control[0].stop().await;
    let began = Instant::now();
    while began.elapsed() < UNTIL_ALONE {
        admitted(address, key.clone(), Instant::now()).await;
    }
    let began = Instant::now();
    let n_admitted = admitted(address, key, began).await;
    let part = n_admitted as f64 / (LIMIT as f64 * began.elapsed().as_secs_f64() / 60.0);
    figure::note(TEST, "of a rate, used by one of three nodes without a lender", part * 100.0, "%", 40.0);
    assert!((0.25..=0.40).contains(&part), "{n_admitted} in {:?}", began.elapsed());
}
