//! Replies in memory: found at once, gone with the process. Its own, and not a library's, because the bound is on bytes and exact, also
//! when it changes with the configuration.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{self, BoxFuture};
use gateway_engine::cache::Key;
use gateway_engine::snapshot::Bounds;
use gateway_model::cache::Settings;

use super::{Entry, Held, Shelf};

/// Beside an entry's own bytes, about: its key, twice, and its places.
const OVERHEAD: usize = 512;

/// In shards, so that workers seldom meet; each has its part of the bounds, of which one reply is never more.
pub(crate) struct Memory {
    hasher: ahash::RandomState,
    shards: [Mutex<Shard>; N_SHARDS],
    n_tidied: AtomicUsize,
}

const N_SHARDS: usize = 8;
const _: () = assert!(N_SHARDS as u64 <= Settings::PARTS);

#[derive(Default)]
struct Shard {
    entries: HashMap<Key, Slot, ahash::RandomState>,
    /// By when they were asked for last.
    order: BTreeMap<u64, Key>,
    n_asked: u64,
    held: Held,
}

struct Slot {
    place: u64,
    entry: Arc<Entry>,
}

// === impl Memory ===

impl Memory {
    pub(crate) fn new() -> Self {
        Self { hasher: ahash::RandomState::new(), shards: Default::default(), n_tidied: AtomicUsize::new(0) }
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        let hash = usize::try_from(self.hasher.hash_one(key) & 0xffff).unwrap_or_default();
        self.at(hash)
    }

