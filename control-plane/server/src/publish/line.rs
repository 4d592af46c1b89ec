//! One class in memory: what there is, its hash, and what changed lately. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use gateway_wire::KEY_KIND;
use gateway_wire::tree::{HASH_LEN, Hash, Tree, bucket};
use gateway_wire::v1::item::Body;
use gateway_wire::v1::{self, Bookmark, Class, Delta, Item, ItemId, Repair};

/// Changes remembered, so that a node that was away for a moment needs no database. Older ones are in the store.
const MAX_LOG: usize = 20_000;

pub(super) type Key = (String, String);

/// A class at its newest revision.
pub(super) struct Line {
    pub(super) class: Class,
    pub(super) epoch: String,
    pub(super) revision: u64,
    items: BTreeMap<Key, Arc<Item>>,
    tree: Tree,
    root: Hash,
    /// What was touched, by revision. Complete for revisions after `log_from`.
    log: VecDeque<Touched>,
    log_from: u64,
    kinds: BTreeMap<String, usize>,
}

/// One change as it comes from the store.
pub(super) enum Edit {
    Upsert(Arc<Item>),
    Delete(Key),
}

struct Touched {
    revision: u64,
    key: Key,
    urgent: bool,
}

/// All items at one revision, for encoding outside of any lock.
pub(super) struct Frozen {
    pub(super) epoch: String,
    pub(super) revision: u64,
    pub(super) root: Hash,
    pub(super) items: Vec<Arc<Item>>,
}

// === impl Line ===

impl Line {
    pub(super) fn new(class: Class, epoch: String, revision: u64, items: Vec<Item>) -> Self {
        let mut tree = Tree::of(&items);
        let root = tree.root();
        let mut kinds = BTreeMap::new();
        for item in &items {
            *kinds.entry(item.kind.clone()).or_default() += 1;
        }
        let items = items.into_iter().map(|item| (key(&item), Arc::new(item))).collect();
        Self { class, epoch, revision, items, tree, root, log: VecDeque::new(), log_from: revision, kinds }
    }

    /// The next revision. Whether it takes something away from somebody, which does not wait.
    pub(super) fn advance(&mut self, revision: u64, edits: impl IntoIterator<Item = Edit>) -> bool {
        let mut any_urgent = false;
        for edit in edits {
            let urgent = self.takes_away(&edit);
            any_urgent |= urgent;
            let key = match edit {
                Edit::Upsert(item) => {
                    self.tree.upsert(&item);
                    let key = key(&item);
                    if self.items.insert(key.clone(), item).is_none() {
                        *self.kinds.entry(key.0.clone()).or_default() += 1;
                    }
                    key
                }
                Edit::Delete(key) => {
                    self.tree.remove(&id(&key));
                    if self.items.remove(&key).is_some() {
                        self.forget_kind(&key.0);
                    }
                    key
                }
            };
            self.log.push_back(Touched { revision, key, urgent });
        }
        self.revision = revision;
        self.root = self.tree.root();
        while self.log.len() > MAX_LOG {
            if let Some(forgotten) = self.log.pop_front() {
                // That revision is incomplete now.
                self.log_from = forgotten.revision;
            }
        }
        any_urgent
    }

    /// Whether these edits can be what made the current revision. They are not if the database was put back to an older copy
    /// and went another way from there.
    pub(super) fn agrees(&self, edits: &[Edit]) -> bool {
        edits.iter().all(|edit| match edit {
            Edit::Upsert(item) => self.items.get(&key(item)) == Some(item),
            Edit::Delete(key) => !self.items.contains_key(key),
        })
    }

    /// Items that made the current revision, as far as memory tells: of a revision that was loaded, no more than there are.
    pub(super) fn n_touched(&self) -> usize {
        if self.log_from == self.revision {
            return self.items.len();
        }
        self.log.iter().rev().take_while(|touched| touched.revision == self.revision).count()
    }

    /// Everything from a revision to the newest, the latest state of each item once. `earlier` is what changed up to
    /// [`Line::log_from`]; whether that took something away is not known any more. The nonce is the sender's.
    pub(super) fn delta(&self, from_revision: u64, earlier: BTreeSet<Key>) -> Delta {
        let mut keys = earlier;
        let mut urgent = !keys.is_empty();
        let first = self.log.partition_point(|touched| touched.revision <= from_revision);
        for touched in self.log.range(first..) {
            urgent |= touched.urgent;
            keys.insert(touched.key.clone());
        }
        let (mut upsert, mut removed) = (Vec::new(), Vec::new());
        for key in keys {
            match self.items.get(&key) {
                Some(item) => upsert.push(Item::clone(item)),
                None => removed.push(id(&key)),
            }
        }
        Delta {
            nonce: 0,
            class: self.class.into(),
            epoch: self.epoch.clone(),
            from_revision,
            to_revision: self.revision,
            urgent,
            upsert,
            removed,
            root_hash: self.root.to_vec(),
        }
    }

    /// Where the memory of changes begins: a delta from an earlier revision needs the store.
    pub(super) fn log_from(&self) -> u64 {
        self.log_from
    }

