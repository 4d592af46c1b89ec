//! The money of one window: one number that requests take from, and totals that only grow.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use gateway_model::kind::budget::Bounds;

use super::{Account, Grant};

/// How long a refusal of the ledger holds, in milliseconds. Others may give back what they do not use, so it is asked again.
const REFUSAL_MS: i64 = 1000;

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) start_ms: i64,
    end_ms: AtomicI64,
    /// Granted and lent, less returned, reserved and spent.
    left: AtomicI64,
    granted: AtomicI64,
    returned: AtomicI64,
    spent: AtomicI64,
    /// Of what may be spent while the ledger is away, in all; and how much of it grants have covered since.
    lent: AtomicI64,
    covered: AtomicI64,
    n_open: AtomicU64,
    /// Below this it is time for more.
    low: AtomicI64,
    /// The least that the ledger refused, until when that holds, and when there will be more (0: never).
    refused: AtomicI64,
    refused_until_ms: AtomicI64,
    free_at_ms: AtomicI64,
    is_known: AtomicBool,
}

// === impl Slot ===

impl Slot {
    pub(super) fn new(window: Bounds) -> Self {
        let zero = || AtomicI64::new(0);
        Self {
            start_ms: window.start_ms,
            end_ms: AtomicI64::new(window.end_ms),
            left: zero(),
            granted: zero(),
            returned: zero(),
            spent: zero(),
            lent: zero(),
            covered: zero(),
            n_open: AtomicU64::new(0),
            low: zero(),
            refused: zero(),
            refused_until_ms: AtomicI64::new(i64::MIN),
            free_at_ms: zero(),
            is_known: AtomicBool::new(false),
        }
    }

    pub(super) fn end_ms(&self) -> i64 {
        self.end_ms.load(Ordering::Relaxed)
    }

    pub(super) fn ends_at(&self, end_ms: i64) {
        self.end_ms.store(end_ms, Ordering::Relaxed);
    }

    /// Returns what is left afterwards, or, where it is not enough, what there is.
    pub(super) fn take(&self, nano: i64) -> Result<i64, i64> {
        let mut left = self.left.load(Ordering::Relaxed);
        loop {
            if left < nano {
                return Err(left);
            }
            // Relaxed: the number is all that requests share.
            match self.left.compare_exchange_weak(left, left - nano, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(left - nano),
                Err(newer) => left = newer,
            }
        }
    }

    pub(super) fn take_anyway(&self, nano: i64) {
        self.left.fetch_sub(nano, Ordering::Relaxed);
    }

    pub(super) fn opened(&self) {
        self.n_open.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn settled(&self, held: i64, used: i64) {
        self.spent.fetch_add(used, Ordering::Relaxed);
        self.left.fetch_add(held.saturating_sub(used), Ordering::Relaxed);
        // Whoever sees that nothing is open sees what was settled.
        self.n_open.fetch_sub(1, Ordering::Release);
    }

    pub(super) fn is_low(&self, left: i64) -> bool {
        left < self.low.load(Ordering::Relaxed)
    }

    /// True once, in the first request of a window.
    pub(super) fn is_unknown(&self) -> bool {
        !self.is_known.load(Ordering::Relaxed) && !self.is_known.swap(true, Ordering::Relaxed)
    }

    /// Whether the ledger has just said that there is not so much more.
    pub(super) fn refuses(&self, missing: i64, now_ms: i64) -> bool {
        let until_ms = self.refused_until_ms.load(Ordering::Relaxed);
        // A clock that has gone back must not make a refusal longer.
        let is_fresh = now_ms < until_ms && now_ms >= until_ms.saturating_sub(2 * REFUSAL_MS);
        is_fresh && missing >= self.refused.load(Ordering::Relaxed)
    }

    pub(super) fn free_at_ms(&self) -> Option<i64> {
        match self.free_at_ms.load(Ordering::Relaxed) {
            0 => None,
            at_ms => Some(at_ms),
        }
    }

    /// Adds so much of the allowance, if there is so much of it.
    pub(super) fn lend(&self, nano: i64, allowance: i64) -> bool {
        let more = |lent: i64| lent.checked_add(nano).filter(|lent| *lent <= allowance);
        let lends = self.lent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        if lends {
            self.left.fetch_add(nano, Ordering::Relaxed);
        }
        lends
    }

    /// What was lent and not granted yet: grants go there first.
    pub(super) fn uncovered(&self) -> i64 {
        self.lent.load(Ordering::Relaxed) - self.covered.load(Ordering::Relaxed)
    }

    /// Totals only grow: an answer that comes twice, or late, does nothing.
    pub(super) fn granted(&self, grant: &Grant, now_ms: i64) {
        let before = self.granted.fetch_max(grant.granted, Ordering::Relaxed);
        let more = grant.granted.saturating_sub(before);
        if more > 0 {
            self.low.store(more / 2, Ordering::Relaxed);
            let covers = self.uncovered().min(more);
            self.covered.fetch_add(covers, Ordering::Relaxed);
            self.left.fetch_add(more - covers, Ordering::Relaxed);
        }
        self.free_at_ms.store(grant.free_at_ms.unwrap_or(0), Ordering::Relaxed);
        self.refused.store(grant.refused, Ordering::Relaxed);
        let until_ms = if grant.refused > 0 { now_ms.saturating_add(REFUSAL_MS) } else { i64::MIN };
        self.refused_until_ms.store(until_ms, Ordering::Relaxed);
    }

    pub(super) fn give_back(&self, keep: i64) {
        let left = self.left.load(Ordering::Relaxed);
        let spare = left.saturating_sub(keep.max(0));
        if spare > 0 && self.take(spare).is_ok() {
            self.returned.fetch_add(spare, Ordering::Relaxed);
        }
    }

    pub(super) fn account(&self) -> Account {
        let n_open = self.n_open.load(Ordering::Acquire);
        let read = |counter: &AtomicI64| counter.load(Ordering::Relaxed);
        Account {
            start_ms: self.start_ms,
            granted: read(&self.granted),
            returned: read(&self.returned),
            spent: read(&self.spent),
            left: read(&self.left),
            n_open,
            is_current: false,
        }
    }
}