    fn at(&self, position: usize) -> MutexGuard<'_, Shard> {
        self.shards[position % N_SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf for Memory {
    fn put(&self, key: Key, entry: Arc<Entry>, bounds: Bounds) {
        let n_bytes = bounds.whole / N_SHARDS;
        if entry.len() + OVERHEAD <= n_bytes {
            let mut shard = self.shard(&key);
            shard.put(key, entry);
            shard.shrink(n_bytes);
        }
    }

    fn get<'a>(&'a self, key: &'a Key, now_ms: i64) -> BoxFuture<'a, Option<Arc<Entry>>> {
        Box::pin(future::ready(self.shard(key).get(key, now_ms)))
    }

    /// One shard each time, so that nobody waits long for it.
    fn tidy(&self, bounds: Bounds, now_ms: i64) {
        let mut shard = self.at(self.n_tidied.fetch_add(1, Relaxed));
        shard.expire(now_ms);
        shard.shrink(bounds.whole / N_SHARDS);
    }

    fn held(&self) -> Held {
        (0..N_SHARDS).map(|position| self.at(position).held).fold(Held::default(), |all, one| Held {
            n_entries: all.n_entries + one.n_entries,
            n_bytes: all.n_bytes + one.n_bytes,
            n_evicted: all.n_evicted + one.n_evicted,
            n_expired: all.n_expired + one.n_expired,
        })
    }
}

// === impl Shard ===

impl Shard {
    fn put(&mut self, key: Key, entry: Arc<Entry>) {
        self.forget(&key);
        let place = self.next();
        self.held.n_entries += 1;
        self.held.n_bytes += size(&entry);
        self.order.insert(place, key);
        self.entries.insert(key, Slot { place, entry });
    }

    fn get(&mut self, key: &Key, now_ms: i64) -> Option<Arc<Entry>> {
        let place = self.next();
        let slot = self.entries.get_mut(key)?;
        if slot.entry.until_ms <= now_ms {
            self.forget(key);
            self.held.n_expired += 1;
            return None;
        }
        self.order.remove(&std::mem::replace(&mut slot.place, place));
        self.order.insert(place, *key);
        Some(Arc::clone(&slot.entry))
    }

    fn next(&mut self) -> u64 {
        self.n_asked += 1;
        self.n_asked
    }

    fn forget(&mut self, key: &Key) {
        if let Some(slot) = self.entries.remove(key) {
            self.order.remove(&slot.place);
            self.held.n_entries -= 1;
            self.held.n_bytes -= size(&slot.entry);
        }
    }

    fn expire(&mut self, now_ms: i64) {
        let gone = self.entries.iter().filter(|(_, slot)| slot.entry.until_ms <= now_ms).map(|(key, _)| *key);
        let gone: Vec<Key> = gone.collect();
        self.held.n_expired += gone.len() as u64;
        gone.iter().for_each(|key| self.forget(key));
    }

    fn shrink(&mut self, n_bytes: usize) {
        while self.held.n_bytes > n_bytes as u64 {
            let Some((_, oldest)) = self.order.pop_first() else { return };
            self.forget(&oldest);
            self.held.n_evicted += 1;
        }
        if self.entries.is_empty() {
            self.entries = HashMap::default();
        }
    }
}

fn size(entry: &Entry) -> u64 {
    (entry.len() + OVERHEAD) as u64
}

#[cfg(test)]
mod tests {
    use gateway_engine::cache::Key;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::Form;
    use super::*;

    fn entry(n_bytes: usize, until_ms: i64) -> Arc<Entry> {
        Arc::new(Entry {
            bytes: vec![b'x'; n_bytes].into(),
            form: Form::Json,
            usage: None,
            cost: None,
            provider: "p".into(),
            model: "m".into(),
            dropped: Vec::new(),
            made_ms: 0,
            until_ms,
        })
    }

    fn key(n: u8) -> Key {
        Key::of_test(n)
    }

    fn find(memory: &Memory, n: u8, now_ms: i64) -> bool {
        memory.shard(&key(n)).get(&key(n), now_ms).is_some()
    }

    /// What is counted is what is there, in every shard.
    fn is_consistent(memory: &Memory) -> bool {
        (0..N_SHARDS).all(|position| {
            let shard = memory.at(position);
            let n_bytes: u64 = shard.entries.values().map(|slot| size(&slot.entry)).sum();
            let n_entries = shard.entries.len() as u64;
            (shard.held.n_bytes, shard.held.n_entries) == (n_bytes, n_entries) && shard.order.len() as u64 == n_entries
        })
    }

    #[test]
    fn nothing_outlives_its_time_and_all_of_it_is_let_go_of() {
        let memory = Memory::new();
        let bounds = Bounds { whole: 1 << 20, entry: 1 << 17 };
        for n in 0..100 {
            memory.put(key(n), entry(100, if n < 50 { 10 } else { 20 }), bounds);
        }
        assert!(find(&memory, 0, 9) && !find(&memory, 0, 10) && find(&memory, 99, 10));
        for _ in 0..N_SHARDS {
            memory.tidy(bounds, 10);
        }
        let held = memory.held();
        assert_eq!((held.n_entries, held.n_expired, held.n_evicted), (50, 50, 0));
        // Switched off, it keeps nothing.
        for _ in 0..N_SHARDS {
            memory.tidy(Bounds::default(), 10);
        }
        let held = memory.held();
        assert_eq!((held.n_entries, held.n_bytes, held.n_evicted), (0, 0, 50));
    }

    #[test]
    fn what_was_not_asked_for_the_longest_gives_way() {
        let memory = Memory::new();
        // Three entries in each shard.
        let bounds = Bounds { whole: N_SHARDS * 3 * (1000 + OVERHEAD), entry: 1000 };
        let shard_of = |n: u8| usize::try_from(memory.hasher.hash_one(key(n)) & 0xffff).expect("small") % N_SHARDS;
        let same: Vec<u8> = (0..=u8::MAX).filter(|n| shard_of(*n) == shard_of(0)).take(4).collect();
        for n in &same[..3] {
            memory.put(key(*n), entry(1000, 1), bounds);
        }
        assert!(find(&memory, same[0], 0));
        memory.put(key(same[3]), entry(1000, 1), bounds);
        let left: Vec<bool> = same.iter().map(|n| find(&memory, *n, 0)).collect();
        assert_eq!(left, [true, false, true, true]);
    }

    proptest! {
        #[test]
        fn no_sizes_go_beyond_the_bound(
            whole in 8192_usize..200_000,
            puts in vec((any::<u8>(), prop_oneof![0_usize..64, 0_usize..40_000, Just(1 << 20)], 0_i64..4), 1..200),
        ) {
            let memory = Memory::new();
            let bounds = Bounds { whole, entry: whole / N_SHARDS };
            for (n, n_bytes, until_ms) in puts {
                memory.put(key(n), entry(n_bytes, until_ms), bounds);
                find(&memory, n.wrapping_mul(7), 1);
                prop_assert!(memory.held().n_bytes <= whole as u64);
                prop_assert!(is_consistent(&memory));
            }
            // A smaller bound holds as soon as it is tidied.
            for _ in 0..N_SHARDS {
                memory.tidy(Bounds { whole: whole / 4, ..bounds }, 2);
            }
            prop_assert!(memory.held().n_bytes <= whole as u64 / 4 && is_consistent(&memory));
        }
    }
}
