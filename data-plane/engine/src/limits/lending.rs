//! Rates where a key's requests do not come to all nodes alike. A node that a lender can be heard from keeps a tenth of its part of a
//! rate, and yields the rest to a pool, from which whoever has requests borrows. What is lent counts as used at once, so that nothing
//! has to be taken back; a node that hears of no lender any more has its whole part again, which then fills up with time.
//!
//! No clock is shared. A node yields for [`YIELDS`] from when it says so; the lender counts that from its own answer before, which was
//! earlier. What is lent lasts for [`LASTS`] from when it was asked for. So all nodes together never let more pass than the whole
//! rate would, and what it lets pass in [`LASTS`].

mod lender;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use lender::{Lender, Wanted};

/// A node yields for so long from when it says so.
pub const YIELDS: Duration = Duration::from_secs(10);
/// What is lent is used within this time, or not at all. A sixtieth of the shortest period that is lent of.
pub const LASTS: Duration = Duration::from_secs(1);
/// How often a node says that it yields, at least.
pub const SAYS_EVERY: Duration = Duration::from_secs(2);

/// A refusal holds for so long.
const REFUSED: Duration = Duration::from_millis(100);

/// Who yields keeps one of so many parts.
pub(super) const KEEPS: u64 = 10;
/// Of shorter ones [`LASTS`] would be too large a part.
const SHORTEST: Duration = Duration::from_secs(60);

/// What a node was lent of one rate.
#[derive(Debug, Default)]
pub(super) struct Loan {
    left: AtomicU64,
    /// By the clock of its limits.
    until: AtomicU64,
    /// What requests found too little for, since it was last asked for.
    wanted: AtomicU64,
    /// What is asked for, and not answered yet.
    asked: AtomicU64,
    /// Lent, and not used after all.
    returned: AtomicU64,
    /// Until then it makes no sense to ask again.
    refused_until: AtomicU64,
}

/// One rate, as a lender is asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Borrowing {
    /// `rpm`
    pub rate: &'static str,
    pub amount: u64,
    pub period: Duration,
    pub wanted: u64,
    pub returned: u64,
}

/// Whether so much of a period's `limit` can be lent at all: a part that is kept has to be one at least.
pub(super) fn is_lent(limit: u64, period: Duration, n_nodes: u64) -> bool {
    period >= SHORTEST && n_nodes > 1 && limit >= n_nodes.saturating_mul(KEEPS)
}

/// A request of nearly all of a node's part is let pass as it would be without a lender: when nothing else is.
pub(super) fn is_too_large(wanted: u64, limit: u64, n_nodes: u64) -> bool {
    u128::from(wanted) * u128::from(n_nodes) * 5 > u128::from(limit) * 4
}

// === impl Loan ===

impl Loan {
    pub(super) fn take(&self, n: u64, now: u64) -> bool {
        if now >= self.until.load(Ordering::Relaxed) {
            return false;
        }
        let less = |left: u64| left.checked_sub(n);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    /// As many as there are, up to so many.
    pub(super) fn take_most(&self, n: u64, now: u64) -> u64 {
        if n == 0 || now >= self.until.load(Ordering::Relaxed) {
            return 0;
        }
        let less = |left: u64| Some(left.saturating_sub(n));
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).map_or(0, |left| left.min(n))
    }

    pub(super) fn has(&self, n: u64, now: u64) -> bool {
        now < self.until.load(Ordering::Relaxed) && n <= self.left.load(Ordering::Relaxed)
    }

    /// False where there was none a moment ago.
    pub(super) fn want(&self, n: u64, now: u64) -> bool {
        let is_asked = now >= self.refused_until.load(Ordering::Relaxed);
        if is_asked {
            self.wanted.fetch_add(n, Ordering::Relaxed);
        }
        is_asked
    }

    pub(super) fn give_back(&self, n: u64) {
        self.returned.fetch_add(n, Ordering::Relaxed);
    }

    /// What to ask for, and what goes back with that: all of it does, but for what can still be used and was enough.
    pub(super) fn ask(&self, now: u64) -> (u64, u64) {
        let taken = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        let (wanted, mut returned) = (taken(&self.wanted), taken(&self.returned));
        if wanted > 0 || now >= self.until.load(Ordering::Relaxed) {
            returned = returned.saturating_add(taken(&self.left));
        }
        self.asked.store(wanted, Ordering::Relaxed);
        (wanted, returned)
    }

    /// Asked for at `asked_at`; `n` of 0 is a refusal, but where nothing was wanted and something only went back.
    pub(super) fn lent(&self, n: u64, asked_at: u64) {
        let after =
            |duration: Duration| asked_at.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
        if n == 0 {
            if self.asked.load(Ordering::Relaxed) == 0 {
                return;
            }
            self.refused_until.store(after(REFUSED), Ordering::Relaxed);
            return;
        }
        self.left.fetch_add(n, Ordering::Relaxed);
        self.until.store(after(LASTS), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
