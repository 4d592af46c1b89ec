//! What only a ClickHouse that keeps the records of requests has: copies of what came twice, days that go, being away on its own.

use std::time::{Duration, Instant};

use gateway_model::secret::Secret;
use gateway_store::exports::Place;
use gateway_store::logs::{Filter, LogRow, Terms};
use gateway_store::retention::Pruned;
use gateway_store::usage::{Cursor, Sender, UsageRow};
use gateway_store::{Error, Store};
use gateway_testing::ClickHouse;
use gateway_testing::figure::note;

use crate::engine::{beside, clickhouse_url};

const TEST: &str = "clickhouse_away";
const DAY_MS: i64 = 86_400_000;
const TODAY: i64 = 20_833 * DAY_MS;
const PATIENCE: Duration = Duration::from_secs(30);

fn record(id: &str, started_ms: i64) -> LogRow {
    LogRow { id: id.to_owned(), started_ms, record: format!(r#"{{"id":"{id}"}}"#), ..LogRow::default() }
}

fn sender(boot: &str, at_ms: i64) -> Sender<'_> {
    Sender { node: "n", boot, at_ms }
}

async fn ids(store: &Store, filter: &Filter) -> Vec<String> {
    let found = store.search(filter, None, 100, TODAY).await.unwrap();
    assert!(!found.stopped, "{found:?}");
    found.rows.into_iter().map(|row| row.id).collect()
}

/// A statement to the shared server, in the database of an address.
fn query(url: &str, statement: &str) -> String {
    let database = url.rsplit('/').next().unwrap();
    tokio::task::block_in_place(|| ClickHouse::shared().unwrap().query(database, statement))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_again_is_there_twice_and_read_once() {
    let Some(url) = clickhouse_url() else { return };
    let store = beside(&url).await;
    let rows: Vec<LogRow> = (1..=3).map(|number| record(&format!("r{number}"), TODAY + number)).collect();
    store.ingest_logs(sender("one", TODAY), 1, &rows, 0).await.unwrap();
    // As after a commit that was never heard of, on the next day.
    store.ingest_logs(sender("other", TODAY + DAY_MS), 1, &rows, 0).await.unwrap();
    assert_eq!(query(&url, "SELECT count() FROM gateway_log_1"), "6");
    for _ in 0..2 {
        assert_eq!(ids(&store, &Filter::default()).await, ["r3", "r2", "r1"]);
        let page = store.search(&Filter::default(), None, 2, TODAY).await.unwrap();
        let rest = store.search(&Filter::default(), page.next.as_ref(), 2, TODAY).await.unwrap();
        assert_eq!((page.rows.len(), rest.rows, rest.next), (2, vec![rows[0].clone()], None));
        let after = Cursor { started_ms: TODAY + 1, id: "r1".to_owned() };
        assert_eq!(store.logs_since(&Filter::default(), &after, 10).await.unwrap(), rows[1..]);
        assert_eq!(store.log("r2").await.unwrap().as_ref(), Some(&rows[1]));
        // An exporter meets it where it came first, and not again.
        let first: Vec<Place> = ["r1", "r2", "r3"].map(|id| Place { stored_ms: TODAY, id: id.to_owned() }).into();
        assert_eq!(places(&store, &Place::default()).await, first);
        assert_eq!(places(&store, &Place { stored_ms: TODAY + 1, id: String::new() }).await, []);
        // Merging keeps what was stored first, within a day's part.
        query(&url, "OPTIMIZE TABLE gateway_log_1 FINAL");
    }
    let again = record("r1", TODAY + 1);
    store.ingest_logs(sender("third", TODAY + 7), 1, &[again], 0).await.unwrap();
    query(&url, "OPTIMIZE TABLE gateway_log_1 PARTITION ID '20833' FINAL");
    assert_eq!(
        query(&url, "SELECT stored_ms FROM gateway_log_1 WHERE id = 'r1' ORDER BY stored_ms"),
        format!("{TODAY}\n{}", TODAY + DAY_MS)
    );
}

async fn places(store: &Store, after: &Place) -> Vec<Place> {
    let (mut places, mut after) = (Vec::new(), after.clone());
    loop {
        // Pages that are smaller than what came again.
        let found = store.records_after(&after, None, i64::MAX, 2).await.unwrap();
        let Some(last) = found.last() else { return places };
        after = last.place.clone();
        places.extend(found.into_iter().map(|stored| stored.place));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn days_go_whole_and_who_has_not_sent_them_has_lost_them() {
    let Some(url) = clickhouse_url() else { return };
    let store = beside(&url).await;
    store.export_progress("x", TODAY).await.unwrap();
    for day in 0..4 {
        let at_ms = TODAY + day * DAY_MS + 5;
        // Liars, whose days are those on which they came.
        let started_ms = [i64::MIN, i64::MAX - 1, 0, TODAY][usize::try_from(day).unwrap()];
        let rows = [record(&format!("a{day}"), started_ms), record(&format!("b{day}"), at_ms)];
        store.ingest_logs(sender("b", at_ms), u64::try_from(day).unwrap() * 2 + 1, &rows, 0).await.unwrap();
    }
    assert!(store.has_days());
    let listed = ids(&store, &Filter::default()).await;
    assert_eq!(listed, ["a1", "b3", "b2", "b1", "b0", "a3", "a2", "a0"]);
    assert_eq!(store.prune_logs(TODAY + DAY_MS - 1, None).await.unwrap(), Pruned::default());
    assert_eq!(store.prune_logs(TODAY + DAY_MS, None).await.unwrap(), Pruned { n_rows: 0, n_days: 1 });
    assert_eq!(ids(&store, &Filter::default()).await, ["a1", "b3", "b2", "b1", "a3", "a2"]);
    assert_eq!(store.prune_logs(0, Some(3)).await.unwrap(), Pruned { n_rows: 0, n_days: 1 });
    assert_eq!(ids(&store, &Filter::default()).await, ["b3", "b2", "a3", "a2"]);
    let progress = store.export_progress("x", 0).await.unwrap();
    assert_eq!((progress.n_dropped, progress.at.stored_ms), (4, TODAY + 2 * DAY_MS));
    assert_eq!(store.export_backlog(&progress.at).await.unwrap().n_records, 4);
}

/// Values that mean something to one of the languages they pass through.
const HOSTILE: [&str; 12] = [
    "'; DROP TABLE gateway_log_1; --",
    r"\",
    r"\'",
    "a\0b",
    "%",
    "_",
    "\u{1F600}\u{1F1E9}\u{1F1EA}",
    "a\nb\tc\r",
    "\"}{",
    "\u{202e}\u{feff}",
    "{id:String}",
    "` FORMAT Null",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_values_are_found_letter_by_letter() {
    let Some(url) = clickhouse_url() else { return };
    let store = beside(&url).await;
    let rows: Vec<LogRow> = HOSTILE
        .iter()
        .zip(1..)
        .map(|(value, number)| {
            let mut terms = Terms::default();
            terms.put("tag", value);
            let text = (*value).to_owned();
            let (key_id, key_name, model, provider) = (text.clone(), text.clone(), text.clone(), text.clone());
            LogRow { key_id, key_name, model, provider, terms: terms.into_text(), ..record(value, TODAY + number) }
        })
        .collect();
    store.ingest_logs(sender("b", TODAY), 1, &rows, 0).await.unwrap();
    let any = Filter::default;
    for (value, row) in HOSTILE.iter().zip(&rows) {
        let text = (*value).to_owned();
        let stored = value.replace('\0', "\u{fffd}");
        for filter in [
            Filter { key: Some(text.clone()), ..any() },
            Filter { model: Some(text.clone()), ..any() },
            Filter { provider: Some(text.clone()), ..any() },
            Filter { terms: vec![("tag".to_owned(), text.clone())], ..any() },
        ] {
            assert_eq!(ids(&store, &filter).await, [stored.as_str()], "{filter:?}");
        }
        // It may begin another's.
        let begins = ids(&store, &Filter { id: Some(text.clone()), ..any() }).await;
        assert!(begins.contains(&stored) && begins.iter().all(|id| id.starts_with(&stored)), "{value}: {begins:?}");
        let found = store.log(value).await.unwrap().unwrap();
        assert_eq!((found.id, found.model, found.started_ms), (stored.clone(), stored.clone(), row.started_ms));
    }
    assert_eq!(query(&url, "SELECT count() FROM gateway_log_1"), HOSTILE.len().to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_refuses_is_told_without_its_secrets() {
    let Some(url) = clickhouse_url() else { return };
    let row = [record("r1", TODAY)];
    let (server, _) = url.rsplit_once('/').unwrap();
    for (address, expected) in [
        (format!("{server}/missing"), "refused"),
        (url.replace("p%40ss", "wr0ng"), "refused"),
        (format!("http://u:p%40ss@127.0.0.1:{}/d", gateway_testing::free_port()), "away"),
    ] {
        let store = beside(&address).await;
        assert_eq!(store.logs_place().trouble, None, "nobody was asked yet");
        let refused = store.ingest_logs(sender("b", TODAY), 1, &row, 0).await.unwrap_err();
        assert_eq!(refused.failure(), Some(expected), "{refused:?}");
        let told = format!("{refused} {refused:?} {:?} {store:?}", store.logs_place());
        assert!(!["ss/w", "ss%2F", "wr0ng"].iter().any(|secret| told.contains(secret)), "{told}");
        assert!(store.logs_place().trouble.is_some());
    }
    let refused = Store::open("sqlite::memory:").await.unwrap().with_logs_in(&Secret::new("tcp://u:hush@h:9000/d"));
    let refused = refused.unwrap_err();
    assert!(matches!(refused, Error::LogsAddress(_)) && !refused.to_string().contains("hush"), "{refused:?}");
    // Somebody takes the table away: it is made anew, and what was refused comes again.
    let store = beside(&url).await;
    store.ingest_logs(sender("b", TODAY), 1, &row, 0).await.unwrap();
    query(&url, "DROP TABLE gateway_log_1");
    let refused = store.ingest_logs(sender("b", TODAY), 2, &row, 0).await.unwrap_err();
    assert!(refused.is_transient(), "{refused:?}");
    store.ingest_logs(sender("b", TODAY), 2, &row, 0).await.unwrap();
    assert_eq!(ids(&store, &Filter::default()).await, ["r1"]);
    assert_eq!(store.logs_place().trouble, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_is_away_batches_are_refused_and_nothing_else_is() {
    let Some(mut clickhouse) = tokio::task::block_in_place(ClickHouse::launch) else { return };
    let url = tokio::task::block_in_place(|| clickhouse.database());
    let store = beside(&url).await;
    let batch = |number: u64| [record(&format!("r{number}"), TODAY + i64::try_from(number).unwrap())];
    assert_eq!(store.ingest_logs(sender("b", TODAY), 1, &batch(1), 0).await.unwrap(), 1);
    for number in 2..=3 {
        tokio::task::block_in_place(|| clickhouse.stop());
        let asked = Instant::now();
        let refused = store.ingest_logs(sender("b", TODAY), number, &batch(number), 0).await.unwrap_err();
        let unread = store.search(&Filter::default(), None, 10, TODAY).await.unwrap_err();
        assert!(refused.is_transient() && unread.is_transient(), "{refused:?} {unread:?}");
        note(TEST, "slowest refusal while the server is down", asked.elapsed().as_secs_f64(), "s", 5.0);
        assert!(asked.elapsed() < Duration::from_secs(5));
        assert!(store.logs_place().trouble.is_some());
        let usage = UsageRow { id: format!("u{number}"), tags: "[]".to_owned(), ..UsageRow::default() };
        let seq = number - 1;
        assert_eq!(store.ingest_usage(sender("b", TODAY), 0, seq, &[usage]).await.unwrap(), seq);

        tokio::task::block_in_place(|| clickhouse.start());
        let back = Instant::now();
        let stored = loop {
            match store.ingest_logs(sender("b", TODAY), number, &batch(number), 0).await {
                Ok(stored) => break stored,
                Err(error) => assert!(error.is_transient() && back.elapsed() < PATIENCE, "{error:?}"),
            }
        };
        assert_eq!(stored, number);
        note(TEST, "first batch after the server is back", back.elapsed().as_secs_f64(), "s", 5.0);
        assert!(back.elapsed() < Duration::from_secs(5));
    }
    assert_eq!(ids(&store, &Filter::default()).await, ["r3", "r2", "r1"]);
    assert_eq!(store.logs_place().trouble, None);
}
