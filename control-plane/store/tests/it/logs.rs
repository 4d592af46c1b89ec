//! Records of requests.

use gateway_store::Store;
use gateway_store::logs::{Filter, LogRow, Terms};
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

const NOW_MS: i64 = 1_000_000;

fn sender(node: &str, at_ms: i64) -> Sender<'_> {
    Sender { node, boot: "b", at_ms }
}

async fn fill(store: &Store, n_records: u32) {
    let records: Vec<LogRow> = (1..=n_records).map(record).collect();
    store.ingest_logs(sender("n", 1_000_000), 1, &records, 0).await.unwrap();
}

/// All pages, as a reader that goes on wherever it is told to.
async fn all(store: &Store, filter: &Filter, limit: usize) -> Vec<LogRow> {
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let found = store.search(filter, after.as_ref(), limit, NOW_MS).await.unwrap();
        assert!(found.rows.len() <= limit && !found.stopped, "{found:?}");
        rows.extend(found.rows);
        let Some(next) = found.next else { return rows };
        assert!(after.is_none_or(|after: Cursor| (after.started_ms, &after.id) > (next.started_ms, &next.id)));
        after = Some(next);
    }
}

pub(crate) async fn records_are_filtered_and_paged(store: &Store) {
    fill(store, 9).await;
    let any = Filter::default;
    for (filter, expected) in [
        (any(), vec![9, 8, 7, 6, 5, 4, 3, 2, 1]),
        (Filter { key: Some("even".to_owned()), ..any() }, vec![8, 6, 4, 2]),
        (Filter { key: Some("vk_1".to_owned()), status: Some(429..=429), ..any() }, vec![9, 6, 3]),
        (Filter { since_ms: Some(8000), ..any() }, vec![9, 8]),
        (
            Filter { model: Some("m".to_owned()), provider: Some("p".to_owned()), since_ms: Some(9000), ..any() },
            vec![9],
        ),
        (Filter { model: Some("%".to_owned()), ..any() }, vec![]),
        (Filter { provider: Some("' OR 1=1 --".to_owned()), ..any() }, vec![]),
    ] {
        assert_eq!(all(store, &filter, 2).await, expected.into_iter().map(record).collect::<Vec<_>>(), "{filter:?}");
    }
}

pub(crate) async fn a_record_counts_once_and_losses_are_kept(store: &Store) {
    fill(store, 3).await;
    fill(store, 3).await;
    assert_eq!(store.ingest_logs(sender("n", 1_000_000), 10, &[record(10)], 6).await.unwrap(), 10);
    assert_eq!(store.ingest_logs(sender("n", 1_000_000), 2, &[record(2)], 5).await.unwrap(), 10);
    assert_eq!(store.ingest_logs(sender("other", 1_000_000), 1, &[], 4).await.unwrap(), 0);
    assert_eq!(all(store, &Filter::default(), 100).await.len(), 4);
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
    assert_eq!(store.prune_logs(6000, Some(100)).await.unwrap(), rows(5));
    assert_eq!(store.prune_logs(0, Some(4)).await.unwrap(), rows(11));
    let left: Vec<String> = all(store, &Filter::default(), 100).await.into_iter().map(|row| row.id).collect();
    assert_eq!(left, ["r020", "r019", "r017", "r018"]);
    assert_eq!(store.prune_logs(0, Some(4)).await.unwrap(), rows(0));
}

pub(crate) async fn whatever_a_record_says_can_be_stored(store: &Store) {
    let bad = LogRow { model: "a\0".to_owned(), key_name: "b\0".to_owned(), id: "i".repeat(9000), ..record(1) };
    store.ingest_logs(sender("n", 1), 1, &[bad, record(2)], 0).await.unwrap();
    let filter = Filter { model: Some("a\0".to_owned()), ..Filter::default() };
    assert_eq!(all(store, &filter, 10).await.len(), 1);
    assert_eq!(store.log("\0").await.unwrap(), None);
}

pub(crate) async fn a_reader_that_was_away_catches_up(store: &Store) {
    fill(store, 9).await;
    let after = Cursor { started_ms: 5000, id: "r005".to_owned() };
    let even = Filter { key: Some("even".to_owned()), ..Filter::default() };
    assert_eq!(store.logs_since(&even, &after, 10).await.unwrap(), [record(6), record(8)]);
    assert_eq!(store.logs_since(&Filter::default(), &after, 2).await.unwrap(), [record(6), record(7)]);
}

fn described(number: u32, fields: &[(&str, &str)], text: &str) -> LogRow {
    let mut terms = Terms::default();
    fields.iter().for_each(|(field, value)| terms.put(field, value));
    terms.say(text);
    let (total_us, cost_nano_usd) = (u64::from(number) * 1000, i64::from(number) * 5);
    LogRow { terms: terms.into_text(), total_us, cost_nano_usd, ..record(number) }
}

