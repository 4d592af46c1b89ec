//! What a store has seen since it was opened, for those who watch it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::AnyPool;

/// Records that came again and were there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    usage: AtomicU64,
    logs: AtomicU64,
}

/// Connections of one purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// `write` or `read`.
    pub name: &'static str,
    pub n_used: usize,
    pub n_idle: usize,
    pub max: u32,
}

/// Records that came again, since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Duplicates {
    pub usage: u64,
    pub logs: u64,
}

// === impl Tally ===

impl Tally {
    pub(crate) fn duplicates(&self) -> Duplicates {
        let Counts { usage, logs } = &*self.0;
        Duplicates { usage: usage.load(Ordering::Relaxed), logs: logs.load(Ordering::Relaxed) }
    }

    /// Of so many records, so many were new.
    pub(crate) fn usage(&self, n_records: usize, n_new: u64) {
        self.0.usage.fetch_add((n_records as u64).saturating_sub(n_new), Ordering::Relaxed);
    }

    pub(crate) fn logs(&self, n_records: usize, n_new: u64) {
        self.0.logs.fetch_add((n_records as u64).saturating_sub(n_new), Ordering::Relaxed);
    }
}

// === impl Pool ===

impl Pool {
    pub(crate) fn of(name: &'static str, pool: &AnyPool) -> Self {
        let n_idle = pool.num_idle();
        let n_used = usize::try_from(pool.size()).unwrap_or(usize::MAX).saturating_sub(n_idle);
        Self { name, n_used, n_idle, max: pool.options().get_max_connections() }
    }
}
