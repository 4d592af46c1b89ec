//! Five hundred members lose their connections at once and come back over mutual TLS.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_fleet_tests::memory;
use gateway_proxy::config::{JoinToken, Remote};
use gateway_proxy::member::{Member, Membership};
use gateway_proxy::sync::Replica;
use gateway_proxy::telemetry::identity::Identity;
use gateway_testing::figure;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::nodes::{Board, Running};
use crate::process::Process;

const N_NODES: usize = 500;
/// Enrolments at a time: joining is not what is measured.
const N_JOINING: usize = 16;
const PATIENCE: Duration = Duration::from_secs(90);
const MIB: f64 = 1024.0 * 1024.0;
const TEST: &str = "reconnect_storm";

/// A member of the fleet, and the light node that follows it.
struct Node {
    member: Member,
    running: Running,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconnect_storm() {
    let control = Process::start().await;
    let (home, board) = (tempfile::tempdir().unwrap(), Arc::new(Board::default()));
    let nodes = join(&control, home.path(), &board).await;
    control.revoke(0).await;
    board.all(&[0], N_NODES, PATIENCE).await;

    let n_snapshots = control.counter("gateway_config_sent_total", "snapshot").await;
    assert!(n_snapshots > 0.0, "the first node has been sent everything");
    memory::forget_peak(control.id()).unwrap();
    let before = memory::resident(Some(control.id()));
    let cut = Instant::now();
    nodes.iter().for_each(|node| node.member.link().leave());
    control.revoke(1).await;
    let synced = board.all(&[1], N_NODES, PATIENCE).await;
    let last = synced[&1].iter().max().unwrap().duration_since(cut).as_secs_f64();
    let grown = memory::peak(control.id()).saturating_sub(before) as f64 / MIB;
    let n_snapshots = control.counter("gateway_config_sent_total", "snapshot").await - n_snapshots;

    figure::note(TEST, "500 nodes synced after the cut", last, "s", 60.0);
    figure::note(TEST, "the control plane's memory grew by", grown, "MiB", 200.0);
    figure::note(TEST, "the control plane's memory before", before as f64 / MIB, "MiB", f64::INFINITY);
    figure::note(TEST, "whole snapshots sent", n_snapshots, "snapshots", 0.0);
    assert!(last < 60.0 && grown < 200.0 && n_snapshots == 0.0);
    for node in nodes {
        node.running.stop().await;
        node.member.shutdown().await;
    }
    control.stop().await;
}

/// The first one is sent everything, the others begin with what it holds.
async fn join(control: &Process, home: &Path, board: &Arc<Board>) -> Vec<Node> {
    let (first, identity) = enrol(control, home, 0).await;
    let running = Running::start(first.link().clone(), Arc::clone(&identity), Replica::new(), board);
    // A key that is taken away reaches the node only after all keys have.
    control.revoke(2).await;
    board.all(&[2], 1, PATIENCE).await;
    let replica = running.stop().await;
    let running = Running::start(first.link().clone(), identity, replica.clone(), board);
    let mut nodes = vec![Node { member: first, running }];

    let places = Arc::new(Semaphore::new(N_JOINING));
    let mut joining = JoinSet::new();
    for number in 1..N_NODES {
        let (place, enrolled) = (Arc::clone(&places), enrol(control, home, number));
        joining.spawn(async move {
            let _place = place.acquire_owned().await.unwrap();
            enrolled.await
        });
    }
    while let Some(enrolled) = joining.join_next().await {
        let (member, identity) = enrolled.unwrap();
        let running = Running::start(member.link().clone(), identity, replica.clone(), board);
        nodes.push(Node { member, running });
    }
    nodes
}

/// A new node with a certificate.
fn enrol(control: &Process, home: &Path, number: usize) -> impl Future<Output = (Member, Arc<Identity>)> + use<> {
    let directory = home.join(number.to_string());
    let join_token = Some(JoinToken::Given(control.join_token()));
    let remote = Remote { urls: vec![control.fleet_url().parse().unwrap()], join_token };
    async move {
        std::fs::create_dir(&directory).unwrap();
        let identity = Arc::new(Identity::load(Some(&directory)));
        let labels = BTreeMap::new();
        let membership = Membership::open(&directory, remote, Arc::clone(&identity), labels, Arc::default()).unwrap();
        (membership.start().await.unwrap(), identity)
    }
}
