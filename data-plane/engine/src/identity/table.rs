//! All keys of a node, by digest. Read by every request without a lock; changed key by key while requests are served.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use gateway_model::limits::Limits as Document;
use papaya::HashMap;

use super::lists::Shared;
use super::pepper::Digest;
use super::{Access, Caller};
use crate::limits::purse::Purses;
use crate::limits::{Limits, Owner};

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
    pub limits: Document,
    pub access: Access,
    pub tags: Vec<String>,
    /// Of the pepper that made the digest.
    pub pepper_version: u32,
    pub metadata: BTreeMap<String, String>,
    /// Secrets that it had before a rotation, each good until its end.
    pub earlier: Vec<Earlier>,
}

/// A secret that a key had before, and still has for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earlier {
    pub digest: Digest,
    /// Of the pepper that made the digest.
    pub pepper_version: u32,
    /// Unix milliseconds.
    pub until_ms: i64,
}

/// Keys by digest. One task writes; readers see each key either as it was or as it is.
#[derive(Default)]
pub struct KeyTable {
    callers: HashMap<Digest, Arc<Caller>, ahash::RandomState>,
    digests: HashMap<Arc<str>, Digest, ahash::RandomState>,
    /// For whoever writes.
    shared: Mutex<Shared>,
    /// Where keys with a budget have their money.
    purses: Arc<Purses>,
}

// === impl KeyTable ===

impl KeyTable {
    /// Whose keys spend from these purses.
    pub fn spending_from(purses: Arc<Purses>) -> Self {
        Self { purses, ..Self::default() }
    }

    /// Makes room for so many more keys at once: growing key by key moves every key several times.
    pub fn reserve(&self, n_more: usize) {
        self.callers.pin().reserve(n_more);
        self.digests.pin().reserve(n_more);
    }

    /// Adds a key or replaces the one of the same id. What the id has used of its limits stays used unless they changed.
    /// Returns the key of another id that had imported the same secret, and is not found by it any more.
    pub fn upsert(&self, entry: &KeyEntry) -> Option<KeyEntry> {
        let (callers, digests) = (self.callers.pin(), self.digests.pin());
        let old_digest = digests.get(&entry.id).copied();
        let old = old_digest.and_then(|digest| callers.get(&digest));
        let outdated: Vec<Digest> = match old.filter(|old| old.id == entry.id) {
            Some(old) => old.earlier().iter().map(|earlier| earlier.digest).chain(old_digest).collect(),
            None => old_digest.into_iter().collect(),
        };
        let limits = match old {
            Some(old) if old.limits.are(&entry.limits) => Arc::clone(&old.limits),
            _ => Arc::new(Limits::new(Owner::key(&entry.id), &entry.limits)),
        };
        // Nothing that holds it can panic half-way through a change.
        let lists = self.shared.lock().unwrap_or_else(PoisonError::into_inner).lists(
            &entry.tags,
            &entry.models,
            &entry.passthrough,
        );
        let purse = entry.access.budget.map(|budget| self.purses.purse(&format!("key/{}", entry.id), budget));
        for earlier in &entry.earlier {
            // What somebody else has by now stays theirs.
            if callers.get(&earlier.digest).is_none_or(|caller| caller.id == entry.id) {
                let until_ms = entry.expires_at_ms.map_or(earlier.until_ms, |at| at.min(earlier.until_ms));
                let entry = KeyEntry { expires_at_ms: Some(until_ms), earlier: Vec::new(), ..entry.clone() };
                let caller = Caller::new(&entry, lists.clone(), Arc::clone(&limits), purse.clone());
                callers.insert(earlier.digest, Arc::new(caller));
            }
        }
        let replaced = callers.insert(entry.digest, Arc::new(Caller::new(entry, lists, limits, purse)));
        let displaced = replaced.filter(|replaced| replaced.id != entry.id).map(|caller| caller.entry(entry.digest));
        digests.insert(Arc::clone(&entry.id), entry.digest);
        let is_good =
            |digest: &Digest| *digest == entry.digest || entry.earlier.iter().any(|one| one.digest == *digest);
        for digest in outdated.iter().filter(|digest| !is_good(digest)) {
            self.forget(digest, &entry.id);
        }
        displaced
    }

    /// Every key that can be found, as the configuration has it; made from what requests are judged by. Costs a copy of
    /// all; keys that change meanwhile are there as they were or as they are.
    pub fn entries(&self) -> Vec<KeyEntry> {
        let (callers, digests) = (self.callers.pin(), self.digests.pin());
        // A key that was rotated is found by its earlier secrets too, and is one key.
        let own = callers.iter().filter(|(digest, caller)| digests.get(&caller.id) == Some(*digest));
        own.map(|(digest, caller)| caller.entry(*digest)).collect()
    }

    /// Removes a key; false when there was none of this id.
    pub fn remove(&self, id: &str) -> bool {
        let Some(digest) = self.digests.pin().remove(id).copied() else { return false };
        if let Some(caller) = self.find(&digest).filter(|caller| *caller.id == *id) {
            caller.earlier().iter().for_each(|earlier| self.forget(&earlier.digest, id));
        }
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