/// Values that mean something to one of the languages they pass through.
const STRANGE: [&str; 9] =
    ["a' | 'b", r"back\slash\", "100%", "under_score", "a & !b:*", "(.*)", "Zoë\u{1F600}", "a=b", "x\nteam=core"];

pub(crate) async fn records_are_found_by_what_they_say(store: &Store) {
    let mut rows = vec![
        described(1, &[("team", "core"), ("tag", "a"), ("tag", "b"), ("session", "s-1")], "upstream timed out"),
        described(2, &[("team", "Core"), ("tag", "a")], "Rate limit `rpm` reached for gpt-4o-mini"),
        described(3, &[("team", "core"), ("tag", "b")], "timeouts, 504 of gpt-4o"),
        LogRow { status: 503, ..described(4, &[("team", "team=core")], "") },
    ];
    rows.extend((5..).zip(STRANGE).map(|(number, value)| described(number, &[("tag", value)], value)));
    store.ingest_logs(sender("n", NOW_MS), 1, &rows, 0).await.unwrap();
    let any = Filter::default;
    let has = |terms: &[(&str, &str)]| Filter {
        terms: terms.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect(),
        ..any()
    };
    let says = |texts: &[&str]| Filter { texts: texts.iter().map(|text| (*text).to_owned()).collect(), ..any() };
    let mut cases = vec![
        (has(&[("team", "core")]), vec![3, 1]),
        (has(&[("team", "co")]), vec![]),
        (has(&[("tag", "a"), ("tag", "b")]), vec![1]),
        (has(&[("tag", "a"), ("team", "Core")]), vec![2]),
        (has(&[("team", "team=core")]), vec![4]),
        (says(&["TIME"]), vec![3, 1]),
        (says(&["gpt-4o"]), vec![3, 2]),
        (says(&["limit", "rpm"]), vec![2]),
        (says(&["imit"]), vec![]),
        (says(&["s-1"]), vec![1]),
        (says(&["~time"]), vec![3, 1]),
        (says(&["!!!"]), vec![]),
        (Filter { status: Some(500..=599), ..any() }, vec![4]),
        (Filter { status: Some(400..=u32::MAX), ..any() }, vec![12, 9, 6, 4, 3]),
        (Filter { status: Some(430..=450), ..any() }, vec![]),
        (Filter { status: Some(0..=299), key: Some("even".to_owned()), ..any() }, vec![10, 8, 2]),
        (Filter { id: Some("r00".to_owned()), until_ms: Some(3000), ..any() }, vec![2, 1]),
        (Filter { id: Some("r0_".to_owned()), ..any() }, vec![]),
        (Filter { min_total_us: Some(12_000), ..any() }, vec![13, 12]),
        (Filter { min_cost_nano_usd: Some(60), until_ms: Some(13_000), ..any() }, vec![12]),
    ];
    for (number, value) in (5..).zip(STRANGE) {
        cases.push((has(&[("tag", value)]), vec![number]));
        // As text it is its words, which others may have too, or none.
        let found = all(store, &says(&[value]), 100).await;
        assert_eq!(found.iter().any(|row| row.id == format!("r{number:03}")), value != "(.*)", "{value:?}");
    }
    for (filter, expected) in cases {
        let expected: Vec<String> = expected.into_iter().map(|number| format!("r{number:03}")).collect();
        let found: Vec<String> = all(store, &filter, 2).await.into_iter().map(|row| row.id).collect();
        assert_eq!(found, expected, "{filter:?}");
        let matched = rows.iter().rev().filter(|row| filter.matches(row)).map(|row| row.id.clone());
        assert_eq!(matched.collect::<Vec<_>>(), expected, "as it arrives: {filter:?}");
    }
}

pub(crate) async fn a_search_looks_at_a_day_and_says_where_to_go_on(store: &Store) {
    const HOUR_MS: i64 = 3_600_000;
    let at = |number: u32, hours_ago: i64| LogRow { started_ms: NOW_MS - hours_ago * HOUR_MS, ..record(number) };
    // Nothing for a day and more, then some, then a gap of a week.
    let rows = [at(1, 300), at(2, 70), at(3, 60), at(4, 40)];
    store.ingest_logs(sender("n", NOW_MS), 1, &rows, 0).await.unwrap();
    let filter = Filter { key: Some("odd".to_owned()), ..Filter::default() };
    let numbers = |rows: &[LogRow]| rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>();
    let first = store.search(&filter, None, 10, NOW_MS).await.unwrap();
    assert_eq!((numbers(&first.rows), first.since_ms), (vec!["r003".to_owned()], Some(NOW_MS - 64 * HOUR_MS)));
    let second = store.search(&filter, first.next.as_ref(), 10, NOW_MS).await.unwrap();
    assert_eq!((numbers(&second.rows), second.since_ms), (vec![], Some(NOW_MS - 94 * HOUR_MS)));
    let third = store.search(&filter, second.next.as_ref(), 10, NOW_MS).await.unwrap();
    assert_eq!((numbers(&third.rows), third.next), (vec!["r001".to_owned()], None));

    // Who says from when is looked for until then, and no further.
    let since = Filter { since_ms: Some(NOW_MS - 100 * HOUR_MS), ..filter };
    let found = store.search(&since, None, 10, NOW_MS).await.unwrap();
    assert_eq!((numbers(&found.rows), found.next, found.stopped), (vec!["r003".to_owned()], None, false));
}

pub(crate) async fn a_needle_is_found_among_many(store: &Store) {
    let many: Vec<LogRow> =
        (1..=20_500).map(|number| LogRow { id: format!("r{number:06}"), ..record(number) }).collect();
    store.ingest_logs(sender("n", NOW_MS), 1, &many, 0).await.unwrap();
    let needle = LogRow { id: "needle".to_owned(), started_ms: 0, ..described(1, &[("tag", "needle")], "") };
    store.ingest_logs(sender("n", NOW_MS), 20_501, &[needle], 0).await.unwrap();
    let filter = Filter { terms: vec![("tag".to_owned(), "needle".to_owned())], ..Filter::default() };
    let found = store.search(&filter, None, 1, 30_000_000).await.unwrap();
    assert_eq!((found.rows.len(), found.next, found.stopped), (1, None, false));
}

pub(crate) async fn numbers_are_found_by_how_great_they_are(store: &Store) {
    let numbers: [i64; 16] = [
        -1_234_567,
        -1,
        0,
        1,
        9,
        10,
        19,
        99,
        100,
        1_234_567,
        1_239_999,
        1_240_000,
        1_999_999,
        2_000_000,
        9_999_999,
        i64::MAX,
    ];
    let rows: Vec<LogRow> = (1..)
        .zip(numbers)
        .map(|(number, amount)| LogRow {
            cost_nano_usd: amount,
            total_us: amount.unsigned_abs(),
            ..described(number, &[("team", if number % 2 == 0 { "even" } else { "odd" })], "")
        })
        .collect();
    store.ingest_logs(sender("n", NOW_MS), 1, &rows, 0).await.unwrap();
    for least in numbers.into_iter().chain([2, 1_200_000, 1_235_000, 1_300_000, 1_500_000, 10_000_000, -5]) {
        for filter in [
            Filter { min_cost_nano_usd: Some(least), ..Filter::default() },
            Filter { min_total_us: Some(least.unsigned_abs()), ..Filter::default() },
            Filter {
                min_cost_nano_usd: Some(least),
                min_total_us: Some(1_000_000),
                terms: vec![("team".to_owned(), "odd".to_owned())],
                ..Filter::default()
            },
        ] {
            let expected = rows.iter().rev().filter(|row| {
                filter.min_cost_nano_usd.is_none_or(|least| row.cost_nano_usd >= least)
                    && filter.min_total_us.is_none_or(|least| row.total_us >= least)
                    && (filter.terms.is_empty() || row.terms == "team=odd")
            });
            let expected: Vec<&str> = expected.map(|row| row.id.as_str()).collect();
            let found = all(store, &filter, 3).await;
            assert_eq!(found.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), expected, "{filter:?}");
            let matched = rows.iter().rev().filter(|row| filter.matches(row)).map(|row| row.id.as_str());
            assert_eq!(matched.collect::<Vec<_>>(), expected, "as it arrives: {filter:?}");
        }
    }
}

