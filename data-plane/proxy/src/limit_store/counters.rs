//! What this node has to say of each owner's limits, and what it has heard. Bounded: who is not used for a while is forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use gateway_engine::limits::{Asked, Limits};
use papaya::HashMap;

/// What stands before every name, so that the server may be shared with others; what is in braces keeps all on one part of a cluster.
pub(super) const PREFIX: &str = "{gateway:limits}:";

/// Rounds of tidying that an owner who asks for nothing stays for.
const STAYS: u64 = 60;

/// By the address of the limits, which each entry keeps alive.
#[derive(Debug)]
pub(super) struct Counters {
    /// Of this process.
    id: String,
    known: HashMap<usize, Arc<Counter>, ahash::RandomState>,
    n_made: AtomicU64,
    round: AtomicU64,
}

/// One owner's.
#[derive(Debug)]
pub(super) struct Counter {
    limits: Arc<Limits>,
    /// What the server knows this by: no other has it, not even a later one of the same limits.
    pub(super) id: String,
    pub(super) rates: Box<[Rate]>,
    /// The name of its places; `None`: it has as many as it likes.
    pub(super) places: Option<String>,
    /// The epoch that was heard last; 0: none yet.
    pub(super) epoch: AtomicU64,
    is_noted: AtomicBool,
    used_in: AtomicU64,
}

#[derive(Debug)]
pub(super) struct Rate {
    pub(super) name: String,
    /// All corrections, and those that the server has.
    pub(super) total: AtomicI64,
    pub(super) told: AtomicI64,
}

// === impl Counters ===

impl Counters {
    pub(super) fn new() -> Self {
        let id = format!("{:016x}", rand::random::<u64>());
        Self { id, known: HashMap::default(), n_made: AtomicU64::new(0), round: AtomicU64::new(0) }
    }

    pub(super) fn of(&self, limits: &Arc<Limits>) -> Arc<Counter> {
        let (known, address) = (self.known.pin(), Arc::as_ptr(limits) as usize);
        let counter = known.get_or_insert_with(address, || {
            let number = self.n_made.fetch_add(1, Ordering::Relaxed);
            Arc::new(Counter::new(limits, format!("{}.{number}", self.id)))
        });
        counter.used_in.store(self.round.load(Ordering::Relaxed), Ordering::Relaxed);
        Arc::clone(counter)
    }

    /// Says again which places are taken, and forgets those who want nothing any more.
    pub(super) fn tidy(&self, note: impl Fn(&Arc<Counter>)) {
        let round = self.round.fetch_add(1, Ordering::Relaxed);
        let known = self.known.pin();
        known.retain(|_, counter| {
            let (_, n_open) = counter.limits.open_here();
            if n_open > 0 {
                if counter.places.is_some() {
                    note(counter);
                }
                return true;
            }
            let is_idle = round.saturating_sub(counter.used_in.load(Ordering::Relaxed)) > STAYS;
            !is_idle || counter.is_noted.load(Ordering::Relaxed)
        });
    }
}

// === impl Counter ===

impl Counter {
    fn new(limits: &Arc<Limits>, id: String) -> Self {
        let owner = limits.owner();
        let rate = |rate: &str, amount: u64| Rate {
            // Another amount is another limit, of which nothing was used.
            name: format!("{PREFIX}{owner}:{rate}:{amount}"),
            total: AtomicI64::new(0),
            told: AtomicI64::new(0),
        };
        Self {
            rates: limits.wants(Asked::default()).map(|want| rate(want.rate, want.amount)).collect(),
            places: limits.places().map(|_| format!("{PREFIX}{owner}:places")),
            limits: Arc::clone(limits),
            id,
            epoch: AtomicU64::new(0),
            is_noted: AtomicBool::new(false),
            used_in: AtomicU64::new(0),
        }
    }

    pub(super) fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    pub(super) fn correct(&self, rate: usize, n: i64) {
        if let Some(rate) = self.rates.get(rate) {
            rate.total.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// True where it was not noted yet.
    pub(super) fn notes(&self) -> bool {
        !self.is_noted.swap(true, Ordering::AcqRel)
    }

    /// It is about to be told.
    pub(super) fn is_told(&self) {
        self.is_noted.store(false, Ordering::Release);
    }
}
