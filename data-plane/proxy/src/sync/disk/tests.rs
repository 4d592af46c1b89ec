//! What was told to be safe is there after any crash, and whatever happens to the files, only what was written comes out.

pub(crate) mod power;
mod corruption;

use std::collections::BTreeMap;

use gateway_wire::seal::{Key, Purpose};
use gateway_wire::v1::item::Body;
use gateway_wire::v1::{Class, Delta, Item, ItemId};

use super::files::Files;
use super::read::{Content, Source};
use super::*;
use power::PowerFolder;

const EPOCH: &str = "epoch";

/// A class whose content at each revision is known: revision n has changed item n % 7, and removed item n % 5 before.
struct History {
    class: Class,
    at: Vec<BTreeMap<String, Item>>,
}

fn item(id: u64, revision: u64) -> Item {
    let body = Some(Body::Document(format!("{{\"revision\": {revision}}}").into_bytes().into()));
    Item { kind: "model".to_owned(), id: id.to_string(), body, ..Item::default() }
}

// === impl History ===

impl History {
    fn new(class: Class, n_revisions: u64) -> Self {
        let mut at = vec![BTreeMap::new()];
        for revision in 1..=n_revisions {
            let mut items = at[at.len() - 1].clone();
            items.remove(&(revision % 5).to_string());
            items.insert((revision % 7).to_string(), item(revision % 7, revision));
            at.push(items);
        }
        Self { class, at }
    }

    fn delta(&self, to: u64) -> Delta {
        let removed = ItemId { kind: "model".to_owned(), id: (to % 5).to_string() };
        Delta {
            class: self.class.into(),
            epoch: EPOCH.to_owned(),
            from_revision: to - 1,
            to_revision: to,
            upsert: vec![item(to % 7, to)],
            removed: vec![removed],
            ..Delta::default()
        }
    }

    fn whole(&self, revision: u64) -> Vec<Item> {
        self.at[revision as usize].values().cloned().collect()
    }

    /// What was read is exactly what was written under that revision.
    fn check(&self, content: &Content, what: &str) {
        let found: BTreeMap<String, Item> = content.items.iter().map(|item| (item.id.clone(), item.clone())).collect();
        assert_eq!(content.epoch, EPOCH, "{what}");
        assert!(
            found == self.at[content.revision as usize],
            "{what}: revision {} is not what it was",
            content.revision
        );
        assert_eq!(found.len(), content.items.len(), "{what}: nothing is there twice");
    }
}

fn key(node: &[u8]) -> Key {
    Key::derive(&[node], Purpose::NodeState)
}

fn source(folder: &Arc<PowerFolder>, class: Class) -> Source {
    Source { folder: Arc::clone(folder) as Arc<dyn Folder>, key: Arc::new(key(b"a node")), class }
}

/// Two generations with journals: revision 6 in the older snapshot, 9 at the end of its journal and in the newer snapshot,
/// 12 at the end of the newest journal.
fn written(folder: &Arc<PowerFolder>, class: Class) -> History {
    let history = History::new(class, 20);
    let (mut files, content, damage) = Files::open(source(folder, class));
    assert!(content.is_none() && damage.is_empty());
    files.replace(EPOCH, 6, &history.whole(6)).expect("a disk");
    (7..=9).for_each(|revision| files.append(&history.delta(revision)).expect("a disk"));
    files.sync().expect("a disk");
    let merge = files.compaction(Some(0)).expect("due");
    files.adopt(merge()).expect("a disk");
    (10..=12).for_each(|revision| files.append(&history.delta(revision)).expect("a disk"));
    files.sync().expect("a disk");
    history
}

#[test]
fn what_was_kept_is_found_and_gone_on_with() {
    for class in CLASSES {
        let folder = Arc::new(PowerFolder::default());
        let history = written(&folder, class);
        for revision in 13..=16 {
            let (mut files, content, damage) = Files::open(source(&folder, class));
            let content = content.expect("it is there");
            assert_eq!((content.revision, damage), (revision - 1, Vec::new()));
            history.check(&content, "as written");
            assert_eq!(files.kept(), Some((EPOCH, revision - 1)));
            files.append(&history.delta(revision)).expect("a disk");
            files.sync().expect("a disk");
        }
        // A change that does not follow is an error, and then a whole is due.
        let (mut files, ..) = Files::open(source(&folder, class));
        assert!(files.append(&history.delta(20)).is_err());
        assert_eq!(files.kept(), None);
        files.replace("another epoch", 2, &history.whole(2)).expect("a disk");
        assert_eq!(files.kept(), Some(("another epoch", 2)));
        let (_, content, damage) = Files::open(source(&folder, class));
        assert_eq!(content.map(|content| (content.epoch, content.revision)), Some(("another epoch".to_owned(), 2)));
        assert!(damage.is_empty(), "{damage:?}");
    }
}

#[test]
fn changes_while_a_journal_is_merged_are_not_lost() {
    let folder = Arc::new(PowerFolder::default());
    let history = written(&folder, Class::Identity);
    let (mut files, ..) = Files::open(source(&folder, Class::Identity));
    let merge = files.compaction(Some(0)).expect("due");
    files.append(&history.delta(13)).expect("a disk");
    let merged = merge();
    files.append(&history.delta(14)).expect("a disk");
    files.sync().expect("a disk");
    files.adopt(merged).expect("a disk");
    files.append(&history.delta(15)).expect("a disk");
    files.sync().expect("a disk");
    let (mut files, content, damage) = Files::open(source(&folder, Class::Identity));
    let content = content.expect("it is there");
    history.check(&content, "merged");
    assert_eq!((content.revision, damage), (15, Vec::new()));
    // A newer snapshot makes a merge worthless, and it is not taken.
    let merge = files.compaction(Some(0)).expect("due");
    files.replace(EPOCH, 18, &history.whole(18)).expect("a disk");
    files.adopt(merge()).expect("nothing");
    let (_, content, _) = Files::open(source(&folder, Class::Identity));
    assert_eq!(content.map(|content| content.revision), Some(18));
}
