//! Usage counts exactly once.

use gateway_store::Store;
use gateway_store::retention::Pruned;
use gateway_store::spend::{Dimension, Wanted};
use gateway_store::usage::{Cursor, Sender, Tokens, Totals, Units, UsageRow};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

fn event(number: u64) -> UsageRow {
    UsageRow {
        id: format!("r{number:05}"),
        node_id: "n".to_owned(),
        started_ms: i64::try_from(number).unwrap() * 1000,
        key_id: format!("vk_{}", number % 3),
        model: "m".to_owned(),
        provider: "p".to_owned(),
        tokens: Tokens { input: number, output: 1, reasoning: 1, ..Tokens::default() },
        settled_by: "exact".to_owned(),
        cost_nano_usd: 10,
        priced: true,
        status: 200,
        tags: "[]".to_owned(),
        ..UsageRow::default()
    }
}

fn sender(boot: &str) -> Sender<'_> {
    sender_at(boot, 1_000_000)
}

fn sender_at(boot: &str, at_ms: i64) -> Sender<'_> {
    Sender { node: "n", boot, at_ms }
}

fn events(numbers: std::ops::RangeInclusive<u64>) -> Vec<UsageRow> {
    numbers.map(event).collect()
}

async fn total(store: &Store) -> Totals {
    store.spend(&Wanted::default(), None, 1).await.unwrap().total
}

async fn check_holds_exactly(store: &Store, last: u64) {
    let total = total(store).await;
    assert_eq!(
        (total.requests, total.tokens.input, total.cost_nano_usd),
        (last, last * (last + 1) / 2, i64::try_from(last).unwrap() * 10)
    );
    assert_eq!(store.usage(None, 10_000).await.unwrap().len() as u64, last);
}

pub(crate) async fn a_batch_counts_once(store: &Store) {
    for _ in 0..3 {
        assert_eq!(store.ingest_usage(sender("b"), 0, 1, &events(1..=10)).await.unwrap(), 10);
    }
    // Overlaps what is there, and goes on; then a lost acknowledgement makes an older part come again.
    assert_eq!(store.ingest_usage(sender("b"), 0, 8, &events(8..=12)).await.unwrap(), 12);
    assert_eq!(store.ingest_usage(sender("b"), 0, 3, &events(3..=5)).await.unwrap(), 12);
    // The same requests from another boot, which recovered them from disk.
    assert_eq!(store.ingest_usage(sender("b2"), 1, 1, &events(9..=12)).await.unwrap(), 4);
    assert_eq!(store.ingest_usage(sender("b"), 0, 13, &[]).await.unwrap(), 12);
    check_holds_exactly(store, 12).await;
    check_any_order_is_exact(store.clone());
}

/// Whatever parts arrive in whatever order and however often, in the end each event has counted once.
fn check_any_order_is_exact(store: Store) {
    let runtime = tokio::runtime::Handle::current();
    let runner = std::thread::spawn(move || {
        let parts = prop::collection::vec((1_u64..=40, 0_u64..=12), 0..12);
        let boots = std::cell::Cell::new(0);
        TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() })
            .run(&parts, |parts| {
                boots.set(boots.get() + 1);
                let (boot, base) = (format!("boot{}", boots.get()), 1000 * boots.get());
                let before = runtime.block_on(total(&store)).requests;
                let mut acknowledged = 0;
                for (first, length) in parts.into_iter().chain([(1, 40)]) {
                    let batch = events(base + first..=base + (first + length).min(40));
                    let up_to = runtime.block_on(store.ingest_usage(sender(&boot), 0, first, &batch)).unwrap();
                    prop_assert!(up_to >= acknowledged);
                    acknowledged = up_to;
                }
                prop_assert_eq!(acknowledged, 40);
                prop_assert_eq!(runtime.block_on(total(&store)).requests, before + 40);
                Ok(())
            })
            .unwrap();
    });
    tokio::task::block_in_place(|| runner.join().unwrap());
}

