//! Replies that are given again: kept as they were told, found by a key of everything that changes the answer, made once where
//! several ask for the same at the same time.
//!
//! What may be kept, for whom and for how long is decided in [`gateway_engine::cache`]. Where replies are kept is behind one trait.

mod entry;
mod memory;
mod flights;
mod fill;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::BoxFuture;
use gateway_dialects::dialect::ClientDialect;
use gateway_engine::cache::{Key, Terms};
use gateway_engine::snapshot::Bounds;
use serde_json::{Value, json};
use tokio::time::Instant;

pub(crate) use self::entry::{Entry, Form};
pub(crate) use self::fill::{Fill, Made};
pub(crate) use self::memory::Memory;

use self::flights::{Flights, Place};
use crate::clock;

/// Keeps replies within bounds; where it must, what was not asked for the longest gives way. A store of another kind implements this.
pub(crate) trait Shelf: Send + Sync {
    /// Never waits. The reply can be found at once by whoever asks here.
    fn put(&self, key: Key, entry: Arc<Entry>, bounds: Bounds);

    /// What is kept and has not run out; also `None` where nobody can say, because asking the upstream is always right.
    fn get<'a>(&'a self, key: &'a Key, now_ms: i64) -> BoxFuture<'a, Option<Arc<Entry>>>;

    /// Lets go of what has run out, and of what is more than `bounds`. To be called every few seconds.
    fn tidy(&self, bounds: Bounds, now_ms: i64);

    fn held(&self) -> Held;
}

/// What a shelf has, and what it has let go of since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) n_entries: u64,
    pub(crate) n_bytes: u64,
    pub(crate) n_evicted: u64,
    pub(crate) n_expired: u64,
}

/// One node's cache, whoever of its workers asks.
pub(crate) struct Cache {
    shelf: Box<dyn Shelf>,
    flights: Arc<Flights>,
    /// Bytes of replies that are being made, and may be kept.
    n_filling: AtomicUsize,
    counts: Counts,
}

/// Since the node began.
#[derive(Default)]
struct Counts {
    hits: AtomicU64,
    /// Of the hits, those that waited for another request like them.
    coalesced: AtomicU64,
    misses: AtomicU64,
    /// Requests that asked for a fresh answer.
    bypassed: AtomicU64,
    stored: AtomicU64,
    /// Replies that were made and not kept: cut, refused, too large.
    unfit: AtomicU64,
    saved_nano_usd: AtomicU64,
}

/// What is asked, and how its reply is to be told.
pub(crate) struct Wanted {
    pub(crate) key: Key,
    pub(crate) terms: Terms,
    pub(crate) form: Form,
    /// `None` for what is no conversation.
    pub(crate) dialect: Option<&'static dyn ClientDialect>,
    /// For how long it waits for another request like it.
    pub(crate) patience: Duration,
}

/// What there was.
pub(crate) enum Recalled {
    Hit(Hit),
    /// Nothing: whoever asked is to fill it.
    Miss(Box<Fill>),
}

/// A reply to give again.
pub(crate) struct Hit {
    pub(crate) entry: Arc<Entry>,
    pub(crate) age_ms: u64,
    /// It was made while the request waited.
    pub(crate) waited: bool,
}

// === impl Cache ===

impl Cache {
    pub(crate) fn new(shelf: Box<dyn Shelf>) -> Self {
        Self { shelf, flights: Arc::default(), n_filling: AtomicUsize::new(0), counts: Counts::default() }
    }

    /// Waits for another request that makes the same, but no longer than its own patience, and for the shelf. Dropped while it
    /// waits, it has asked for nothing.
    pub(crate) async fn recall(self: Arc<Self>, wanted: Wanted) -> Recalled {
        if let Some(hit) = self.find(&wanted).await {
            return self.hit(hit);
        }
        let mut lead = None;
        if wanted.terms.coalesce {
            match Flights::board(&self.flights, wanted.key, Instant::now() + wanted.patience).await {
                Place::Landed(entry) => {
                    self.counts.coalesced.fetch_add(1, Relaxed);
                    return self.hit(Hit { entry, age_ms: 0, waited: true });
                }
                Place::Lead(taken) => {
                    // It may have come while nobody was looking.
                    if let Some(hit) = self.find(&wanted).await {
                        taken.lands(Some(Arc::clone(&hit.entry)));
                        return self.hit(hit);
                    }
                    lead = Some(taken);
                }
                Place::Alone => {}
            }
        }
        self.counts.misses.fetch_add(1, Relaxed);
        Recalled::Miss(Box::new(Fill::new(self, &wanted, lead)))
    }

    /// What is kept and no older than the request allows, whatever was allowed when it was kept.
    async fn find(&self, wanted: &Wanted) -> Option<Hit> {
        let now_ms = clock::unix_ms();
        let entry = self.shelf.get(&wanted.key, now_ms).await?;
        let age_ms = u64::try_from(now_ms.saturating_sub(entry.made_ms)).unwrap_or_default();
        let is_fresh = u128::from(age_ms) < wanted.terms.ttl.as_millis();
        is_fresh.then_some(Hit { entry, age_ms, waited: false })
    }

    fn hit(&self, hit: Hit) -> Recalled {
        self.counts.hits.fetch_add(1, Relaxed);
        let saved = hit.entry.cost.and_then(|cost| u64::try_from(cost).ok()).unwrap_or_default();
        self.counts.saved_nano_usd.fetch_add(saved, Relaxed);
        Recalled::Hit(hit)
    }

    pub(crate) fn bypassed(&self) {
        self.counts.bypassed.fetch_add(1, Relaxed);
    }

    /// To be called every few seconds, whether anything is kept or not.
    pub(crate) fn tidy(&self, bounds: Bounds) {
        self.shelf.tidy(bounds, clock::unix_ms());
    }

    /// Totals, by the names of `/metrics` without `gateway_cache_` and `_total`.
    pub(crate) fn totals(&self) -> [(&'static str, u64); 9] {
        let (counts, held) = (&self.counts, self.shelf.held());
        let read = |count: &AtomicU64| count.load(Relaxed);
        [
            ("hits", read(&counts.hits)),
            ("misses", read(&counts.misses)),
            ("bypassed", read(&counts.bypassed)),
            ("coalesced", read(&counts.coalesced)),
            ("stored", read(&counts.stored)),
            ("unfit", read(&counts.unfit)),
            ("evicted", held.n_evicted),
            ("expired", held.n_expired),
            ("saved_nano_usd", read(&counts.saved_nano_usd)),
        ]
    }

    /// What is kept now: replies, and bytes.
    pub(crate) fn size(&self) -> (u64, u64) {
        let held = self.shelf.held();
        (held.n_entries, held.n_bytes)
    }

    /// What `/statsz` tells.
    pub(crate) fn statistics(&self) -> Value {
        let (n_entries, n_bytes) = self.size();
        let mut told = json!({"entries": n_entries, "bytes": n_bytes});
        for (name, n) in self.totals() {
            told[name] = json!(n);
        }
        told
    }
}
