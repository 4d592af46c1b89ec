//! A lane without a disk: a bounded ring that is gone when the process is. Full, it counts what it does not take.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use gateway_wire::v1::{UsageBatch, UsageEvent};

/// Per lane; an event is a few hundred bytes.
const MAX_EVENTS: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct MemoryLane {
    pub(super) index: u32,
    ring: Mutex<Ring>,
    pub(super) n_dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<UsageEvent>,
    /// How many events have left the front.
    n_gone: u64,
    n_sent: usize,
}

// === impl MemoryLane ===

impl MemoryLane {
    pub(super) fn new(index: u32) -> Self {
        Self { index, ring: Mutex::default(), n_dropped: AtomicU64::new(0) }
    }

    pub(super) fn settled(&self, event: UsageEvent) {
        let mut ring = self.lock();
        if ring.events.len() < MAX_EVENTS {
            ring.events.push_back(event);
        } else {
            // The newest and not the oldest: numbers of a lane have no gaps.
            self.n_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn n_pending(&self) -> u64 {
        self.lock().events.len() as u64
    }

    /// What has not been sent, at most `limit` events.
    pub(super) fn take(&self, limit: usize) -> Option<UsageBatch> {
        let mut ring = self.lock();
        let events: Vec<UsageEvent> = ring.events.iter().skip(ring.n_sent).take(limit).cloned().collect();
        let first_seq = ring.n_gone + ring.n_sent as u64 + 1;
        ring.n_sent += events.len();
        let filled = !events.is_empty();
        filled.then(|| UsageBatch { lane: self.index, first_seq, events, ..UsageBatch::default() })
    }

    pub(super) fn acknowledged(&self, up_to_seq: u64) {
        let mut ring = self.lock();
        let n_acked = up_to_seq.saturating_sub(ring.n_gone).min(ring.n_sent as u64);
        ring.events.drain(..n_acked as usize);
        ring.n_sent -= n_acked as usize;
        ring.n_gone += n_acked;
    }

    /// What was sent and not acknowledged is to be sent again.
    pub(super) fn rewind(&self) {
        self.lock().n_sent = 0;
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