pub(crate) async fn a_batch_before_its_predecessor_is_kept_but_not_acknowledged(store: &Store) {
    assert_eq!(store.ingest_usage(sender("b"), 0, 6, &events(6..=10)).await.unwrap(), 0);
    assert_eq!(total(store).await.requests, 5);
    assert_eq!(store.ingest_usage(sender("b"), 0, 1, &events(1..=5)).await.unwrap(), 5);
    assert_eq!(store.ingest_usage(sender("b"), 0, 6, &events(6..=10)).await.unwrap(), 10);
    check_holds_exactly(store, 10).await;
}

pub(crate) async fn every_class_is_kept_and_summed_up(store: &Store) {
    let mut rows = events(1..=2);
    for (row, at) in rows.iter_mut().zip([100, 200]) {
        row.tokens = Tokens {
            input: at + 1,
            cache_read: at + 2,
            cache_write: at + 3,
            cache_write_1h: at + 4,
            output: at + 5,
            reasoning: at + 6,
            input_audio: at + 7,
            output_audio: at + 8,
            input_image: at + 9,
            output_image: at + 10,
        };
        row.units = Units {
            pictures_made: at + 11,
            pictures_read: at + 12,
            audio_ms: at + 13,
            characters: at + 14,
            searches: at + 15,
        };
    }
    // In two batches, so that the sums are added to.
    store.ingest_usage(sender("b"), 0, 1, &rows[..1]).await.unwrap();
    store.ingest_usage(sender("b"), 0, 2, &rows[1..]).await.unwrap();
    let sums = total(store).await;
    assert_eq!((sums.tokens.input, sums.tokens.output_audio, sums.tokens.output_image), (302, 316, 320));
    let units = Units { pictures_made: 322, pictures_read: 324, audio_ms: 326, characters: 328, searches: 330 };
    assert_eq!(sums.units, units);
    rows.reverse();
    assert_eq!(store.usage(None, 10).await.unwrap(), rows);
}

