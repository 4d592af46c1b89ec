//! From the answer of the admin API to the refusal on every node.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_model::kind::Class;
use gateway_proxy::link::Link;
use gateway_proxy::sync::Replica;
use gateway_testing::figure;

use crate::nodes::{Board, Running, Whole};
use crate::world::World;

const N_NODES: usize = 100;
/// Of these, so many keep whole key tables: with a hundred of them the test would measure the machine's memory.
const N_WHOLE: usize = 4;
const N_REVOKED: usize = 200;
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_100_nodes() {
    let world = World::new().await;
    let board = Arc::new(Board::default());
    let whole = whole(&world, N_WHOLE).await;
    let near = revoke(&world, &whole[..2], &board, 0..20, 2).await;
    note("two nodes", &near, Duration::from_millis(250), Duration::from_millis(250));

    let light = light(&world, N_NODES - N_WHOLE, &board).await;
    let all = revoke(&world, &whole, &board, 20..20 + N_REVOKED, N_NODES).await;
    note("100 nodes", &all, Duration::from_secs(1), Duration::from_secs(3));
    drop(light);
    world.control.shutdown().await;
}

async fn whole(world: &World, n_nodes: usize) -> Vec<Arc<Whole>> {
    let mut nodes = Vec::new();
    for _ in 0..n_nodes {
        nodes.push(Arc::new(Whole::start(Link::pipe(world.control.pipe())).await));
    }
    settled(world, n_nodes).await;
    assert!(nodes.iter().all(|node| node.lets_in(0)), "the keys are there");
    nodes
}

/// The first one is sent everything, the others begin with what it holds.
async fn light(world: &World, n_nodes: usize, board: &Arc<Board>) -> Vec<Running> {
    let link = || Link::pipe(world.control.pipe());
    let n_before =
        world.control.app().fleet.wait_applied(heads(world).await, &Class::ALL, PATIENCE).await.applied.len();
    let first = Running::start(link(), Replica::new(), board);
    settled(world, n_before + 1).await;
    let replica = first.stop().await;
    let nodes = (0..n_nodes).map(|_| Running::start(link(), replica.clone(), board)).collect();
    settled(world, n_before + n_nodes).await;
    nodes
}

/// Until so many nodes are connected and have applied what there is.
async fn settled(world: &World, n_nodes: usize) {
    let (fleet, revision) = (Arc::clone(&world.control.app().fleet), heads(world).await);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let rollout = fleet.wait_applied(revision, &Class::ALL, PATIENCE).await;
        if rollout.pending.is_empty() && rollout.applied.len() >= n_nodes {
            return;
        }
        assert!(Instant::now() < deadline, "{} of {n_nodes} nodes", rollout.applied.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn heads(world: &World) -> gateway_store::revisions::Committed {
    let heads = world.control.app().store.heads().await.unwrap();
    gateway_store::revisions::Committed { topology: heads.topology, identity: heads.identity }
}

/// Revokes keys one after the other. Returns how long after its answer each node refused each key, sorted.
async fn revoke(
    world: &World,
    whole: &[Arc<Whole>],
    board: &Arc<Board>,
    keys: std::ops::Range<usize>,
    n_nodes: usize,
) -> Vec<Duration> {
    let mut answered = HashMap::new();
    for key in keys.clone() {
        answered.insert(key, world.revoke(key).await);
        whole.iter().for_each(|node| node.watch(key, board));
    }
    let keys: Vec<usize> = keys.collect();
    let seen = board.all(&keys, n_nodes, PATIENCE).await;
    let waits = seen.iter().flat_map(|(key, nodes)| nodes.iter().map(|at| at.saturating_duration_since(answered[key])));
    let mut waits: Vec<Duration> = waits.collect();
    waits.sort_unstable();
    waits
}

fn note(what: &str, waits: &[Duration], p99_limit: Duration, max_limit: Duration) {
    let ms = |span: Duration| span.as_secs_f64() * 1e3;
    let (p50, p99) = (waits[waits.len() / 2], waits[(waits.len() * 99).div_ceil(100) - 1]);
    let max = waits[waits.len() - 1];
    for (name, value, limit) in [("p50", p50, p99_limit), ("p99", p99, p99_limit), ("max", max, max_limit)] {
        figure::note(
            "revocation_100_nodes",
            &format!("{what}, {name} from answer to refusal"),
            ms(value),
            "ms",
            ms(limit),
        );
    }
    assert!(p99 < p99_limit && max < max_limit, "{what}: p99 {p99:?}, max {max:?}");
}
