//! Commits, change log, history.

use std::time::Duration;

use gateway_model::kind::{Class, Kind};
use gateway_store::revisions::{Commit, Op};
use gateway_store::{Error, ItemKind, Store, StoredItem};

use crate::engine::{commit, delete, item, upsert};

fn provider(name: &str, content: u64) -> StoredItem {
    StoredItem { document: content.to_string(), ..item(Kind::Provider, name) }
}

async fn state(store: &Store, revision: u64) -> Vec<(String, String)> {
    let items = store.items_at(Class::Topology, revision).await.unwrap();
    items.into_iter().map(|item| (item.name, item.document)).collect()
}

fn pair(name: &str, document: &str) -> (String, String) {
    (name.to_owned(), document.to_owned())
}

pub(crate) async fn each_class_has_its_own_line(store: &Store) {
    store.commit(commit(vec![upsert(item(Kind::Provider, "p"))])).await.unwrap();
    store.commit(commit(vec![upsert(item(Kind::Key, "k"))])).await.unwrap();
    let both = store.commit(commit(vec![upsert(item(Kind::Model, "m")), upsert(item(Kind::Key, "l"))])).await.unwrap();
    assert_eq!((both.topology, both.identity), (2, 2));
    let nothing = store.commit(commit(Vec::new())).await.unwrap();
    assert_eq!(nothing, both);
    let history = store.revisions(Class::Topology, None, 10).await.unwrap();
    assert_eq!(history.iter().map(|line| (line.revision, line.n_changes)).collect::<Vec<_>>(), [(2, 1), (1, 1)]);
    assert_eq!(store.revisions(Class::Topology, Some(2), 10).await.unwrap().len(), 1);
}

pub(crate) async fn a_commit_from_an_old_head_is_refused(store: &Store) {
    let seen = store.heads().await.unwrap();
    store.commit(commit(vec![upsert(item(Kind::Key, "k"))])).await.unwrap();
    let stale = Commit { expected: Some(seen), ..commit(vec![upsert(item(Kind::Provider, "p"))]) };
    let refused = store.commit(stale).await.unwrap_err();
    assert!(matches!(refused, Error::Conflict { topology: 0, identity: 1 }), "{refused}");
    assert_eq!(store.heads().await.unwrap().topology, 0);
}

pub(crate) async fn a_failed_commit_leaves_nothing(store: &Store) {
    store.commit(commit(vec![upsert(item(Kind::Provider, "p"))])).await.unwrap();
    let twin = StoredItem { id: "twin".to_owned(), ..item(Kind::Provider, "p") };
    store.commit(commit(vec![upsert(item(Kind::Provider, "q")), upsert(twin)])).await.unwrap_err();
    assert_eq!(store.snapshot(Class::Topology).await.unwrap().items.len(), 1);
    assert_eq!(store.changes(Class::Topology, 0, 10).await.unwrap().len(), 1);
    let next = store.commit(commit(vec![upsert(item(Kind::Provider, "q"))])).await.unwrap();
    assert_eq!(next.topology, 2);
}

pub(crate) async fn changes_come_in_whole_revisions(store: &Store) {
    store.commit(commit(vec![upsert(provider("a", 1)), upsert(provider("b", 1))])).await.unwrap();
    store.commit(commit(vec![delete(provider("a", 1))])).await.unwrap();
    store.commit(commit(vec![upsert(provider("b", 2))])).await.unwrap();
    let read = |changes: Vec<gateway_store::revisions::Change>| {
        changes.into_iter().map(|change| (change.revision, change.op, change.item.name)).collect::<Vec<_>>()
    };
    let first = read(store.changes(Class::Topology, 0, 1).await.unwrap());
    assert_eq!(first, [(1, Op::Upsert, "a".to_owned()), (1, Op::Upsert, "b".to_owned())]);
    let rest = read(store.changes(Class::Topology, 1, 10).await.unwrap());
    assert_eq!(rest, [(2, Op::Delete, "a".to_owned()), (3, Op::Upsert, "b".to_owned())]);
    assert!(store.changes(Class::Topology, 3, 10).await.unwrap().is_empty());
    assert!(store.changes(Class::Identity, 0, 10).await.unwrap().is_empty());
}

