//! Where finished requests go, per worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::meters::Meters;
use crate::receipts::Receipts;
use crate::spans::Tracer;
use crate::telemetry::{logs, spool};

/// One worker's lanes: nothing in here is shared with another worker except the meters' atomics.
pub(crate) struct Sinks {
    /// Usage, on disk before the upstream is asked; must not be lost.
    pub(crate) spool: spool::Lane,
    /// Log records; may be dropped, always counted.
    pub(crate) logs: logs::Lane,
    pub(crate) meters: Arc<Meters>,
    /// Shared by the workers of a node that has a directory.
    pub(crate) receipts: Option<Arc<Receipts>>,
    /// Where somebody collects traces.
    pub(crate) tracer: Option<Arc<Tracer>>,
    pub(crate) strangers: Strangers,
}

/// For how many requests of people whom nobody knows there is a log record: some, so that it is seen, and not as many as somebody likes to
/// send. The others are counted.
pub(crate) struct Strangers {
    began: Instant,
    /// When there is room for all again, in microseconds since then.
    full_at_us: AtomicU64,
}

const BURST: u64 = 50;
const EVERY: Duration = Duration::from_millis(100);

// === impl Strangers ===

impl Strangers {
    pub(crate) fn has_room(&self) -> bool {
        let us = |length: Duration| u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
        let (now, every) = (us(self.began.elapsed()), us(EVERY));
        let taken = self.full_at_us.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            let next = full_at.max(now) + every;
            (next - now <= BURST * every).then_some(next)
        });
        taken.is_ok()
    }
}

impl Default for Strangers {
    fn default() -> Self {
        Self { began: Instant::now(), full_at_us: AtomicU64::new(0) }
    }
}
