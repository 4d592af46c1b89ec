//! A change's whole way: write, commit, publish, node, compile, swap, acknowledge.

use std::time::Duration;

use gateway_model::kind::Kind;
use gateway_proxy::Node;
use gateway_proxy::config::{Drain, Endpoint, Options, Source};
use gateway_server::ControlPlane;
use gateway_server::change::{Actor, Draft, Edit, Outcome, Request, Wish};
use gateway_server::fleet::Rollout;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    control: ControlPlane,
    node: Node,
    _dir: tempfile::TempDir,
}

// === impl World ===

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let control = gateway_server::start(gateway_server::Options::new(
            dir.path().join("control"),
            "127.0.0.1:0".parse().expect("an address"),
        ))
        .await
        .expect("the control plane starts");
        let node = gateway_proxy::start(Options {
            data_dir: Some(dir.path().join("node")),
            listen: Some("127.0.0.1:0".parse().expect("an address")),
            workers: Some(1),
            drain: Drain { delay: Duration::ZERO, timeout: Duration::ZERO },
            ..Options::new(Source::Fleet(Endpoint::Pipe(control.pipe())))
        })
        .await
        .expect("the node starts");
        node.ready().await;
        Self { control, node, _dir: dir }
    }

    async fn write(&self, edit: Edit) -> Outcome {
        let request =
            Request { actor: Actor::default(), wish: Wish::Edit(edit), expected_revision: None, dry_run: false };
        self.control.changes().write(&request).await.expect("a valid change")
    }

    async fn rollout(&self, outcome: &Outcome) -> Rollout {
        self.control.app().fleet.wait_applied(outcome.revision, &outcome.moved, PATIENCE).await
    }

    /// What the node says it serves by.
    async fn revision(&self) -> u64 {
        let mut stream = TcpStream::connect(self.node.addr()).await.expect("the node listens");
        let request = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.expect("the node reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("the node answers");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        let health: Value = serde_json::from_str(body).expect("JSON");
        health["revision"].as_u64().expect("a revision")
    }

    async fn stop(self) {
        self.node.shutdown().await;
        self.control.shutdown().await;
    }
}

fn put(kind: Kind, document: Value) -> Edit {
    Edit::Put(Draft::from_document(kind, document).expect("a valid document"))
}

#[tokio::test]
async fn a_write_is_applied_by_the_node_and_told_to_the_writer() {
    let world = World::new().await;
    let provider = json!({"name": "up", "kind": "openai", "api_key": "sk-upstream-0123456789"});
    let outcome = world.write(put(Kind::Provider, provider)).await;
    let rollout = world.rollout(&outcome).await;
    assert_eq!(rollout.applied, [world.node.node_id()], "{rollout:?}");
    assert_eq!(world.revision().await, outcome.revision.topology);
    let outcome = world.write(put(Kind::Key, json!({"name": "k"}))).await;
    assert_eq!(world.rollout(&outcome).await.applied, [world.node.node_id()]);
    let nodes = world.control.app().fleet.nodes().await.expect("the nodes");
    assert_eq!((nodes.len(), nodes[0].connected), (1, true));
    assert_eq!(nodes[0].state.identity.revision, outcome.revision.identity);
    world.stop().await;
}

/// Many changes, faster than they can be applied one by one: hashes are compared at each step, so being applied at the end
/// means being equal.
#[tokio::test]
async fn random_changes_end_in_the_same_configuration() {
    let world = World::new().await;
    let mut random = StdRng::seed_from_u64(7);
    world.write(put(Kind::Provider, json!({"name": "up", "kind": "openai", "api_key": "sk-0123456789ab"}))).await;
    let mut last = None;
    for _ in 0..60 {
        let name = format!("m{}", random.random_range(0..8));
        let exists =
            world.control.changes().set().await.expect("the set").models.iter().any(|model| model.name == name);
        let edit = match random.random_range(0..3) {
            0 if exists => Edit::Delete { kind: Kind::Model, name },
            1 => put(Kind::Key, json!({"name": name, "limits": {"rpm": random.random_range(1..1000)}})),
            _ => {
                let target = json!({"provider": "up", "model": random.random_range(0..100_u8).to_string()});
                put(Kind::Model, json!({"name": name, "targets": [target]}))
            }
        };
        last = Some(world.write(edit).await);
    }
    let last = last.expect("there were changes");
    let rollout = world.rollout(&last).await;
    assert_eq!(rollout.applied, [world.node.node_id()], "{rollout:?}");
    assert_eq!(world.revision().await, last.revision.topology);
    world.stop().await;
}

/// Told, not judged: how long after its commit a revocation is in force on the node.
#[tokio::test]
async fn a_revocation_does_not_wait() {
    const N_KEYS: usize = 20;
    let world = World::new().await;
    for number in 0..N_KEYS {
        world.write(put(Kind::Key, json!({"name": format!("k{number}")}))).await;
    }
    let mut times = Vec::new();
    for number in 0..N_KEYS {
        let outcome = world.write(Edit::Delete { kind: Kind::Key, name: format!("k{number}") }).await;
        let began = std::time::Instant::now();
        assert_eq!(world.rollout(&outcome).await.applied, [world.node.node_id()]);
        times.push(began.elapsed());
    }
    times.sort();
    println!("revocation, commit to acknowledgement: median {:?}, worst {:?}", times[N_KEYS / 2], times[N_KEYS - 1]);
    world.stop().await;
}
