//! All keys of a node, by digest. Read by every request without a lock; changed key by key while requests are served.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use papaya::HashMap;

use super::Caller;
use super::lists::Shared;
use super::pepper::Digest;
use crate::limits::{Limits, Spec};

/// A key as the configuration has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyEntry {
    /// `vk_…`
    pub id: Arc<str>,
    pub name: String,
    pub digest: Digest,
    /// Patterns over model names; none: the key may use nothing.
    pub models: Vec<String>,
    /// Patterns over the names of providers whose accounts it may use as they are.
    pub passthrough: Vec<String>,
    pub enabled: bool,
    /// Unix milliseconds.
    pub expires_at_ms: Option<i64>,
    pub limits: Spec,
    pub tags: Vec<String>,
    /// Of the pepper that made the digest.
    pub pepper_version: u32,
    pub metadata: BTreeMap<String, String>,
}

/// Keys by digest. One task writes; readers see each key either as it was or as it is.
#[derive(Default)]
pub struct KeyTable {
    callers: HashMap<Digest, Arc<Caller>, ahash::RandomState>,
    digests: HashMap<Arc<str>, Digest, ahash::RandomState>,
    /// For whoever writes.
    shared: Mutex<Shared>,
}

// === impl KeyTable ===

impl KeyTable {
    /// Makes room for so many more keys at once: growing key by key moves every key several times.
    pub fn reserve(&self, n_more: usize) {
        self.callers.pin().reserve(n_more);
        self.digests.pin().reserve(n_more);
    }

    /// Adds a key or replaces the one of the same id. What the id has used of its limits stays used unless they changed.
    /// Returns the key of another id that had imported the same secret, and is not found by it any more.
    pub fn upsert(&self, entry: &KeyEntry, now: Instant) -> Option<KeyEntry> {
        let (callers, digests) = (self.callers.pin(), self.digests.pin());
        let old_digest = digests.get(&entry.id).copied();
        let old = old_digest.and_then(|digest| callers.get(&digest));
        let limits = match old {
            Some(old) if old.spec == entry.limits => Arc::clone(&old.limits),
            _ => Arc::new(Limits::new(Arc::clone(&entry.id), entry.limits, now)),
        };
        // Nothing that holds it can panic half-way through a change.
        let lists = self.shared.lock().unwrap_or_else(PoisonError::into_inner).lists(
            &entry.tags,
            &entry.models,
            &entry.passthrough,
        );
        let replaced = callers.insert(entry.digest, Arc::new(Caller::new(entry, lists, limits)));
        let displaced = replaced.filter(|replaced| replaced.id != entry.id).map(|caller| caller.entry(entry.digest));
        digests.insert(Arc::clone(&entry.id), entry.digest);
        if let Some(old_digest) = old_digest.filter(|digest| *digest != entry.digest) {
            self.forget(&old_digest, &entry.id);
        }
        displaced
    }

    /// Every key that can be found, as the configuration has it; made from what requests are judged by. Costs a copy of
    /// all; keys that change meanwhile are there as they were or as they are.
    pub fn entries(&self) -> Vec<KeyEntry> {
        self.callers.pin().iter().map(|(digest, caller)| caller.entry(*digest)).collect()
    }

    /// Removes a key; false when there was none of this id.
    pub fn remove(&self, id: &str) -> bool {
        let Some(digest) = self.digests.pin().remove(id).copied() else { return false };
        self.forget(&digest, id);
        true
    }

    /// Removes every key whose id is not kept: what a snapshot no longer has.
    pub fn retain(&self, mut keep: impl FnMut(&str) -> bool) {
        let digests = self.digests.pin();
        let gone: Vec<Arc<str>> = digests.keys().filter(|id| !keep(id)).cloned().collect();
        for id in gone {
            self.remove(&id);
        }
    }

    /// The key of this id, if it can be found.
    pub fn by_id(&self, id: &str) -> Option<Arc<Caller>> {
        let digest = *self.digests.pin().get(id)?;
        self.find(&digest).filter(|caller| *caller.id == *id)
    }

    pub fn len(&self) -> usize {
        self.digests.len()
    }

    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// Two ids may have imported the same secret; the later one owns it, and losing the earlier one must not take it along.
    fn forget(&self, digest: &Digest, id: &str) {
        let callers = self.callers.pin();
        if callers.get(digest).is_some_and(|caller| *caller.id == *id) {
            callers.remove(digest);
        }
    }

    pub(super) fn find(&self, digest: &Digest) -> Option<Arc<Caller>> {
        self.callers.pin().get(digest).map(Arc::clone)
    }
}
