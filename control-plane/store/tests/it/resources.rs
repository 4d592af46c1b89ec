//! Items as they are now.

use gateway_model::kind::{Class, Kind};
use gateway_store::{Error, ItemKind, Store, StoredItem};

use crate::engine::{commit, item, upsert};

pub(crate) async fn an_item_comes_back_as_it_was_written(store: &Store) {
    let written = StoredItem {
        sealed: Some(vec![0, 255, 1]),
        secret_facts: r#"{"api_key":{"last4":"wxyz"}}"#.to_owned(),
        owner: Some("gateway.yaml".to_owned()),
        ..item(Kind::Provider, "openai")
    };
    store.commit(commit(vec![upsert(written.clone())])).await.unwrap();
    let snapshot = store.snapshot(Class::Topology).await.unwrap();
    assert_eq!((snapshot.revision, snapshot.items), (1, vec![StoredItem { revision: 1, ..written }]));
    assert_eq!(snapshot.epoch, store.heads().await.unwrap().epoch);
    assert!(store.snapshot(Class::Identity).await.unwrap().items.is_empty());
}

pub(crate) async fn items_are_paged_by_name(store: &Store) {
    let names = ["b", "a/x", "c", "A"];
    store.commit(commit(names.iter().map(|name| upsert(item(Kind::Model, name))).collect())).await.unwrap();
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = store.items(ItemKind::Resource(Kind::Model), &after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after.clone_from(&last.name);
        seen.extend(page.into_iter().map(|item| item.name));
    }
    let mut expected = names.to_vec();
    expected.sort_unstable();
    seen.sort_unstable();
    assert_eq!(seen, expected);
}

pub(crate) async fn an_item_is_found_by_name_or_id(store: &Store) {
    let named_like_an_id = StoredItem { id: "other".to_owned(), ..item(Kind::Key, "id-demo") };
    store.commit(commit(vec![upsert(item(Kind::Key, "demo")), upsert(named_like_an_id)])).await.unwrap();
    for (wanted, expected) in
        [("demo", Some("demo")), ("other", Some("id-demo")), ("id-demo", Some("id-demo")), ("none", None)]
    {
        let found = store.item(ItemKind::Resource(Kind::Key), wanted).await.unwrap();
        assert_eq!(found.map(|item| item.name).as_deref(), expected, "{wanted}");
    }
    assert_eq!(store.item(ItemKind::Resource(Kind::Model), "demo").await.unwrap(), None);
}

pub(crate) async fn a_key_is_found_by_its_digest(store: &Store) {
    let key = StoredItem { digest: Some(vec![7; 32]), pepper_version: 1, ..item(Kind::Key, "demo") };
    store.commit(commit(vec![upsert(key), upsert(item(Kind::Key, "without"))])).await.unwrap();
    assert_eq!(store.key_by_digest(&[7; 32]).await.unwrap().map(|item| item.name).as_deref(), Some("demo"));
    assert_eq!(store.key_by_digest(&[8; 32]).await.unwrap(), None);
}

pub(crate) async fn names_and_digests_are_unique(store: &Store) {
    let key = StoredItem { digest: Some(vec![7; 32]), ..item(Kind::Key, "demo") };
    store.commit(commit(vec![upsert(key.clone())])).await.unwrap();
    let same_name = StoredItem { id: "x".to_owned(), digest: None, ..key.clone() };
    let same_digest = StoredItem { id: "x".to_owned(), name: "x".to_owned(), ..key };
    for taken in [same_name, same_digest] {
        let refused = store.commit(commit(vec![upsert(taken)])).await.unwrap_err();
        assert!(matches!(refused, Error::Exists { kind: "key" }), "{refused}");
    }
    assert_eq!(store.heads().await.unwrap().identity, 1);
}
