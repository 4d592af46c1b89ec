//! The hash of a class of config: SHA-256 per item, 256 buckets by the first byte of the id's hash, a root over the buckets.
//!
//! A change rehashes only the buckets it touches; two sides that differ find out which buckets differ by comparing 256
//! hashes and exchange only those. Order of items never matters.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256, digest};
use prost::Message;

use crate::v1::{Item, ItemId};

pub const BUCKETS: usize = 256;
pub const HASH_LEN: usize = 32;
pub type Hash = [u8; HASH_LEN];

/// The hashes of one class. `Default` is the empty class. A clone costs nothing until one of the two changes, and then the
/// buckets that change.
#[derive(Clone)]
pub struct Tree {
    buckets: Vec<Arc<Bucket>>,
    /// Those of all buckets, one after the other.
    hashes: Vec<u8>,
    /// Buckets that have changed since their hash was made.
    stale: BTreeSet<u8>,
}

/// A million keys make four thousand items per bucket, so what is kept of an item is exactly what is hashed: a search reads
/// along, and the hash of the bucket is one pass.
#[derive(Clone, Default)]
struct Bucket {
    /// Sorted by item key (`kind \0 id`), one after the other: length of the key (8 bytes, big-endian) · key · hash.
    records: Vec<u8>,
}

/// Room for this part of its size is left in a bucket that grows.
const SLACK: usize = 16;
/// Bytes of a record before its key.
const LEN_LEN: usize = size_of::<u64>();

// === impl Tree ===

impl Default for Tree {
    fn default() -> Self {
        let empty = Arc::new(Bucket::default());
        Self { buckets: vec![empty; BUCKETS], hashes: vec![0; BUCKETS * HASH_LEN], stale: BTreeSet::new() }
    }
}

impl Tree {
    pub fn of<'a>(items: impl IntoIterator<Item = &'a Item>) -> Self {
        let mut sorted: Vec<BTreeMap<Vec<u8>, Hash>> = vec![BTreeMap::new(); BUCKETS];
        for item in items {
            let key = item_key(&item.kind, &item.id);
            sorted[usize::from(bucket_of(&key))].insert(key, item_hash(item));
        }
        let buckets = sorted.into_iter().map(|items| Arc::new(Bucket::of(&items))).collect();
        Self { buckets, hashes: vec![0; BUCKETS * HASH_LEN], stale: (0..=u8::MAX).collect() }
    }

    pub fn upsert(&mut self, item: &Item) {
        let key = item_key(&item.kind, &item.id);
        self.bucket_mut(&key).upsert(&key, &item_hash(item));
    }

    pub fn remove(&mut self, id: &ItemId) {
        let key = item_key(&id.kind, &id.id);
        if self.bucket(&key).find(&key).is_ok() {
            self.bucket_mut(&key).remove(&key);
        }
    }

    pub fn contains(&self, kind: &str, id: &str) -> bool {
        let key = item_key(kind, id);
        self.bucket(&key).find(&key).is_ok()
    }

    /// What is in a bucket, sorted.
    pub fn ids(&self, bucket: u8) -> Vec<ItemId> {
        self.buckets[usize::from(bucket)].keys().filter_map(item_id).collect()
    }

    /// What is in the class.
    pub fn all_ids(&self) -> Vec<ItemId> {
        (0..=u8::MAX).flat_map(|bucket| self.ids(bucket)).collect()
    }

    /// What is here and not there, in one pass over both.
    pub fn without(&self, other: &Self) -> Vec<ItemId> {
        let mut missing = Vec::new();
        for (ours, theirs) in self.buckets.iter().zip(&other.buckets) {
            let mut theirs = theirs.keys().peekable();
            for key in ours.keys() {
                while theirs.next_if(|other| *other < key).is_some() {}
                if theirs.peek() != Some(&key) {
                    missing.extend(item_id(key));
                }
            }
        }
        missing
    }

    /// The root: hash over all bucket hashes. Costs what changed since it was last asked for.
    pub fn root(&mut self) -> Hash {
        self.refresh();
        to_hash(digest(&SHA256, &self.hashes).as_ref())
    }

    /// All 256 bucket hashes, in order, for `BucketRequest`.
    pub fn bucket_hashes(&mut self) -> Vec<u8> {
        self.refresh();
        self.hashes.clone()
    }

    fn refresh(&mut self) {
        for number in std::mem::take(&mut self.stale).into_iter().map(usize::from) {
            let at = number * HASH_LEN;
            self.hashes[at..at + HASH_LEN].copy_from_slice(&self.buckets[number].hash());
        }
    }

    fn bucket(&self, key: &[u8]) -> &Bucket {
        &self.buckets[usize::from(bucket_of(key))]
    }

    /// To be changed.
    fn bucket_mut(&mut self, key: &[u8]) -> &mut Bucket {
        let number = bucket_of(key);
        self.stale.insert(number);
        Arc::make_mut(&mut self.buckets[usize::from(number)])
    }
}