/// More than are walked through without an index.
const MANY: u32 = 20_500;

pub(crate) async fn those_that_are_far_back_are_found_by_any_field_once_and_in_order(store: &Store) {
    let rare = |number: u32| number <= 300 && number.is_multiple_of(10);
    let many: Vec<LogRow> = (1..=MANY)
        .map(|number| {
            let terms: &[(&str, &str)] = if rare(number) { &[("tag", "rare")] } else { &[] };
            let described = described(if rare(number) { MANY + number } else { number }, terms, "");
            LogRow {
                id: format!("r{number:06}"),
                started_ms: i64::from(number) * 100,
                status: if rare(number) { 431 } else { 429 },
                ..described
            }
        })
        .collect();
    store.ingest_logs(sender("n", NOW_MS), 1, &many, 0).await.unwrap();
    // A liar, from ten years later: how far back the others are does not hang on it.
    let liar = LogRow { id: "liar".to_owned(), started_ms: 315_360_000_000, ..record(1) };
    store.ingest_logs(sender("n", NOW_MS), 20_501, &[liar], 0).await.unwrap();
    let expected: Vec<String> =
        (1..=300).rev().filter(|number| rare(*number)).map(|number| format!("r{number:06}")).collect();
    for filter in [
        Filter { terms: vec![("tag".to_owned(), "rare".to_owned())], ..Filter::default() },
        Filter { status: Some(430..=450), ..Filter::default() },
        Filter { min_total_us: Some(u64::from(MANY + 1) * 1000), ..Filter::default() },
        Filter { min_cost_nano_usd: Some(i64::from(MANY + 1) * 5), status: Some(431..=431), ..Filter::default() },
    ] {
        for limit in [7, 100] {
            let found: Vec<String> = all(store, &filter, limit).await.into_iter().map(|row| row.id).collect();
            assert_eq!(found, expected, "{filter:?}");
        }
    }
}
