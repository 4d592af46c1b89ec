//! What went through, by the minute.

use gateway_store::Store;
use gateway_store::logs::LogRow;
use gateway_store::traffic::{Sample, Try};
use gateway_store::usage::Sender;

const NOW: i64 = 1_800_000_000_000;
const MINUTE: i64 = 60_000;

fn row(number: i64, started_ms: i64) -> LogRow {
    let attempts = vec![Try { provider: "p".to_owned(), total_us: 1000, ..Try::default() }];
    let sample = Sample { input: 3, total_us: 2000, refused: number % 2 == 0, attempts, ..Sample::default() };
    LogRow {
        id: format!("r{number:03}"),
        started_ms,
        provider: "p".to_owned(),
        sample: Some(sample),
        ..LogRow::default()
    }
}

pub(crate) async fn minutes_are_summed_up_once(store: &Store) {
    let from = Sender { node: "n", boot: "b", at_ms: NOW };
    let minutes = [NOW, NOW - MINUTE, NOW - 30 * MINUTE, NOW - 1000 * MINUTE, NOW + 1000 * MINUTE];
    let rows: Vec<LogRow> = (1..).zip(minutes).map(|(number, at)| row(number, at)).collect();
    store.ingest_logs(from, 1, &rows, 0).await.unwrap();
    store.ingest_logs(from, 1, &rows, 0).await.unwrap();
    let slots = store.traffic(None, NOW - 60 * MINUTE, 5).await.unwrap();
    let requests: u64 = slots.values().map(|slot| slot.requests).sum();
    assert_eq!(requests, 5, "a start that cannot be is taken for one that can");
    let newest = slots.last_key_value().unwrap().1;
    assert_eq!((newest.requests, newest.input, newest.refused), (2, 6, 0));
    assert!(newest.total.percentile(0.5).unwrap().abs_diff(2000) < 200);
    assert!(slots.keys().all(|at| at % (5 * MINUTE) == 0));
    for step in [1, 5, 15, 30, 60, 180] {
        let slots = store.traffic(None, NOW - 180 * MINUTE, step).await.unwrap();
        assert_eq!(slots.values().map(|slot| slot.requests).sum::<u64>(), 5, "in steps of {step} min");
    }
    let providers = store.traffic_of_providers(NOW - 60 * MINUTE, 15).await.unwrap();
    assert_eq!(providers["p"].requests, 5);
    assert_eq!(store.traffic(Some("nobody"), 0, 1).await.unwrap().len(), 0);
    assert!(store.prune_traffic(NOW - 10 * MINUTE).await.unwrap() > 0);
    let left: u64 = store.traffic(None, 0, 1).await.unwrap().values().map(|slot| slot.requests).sum();
    assert_eq!(left, 3);
}
