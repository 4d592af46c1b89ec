//! Records of requests.

use gateway_store::Store;
use gateway_store::logs::{Filter, LogRow};
use gateway_store::retention::Pruned;
use gateway_store::usage::{Cursor, Sender};

fn record(number: u32) -> LogRow {
    LogRow {
        id: format!("r{number:03}"),
        started_ms: i64::from(number) * 1000,
        key_id: "vk_1".to_owned(),
        key_name: if number.is_multiple_of(2) { "even" } else { "odd" }.to_owned(),
        model: "m".to_owned(),
        provider: "p".to_owned(),
        status: if number.is_multiple_of(3) { 429 } else { 200 },
        record: format!(r#"{{"id":{number}}}"#),
        ..LogRow::default()
    }
}

fn sender(node: &str, at_ms: i64) -> Sender<'_> {
    Sender { node, boot: "b", at_ms }
}

async fn fill(store: &Store, n_records: u32) {
    let records: Vec<LogRow> = (1..=n_records).map(record).collect();
    store.ingest_logs(sender("n", 1_000_000), 1, &records, 0).await.unwrap();
}

pub(crate) async fn records_are_filtered_and_paged(store: &Store) {
    fill(store, 9).await;
    let any = Filter::default;
    for (filter, expected) in [
        (any(), vec![9, 8, 7, 6, 5, 4, 3, 2, 1]),
        (Filter { key: Some("even".to_owned()), ..any() }, vec![8, 6, 4, 2]),
        (Filter { key: Some("vk_1".to_owned()), status: Some(429), ..any() }, vec![9, 6, 3]),
        (Filter { since_ms: Some(8000), ..any() }, vec![9, 8]),
        (
            Filter { model: Some("m".to_owned()), provider: Some("p".to_owned()), since_ms: Some(9000), ..any() },
            vec![9],
        ),
        (Filter { model: Some("%".to_owned()), ..any() }, vec![]),
        (Filter { provider: Some("' OR 1=1 --".to_owned()), ..any() }, vec![]),
    ] {
        let mut found = Vec::new();
        let mut after: Option<Cursor> = None;
        loop {
            let page = store.logs(&filter, after.as_ref(), 2).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(Cursor { started_ms: last.started_ms, id: last.id.clone() });
            found.extend(page);
        }
        assert_eq!(found, expected.into_iter().map(record).collect::<Vec<_>>(), "{filter:?}");
    }
}

pub(crate) async fn a_record_counts_once_and_losses_are_kept(store: &Store) {
    fill(store, 3).await;
    fill(store, 3).await;
    assert_eq!(store.ingest_logs(sender("n", 1_000_000), 10, &[record(10)], 6).await.unwrap(), 10);
    assert_eq!(store.ingest_logs(sender("n", 1_000_000), 2, &[record(2)], 5).await.unwrap(), 10);
    assert_eq!(store.ingest_logs(sender("other", 1_000_000), 1, &[], 4).await.unwrap(), 0);
    assert_eq!(store.logs(&Filter::default(), None, 100).await.unwrap().len(), 4);
    assert_eq!(store.logs_dropped().await.unwrap(), 10);
    assert_eq!(store.log("r002").await.unwrap(), Some(record(2)));
    assert_eq!(store.log("r004").await.unwrap(), None);
}

pub(crate) async fn retention_bounds_age_and_number(store: &Store) {
    for number in 1..=20 {
        let mut record = record(number);
        // Liars: one that says it is from the far future, and one from the far past.
        if number == 2 {
            record.started_ms = i64::MAX;
        }
        if number == 18 {
            record.started_ms = i64::MIN;
        }
        let at_ms = i64::from(number) * 1000;
        store.ingest_logs(sender("n", at_ms), u64::from(number), &[record], 0).await.unwrap();
    }
    let rows = |n_rows| Pruned { n_rows, n_days: 0 };
    assert_eq!(store.prune_logs(6000, 100).await.unwrap(), rows(5));
    assert_eq!(store.prune_logs(0, 4).await.unwrap(), rows(11));
    let left: Vec<String> =
        store.logs(&Filter::default(), None, 100).await.unwrap().into_iter().map(|row| row.id).collect();
    assert_eq!(left, ["r020", "r019", "r017", "r018"]);
    assert_eq!(store.prune_logs(0, 4).await.unwrap(), rows(0));
}

pub(crate) async fn whatever_a_record_says_can_be_stored(store: &Store) {
    let bad = LogRow { model: "a\0".to_owned(), key_name: "b\0".to_owned(), id: "i".repeat(9000), ..record(1) };
    store.ingest_logs(sender("n", 1), 1, &[bad, record(2)], 0).await.unwrap();
    let filter = Filter { model: Some("a\0".to_owned()), ..Filter::default() };
    assert_eq!(store.logs(&filter, None, 10).await.unwrap().len(), 1);
    assert_eq!(store.log("\0").await.unwrap(), None);
}

pub(crate) async fn a_reader_that_was_away_catches_up(store: &Store) {
    fill(store, 9).await;
    let after = Cursor { started_ms: 5000, id: "r005".to_owned() };
    let even = Filter { key: Some("even".to_owned()), ..Filter::default() };
    assert_eq!(store.logs_since(&even, &after, 10).await.unwrap(), [record(6), record(8)]);
    assert_eq!(store.logs_since(&Filter::default(), &after, 2).await.unwrap(), [record(6), record(7)]);
}