    pub(super) fn root(&self) -> Hash {
        self.root
    }

    pub(super) fn freeze(&self) -> Frozen {
        let items = self.items.values().cloned().collect();
        Frozen { epoch: self.epoch.clone(), revision: self.revision, root: self.root, items }
    }

    pub(super) fn bookmark(&self, min_resumable: u64) -> Bookmark {
        Bookmark {
            // Who sends it knows.
            live_nodes: 0,
            class: self.class.into(),
            epoch: self.epoch.clone(),
            revision: self.revision,
            root_hash: self.root.to_vec(),
            min_resumable,
        }
    }

    /// The content of the buckets in which the node differs. `None` if it asks about another revision or says nothing.
    pub(super) fn repair(&mut self, revision: u64, bucket_hashes: &[u8]) -> Option<Repair> {
        let ours = self.tree.bucket_hashes();
        if revision != self.revision || bucket_hashes.len() != ours.len() {
            return None;
        }
        let pairs = ours.chunks(HASH_LEN).zip(bucket_hashes.chunks(HASH_LEN)).zip(0_u8..=u8::MAX);
        let differing: BTreeSet<u8> =
            pairs.filter(|((ours, theirs), _)| ours != theirs).map(|(_, number)| number).collect();
        let items = self.items.values().filter(|item| differing.contains(&bucket(&item.kind, &item.id)));
        Some(Repair {
            class: self.class.into(),
            epoch: self.epoch.clone(),
            revision: self.revision,
            items: items.map(|item| Item::clone(item)).collect(),
            buckets: differing.into_iter().map(u32::from).collect(),
            root_hash: self.root.to_vec(),
        })
    }

    /// Kinds of items that a node must be able to read.
    pub(super) fn kinds(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }

    fn takes_away(&self, edit: &Edit) -> bool {
        match edit {
            Edit::Delete((kind, _)) => kind == KEY_KIND,
            Edit::Upsert(item) => match (&item.body, self.items.get(&key(item)).map(|before| &before.body)) {
                (Some(Body::Key(after)), Some(Some(Body::Key(before)))) => is_less(before, after),
                (Some(Body::Key(after)), _) => !after.enabled,
                // What could not be read is denied.
                (None, before) => before.is_some(),
                _ => false,
            },
        }
    }

    fn forget_kind(&mut self, kind: &str) {
        if let Some(n_items) = self.kinds.get_mut(kind) {
            *n_items -= 1;
            if *n_items == 0 {
                self.kinds.remove(kind);
            }
        }
    }
}

/// Whether a key may do less than before. Other lists count as less: only a comparison of patterns could tell. So do other
/// limits, but for one that is known to be wider.
fn is_less(before: &v1::Key, after: &v1::Key) -> bool {
    let expires = |key: &v1::Key| if key.expires_at_ms == 0 { i64::MAX } else { key.expires_at_ms };
    let rpm = |key: &v1::Key| key.limits.as_ref().and_then(|limits| limits.rpm).unwrap_or(u64::MAX);
    let others = |key: &v1::Key| v1::KeyLimits { rpm: None, ..key.limits.clone().unwrap_or_default() };
    let rights = |key: &v1::Key| {
        let v1::Key { models, roles, endpoints, ips, user, team, .. } = key.clone();
        (models, roles, endpoints, ips, user, team)
    };
    // A secret that was good and is not any more.
    let is_good = |digest: &[u8]| *after.digest == *digest || after.earlier.iter().any(|one| *one.digest == *digest);
    let lost = !is_good(&before.digest) || before.earlier.iter().any(|earlier| !is_good(&earlier.digest));
    !after.enabled
        || lost
        || expires(after) < expires(before)
        || rpm(after) < rpm(before)
        || others(after) != others(before)
        || rights(after) != rights(before)
}

fn key(item: &Item) -> Key {
    (item.kind.clone(), item.id.clone())
}

