//! From the answer of the admin API to the refusal on every node.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_fleet_tests::keys::N_KEYS;
use gateway_model::kind::Class;
use gateway_proxy::link::Link;
use gateway_proxy::sync::Replica;
use gateway_server::ControlPlane;
use gateway_store::revisions::Committed;
use gateway_testing::figure;

use crate::nodes::{Board, Running, Whole, stranger};
use crate::world::World;

const N_NODES: usize = 100;
/// Of these, so many keep whole key tables: with a hundred of them the test would measure the machine's memory.
const N_WHOLE: usize = 4;
const N_REVOKED: usize = 200;
/// Where a poll gathers them: all that come within a second reach the nodes as one.
const N_REVOKED_UNTOLD: usize = 50;
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_100_nodes() {
    let _turn = crate::turn().await;
    let world = World::new().await;
    let board = Arc::new(Board::default());
    let whole = whole(&world.control, N_WHOLE).await;
    let near = revoke(&world, &whole[..2], &board, 0..20, 2).await;
    note("revocation_100_nodes", "two nodes", &near, Duration::from_millis(250), Duration::from_millis(250));

    let light = light(&world.control, N_WHOLE, N_NODES - N_WHOLE, &board).await;
    let all = revoke(&world, &whole, &board, 20..20 + N_REVOKED, N_NODES).await;
    note("revocation_100_nodes", "100 nodes", &all, Duration::from_secs(1), Duration::from_secs(3));
    drop(light);
    world.control.shutdown().await;
}

/// The write comes to one replica, the nodes are on the other one, and the database tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_two_replicas() {
    let _turn = crate::turn().await;
    let Some(world) = World::on_postgres("").await else { return };
    let all = elsewhere(world, 0..N_REVOKED).await;
    note("revocation_two_replicas", "100 nodes", &all, Duration::from_secs(1), Duration::from_secs(3));
}

/// As before, and nobody tells: only asking finds out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_notify_blocked() {
    const TWO_SECONDS: Duration = Duration::from_secs(2);
    let _turn = crate::turn().await;
    let keys = N_REVOKED..N_REVOKED + N_REVOKED_UNTOLD;
    let on_sqlite = elsewhere(World::new().await, keys.clone()).await;
    note("revocation_notify_blocked", "100 nodes, SQLite", &on_sqlite, TWO_SECONDS, TWO_SECONDS);
    let Some(world) = World::on_postgres("?notify=off").await else { return };
    let on_postgres = elsewhere(world, keys).await;
    note("revocation_notify_blocked", "100 nodes, Postgres", &on_postgres, TWO_SECONDS, TWO_SECONDS);
}

/// Waits of nodes that are on another replica than the one that takes the keys away.
async fn elsewhere(world: World, keys: Range<usize>) -> Vec<Duration> {
    let (other, _directory) = world.replica().await;
    let board = Arc::new(Board::default());
    let whole = whole(&other, 1).await;
    let light = light(&other, 1, N_NODES - 1, &board).await;
    let waits = revoke(&world, &whole, &board, keys, N_NODES).await;
    drop(light);
    other.shutdown().await;
    world.control.shutdown().await;
    waits
}

async fn whole(control: &ControlPlane, n_nodes: usize) -> Vec<Arc<Whole>> {
    let mut nodes = Vec::new();
    for _ in 0..n_nodes {
        nodes.push(Arc::new(Whole::start(Link::pipe(control.pipe())).await));
    }
    settled(control, n_nodes).await;
    assert!(nodes.iter().all(|node| node.lets_in(N_KEYS - 1)), "the keys are there");
    nodes
}

/// Beside `n_others`. The first one is sent everything, the rest begin with what it holds.
async fn light(control: &ControlPlane, n_others: usize, n_nodes: usize, board: &Arc<Board>) -> Vec<Running> {
    let link = || Link::pipe(control.pipe());
    let first = Running::start(link(), stranger(), Replica::new(), board);
    settled(control, n_others + 1).await;
    let replica = first.stop().await;
    let nodes = (0..n_nodes).map(|_| Running::start(link(), stranger(), replica.clone(), board)).collect();
    settled(control, n_others + n_nodes).await;
    nodes
}

/// Until so many nodes are connected and have applied what there is.
async fn settled(control: &ControlPlane, n_nodes: usize) {
    let app = control.app();
    let heads = app.store.heads().await.unwrap();
    let revision = Committed { topology: heads.topology, identity: heads.identity };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let rollout = app.fleet.wait_applied(revision, &Class::ALL, PATIENCE).await;
        if rollout.pending.is_empty() && rollout.applied.len() >= n_nodes {
            return;
        }
        assert!(Instant::now() < deadline, "{} of {n_nodes} nodes", rollout.applied.len());
        tokio::time::sleep(POLL).await;
    }
}

/// Revokes keys one after the other. Returns how long after its answer each node refused each key, sorted.
async fn revoke(
    world: &World,
    whole: &[Arc<Whole>],
    board: &Arc<Board>,
    keys: Range<usize>,
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

fn note(test: &str, what: &str, waits: &[Duration], p99_limit: Duration, max_limit: Duration) {
    let ms = |span: Duration| span.as_secs_f64() * 1e3;
    let (p50, p99) = (waits[waits.len() / 2], waits[(waits.len() * 99).div_ceil(100) - 1]);
    let max = waits[waits.len() - 1];
    for (name, value, limit) in [("p50", p50, p99_limit), ("p99", p99, p99_limit), ("max", max, max_limit)] {
        figure::note(test, &format!("{what}, {name} from answer to refusal"), ms(value), "ms", ms(limit));
    }
    assert!(p99 < p99_limit && max < max_limit, "{what}: p99 {p99:?}, max {max:?}");
}
