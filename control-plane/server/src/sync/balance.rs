//! How many nodes this replica keeps. Where there are several replicas, one that holds more than its share and a fifth sends
//! its newest on; who came first stays, so that nobody is sent back and forth.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

/// Above the share; few nodes are never spread by force.
const MARGIN: usize = 8;

/// The nodes of this replica in the order in which they came, and how many of them may stay.
#[derive(Debug)]
pub(super) struct Balance {
    places: Mutex<Places>,
    limit_moved: Notify,
    /// Nodes of all replicas together.
    n_nodes: watch::Sender<u32>,
}

#[derive(Debug)]
struct Places {
    taken: BTreeSet<u64>,
    last: u64,
    limit: usize,
}

/// A connected node's place; dropping it gives it up.
#[derive(Debug)]
pub(super) struct Place {
    balance: Arc<Balance>,
    number: u64,
}

/// What a replica may hold of `n_nodes` that are connected to `n_replicas`.
fn limit(n_nodes: usize, n_replicas: usize) -> usize {
    if n_replicas < 2 {
        return usize::MAX;
    }
    n_nodes.saturating_mul(6).div_ceil(n_replicas.saturating_mul(5)).saturating_add(MARGIN)
}

// === impl Balance ===

impl Balance {
    /// Without a limit, until somebody tells of other replicas.
    pub(super) fn new() -> Self {
        let places = Places { taken: BTreeSet::new(), last: 0, limit: usize::MAX };
        Self { places: Mutex::new(places), limit_moved: Notify::new(), n_nodes: watch::Sender::new(0) }
    }

    /// Nodes connected to all replicas together, and how many replicas there are, this one included.
    pub(super) fn share(&self, n_nodes: usize, n_replicas: usize) {
        let mut places = self.places();
        places.limit = limit(n_nodes, n_replicas);
        // What others say of themselves is some seconds old; those that are here are here.
        self.counts(n_nodes.max(places.taken.len()));
        drop(places);
        self.limit_moved.notify_waiters();
    }

    pub(super) fn take(self: &Arc<Self>) -> Place {
        let mut places = self.places();
        places.last += 1;
        let number = places.last;
        places.taken.insert(number);
        // One more takes a part of every limit at once; one less gives it back when that is certain.
        let n_known = usize::try_from(*self.n_nodes.borrow()).unwrap_or(usize::MAX);
        self.counts(n_known.max(places.taken.len()));
        drop(places);
        Place { balance: Arc::clone(self), number }
    }

    /// Nodes of all replicas together, as far as is known.
    pub(super) fn n_nodes(&self) -> watch::Receiver<u32> {
        self.n_nodes.subscribe()
    }

    fn counts(&self, n_nodes: usize) {
        let n_nodes = u32::try_from(n_nodes).unwrap_or(u32::MAX);
        self.n_nodes.send_if_modified(|known| std::mem::replace(known, n_nodes) != n_nodes);
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Place ===

impl Place {
    /// Distinguishes this connection from all others of this replica.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Returns when there are too many here and this one came last.
    pub(super) async fn excess(&self) {
        loop {
            let mut moved = pin!(self.balance.limit_moved.notified());
            moved.as_mut().enable();
            if self.is_excess() {
                return;
            }
            moved.await;
        }
    }

    fn is_excess(&self) -> bool {
        let places = self.balance.places();
        places.taken.range(..self.number).count() >= places.limit
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.balance.places().taken.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_share_and_a_fifth() {
        for (n_nodes, n_replicas, expected) in [
            (100, 0, usize::MAX),
            (100, 1, usize::MAX),
            (100, 2, 60 + MARGIN),
            (101, 2, 61 + MARGIN),
            (0, 3, MARGIN),
            (500, 3, 200 + MARGIN),
        ] {
            assert_eq!(limit(n_nodes, n_replicas), expected, "{n_nodes} nodes, {n_replicas} replicas");
        }
    }

    #[test]
    fn the_newest_go_and_no_more_of_them_than_must() {
        let balance = Arc::new(Balance::new());
        let mut places: Vec<Place> = (0..100).map(|_| balance.take()).collect();
        let excess = |places: &[Place]| -> Vec<u64> {
            let gone = places.iter().filter(|place| place.excess().now_or_never().is_some());
            gone.map(Place::number).collect()
        };
        assert!(excess(&places).is_empty(), "alone it keeps all");
        balance.share(100, 2);
        let first = 60 + MARGIN as u64 + 1;
        assert_eq!(excess(&places), (first..=100).collect::<Vec<_>>());
        places.drain(..10);
        assert_eq!(excess(&places), (first + 10..=100).collect::<Vec<_>>(), "others went by themselves");
        balance.share(100, 1);
        assert!(excess(&places).is_empty(), "the other replica is gone");
    }
}
