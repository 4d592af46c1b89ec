//! Nodes by the dozen: whole ones, with the node's own key table, and light ones, which run the same client over the same
//! protocol and keep the hashes of what they were sent, but of the keys only those that were taken away.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gateway_engine::identity::identify;
use gateway_fleet_tests::keys;
use gateway_proxy::link::Link;
use gateway_proxy::state::Live;
use gateway_proxy::sync::{Feed, Replica, Subscriber, Sync, Target};
use gateway_proxy::telemetry::Reporter;
use gateway_proxy::telemetry::identity::Identity;
use gateway_wire::v1::item::Body;
use gateway_wire::v1::{ConfigError, Item, ItemId};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// When each node refused each key.
#[derive(Debug, Default)]
pub(crate) struct Board {
    seen: Mutex<HashMap<usize, Vec<Instant>>>,
    n_updates: AtomicUsize,
    moved: watch::Sender<()>,
}

/// A node that takes keys away and lets all others pass.
pub(crate) struct Light {
    board: Arc<Board>,
}

/// A light node that runs.
pub(crate) struct Running {
    ending: CancellationToken,
    job: JoinHandle<(Replica, Light)>,
}

/// A node with its own tables.
pub(crate) struct Whole {
    pub(crate) live: Arc<Live>,
    _sync: Sync,
}

const POLL: Duration = Duration::from_millis(2);

// === impl Board ===

impl Board {
    pub(crate) fn note(&self, key: usize) {
        self.seen.lock().unwrap().entry(key).or_default().push(Instant::now());
        self.moved.send_replace(());
    }

    /// Changes of identity that nodes with this board have taken.
    pub(crate) fn n_updates(&self) -> usize {
        self.n_updates.load(Ordering::Relaxed)
    }

    /// Waits until so many nodes have refused each of these keys, and says when.
    pub(crate) async fn all(&self, keys: &[usize], n_nodes: usize, patience: Duration) -> HashMap<usize, Vec<Instant>> {
        let mut moved = self.moved.subscribe();
        let complete = moved.wait_for(|()| {
            let seen = self.seen.lock().unwrap();
            keys.iter().all(|key| seen.get(key).is_some_and(|nodes| nodes.len() >= n_nodes))
        });
        let in_time = tokio::time::timeout(patience, complete).await.is_ok();
        let seen = self.seen.lock().unwrap();
        let n_seen: usize = keys.iter().filter_map(|key| seen.get(key)).map(Vec::len).sum();
        assert!(in_time, "{n_seen} refusals of {}", keys.len() * n_nodes);
        keys.iter().map(|key| (*key, seen[key].clone())).collect()
    }
}

// === impl Light ===

impl Target for Light {
    type Checked = ();

    fn check(&mut self, _: &[Item], _: u64) -> Result<(), Vec<ConfigError>> {
        Ok(())
    }

    fn topology(&mut self, (): ()) {}

    fn identity(&mut self, upsert: &[Item], removed: &[ItemId]) -> Vec<ConfigError> {
        self.board.n_updates.fetch_add(1, Ordering::Relaxed);
        let disabled = upsert.iter().filter(|item| matches!(&item.body, Some(Body::Key(key)) if !key.enabled));
        let gone = disabled.map(|item| &item.id).chain(removed.iter().map(|id| &id.id));
        gone.filter_map(|id| keys::number(id)).for_each(|number| self.board.note(number));
        Vec::new()
    }
}

// === impl Running ===

impl Running {
    /// Begins with what `replica` holds, as after a connection that broke.
    pub(crate) fn start(link: Link, identity: Arc<Identity>, replica: Replica, board: &Arc<Board>) -> Self {
        let ending = CancellationToken::new();
        let target = Light { board: Arc::clone(board) };
        let subscriber = Subscriber::new(Reporter::idle(identity, link.clone()), replica, target);
        let job = tokio::spawn(subscriber.run(link.channel(), ending.clone()));
        Self { ending, job }
    }

    /// Ends it. Returns what it held.
    pub(crate) async fn stop(self) -> Replica {
        self.ending.cancel();
        self.job.await.unwrap().0
    }
}

/// An id that nobody asks about: within one process a node is trusted as what it says.
pub(crate) fn stranger() -> Arc<Identity> {
    Arc::new(Identity::load(None))
}

// === impl Whole ===

impl Whole {
    pub(crate) async fn start(link: Link) -> Self {
        let live = Arc::new(Live::empty());
        let feed =
            Feed::Fleet { channel: link.channel(), reporter: Box::new(Reporter::idle(stranger(), link)), keep: None };
        let sync = Sync::start(feed, Arc::clone(&live)).await.unwrap();
        Self { live, _sync: sync }
    }

    /// Whether a request with this key would be let in.
    pub(crate) fn lets_in(&self, number: usize) -> bool {
        identify(&keys::secret(number), &self.live.keys, &self.live.load().peppers, 0).is_ok()
    }

    /// Notes on the board when this node refuses the key.
    pub(crate) fn watch(self: &Arc<Self>, number: usize, board: &Arc<Board>) {
        let (node, board) = (Arc::clone(self), Arc::clone(board));
        tokio::spawn(async move {
            while node.lets_in(number) {
                tokio::time::sleep(POLL).await;
            }
            board.note(number);
        });
    }
}
