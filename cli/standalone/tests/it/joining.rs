//! Further nodes, over the network: into the fleet, out of it, and back after a restart.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use gateway_model::document::Resource;
use gateway_proxy::Node;
use gateway_proxy::config::{Drain, Endpoint, JoinToken, Options, Remote, Source};
use gateway_server::change::{Actor, Draft, Edit, Request, Wish};
use gateway_server::{ControlPlane, Options as ControlOptions};
use gateway_standalone::{File, Seed, Standalone};
use gateway_testing::figure;

const PATIENCE: Duration = Duration::from_secs(30);

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

async fn control(data_dir: &Path) -> ControlPlane {
    let options = ControlOptions { fleet_listen: Some(any()), ..ControlOptions::new(data_dir.to_owned(), any()) };
    gateway_server::start(options).await.expect("the control plane starts")
}

async fn join(data_dir: &Path, fleet_url: &str, token: Option<JoinToken>) -> Node {
    let remote = Remote { urls: vec![fleet_url.parse().expect("a fleet URL")], join_token: token };
    let node = gateway_proxy::start(Options {
        data_dir: Some(data_dir.to_owned()),
        listen: Some(any()),
        workers: Some(1),
        drain: Drain { delay: Duration::ZERO, timeout: Duration::ZERO },
        labels: BTreeMap::from([("zone".to_owned(), "a".to_owned())]),
        ..Options::new(Source::Fleet(Endpoint::Remote(remote)))
    });
    let node = node.await.expect("the node starts");
    tokio::time::timeout(PATIENCE, node.ready()).await.expect("the node has its configuration");
    node
}

/// Makes a key, and waits for the nodes.
async fn applied(control: &ControlPlane, key: &str) -> Vec<String> {
    let draft = Draft::from_document(gateway_model::kind::Kind::Key, serde_json::json!({"name": key}));
    let wish = Wish::Edit(Edit::Put(draft.expect("a valid key")));
    let request = Request { actor: Actor::default(), wish, expected_revision: None, dry_run: false };
    let outcome = control.changes().write(&request).await.expect("a valid change");
    control.app().fleet.wait_applied(outcome.revision, &outcome.moved, PATIENCE).await.applied
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) -> Duration {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    began.elapsed()
}

async fn is_connected(control: &ControlPlane, node_id: &str) -> bool {
    let nodes = control.app().fleet.nodes().await.expect("the nodes");
    nodes.iter().any(|node| node.id == node_id && node.connected)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_join_are_put_out_and_come_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name);
    let control = control(&path("control")).await;
    let (url, token) = (control.fleet_url().expect("a fleet URL"), control.join_token().expect("a token").clone());
    let given = || Some(JoinToken::Given(token.clone()));
    let (one, other) = (join(&path("one"), &url, given()).await, join(&path("other"), &url, given()).await);
    let mut both = [one.node_id(), other.node_id()];
    both.sort();
    assert_eq!(applied(&control, "first").await, both);

    // A data directory that is enrolled needs no token.
    one.shutdown().await;
    let one = join(&path("one"), &url, None).await;
    assert!(both.contains(&one.node_id()), "it is the same node");
    until("it is back", async || is_connected(&control, &one.node_id()).await).await;

    let out = one.node_id();
    control.app().members.revoke(&out, &Actor::default()).await.expect("a member");
    let took = until("it is cut", async || !is_connected(&control, &out).await).await;
    figure::note("node_cert_expired_and_revoked", "a real node is cut", took.as_secs_f64(), "s", 5.0);
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(applied(&control, "second").await, [other.node_id()]);
    assert!(!is_connected(&control, &out).await, "it does not come back");
    one.shutdown().await;
    other.shutdown().await;
    control.shutdown().await;
}

async fn up(data_dir: &Path, fleet_listen: Option<SocketAddr>) -> anyhow::Result<Standalone> {
    gateway_standalone::start(gateway_standalone::Options {
        data_dir: data_dir.to_owned(),
        listen: Some(any()),
        tls: None,
        ops_listen: None,
        ops_key_file: None,
        pprof: false,
        ops_tls: None,
        admin_listen: any(),
        admin_tls: None,
        fleet_listen,
        fleet_hosts: Vec::new(),
        database_url: None,
        logs_database: None,
        kek_file: None,
        master_key_file: None,
        workers: Some(1),
        otlp: None,
        seed: Seed::File(File { owner: "test".to_owned(), resources: Vec::<Resource>::new() }),
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn further_nodes_join_a_gateway_on_one_machine() {
    let dir = tempfile::tempdir().expect("a directory");
    let gateway = up(&dir.path().join("up"), Some(any())).await.expect("it starts");
    let url = gateway.fleet_url().expect("a fleet URL");
    let token = JoinToken::Given(gateway.join_token().expect("a token").clone());
    join(&dir.path().join("node"), &url, Some(token)).await.shutdown().await;

    // A port that was asked for has to be free; the usual one is left to who has it.
    let taken = url.trim_start_matches("https://").parse().expect("an address");
    let refused = up(&dir.path().join("second"), Some(taken)).await.err().expect("refused");
    assert!(refused.to_string().contains("--fleet-listen"), "{refused:#}");
    let _held = std::net::TcpListener::bind(gateway_server::config::DEFAULT_FLEET_LISTEN);
    let second = up(&dir.path().join("second"), None).await.expect("it starts all the same");
    assert_eq!((second.fleet_url(), second.join_token()), (None, None));
    second.shutdown().await;
    gateway.shutdown().await;
}
