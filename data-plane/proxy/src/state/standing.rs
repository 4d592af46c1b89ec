//! How far the configuration of this node has come, how safe it is and how current: for `/ready`, metrics and heartbeats.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gateway_wire::v1::Class;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Written by `sync`, read by `ops`.
#[derive(Default)]
pub struct Standing {
    lines: Mutex<[Option<Line>; 2]>,
    drifted: AtomicU64,
    damaged: AtomicU64,
    quarantined: AtomicU64,
    is_unkept: AtomicU64,
    /// Nodes that share limits; 0 before anybody has said.
    n_nodes: AtomicU32,
    n_nodes_moved: Notify,
}

/// One class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub epoch: String,
    pub revision: u64,
    /// Highest revision that is safe on disk; 0 where nothing is kept.
    pub persisted: u64,
    /// When a control plane last said that this is the newest revision.
    pub confirmed_at: Instant,
}

/// What was counted since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Times that what serves was not what its revision says.
    pub drifted: u64,
    /// Files of the configuration that could not be used.
    pub damaged: u64,
    /// Identity items that could not be read.
    pub quarantined: u64,
    /// 1 while the disk does not take what is to be kept.
    pub unkept: u64,
}

// === impl Standing ===

impl Standing {
    /// `None` before the first revision of this class.
    pub fn line(&self, class: Class) -> Option<Line> {
        self.lock()[index(class)].clone()
    }

    /// How long ago a control plane confirmed the configuration that serves; the longer time of both classes, `None` while
    /// there is none.
    pub fn stale(&self) -> Option<Duration> {
        let lines = self.lock();
        lines.iter().flatten().map(|line| line.confirmed_at.elapsed()).max()
    }

    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            drifted: read(&self.drifted),
            damaged: read(&self.damaged),
            quarantined: read(&self.quarantined),
            unkept: read(&self.is_unkept),
        }
    }

    /// Nodes that share rates and places, this one among them, as far as was said last.
    pub fn n_nodes(&self) -> u32 {
        self.n_nodes.load(Ordering::Relaxed)
    }

    /// Returns when it has changed since this was called last; for one task.
    pub(crate) async fn n_nodes_moved(&self) {
        self.n_nodes_moved.notified().await;
    }

    pub(crate) fn shares_with(&self, n_nodes: u32) {
        if self.n_nodes.swap(n_nodes, Ordering::Relaxed) != n_nodes {
            self.n_nodes_moved.notify_one();
        }
    }

    /// Another revision serves.
    pub(crate) fn serves(&self, class: Class, epoch: &str, revision: u64, confirmed_at: Instant) {
        let mut lines = self.lock();
        let line = &mut lines[index(class)];
        let persisted = line.as_ref().map_or(0, |line| if line.epoch == epoch { line.persisted } else { 0 });
        *line = Some(Line { epoch: epoch.to_owned(), revision, persisted, confirmed_at });
    }

    pub(crate) fn confirmed(&self, class: Class, at: Instant) {
        if let Some(line) = &mut self.lock()[index(class)] {
            line.confirmed_at = at;
        }
    }

    pub(crate) fn persisted(&self, class: Class, persisted: u64) {
        if let Some(line) = &mut self.lock()[index(class)] {
            line.persisted = persisted;
        }
    }

    pub(crate) fn drifted(&self) {
        self.drifted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn damaged(&self, n_files: u64) {
        self.damaged.fetch_add(n_files, Ordering::Relaxed);
    }

    pub(crate) fn quarantined(&self, n_items: u64) {
        self.quarantined.fetch_add(n_items, Ordering::Relaxed);
    }

    pub(crate) fn unkept(&self, is_unkept: bool) {
        self.is_unkept.store(is_unkept.into(), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, [Option<Line>; 2]> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn index(class: Class) -> usize {
    usize::from(class != Class::Topology)
}