pub(crate) async fn earlier_states_are_known(store: &Store) {
    store.commit(commit(vec![upsert(provider("a", 1))])).await.unwrap();
    store.commit(commit(vec![upsert(provider("a", 2)), upsert(provider("b", 2))])).await.unwrap();
    store.commit(commit(vec![delete(provider("a", 2))])).await.unwrap();
    assert_eq!(state(store, 0).await, []);
    assert_eq!(state(store, 1).await, [pair("a", "1")]);
    assert_eq!(state(store, 2).await, [pair("a", "2"), pair("b", "2")]);
    assert_eq!(state(store, 3).await, [pair("b", "2")]);
    let refused = store.items_at(Class::Topology, 4).await.unwrap_err();
    assert!(matches!(refused, Error::NoRevision { revision: 4, newest: 3, .. }), "{refused}");
}

pub(crate) async fn compaction_keeps_states_and_says_from_where_changes_are_complete(store: &Store) {
    for content in 1..=9 {
        let mut edits = vec![upsert(provider("a", content))];
        if content == 3 {
            edits.push(upsert(provider("b", content)));
        }
        if content == 4 {
            edits.push(delete(provider("b", 3)));
        }
        let at_ms = i64::try_from(content).unwrap() * 100;
        store.commit(Commit { at_ms, ..commit(edits) }).await.unwrap();
    }
    // Old enough are revisions 1 to 8, but the newest four stay.
    assert_eq!(store.compact(Class::Topology, 900, 4).await.unwrap(), 5);
    assert_eq!(store.min_resumable(Class::Topology).await.unwrap(), 5);
    assert!(matches!(store.items_at(Class::Topology, 4).await.unwrap_err(), Error::NoRevision { oldest: 5, .. }));
    assert_eq!(state(store, 5).await, [pair("a", "5")]);
    assert_eq!(state(store, 8).await, [pair("a", "8")]);
    assert_eq!(store.changes(Class::Topology, 5, 100).await.unwrap().len(), 4);
    assert_eq!(store.revisions(Class::Topology, None, 100).await.unwrap().len(), 5);
    // Old enough are only revisions 1 to 6: nothing goes back.
    assert_eq!(store.compact(Class::Topology, 700, 0).await.unwrap(), 6);
    assert_eq!(store.compact(Class::Topology, 0, 0).await.unwrap(), 6);
    assert_eq!(store.min_resumable(Class::Identity).await.unwrap(), 0);
}

pub(crate) async fn a_name_can_be_taken_over_in_one_commit(store: &Store) {
    store.commit(commit(vec![upsert(provider("a", 1))])).await.unwrap();
    let heir = StoredItem { id: "heir".to_owned(), ..provider("a", 2) };
    store.commit(commit(vec![upsert(heir), delete(provider("a", 1))])).await.unwrap();
    let found = store.item(ItemKind::Resource(Kind::Provider), "a").await.unwrap().unwrap();
    assert_eq!((found.id.as_str(), found.revision), ("heir", 2));
}

pub(crate) async fn commits_are_announced(store: &Store) {
    let mut watch = store.watch();
    // Taken out first: whoever announces would wait for as long as the value is looked at.
    let seen = watch.borrow_and_update().clone();
    assert_eq!(seen, store.heads().await.unwrap());
    store.commit(commit(vec![upsert(item(Kind::Key, "k"))])).await.unwrap();
    watch.changed().await.unwrap();
    let seen = watch.borrow_and_update().clone();
    assert_eq!(seen, store.heads().await.unwrap());
}

/// 16 writers, and a reader that asks for what follows the last revision it has seen.
pub(crate) async fn concurrent_writers_skip_and_reorder_nothing(store: &Store) {
    const WRITERS: u64 = 16;
    const COMMITS: u64 = 12;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for turn in 0..COMMITS {
                    store.commit(commit(vec![upsert(provider(&format!("p{writer}"), turn))])).await.unwrap();
                }
            })
        })
        .collect();
    let mut seen = Vec::new();
    let mut watch = store.watch();
    while (seen.len() as u64) < WRITERS * COMMITS {
        let last = seen.last().map_or(0, |(revision, _, _): &(u64, _, _)| *revision);
        let changes = store.changes(Class::Topology, last, 7).await.unwrap();
        if changes.is_empty() {
            // A writer that has failed would be waited for without end.
            tokio::time::timeout(Duration::from_secs(60), watch.changed()).await.expect("all writers write").unwrap();
        }
        seen.extend(changes.into_iter().map(|change| (change.revision, change.item.name, change.item.document)));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    for (position, (revision, _, _)) in seen.iter().enumerate() {
        assert_eq!(*revision, position as u64 + 1);
    }
    for writer in 0..WRITERS {
        let name = format!("p{writer}");
        let own: Vec<u64> =
            seen.iter().filter(|(_, of, _)| *of == name).map(|(_, _, turn)| turn.parse().unwrap()).collect();
        assert_eq!(own, (0..COMMITS).collect::<Vec<_>>(), "{name}");
    }
}