// === impl Bucket ===

impl Bucket {
    fn of(items: &BTreeMap<Vec<u8>, Hash>) -> Self {
        let len = items.keys().map(|key| LEN_LEN + key.len() + HASH_LEN).sum();
        let mut records = Vec::with_capacity(len);
        for (key, hash) in items {
            append(&mut records, key, hash);
        }
        Self { records }
    }

    fn upsert(&mut self, key: &[u8], hash: &Hash) {
        match self.find(key) {
            Ok(at) => {
                let at = at + LEN_LEN + key.len();
                self.records[at..at + HASH_LEN].copy_from_slice(hash);
            }
            Err(at) => {
                let mut record = Vec::with_capacity(LEN_LEN + key.len() + HASH_LEN);
                append(&mut record, key, hash);
                if self.records.capacity() - self.records.len() < record.len() {
                    // A vector that doubles would leave half of the memory unused.
                    self.records.reserve_exact(record.len() + self.records.len() / SLACK);
                }
                self.records.splice(at..at, record);
            }
        }
    }

    fn remove(&mut self, key: &[u8]) {
        if let Ok(at) = self.find(key) {
            self.records.drain(at..at + LEN_LEN + key.len() + HASH_LEN);
        }
    }

    /// Where the record of this key is, or where it belongs.
    fn find(&self, key: &[u8]) -> Result<usize, usize> {
        let mut at = 0;
        while let Some(other) = self.key_at(at) {
            match other.cmp(key) {
                Ordering::Less => at += LEN_LEN + other.len() + HASH_LEN,
                Ordering::Equal => return Ok(at),
                Ordering::Greater => break,
            }
        }
        Err(at)
    }

    /// The keys of its items, sorted.
    fn keys(&self) -> impl Iterator<Item = &[u8]> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let key = self.key_at(at)?;
            at += LEN_LEN + key.len() + HASH_LEN;
            Some(key)
        })
    }

    /// The key of the record that begins here; `None` at the end.
    fn key_at(&self, at: usize) -> Option<&[u8]> {
        let (len, behind) = self.records.get(at..)?.split_first_chunk()?;
        behind.get(..usize::try_from(u64::from_be_bytes(*len)).ok()?)
    }

    fn hash(&self) -> Hash {
        match self.records.as_slice() {
            [] => [0; HASH_LEN],
            records => to_hash(digest(&SHA256, records).as_ref()),
        }
    }
}

fn append(records: &mut Vec<u8>, key: &[u8], hash: &Hash) {
    records.extend_from_slice(&(key.len() as u64).to_be_bytes());
    records.extend_from_slice(key);
    records.extend_from_slice(hash);
}

/// The bucket an item belongs to.
pub fn bucket(kind: &str, id: &str) -> u8 {
    bucket_of(&item_key(kind, id))
}

fn item_key(kind: &str, id: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(kind.len() + 1 + id.len());
    key.extend_from_slice(kind.as_bytes());
    key.push(0);
    key.extend_from_slice(id.as_bytes());
    key
}

/// The way back from `item_key`.
fn item_id(key: &[u8]) -> Option<ItemId> {
    let at = key.iter().position(|byte| *byte == 0)?;
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    Some(ItemId { kind: text(&key[..at])?, id: text(&key[at + 1..])? })
}

fn bucket_of(key: &[u8]) -> u8 {
    digest(&SHA256, key).as_ref()[0]
}

