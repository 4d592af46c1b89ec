//! The hash of a class of config: SHA-256 per item, 256 buckets by the first byte of the id's hash, a root over the buckets.
//!
//! A change rehashes only the buckets it touches; two sides that differ find out which buckets differ by comparing 256
//! hashes and exchange only those. Order of items never matters.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256, digest};
use prost::Message;

use crate::v1::{Item, ItemId};

pub const BUCKETS: usize = 256;
pub const HASH_LEN: usize = 32;
pub type Hash = [u8; HASH_LEN];

/// The hashes of one class. `Default` is the empty class.
#[derive(Clone)]
pub struct Tree {
    buckets: Vec<Bucket>,
}

#[derive(Clone, Default)]
struct Bucket {
    /// By item key, `kind \0 id`.
    items: BTreeMap<Box<[u8]>, Hash>,
    /// Hash over `items`; `None` after a change, until somebody asks.
    hash: Option<Hash>,
}

// === impl Tree ===

impl Default for Tree {
    fn default() -> Self {
        Self { buckets: vec![Bucket::default(); BUCKETS] }
    }
}

impl Tree {
    pub fn of<'a>(items: impl IntoIterator<Item = &'a Item>) -> Self {
        let mut tree = Self::default();
        for item in items {
            tree.upsert(item);
        }
        tree
    }

    pub fn upsert(&mut self, item: &Item) {
        let key = item_key(&item.kind, &item.id);
        let bucket = &mut self.buckets[usize::from(bucket_of(&key))];
        bucket.items.insert(key.into(), item_hash(item));
        bucket.hash = None;
    }

    pub fn remove(&mut self, id: &ItemId) {
        let key = item_key(&id.kind, &id.id);
        let bucket = &mut self.buckets[usize::from(bucket_of(&key))];
        bucket.items.remove(key.as_slice());
        bucket.hash = None;
    }

    pub fn contains(&self, kind: &str, id: &str) -> bool {
        let key = item_key(kind, id);
        self.buckets[usize::from(bucket_of(&key))].items.contains_key(key.as_slice())
    }

    /// What is in a bucket, sorted.
    pub fn ids(&self, bucket: u8) -> Vec<ItemId> {
        self.buckets[usize::from(bucket)].items.keys().filter_map(|key| item_id(key)).collect()
    }

    /// What is in the class.
    pub fn all_ids(&self) -> Vec<ItemId> {
        (0..=u8::MAX).flat_map(|bucket| self.ids(bucket)).collect()
    }

    /// The root: hash over all bucket hashes. Costs what changed since it was last asked for.
    pub fn root(&mut self) -> Hash {
        let mut context = Context::new(&SHA256);
        for bucket in &mut self.buckets {
            context.update(&bucket.hash());
        }
        to_hash(context.finish().as_ref())
    }

    /// All 256 bucket hashes, in order, for `BucketRequest`.
    pub fn bucket_hashes(&mut self) -> Vec<u8> {
        self.buckets.iter_mut().flat_map(Bucket::hash).collect()
    }
}

// === impl Bucket ===

impl Bucket {
    fn hash(&mut self) -> Hash {
        *self.hash.get_or_insert_with(|| {
            if self.items.is_empty() {
                return [0; HASH_LEN];
            }
            let mut context = Context::new(&SHA256);
            for (key, hash) in &self.items {
                context.update(&(key.len() as u64).to_be_bytes());
                context.update(key);
                context.update(hash);
            }
            to_hash(context.finish().as_ref())
        })
    }
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
    let mut plain = item.clone();
    let secrets: BTreeMap<_, _> = std::mem::take(&mut plain.secrets).into_iter().collect();
    let mut context = Context::new(&SHA256);
    if let Some(crate::v1::item::Body::Key(key)) = &mut plain.body {
        let metadata: BTreeMap<_, _> = std::mem::take(&mut key.metadata).into_iter().collect();
        for (name, value) in &metadata {
            context.update(&(name.len() as u64).to_be_bytes());
            context.update(name.as_bytes());
            context.update(&(value.len() as u64).to_be_bytes());
            context.update(value.as_bytes());
        }
    }
    context.update(&plain.encode_to_vec());
    for (name, value) in &secrets {
        context.update(&(name.len() as u64).to_be_bytes());
        context.update(name.as_bytes());
        context.update(&(value.len() as u64).to_be_bytes());
        context.update(value);
    }
    to_hash(context.finish().as_ref())
}

fn to_hash(bytes: &[u8]) -> Hash {
    let mut hash = [0; HASH_LEN];
    hash.copy_from_slice(bytes);
    hash
}

#[cfg(test)]
mod tests {
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
