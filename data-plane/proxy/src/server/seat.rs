//! A connection's seat: its place in the connection limit and its share of a worker's load. It is kept by whoever has the
//! connection's bytes, also after an upgrade, and given back when they close.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::OwnedSemaphorePermit;

/// Open connections of one worker; shared with the dispatcher.
#[derive(Default)]
pub(super) struct Load {
    n_open: AtomicUsize,
}

pub(super) struct Seat {
    load: Arc<Load>,
    _place: OwnedSemaphorePermit,
}

// === impl Load ===

impl Load {
    pub(super) fn n_open(&self) -> usize {
        self.n_open.load(Ordering::Relaxed)
    }
}

// === impl Seat ===

impl Seat {
    pub(super) fn take(place: OwnedSemaphorePermit, load: &Arc<Load>) -> Self {
        load.n_open.fetch_add(1, Ordering::Relaxed);
        Self { load: Arc::clone(load), _place: place }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.load.n_open.fetch_sub(1, Ordering::Relaxed);
    }
}
