//! One member whose line carries next to nothing: the others do not notice, and it costs the control plane next to nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gateway_fleet_tests::memory;
use gateway_testing::figure;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::members::{self, Node};
use crate::nodes::{Board, Running};
use crate::process::Process;

const TEST: &str = "slow_node_isolated";
const N_OTHERS: usize = 20;
/// With the slow line and without, in turn, so that the machine's moods are in both.
const N_ROUNDS: usize = 3;
const N_REVOKED: usize = 30;
/// More than the slow node's connection takes before it is full.
const N_LABELLED: usize = 2000;
/// As many as may be on their way unanswered, what has been merged behind them, and one more.
const MAX_TAKEN: usize = gateway_wire::MAX_UNACKED_IDENTITY + 2;
const BYTES_PER_SECOND: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(60);
const MIB: f64 = 1024.0 * 1024.0;

/// What the others saw with the slow line, or without it.
#[derive(Default)]
struct Seen {
    waits: Vec<Duration>,
    /// The most memory in the round in which that was least: what a node costs, it costs in each.
    peak: Option<u64>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_node_isolated() {
    let _turn = crate::turn().await;
    let control = Process::start().await;
    let (home, board, own) = (tempfile::tempdir().unwrap(), Arc::new(Board::default()), Arc::new(Board::default()));
    let mut others = members::join(&control, home.path(), N_OTHERS + 1, &board).await;
    let is_slow = Arc::new(AtomicBool::new(false));
    let (url, relay) = relay(control.fleet_url(), Arc::clone(&is_slow)).await;
    let (member, identity) = members::enrol(&control, &url, home.path().join("slow")).await;
    let replica = others.pop().unwrap().stop().await;
    let running = Running::start(member.link().clone(), identity, replica, &own);
    let slow = Node { member, running };
    control.revoke(0).await;
    own.all(&[0], 1, PATIENCE).await;

    // The first time everything is cold.
    observe(&control, &board, 0, 1, &mut Seen::default()).await;
    let (mut with, mut without, mut next) = (Seen::default(), Seen::default(), 2 + N_REVOKED);
    let mut n_taken = 0;
    for round in 2..2 + 2 * N_ROUNDS {
        is_slow.store(round % 2 == 1, Ordering::Relaxed);
        let before = own.n_updates();
        let seen = if round % 2 == 1 { &mut with } else { &mut without };
        observe(&control, &board, round, next, seen).await;
        next += N_REVOKED + 1;
        is_slow.store(false, Ordering::Relaxed);
        own.all(&[next - 1], 1, PATIENCE).await;
        n_taken = if round % 2 == 1 { n_taken.max(own.n_updates() - before) } else { n_taken };
    }

    let (with_p99, without_p99) = (p99(&mut with.waits), p99(&mut without.waits));
    let limit = without_p99.mul_f64(1.1) + Duration::from_millis(100);
    let grown = with.peak.unwrap().saturating_sub(without.peak.unwrap()) as f64 / MIB;
    let ms = |span: Duration| span.as_secs_f64() * 1e3;
    figure::note(TEST, "others without a slow node, p99", ms(without_p99), "ms", 1000.0);
    figure::note(TEST, "others beside a slow node, p99", ms(with_p99), "ms", ms(limit));
    figure::note(TEST, "the control plane's memory for it", grown, "MiB", 8.0);
    figure::note(TEST, "changes that it took for 32 revisions", n_taken as f64, "changes", MAX_TAKEN as f64);
    assert!(with_p99 <= limit && grown <= 8.0);
    assert!(n_taken <= MAX_TAKEN, "{n_taken} changes: what it could not take is merged");
    relay.abort();
    slow.stop().await;
    for node in others {
        node.stop().await;
    }
    control.stop().await;
}

/// One large change and then revocations, as the others see them.
async fn observe(control: &Process, board: &Board, round: usize, first: usize, seen: &mut Seen) {
    memory::forget_peak(control.id()).unwrap();
    control.label(50_000, N_LABELLED, &format!("round {round}")).await;
    control.revoke(first).await;
    board.all(&[first], N_OTHERS, PATIENCE).await;
    for key in first + 1..first + 1 + N_REVOKED {
        control.revoke(key).await;
        let answered = Instant::now();
        let nodes = board.all(&[key], N_OTHERS, PATIENCE).await;
        seen.waits.extend(nodes[&key].iter().map(|at| at.saturating_duration_since(answered)));
    }
    let peak = memory::peak(control.id());
    seen.peak = Some(seen.peak.map_or(peak, |least| least.min(peak)));
}

fn p99(waits: &mut [Duration]) -> Duration {
    waits.sort_unstable();
    waits[(waits.len() * 99).div_ceil(100) - 1]
}

/// A line to the control plane; while it is slow, what comes down it trickles.
async fn relay(url: &str, is_slow: Arc<AtomicBool>) -> (String, JoinHandle<()>) {
    let target = url.trim_start_matches("https://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let relay = tokio::spawn(async move {
        while let Ok((node, _)) = listener.accept().await {
            let Ok(control) = TcpStream::connect(&target).await else { continue };
            let (mut from_node, mut to_node) = node.into_split();
            let (mut from_control, mut to_control) = control.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_node, &mut to_control).await });
            let is_slow = Arc::clone(&is_slow);
            tokio::spawn(async move {
                let mut buffer = [0; 16 * 1024];
                loop {
                    let tenth = BYTES_PER_SECOND / 10;
                    let at_most = if is_slow.load(Ordering::Relaxed) { tenth } else { buffer.len() };
                    match from_control.read(&mut buffer[..at_most]).await {
                        Ok(n_bytes @ 1..) if to_node.write_all(&buffer[..n_bytes]).await.is_ok() => {}
                        _ => return,
                    }
                    if is_slow.load(Ordering::Relaxed) {
                        // That is what it is there for: a line, not a wait.
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            });
        }
    });
    (format!("https://{address}"), relay)
}
