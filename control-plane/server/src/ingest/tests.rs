//! What is acknowledged is stored, once, however often and in whatever overlap it arrives; nonsense is refused.

use gateway_wire::v1::{LogRecord, TokenUsage, UsageEvent};

use super::*;

async fn ingest() -> (Ingest, Store) {
    let store = Store::open("sqlite::memory:").await.expect("a store");
    (Ingest::new(store.clone(), Tail::new(), Arc::new(Meters::new())), store)
}

fn batch(first_seq: u64, ids: &[&str]) -> UsageBatch {
    let event = |id: &&str| UsageEvent {
        id: (*id).to_owned(),
        model: "m".to_owned(),
        tokens: Some(TokenUsage { input: 10, ..TokenUsage::default() }),
        ..UsageEvent::default()
    };
    UsageBatch {
        node_id: "node_1".to_owned(),
        boot_id: "boot_1".to_owned(),
        lane: 2,
        first_seq,
        events: ids.iter().map(event).collect(),
    }
}

#[tokio::test]
async fn usage_that_comes_again_counts_once() {
    let (ingest, store) = ingest().await;
    for (first_seq, ids) in [(1, &["a", "b"][..]), (1, &["a", "b"]), (2, &["b", "c"]), (1, &["a"])] {
        let ack = ingest.usage(batch(first_seq, ids)).await.expect("stored");
        assert_eq!((ack.lane, ack.boot_id.as_str()), (2, "boot_1"));
        assert!(ack.up_to_seq >= first_seq + ids.len() as u64 - 1);
    }
    let rows = store.usage(None, 100).await.expect("a page");
    assert_eq!(rows.len(), 3, "{rows:?}");
}

#[tokio::test]
async fn followers_see_what_was_stored() {
    let (ingest, _store) = ingest().await;
    let mut followed = Box::pin(ingest.tail.subscribe());
    let record = LogRecord { id: "r".to_owned(), ..LogRecord::default() };
    let logs = LogBatch {
        node_id: "node_1".to_owned(),
        boot_id: "boot_1".to_owned(),
        first_seq: 1,
        records: vec![record],
        dropped_total: 0,
    };
    assert_eq!(ingest.logs(logs).await.expect("stored").up_to_seq, 1);
    assert_eq!(followed.next().await.expect("a record").id, "r");
}

#[tokio::test]
async fn batches_without_number_name_or_content_are_refused() {
    let (ingest, _store) = ingest().await;
    let nameless = UsageBatch { node_id: String::new(), ..batch(1, &["a"]) };
    for wrong in [batch(0, &["a"]), batch(1, &[]), nameless] {
        let status = ingest.usage(wrong).await.expect_err("refused");
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
    }
}
