//! What is remembered of nodes.

use gateway_store::Store;
use gateway_store::nodes::NodeRow;
use gateway_store::usage::{Sender, UsageRow};

fn node(id: &str, seen_ms: i64) -> NodeRow {
    NodeRow {
        id: id.to_owned(),
        version: "0.1.0".to_owned(),
        boot_id: format!("boot-{seen_ms}"),
        labels: r#"{"zone":"a"}"#.to_owned(),
        first_seen_ms: seen_ms,
        last_seen_ms: seen_ms,
        state: "{}".to_owned(),
    }
}

pub(crate) async fn a_node_keeps_its_first_sight(store: &Store) {
    store.upsert_node(&node("node_b", 1)).await.unwrap();
    store.upsert_node(&node("node_a", 2)).await.unwrap();
    store.upsert_node(&node("node_b", 3)).await.unwrap();
    let expected = NodeRow { first_seen_ms: 1, ..node("node_b", 3) };
    assert_eq!(store.node("node_b").await.unwrap(), Some(expected.clone()));
    assert_eq!(store.nodes("", 10).await.unwrap(), [node("node_a", 2), expected.clone()]);
    assert_eq!(store.nodes("node_a", 10).await.unwrap(), [expected]);
    assert_eq!(store.node("node_c").await.unwrap(), None);
}

pub(crate) async fn nodes_that_are_gone_are_forgotten(store: &Store) {
    store.upsert_node(&node("node_a", 1)).await.unwrap();
    store.upsert_node(&node("node_b", 5)).await.unwrap();
    assert_eq!(store.prune_nodes(5).await.unwrap(), 1);
    assert_eq!(store.nodes("", 10).await.unwrap(), [node("node_b", 5)]);
}

pub(crate) async fn watermarks_of_boots_that_are_over_are_forgotten(store: &Store) {
    store.upsert_node(&node("node_a", 5)).await.unwrap();
    let sender = |boot, at_ms| Sender { node: "node_a", boot, at_ms };
    for (boot, at_ms) in [("boot-5", 1), ("over", 1), ("recent", 9)] {
        // When it says it began does not matter.
        let event = UsageRow { id: boot.to_owned(), started_ms: 7, tags: "[]".to_owned(), ..UsageRow::default() };
        store.ingest_usage(sender(boot, at_ms), 0, 1, &[event]).await.unwrap();
        store.ingest_logs(sender(boot, at_ms), 1, &[], 1).await.unwrap();
    }
    // `boot-5` is old too, but it is what the node is in now.
    assert_eq!(store.prune_watermarks(5).await.unwrap(), 2);
    for (boot, expected) in [("boot-5", 1), ("over", 0), ("recent", 1)] {
        assert_eq!(store.ingest_usage(sender(boot, 9), 0, 1, &[]).await.unwrap(), expected, "{boot}");
    }
    assert_eq!(store.logs_dropped().await.unwrap(), 2);
}