/// Maps are encoded in arbitrary order by prost, so they are hashed apart, sorted.
fn item_hash(item: &Item) -> Hash {
    use crate::v1::item::Body;
    let metadata = match &item.body {
        Some(Body::Key(key)) => Some(&key.metadata),
        _ => None,
    };
    if item.secrets.is_empty() && metadata.is_none_or(|metadata| metadata.is_empty()) {
        return to_hash(digest(&SHA256, &item.encode_to_vec()).as_ref());
    }
    let mut plain = item.clone();
    let secrets: BTreeMap<_, _> = std::mem::take(&mut plain.secrets).into_iter().collect();
    let mut context = Context::new(&SHA256);
    if let Some(Body::Key(key)) = &mut plain.body {
        let metadata: BTreeMap<_, _> = std::mem::take(&mut key.metadata).into_iter().collect();
        for (name, value) in &metadata {
            part(&mut context, name.as_bytes());
            part(&mut context, value.as_bytes());
        }
    }
    context.update(&plain.encode_to_vec());
    for (name, value) in &secrets {
        part(&mut context, name.as_bytes());
        part(&mut context, value);
    }
    to_hash(context.finish().as_ref())
}

fn part(context: &mut Context, bytes: &[u8]) {
    context.update(&(bytes.len() as u64).to_be_bytes());
    context.update(bytes);
}

fn to_hash(bytes: &[u8]) -> Hash {
    let mut hash = [0; HASH_LEN];
    hash.copy_from_slice(bytes);
    hash
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::v1::item::Body;

    fn item(id: &str, document: &'static str) -> Item {
        Item {
            kind: "provider".into(),
            id: id.into(),
            body: Some(Body::Document(bytes::Bytes::from_static(document.as_bytes()))),
            ..Default::default()
        }
    }

    #[test]
    fn order_does_not_matter_and_every_change_does() {
        let (a, b) = (item("a", "1"), item("b", "2"));
        let root = Tree::of([&a, &b]).root();
        assert_eq!(root, Tree::of([&b, &a]).root());
        assert_ne!(root, Tree::of([&a]).root());
        let mut changed = Tree::of([&a, &b]);
        changed.upsert(&item("b", "3"));
        assert_ne!(root, changed.root());
        changed.upsert(&b);
        assert_eq!(root, changed.root());
        changed.remove(&ItemId { kind: "provider".into(), id: "b".into() });
        assert_eq!(changed.root(), Tree::of([&a]).root());
        assert_eq!(changed.all_ids(), [ItemId { kind: "provider".into(), id: "a".into() }]);
        assert!(changed.contains("provider", "a") && !changed.contains("provider", "b"));
    }

    proptest! {
        #[test]
        fn the_way_to_a_content_does_not_matter(steps in proptest::collection::vec((0..40_u8, 0..4_u8), 0..120)) {
            let (mut tree, mut model) = (Tree::default(), BTreeMap::new());
            let untouched = tree.clone();
            for (id, what) in steps {
                let (id, document) = (id.to_string(), ["", "1", "2", "3"][usize::from(what)]);
                if document.is_empty() {
                    tree.remove(&ItemId { kind: "provider".into(), id: id.clone() });
                    model.remove(&id);
                } else {
                    tree.upsert(&item(&id, document));
                    model.insert(id.clone(), item(&id, document));
                }
                prop_assert_eq!(tree.contains("provider", &id), model.contains_key(&id));
            }
            let mut at_once = Tree::of(model.values());
            prop_assert_eq!(tree.root(), at_once.root());
            prop_assert_eq!(tree.bucket_hashes(), at_once.bucket_hashes());
            let ids = |ids: Vec<ItemId>| ids.into_iter().map(|id| id.id).collect::<BTreeSet<_>>();
            prop_assert_eq!(ids(tree.all_ids()), model.keys().cloned().collect());
            prop_assert!(untouched.all_ids().is_empty(), "a clone is a copy");
            let odd = Tree::of(model.values().filter(|item| item.id.ends_with(['1', '3'])));
            prop_assert_eq!(ids(tree.without(&odd)), model.keys().filter(|id| !id.ends_with(['1', '3'])).cloned().collect());
            prop_assert!(odd.without(&tree).is_empty());
        }
    }

    #[test]
    fn secrets_count_whatever_their_order() {
        let mut one = item("a", "1");
        for name in ["x", "y", "z"] {
            one.secrets.insert(name.into(), name.as_bytes().to_vec());
        }
        let mut other = item("a", "1");
        for name in ["z", "x", "y"] {
            other.secrets.insert(name.into(), name.as_bytes().to_vec());
        }
        assert_eq!(Tree::of([&one]).root(), Tree::of([&other]).root());
        other.secrets.insert("x".into(), b"changed".to_vec());
        assert_ne!(Tree::of([&one]).root(), Tree::of([&other]).root());
    }
}