pub(crate) async fn events_are_paged_newest_first(store: &Store) {
    let mut rows = events(1..=5);
    // Two at one moment: the id decides.
    rows[3].started_ms = rows[4].started_ms;
    store.ingest_usage(sender("b"), 0, 1, &rows).await.unwrap();
    let mut seen = Vec::new();
    let mut after: Option<Cursor> = None;
    loop {
        let page = store.usage(after.as_ref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(Cursor { started_ms: last.started_ms, id: last.id.clone() });
        seen.extend(page);
    }
    rows.reverse();
    assert_eq!(seen, rows);
}

pub(crate) async fn unpriced_requests_cost_nothing_and_are_counted(store: &Store) {
    let mut rows = events(1..=2);
    rows[0].priced = false;
    store.ingest_usage(sender("b"), 0, 1, &rows).await.unwrap();
    let total = total(store).await;
    assert_eq!((total.requests, total.cost_nano_usd, total.unpriced), (2, 10, 1));
}

pub(crate) async fn savings_are_of_those_whose_baseline_is_known(store: &Store) {
    let mut rows = events(1..=6);
    // Saved, nothing saved, dearer, all saved; without a price of its own, and one far too large.
    let baselines =
        [(Some(15), true), (Some(10), true), (Some(4), true), (None, true), (Some(9), false), (Some(i64::MAX), true)];
    for (row, (baseline, priced)) in rows.iter_mut().zip(baselines) {
        (row.baseline_nano_usd, row.priced) = (baseline, priced);
    }
    store.ingest_usage(sender("b"), 0, 1, &rows[..5]).await.unwrap();
    store.ingest_usage(sender("b"), 0, 1, &rows[..5]).await.unwrap();
    assert_eq!((total(store).await.saved_nano_usd, total(store).await.cost_nano_usd), (5 - 6, 40));
    let read = |after: Option<Cursor>| async move { store.savings(after.as_ref(), 2).await.unwrap() };
    let page = read(None).await;
    let told = |rows: &[UsageRow]| rows.iter().map(|row| (row.id.clone(), row.saved_nano_usd())).collect::<Vec<_>>();
    assert_eq!(told(&page), [("r00003".to_owned(), Some(-6)), ("r00002".to_owned(), Some(0))]);
    let rest = read(Some(Cursor { started_ms: page[1].started_ms, id: page[1].id.clone() })).await;
    assert_eq!(told(&rest), [("r00001".to_owned(), Some(5))]);
    assert_eq!(store.saving("r00001").await.unwrap().as_ref(), Some(&rows[0]));
    for id in ["r00004", "r00005", "none", "nul\0"] {
        assert_eq!(store.saving(id).await.unwrap(), None, "{id}");
    }
    store.ingest_usage(sender("b"), 0, 6, &rows[5..]).await.unwrap();
    assert_eq!(
        store.saving("r00006").await.unwrap().and_then(|row| row.baseline_nano_usd),
        Some(1_000_000_000_000_000)
    );
}

pub(crate) async fn pruned_events_stay_in_the_sums(store: &Store) {
    let mut rows = events(1..=10);
    // When they say they began does not matter.
    rows[0].started_ms = i64::MAX;
    rows[9].started_ms = i64::MIN;
    store.ingest_usage(sender_at("b", 4000), 0, 1, &rows[..4]).await.unwrap();
    store.ingest_usage(sender_at("b", 5000), 0, 5, &rows[4..]).await.unwrap();
    assert_eq!(store.prune_usage(5000).await.unwrap(), Pruned { n_rows: 4, n_days: 0 });
    assert_eq!(store.usage(None, 100).await.unwrap().len(), 6);
    assert_eq!(total(store).await.requests, 10);
    // A lost acknowledgement: the watermark still knows them.
    store.ingest_usage(sender("b"), 0, 1, &rows).await.unwrap();
    assert_eq!(total(store).await.requests, 10);
}

pub(crate) async fn whatever_a_node_tells_can_be_stored(store: &Store) {
    let mut rows = events(1..=3);
    rows[0].model = "nul\0nul".to_owned();
    rows[0].tags = "[\"\0\"]".to_owned();
    rows[1].model = "ü".repeat(5000);
    rows[1].provider = "p".repeat(5000);
    rows[1].id = "i".repeat(5000);
    rows[1].key_id = "\0".repeat(5000);
    rows[1].user = "u".repeat(5000);
    rows[1].team = "\0".repeat(5000);
    rows[1].organization = "ü".repeat(5000);
    let tags: Vec<String> = (0..200).map(|number| format!("{}{number}", "t".repeat(number * 50))).collect();
    rows[1].tags = format!("{tags:?}");
    rows[1].tokens = Tokens { input: u64::MAX, ..Tokens::default() };
    // The same event twice in one batch.
    rows[2] = rows[0].clone();
    assert_eq!(store.ingest_usage(sender("b"), 0, 1, &rows).await.unwrap(), 3);
    let by_model = Wanted { by: vec![Dimension::Model], ..Wanted::default() };
    let sums = store.spend(&by_model, None, 10).await.unwrap().sums;
    let found: Vec<(&str, u64)> = sums.iter().map(|sum| (sum.names[0].as_str(), sum.totals.requests)).collect();
    assert_eq!(found, [("nul\u{fffd}nul", 1), ("ü".repeat(256).as_str(), 1)]);
    assert!(store.spend(&by_model, Some(&["zz\0".to_owned()]), 10).await.unwrap().sums.len() < 2);
}

pub(crate) async fn a_large_batch_fits(store: &Store) {
    assert_eq!(store.ingest_usage(sender("b"), 0, 1, &events(1..=5000)).await.unwrap(), 5000);
    check_holds_exactly(store, 5000).await;
}
