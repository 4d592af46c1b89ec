//! Clients at a steady rate, each with a connection of its own, none of which retries: every request is one that was answered or
//! one that failed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::interval;

use crate::http::Connection;
use crate::upstream::{Question, SHORT};

/// Requests of one client, a second.
const PER_CLIENT: u32 = 10;

/// Running clients.
#[derive(Debug)]
pub(crate) struct Load {
    stopping: Arc<AtomicBool>,
    n_answered: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<Failure>>>,
}

/// What all clients of a load saw.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) n_answered: usize,
    pub(crate) failures: Vec<Failure>,
}

/// Numbers that are the same in every run: Knuth's generator (The Art of Computer Programming, volume 2, section 3.3.4), whose upper
/// half is random enough.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random(pub(crate) u64);

/// A request that was not answered as it should be.
#[derive(Debug)]
pub(crate) struct Failure {
    /// When it was sent.
    pub(crate) at: Instant,
    /// Shown when a test fails.
    #[expect(dead_code, reason = "read through Debug")]
    pub(crate) what: String,
}

// === impl Random ===

impl Random {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n.max(1)
    }
}

// === impl Load ===

impl Load {
    /// Begins to ask `addr` at this many requests a second.
    pub(crate) fn start(addr: SocketAddr, key: &str, per_second: u32) -> Self {
        let (stopping, n_answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let clients = (0..per_second.div_ceil(PER_CLIENT)).map(|_| {
            let (key, stopping, n_answered) = (key.to_owned(), Arc::clone(&stopping), Arc::clone(&n_answered));
            tokio::spawn(async move { client(addr, &key, &stopping, &n_answered).await })
        });
        let clients = clients.collect();
        Self { stopping, n_answered, clients }
    }

    pub(crate) fn n_clients(&self) -> usize {
        self.clients.len()
    }

    /// Waits until `n` more requests have been answered.
    pub(crate) async fn answered(&self, n: usize) {
        let goal = self.n_answered.load(Ordering::Relaxed) + n;
        crate::eventually("more answers to the load", || async {
            (self.n_answered.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    }

    /// Lets each client finish its request.
    pub(crate) async fn finish(self) -> Tally {
        self.stopping.store(true, Ordering::Relaxed);
        let mut failures = Vec::new();
        for client in self.clients {
            failures.extend(client.await.expect("a client does not panic"));
        }
        Tally { n_answered: self.n_answered.load(Ordering::Relaxed), failures }
    }
}

// === impl Tally ===

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.n_answered += other.n_answered;
        self.failures.extend(other.failures);
    }

    /// Those that were sent after `instant`.
    pub(crate) fn failed_since(&self, instant: Instant) -> Vec<&Failure> {
        self.failures.iter().filter(|failure| failure.at > instant).collect()
    }
}

async fn client(addr: SocketAddr, key: &str, stopping: &AtomicBool, n_answered: &AtomicUsize) -> Vec<Failure> {
    let mut failures = Vec::new();
    let mut connection = None;
    // A client that was held up catches up: the rate is kept.
    let mut beat = interval(Duration::from_secs(1) / PER_CLIENT);
    while !stopping.load(Ordering::Relaxed) {
        beat.tick().await;
        let at = Instant::now();
        match ask(addr, key, &mut connection).await {
            Ok(()) => {
                n_answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(what) => {
                connection = None;
                failures.push(Failure { at, what });
            }
        }
    }
    failures
}

async fn ask(addr: SocketAddr, key: &str, kept: &mut Option<Connection>) -> Result<(), String> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => Connection::open(addr).await?,
    };
    let reply = connection.send("POST", "/v1/chat/completions", key, Question::Short.body()).await?;
    if reply.status != 200 || !reply.text().contains(SHORT) {
        return Err(format!("{}: {}", reply.status, reply.text()));
    }
    // A server may say that it keeps the connection no longer: that is order, not failure.
    let closes = reply.headers.get("connection").is_some_and(|value| value == "close");
    *kept = (!closes).then_some(connection);
    Ok(())
}
