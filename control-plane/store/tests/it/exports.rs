//! How far records have been sent.

use gateway_store::Store;
use gateway_store::exports::{Backlog, Outcome, Place, Progress};
use gateway_store::logs::LogRow;
use gateway_store::usage::Sender;

/// Records that were stored at the seconds of their numbers.
async fn fill(store: &Store, numbers: std::ops::RangeInclusive<u32>) {
    for number in numbers {
        let row = LogRow { id: format!("r{number:03}"), record: "{}".to_owned(), ..LogRow::default() };
        let from = Sender { node: "n", boot: "b", at_ms: i64::from(number) * 1000 };
        store.ingest_logs(from, u64::from(number), &[row], 0).await.unwrap();
    }
}

fn place(number: u32) -> Place {
    Place { stored_ms: i64::from(number) * 1000, id: format!("r{number:03}") }
}

async fn places(store: &Store, progress: &Progress, before_ms: i64, limit: usize) -> Vec<Place> {
    let found = store.records_after(&progress.at, progress.until.as_ref(), before_ms, limit).await.unwrap();
    found.into_iter().map(|stored| stored.place).collect()
}

pub(crate) async fn each_record_is_behind_the_cursor_or_before_it(store: &Store) {
    fill(store, 1..=3).await;
    let new = store.export_progress("x", 3500).await.unwrap();
    assert_eq!(new.at, Place { stored_ms: 3500, id: String::new() });
    fill(store, 4..=9).await;
    assert_eq!(places(store, &new, 9000, 100).await, [4, 5, 6, 7, 8].map(place), "what was before is not sent");
    assert_eq!(store.export_backlog(&new.at).await.unwrap(), Backlog { n_records: 6, oldest_ms: Some(4000) });
    assert!(store.plan_export(&new, &place(6)).await.unwrap());
    assert!(!store.plan_export(&new, &place(7)).await.unwrap(), "another one was faster");

    // Whoever begins anew sends the same.
    let planned = store.export_progress("x", 1).await.unwrap();
    assert_eq!((planned.batch, planned.until.clone()), (1, Some(place(6))));
    assert_eq!(places(store, &planned, 20_000, 100).await, [4, 5, 6].map(place));
    assert!(store.postpone_export(&planned, "not now", 10, 20).await.unwrap());
    let outcome = Outcome { n_delivered: 2, n_failed: 1, error: String::new() };
    assert!(store.advance_export(&planned, &place(6), &outcome, 30).await.unwrap());
    assert!(!store.advance_export(&planned, &place(6), &outcome, 30).await.unwrap(), "it is counted once");
    let after = store.export_progress("x", 1).await.unwrap();
    let expected = Progress {
        exporter: "x".to_owned(),
        at: place(6),
        batch: 1,
        n_delivered: 2,
        n_failed: 1,
        error_ms: 10,
        delivered_ms: Some(30),
        ..Progress::default()
    };
    assert_eq!(after, expected);
    assert_eq!(places(store, &after, 20_000, 2).await, [7, 8].map(place));

    store.export_progress("y", 1).await.unwrap();
    store.forget_exports(&["x"]).await.unwrap();
    assert_eq!(store.exports_known(None).await.unwrap(), [expected]);
}

pub(crate) async fn what_is_deleted_before_it_was_sent_is_counted(store: &Store) {
    let new = store.export_progress("x", 500).await.unwrap();
    store.export_progress("y", 8500).await.unwrap();
    fill(store, 1..=9).await;
    assert!(store.plan_export(&new, &place(3)).await.unwrap());
    // By age.
    store.prune_logs(5000, Some(100)).await.unwrap();
    let x = store.export_progress("x", 1).await.unwrap();
    assert_eq!((x.n_dropped, x.until.clone()), (4, None), "the batch is gone with its records");
    assert_eq!(places(store, &x, 20_000, 100).await, [5, 6, 7, 8, 9].map(place));
    // By number.
    store.prune_logs(0, Some(2)).await.unwrap();
    let x = store.export_progress("x", 1).await.unwrap();
    assert_eq!((x.n_dropped, x.at.clone()), (7, place(7)));
    assert_eq!(places(store, &x, 20_000, 100).await, [8, 9].map(place));
    assert_eq!(store.export_progress("y", 1).await.unwrap().n_dropped, 0, "it had been sent those, or was never to be");
    store.prune_logs(0, Some(2)).await.unwrap();
    assert_eq!(store.export_progress("x", 1).await.unwrap(), x);
}