fn id(key: &Key) -> ItemId {
    ItemId { kind: key.0.clone(), id: key.1.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: &str, document: &str) -> Item {
        use gateway_wire::v1::item::Body;
        let body = Some(Body::Document(document.as_bytes().to_vec().into()));
        Item { kind: "model".to_owned(), id: id.to_owned(), body, ..Item::default() }
    }

    #[test]
    fn a_delta_has_the_latest_of_each_item_once() {
        let mut line = Line::new(Class::Topology, "e".to_owned(), 5, vec![item("a", "1"), item("b", "1")]);
        line.advance(6, [Edit::Upsert(Arc::new(item("a", "2"))), Edit::Upsert(Arc::new(item("c", "1")))]);
        line.advance(7, [Edit::Upsert(Arc::new(item("a", "3"))), Edit::Delete(("model".to_owned(), "b".to_owned()))]);
        line.advance(8, [Edit::Delete(("model".to_owned(), "c".to_owned()))]);
        let ids = |delta: &Delta| -> (Vec<String>, Vec<String>) {
            let upsert = delta.upsert.iter().map(|item| item.id.clone()).collect();
            (upsert, delta.removed.iter().map(|id| id.id.clone()).collect())
        };
        let delta = line.delta(5, BTreeSet::new());
        assert_eq!(ids(&delta), (vec!["a".to_owned()], vec!["b".to_owned(), "c".to_owned()]));
        assert_eq!(delta.upsert, [item("a", "3")]);
        assert_eq!(delta.root_hash, Tree::of(&[item("a", "3")]).root());
        assert_eq!(ids(&line.delta(7, BTreeSet::new())), (vec![], vec!["c".to_owned()]));
        let earlier = BTreeSet::from([("model".to_owned(), "z".to_owned())]);
        assert_eq!(ids(&line.delta(7, earlier)).1, ["c", "z"]);
    }

    #[test]
    fn a_revision_is_remembered_whole_or_not_at_all() {
        let mut line = Line::new(Class::Topology, "e".to_owned(), 0, Vec::new());
        let many = |n: usize| (0..n).map(|at| Edit::Upsert(Arc::new(item(&at.to_string(), "1")))).collect::<Vec<_>>();
        line.advance(1, many(10));
        line.advance(2, many(MAX_LOG - 5));
        assert_eq!(line.log_from(), 1);
        line.advance(3, many(10));
        assert_eq!(line.log_from(), 2);
    }

    #[test]
    fn what_takes_something_away_is_urgent() {
        let of = |key: v1::Key| {
            let body = Some(Body::Key(key));
            Edit::Upsert(Arc::new(Item { kind: KEY_KIND.to_owned(), id: "k".to_owned(), body, ..Item::default() }))
        };
        let free = || v1::Key { enabled: true, models: vec!["*".to_owned()], ..v1::Key::default() };
        let rpm =
            |rpm| v1::Key { limits: Some(v1::KeyLimits { rpm: Some(rpm), ..v1::KeyLimits::default() }), ..free() };
        let expiring = |expires_at_ms| v1::Key { expires_at_ms, ..free() };
        let narrow = || v1::Key { models: vec!["m".to_owned()], ..free() };
        let deleted = || Edit::Delete((KEY_KIND.to_owned(), "k".to_owned()));
        for (name, before, after, expected) in [
            ("new", None, of(free()), false),
            ("renamed", Some(free()), of(v1::Key { name: "n".to_owned(), ..free() }), false),
            ("new and disabled", None, of(v1::Key { enabled: false, ..free() }), true),
            ("disabled", Some(free()), of(v1::Key { enabled: false, ..free() }), true),
            ("enabled", Some(v1::Key { enabled: false, ..free() }), of(free()), false),
            ("rotated at once", Some(free()), of(v1::Key { digest: vec![1], ..free() }), true),
            (
                "rotated with overlap",
                Some(free()),
                of(v1::Key { digest: vec![1], earlier: vec![v1::EarlierSecret::default()], ..free() }),
                false,
            ),
            ("deleted", Some(free()), deleted(), true),
            ("limited", Some(free()), of(rpm(10)), true),
            ("limited more", Some(rpm(10)), of(rpm(5)), true),
            ("limited less", Some(rpm(5)), of(rpm(10)), false),
            ("expiring", Some(free()), of(expiring(5)), true),
            ("expiring later", Some(expiring(5)), of(expiring(9)), false),
            ("for readers", Some(free()), of(v1::Key { roles: vec!["read-only".to_owned()], ..free() }), true),
            ("for fewer models", Some(free()), of(narrow()), true),
            ("a provider", None, Edit::Upsert(Arc::new(item("a", "1"))), false),
        ] {
            let mut line = Line::new(Class::Identity, "e".to_owned(), 0, Vec::new());
            if let Some(before) = before {
                line.advance(1, [of(before)]);
            }
            assert_eq!(line.advance(2, [after]), expected, "{name}");
            assert_eq!(line.delta(1, BTreeSet::new()).urgent, expected, "{name}");
        }
    }

    #[test]
    fn another_history_of_the_same_revision_is_noticed() {
        let mut line = Line::new(Class::Topology, "e".to_owned(), 1, vec![item("a", "1"), item("b", "1")]);
        let edits = || [Edit::Upsert(Arc::new(item("a", "2"))), Edit::Delete(("model".to_owned(), "b".to_owned()))];
        line.advance(2, edits());
        assert!(line.agrees(&edits()));
        assert!(!line.agrees(&[Edit::Upsert(Arc::new(item("a", "3")))]));
        assert!(!line.agrees(&[Edit::Delete(("model".to_owned(), "a".to_owned()))]));
    }

    #[test]
    fn a_repair_has_what_differs() {
        let items: Vec<Item> = (0..50).map(|at| item(&at.to_string(), "1")).collect();
        let mut line = Line::new(Class::Topology, "e".to_owned(), 3, items.clone());
        let mut theirs = Tree::of(&items);
        theirs.upsert(&item("7", "drifted"));
        let repair = line.repair(3, &theirs.bucket_hashes()).expect("the same revision");
        assert_eq!(repair.buckets, [u32::from(bucket("model", "7"))]);
        assert!(repair.items.contains(&item("7", "1")));
        assert!(line.repair(2, &theirs.bucket_hashes()).is_none());
        assert!(line.repair(3, b"short").is_none());
    }
}
