//! All purses of a node: each budget has one, whoever names it, and what they share is the way to the ledger.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use ahash::AHashMap;
use gateway_model::kind::budget::Budget;

use super::{Purse, lock};

/// Called when a purse wants to be looked after. Must not block.
type Wake = Box<dyn Fn() + Send + Sync>;

#[derive(Default)]
pub struct Purses {
    all: Mutex<AHashMap<Box<str>, Weak<Purse>>>,
    noted: Mutex<Vec<Arc<Purse>>>,
    wake: OnceLock<Wake>,
    /// The ledger's clock less ours.
    ahead_ms: AtomicI64,
    /// Since when something was asked that is not answered; 0 where nothing is.
    silent_since_ms: AtomicI64,
}

/// All purses and all of their windows together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub n_purses: u64,
    /// Requests whose cost is not known yet.
    pub n_open: u64,
    pub spent: i64,
    /// Neither spent nor reserved.
    pub left: i64,
}

/// A ledger that is silent for so many milliseconds is taken for away: requests do not wait for it.
const AWAY_MS: i64 = 1000;

// === impl Purses ===

impl Purses {
    /// The budget's purse, from now on under these terms.
    pub fn purse(self: &Arc<Self>, id: &str, terms: Budget) -> Arc<Purse> {
        let mut all = lock(&self.all);
        if let Some(purse) = all.get(id).and_then(Weak::upgrade) {
            drop(all);
            *lock(&purse.terms) = terms;
            purse.is_hard.store(terms.is_hard(), Ordering::Relaxed);
            return purse;
        }
        let purse = Arc::new(Purse::new(id, terms, Arc::clone(self)));
        all.insert(id.into(), Arc::downgrade(&purse));
        purse
    }

    /// The budget's purse, where anybody has it.
    pub fn find(&self, id: &str) -> Option<Arc<Purse>> {
        lock(&self.all).get(id).and_then(Weak::upgrade)
    }

    /// For operators: looks at every purse.
    pub fn totals(&self) -> Totals {
        // Whoever is the last to drop a purse takes the lock once more.
        let all: Vec<Arc<Purse>> = lock(&self.all).values().filter_map(Weak::upgrade).collect();
        let mut totals = Totals { n_purses: all.len() as u64, ..Totals::default() };
        for account in all.iter().flat_map(|purse| purse.accounts()) {
            totals.n_open += account.n_open;
            totals.spent = totals.spent.saturating_add(account.spent);
            totals.left = totals.left.saturating_add(account.left.max(0));
        }
        totals
    }

    /// To be said once, by who asks the ledger.
    pub fn on_noted(&self, wake: impl Fn() + Send + Sync + 'static) {
        // A second one would be told nothing; there is none.
        let _ = self.wake.set(Box::new(wake));
    }

    /// Those that have something to say, each once until somebody has looked.
    pub fn noted(&self) -> Vec<Arc<Purse>> {
        std::mem::take(&mut *lock(&self.noted))
    }

    /// The ledger's time, when ours was `now_ms`.
    pub fn set_clock(&self, ledger_ms: i64, now_ms: i64) {
        self.ahead_ms.store(ledger_ms.saturating_sub(now_ms), Ordering::Relaxed);
    }

    /// The ledger has been asked, or cannot be reached.
    pub fn silent(&self, now_ms: i64) {
        // The first of them counts.
        let _ = self.silent_since_ms.compare_exchange(0, now_ms.max(1), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The ledger has answered.
    pub fn heard(&self) {
        self.silent_since_ms.store(0, Ordering::Relaxed);
    }

    /// Whether it makes no sense to wait for the ledger. `now_ms` is this machine's clock.
    pub fn is_away(&self, now_ms: i64) -> bool {
        let since_ms = self.silent_since_ms.load(Ordering::Relaxed);
        since_ms != 0 && now_ms.saturating_sub(since_ms) >= AWAY_MS
    }

    pub(super) fn ledger_time(&self, now_ms: i64) -> i64 {
        now_ms.saturating_add(self.ahead_ms.load(Ordering::Relaxed))
    }

    pub(super) fn local_time(&self, ledger_ms: i64) -> i64 {
        ledger_ms.saturating_sub(self.ahead_ms.load(Ordering::Relaxed))
    }

    pub(super) fn note(&self, purse: Arc<Purse>) {
        // Nobody asks for it: a process that serves nobody.
        let Some(wake) = self.wake.get() else { return };
        lock(&self.noted).push(purse);
        wake();
    }

    /// It is gone; where another has come in its place, that one stays.
    pub(super) fn forget(&self, id: &str) {
        let mut all = lock(&self.all);
        if all.get(id).is_some_and(|purse| purse.strong_count() == 0) {
            all.remove(id);
        }
    }
}

impl fmt::Debug for Purses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Purses").field("n", &lock(&self.all).len()).finish_non_exhaustive()
    }
}
