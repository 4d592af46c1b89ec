//! Limits of a key that is used on several nodes at once.

use std::time::{Duration, Instant};

use gateway_testing::figure;
use serde_json::json;

use crate::eventually;
use crate::http::{self, Connection};
use crate::load::Random;
use crate::world::Fleet;

const N_NODES: usize = 3;
const LIMIT: u64 = 600;
const SPAN: Duration = Duration::from_secs(6);

/// Half the limit, all of it and ten times as much at random moments, by one node and by five at random.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_limit_accuracy() {
    const TEST: &str = "rate_limit_accuracy";
    const LOADS: [f64; 3] = [0.5, 1.0, 10.0];
    for n_nodes in [1, 5] {
        let Some(fleet) = Fleet::start(1, n_nodes).await else { return };
        fleet.in_step().await;
        let mut keys = Vec::new();
        for times in LOADS {
            keys.push(limited(&fleet, &format!("times-{times}"), Paced::LIMIT).await);
        }
        shared_by(&fleet, n_nodes).await;
        let loads = LOADS.iter().zip(&keys).map(|(times, key)| Paced::of(&fleet, key, *times));
        for (times, paced) in LOADS.into_iter().zip(futures_util::future::join_all(loads).await) {
            let (n_passed, excess) = (paced.passed.len() as f64, paced.excess());
            let (most, by) = if n_nodes == 1 { (0.0, "one node") } else { (2.0, "five nodes") };
            figure::note(TEST, &format!("above the limit over any window, {by}, {times}x"), excess * 100.0, "%", most);
            assert!(excess * 100.0 <= most, "{by}, {times}x: {excess}");
            let part = n_passed / paced.allowed().min(paced.n_asked as f64);
            figure::note_at_least(TEST, &format!("admitted of what may be, {by}, {times}x"), part * 100.0, "%", 95.0);
            assert!(part >= if times > 1.0 { 0.95 } else { 1.0 }, "{by}, {times}x: {n_passed} of {}", paced.n_asked);
        }
    }
}

/// Requests of one key over a while, and when those that were admitted were sent and answered.
struct Paced {
    n_asked: usize,
    passed: Vec<(Duration, Duration)>,
}

// === impl Paced ===

impl Paced {
    const LIMIT: u64 = 120;
    const SPAN: Duration = Duration::from_secs(12);

    async fn of(fleet: &Fleet, key: &str, times: f64) -> Self {
        let mut random = Random(42);
        let n_asked = (times * Self::LIMIT as f64 * Self::SPAN.as_secs_f64() / 60.0) as usize;
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]}).to_string();
        let began = Instant::now();
        let requests = (0..n_asked).map(|_| {
            let at = Duration::from_millis(random.below(Self::SPAN.as_millis() as u64));
            let node = random.below(fleet.nodes.len() as u64) as usize;
            let (address, body) = (fleet.nodes[node].address("base_url"), body.clone());
            async move {
                tokio::time::sleep(at.saturating_sub(began.elapsed())).await;
                let sent = began.elapsed();
                let reply = http::send(address, "POST", "/v1/chat/completions", key, body).await.expect("an answer");
                assert!(matches!(reply.status, 200 | 429), "{}: {}", reply.status, reply.text());
                (reply.status == 200).then(|| (sent, began.elapsed()))
            }
        });
        let mut passed: Vec<_> = futures_util::future::join_all(requests).await.into_iter().flatten().collect();
        passed.sort_unstable_by_key(|(_, answered)| *answered);
        Self { n_asked, passed }
    }

    /// A whole minute's worth at once, and what comes to that in this time.
    fn within(span: Duration) -> f64 {
        Self::LIMIT as f64 * (1.0 + span.as_secs_f64() / 60.0)
    }

    fn allowed(&self) -> f64 {
        Self::within(Self::SPAN)
    }

    /// Over the worst of all windows, the part by which more was admitted than may be; below nothing where there is none.
    fn excess(&self) -> f64 {
        let over = |from: usize| {
            let sent = self.passed[from..].iter().map(|(sent, _)| *sent).min().unwrap_or_default();
            let window = move |(n, (_, answered)): (usize, &(Duration, Duration))| {
                n as f64 / Self::within(answered.saturating_sub(sent)) - 1.0
            };
            (1..).zip(&self.passed[from..]).map(window).fold(-1.0, f64::max)
        };
        (0..self.passed.len()).map(over).fold(-1.0, f64::max)
    }
}

/// Three nodes that are asked as fast as they answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_share_a_rate_and_one_that_starts_alone_has_its_part() {
    const TEST: &str = "nodes_share_a_rate_and_one_that_starts_alone_has_its_part";
    let Some(mut fleet) = Fleet::start(1, N_NODES).await else { return };
    fleet.in_step().await;
    let key = limited(&fleet, "limited", LIMIT).await;
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
async fn limited(fleet: &Fleet, name: &str, rpm: u64) -> String {
    let key = json!({"name": name, "limits": {"rpm": rpm}});
    let made = fleet.admin("POST", "/admin/keys?wait=applied&timeout=30s", key).await;
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
    let key = limited(&fleet, "limited", LIMIT).await;
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
