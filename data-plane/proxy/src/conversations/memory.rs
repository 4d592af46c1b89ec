//! Responses in memory: found at once, gone with the process.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{self, BoxFuture};

use super::{Entry, Found, Key, MAX_TURN, Store};

/// How much is kept in all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) n_entries: usize,
    pub(crate) n_bytes: usize,
}

/// Entries in shards, so that workers seldom meet; each has its part of the bounds.
pub(crate) struct Memory {
    hasher: ahash::RandomState,
    shards: Box<[Mutex<Shard>]>,
    /// Of one shard.
    bounds: Bounds,
}

#[derive(Default)]
struct Shard {
    entries: HashMap<Key, Slot, ahash::RandomState>,
    /// By the order in which they came.
    order: BTreeMap<u64, Key>,
    n_came: u64,
    n_bytes: usize,
}

struct Slot {
    place: u64,
    entry: Arc<Entry>,
}

/// Beside an entry's own bytes, about.
const OVERHEAD: usize = 256;

// === impl Bounds ===

impl Bounds {
    /// What a node keeps for everybody.
    pub(crate) const NODE: Self = Self { n_entries: 256 * 1024, n_bytes: 128 * 1024 * 1024 };
    /// What one connection keeps for itself.
    pub(crate) const CONNECTION: Self = Self { n_entries: 64, n_bytes: 16 * 1024 * 1024 };
}

// === impl Memory ===

impl Memory {
    pub(crate) fn new(n_shards: usize, whole: Bounds) -> Self {
        let n_shards = n_shards.max(1);
        let bounds = Bounds { n_entries: whole.n_entries / n_shards, n_bytes: whole.n_bytes / n_shards };
        let shards = (0..n_shards).map(|_| Mutex::default()).collect();
        Self { hasher: ahash::RandomState::new(), shards, bounds }
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        let hash = usize::try_from(self.hasher.hash_one(key) & 0xffff).unwrap_or_default();
        self.shards[hash % self.shards.len()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn find(&self, key: &Key, now_ms: i64) -> Option<Arc<Entry>> {
        let mut shard = self.shard(key);
        let entry = Arc::clone(&shard.entries.get(key)?.entry);
        if entry.until_ms > now_ms {
            return Some(entry);
        }
        shard.forget(key);
        None
    }

    pub(crate) fn forget(&self, key: &Key) {
        self.shard(key).forget(key);
    }

    /// Unless another has come in its place.
    pub(super) fn forget_this(&self, key: &Key, entry: &Arc<Entry>) {
        let mut shard = self.shard(key);
        if shard.entries.get(key).is_some_and(|slot| Arc::ptr_eq(&slot.entry, entry)) {
            shard.forget(key);
        }
    }
}

impl Store for Memory {
    fn put(&self, key: Key, entry: Entry) {
        if entry.len() <= MAX_TURN {
            let mut shard = self.shard(&key);
            shard.put(key, entry);
            shard.shrink(self.bounds);
        }
    }

    fn get<'a>(&'a self, key: &'a Key, now_ms: i64) -> BoxFuture<'a, Found> {
        Box::pin(future::ready(Ok(self.find(key, now_ms))))
    }

    fn remove<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, ()> {
        self.forget(key);
        Box::pin(future::ready(()))
    }
}

// === impl Shard ===

impl Shard {
    fn put(&mut self, key: Key, entry: Entry) {
        self.forget(&key);
        let place = self.n_came;
        self.n_came += 1;
        self.n_bytes += entry.len() + OVERHEAD;
        self.order.insert(place, key.clone());
        self.entries.insert(key, Slot { place, entry: Arc::new(entry) });
    }

    fn forget(&mut self, key: &Key) {
        if let Some(slot) = self.entries.remove(key) {
            self.order.remove(&slot.place);
            self.n_bytes -= slot.entry.len() + OVERHEAD;
        }
    }

    fn shrink(&mut self, bounds: Bounds) {
        while self.entries.len() > bounds.n_entries || self.n_bytes > bounds.n_bytes {
            let Some((_, oldest)) = self.order.pop_first() else { return };
            self.forget(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::{Kept, Turn};
    use super::*;

    fn key(owner: &str, id: usize) -> Key {
        Key::new(&owner.into(), &id.to_string())
    }

    fn entry(n_bytes: usize, until_ms: i64) -> Entry {
        Entry { kept: Kept::Here(Turn { response: vec![b'x'; n_bytes].into(), input: Bytes::new() }), until_ms }
    }

    #[test]
    fn the_oldest_give_way_and_nothing_outlives_its_time() {
        for (bounds, size, n_left) in [
            (Bounds { n_entries: 3, n_bytes: usize::MAX }, 10, 3),
            (Bounds { n_entries: 100, n_bytes: 4 * (1000 + OVERHEAD) + 1 }, 1000, 4),
            (Bounds::NODE, MAX_TURN + 1, 0),
        ] {
            let memory = Memory::new(1, bounds);
            for id in 0..10 {
                memory.put(key("a", id), entry(size, 100));
                memory.put(key("a", id), entry(size, 100));
            }
            let left: Vec<usize> = (0..10).filter(|id| memory.find(&key("a", *id), 99).is_some()).collect();
            assert_eq!(left, (10 - n_left..10).collect::<Vec<_>>());
            assert!((0..10).all(|id| memory.find(&key("b", id), 99).is_none()), "another's is not there");
            assert!((0..10).all(|id| memory.find(&key("a", id), 100).is_none()));
            let shard = memory.shard(&key("a", 0));
            assert_eq!((shard.n_bytes, shard.order.len(), shard.entries.len()), (0, 0, 0));
        }
    }
}
