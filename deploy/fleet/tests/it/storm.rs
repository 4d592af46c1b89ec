//! Five hundred members lose their connections at once and come back over mutual TLS.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_fleet_tests::memory;
use gateway_testing::figure;

use crate::members;
use crate::nodes::Board;
use crate::process::Process;

const N_NODES: usize = 500;
const PATIENCE: Duration = Duration::from_secs(90);
const MIB: f64 = 1024.0 * 1024.0;
const TEST: &str = "reconnect_storm";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconnect_storm() {
    let _turn = crate::turn().await;
    let control = Process::start().await;
    let (home, board) = (tempfile::tempdir().unwrap(), Arc::new(Board::default()));
    let nodes = members::join(&control, home.path(), N_NODES, &board).await;
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
    figure::note(TEST, "the control plane's memory before", before as f64 / MIB, "MiB", 400.0);
    figure::note(TEST, "whole snapshots sent", n_snapshots, "snapshots", 0.0);
    assert!(last < 60.0 && grown < 200.0 && n_snapshots == 0.0);
    for node in nodes {
        node.stop().await;
    }
    control.stop().await;
}
