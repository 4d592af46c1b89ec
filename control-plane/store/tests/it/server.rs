//! What only Postgres has: announcements to other processes, parts by day, many processes that start at once.

use std::time::Duration;

use gateway_model::kind::{Class, Kind};
use gateway_store::bodies::BodyRow;
use gateway_store::logs::{Filter, LogRow};
use gateway_store::retention::Pruned;
use gateway_store::usage::{Sender, UsageRow};
use gateway_store::{Error, Store};
use gateway_testing::Postgres;
use sqlx::postgres::PgListener;

use crate::engine::{commit, item, upsert};

const DAY_MS: i64 = 86_400_000;
const TODAY: i64 = 20_833 * DAY_MS;
const PATIENCE: Duration = Duration::from_secs(20);

fn shared() -> Option<&'static Postgres> {
    tokio::task::block_in_place(Postgres::shared)
}

/// The server, and the address and name of a new database.
fn database() -> Option<(&'static Postgres, String, String)> {
    let postgres = shared()?;
    let url = tokio::task::block_in_place(|| postgres.database());
    let name = url.rsplit('/').next().unwrap().to_owned();
    Some((postgres, url, name))
}

async fn hears(store: &Store, topology: u64) {
    let mut watch = store.watch();
    let heard = tokio::time::timeout(PATIENCE, watch.wait_for(|heads| heads.topology >= topology));
    assert!(heard.await.is_ok(), "revision {topology} was not heard of");
}

async fn write(store: &Store) {
    store.commit(commit(vec![upsert(item(Kind::Provider, "p"))])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_processes_hear_of_commits_and_of_new_lineages() {
    let Some((_, url, _)) = database() else { return };
    let (one, other) = (Store::open(&url).await.unwrap(), Store::open(&url).await.unwrap());
    for revision in 1..=3 {
        write(&one).await;
        hears(&other, revision).await;
    }
    let epoch = one.new_epoch(|_| gateway_store::audit::AuditRow::default()).await.unwrap().epoch;
    let mut watch = other.watch();
    let heard = tokio::time::timeout(PATIENCE, watch.wait_for(|heads| heads.epoch == epoch)).await;
    assert_eq!(heard.unwrap().unwrap().topology, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listening_begins_anew_after_a_fault_and_asks_what_was_missed() {
    let Some((postgres, url, name)) = database() else { return };
    let (one, other) = (Store::open(&url).await.unwrap(), Store::open(&url).await.unwrap());
    write(&one).await;
    hears(&other, 1).await;
    for revision in 2..=3 {
        tokio::task::block_in_place(|| {
            let ended = postgres.psql(
                &name,
                "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity \
                 WHERE datname = current_database() AND application_name = 'gateway-listener'",
            );
            assert_ne!(ended, "0");
        });
        write(&one).await;
        hears(&other, revision).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn announcements_can_be_switched_off_and_are_not_needed() {
    let Some((_, url, _)) = database() else { return };
    let silent = Store::open(&format!("{url}?notify=off")).await.unwrap();
    let loud = Store::open(&url).await.unwrap();
    let mut listener = PgListener::connect(&url).await.unwrap();
    listener.listen("gateway_config").await.unwrap();
    write(&silent).await;
    write(&loud).await;
    let usage = UsageRow { tags: "[]".to_owned(), ..UsageRow::default() };
    loud.ingest_usage(Sender { node: "n", boot: "b", at_ms: 1 }, 0, 1, &[usage]).await.unwrap();
    loud.ingest_logs(Sender { node: "n", boot: "b", at_ms: 1 }, 1, &[LogRow::default()], 0).await.unwrap();
    write(&loud).await;
    // Neither the silent store's commit nor what nodes report is announced.
    for expected in ["topology:2", "topology:3"] {
        let heard = tokio::time::timeout(PATIENCE, listener.recv()).await.unwrap().unwrap();
        assert_eq!(heard.payload(), expected);
    }
    assert_eq!(silent.heads().await.unwrap().topology, 3);
    assert_eq!(silent.changes(Class::Topology, 0, 10).await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_start_at_once_on_an_empty_database() {
    let Some((_, url, _)) = database() else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = format!("sqlite://{}/gateway.db", directory.path().display());
    for url in [url, file] {
        let starting: Vec<_> = (0..6)
            .map(|_| {
                let url = url.clone();
                tokio::spawn(async move { Store::open(&url).await })
            })
            .collect();
        let mut epochs = Vec::new();
        for started in starting {
            epochs.push(started.await.unwrap().unwrap().heads().await.unwrap().epoch);
        }
        epochs.dedup();
        assert_eq!(epochs.len(), 1, "{url}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_used_says_why() {
    let Some((postgres, url, name)) = database() else { return };
    let refused = Store::open(&format!("{url}_missing")).await.unwrap_err();
    assert!(matches!(refused, Error::Refused(_)), "{refused:?}");
    let refused = Store::open(&format!("{url}?sslmode=require")).await.unwrap_err();
    assert!(matches!(refused, Error::Away(_)), "{refused:?}");
    let refused = Store::open(&format!("{url}?sslmod=require")).await.unwrap_err();
    assert!(matches!(refused, Error::Parameter { .. }), "{refused:?}");
    let nobody = format!("postgres://u:s3cret@127.0.0.1:{}/d", gateway_testing::free_port());
    let refused = Store::open(&nobody).await.unwrap_err();
    assert!(matches!(refused, Error::Away(_)), "{refused:?}");
    assert!(!format!("{refused} {refused:?}").contains("s3cret"));

    let store = Store::open(&url).await.unwrap();
    assert!(!format!("{store:?}").contains("postgres://"), "{store:?}");
    tokio::task::block_in_place(|| {
        postgres.psql("postgres", &format!("ALTER DATABASE {name} SET default_transaction_read_only = on"));
        postgres.psql(
            "postgres",
            &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"),
        );
    });
    let refused = Store::open(&url).await.unwrap_err();
    assert!(matches!(refused, Error::ReadOnly(_)), "{refused:?}");
    let refused = store.commit(commit(vec![upsert(item(Kind::Provider, "p"))])).await.unwrap_err();
    assert!(matches!(refused, Error::ReadOnly(_)) && refused.is_transient(), "{refused:?}");
    assert_eq!(store.heads().await.unwrap().topology, 0);
}

/// A request id of that moment.
fn id(at_ms: i64, number: u8) -> String {
    let at_ms = u64::try_from(at_ms).unwrap();
    uuid::Builder::from_unix_timestamp_millis(at_ms, &[number; 10]).into_uuid().hyphenated().to_string()
}

fn event(id: String, started_ms: i64) -> UsageRow {
    UsageRow { id, started_ms, tags: "[]".to_owned(), ..UsageRow::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn days_are_made_ahead_and_dropped_whole() {
    let Some((postgres, url, name)) = database() else { return };
    let store = Store::open(&url).await.unwrap();
    let count = |part: &str| {
        let count = format!("SELECT COUNT(*) FROM {part}");
        tokio::task::block_in_place(|| postgres.psql(&name, &count)).parse::<u64>().unwrap()
    };
    let sender = |at_ms| Sender { node: "n", boot: "b", at_ms };
    // Before any day has its part, everything is in the default one; then it is where it belongs.
    let events: Vec<UsageRow> = (0..6).map(|day| event(id(TODAY + day * DAY_MS, 1), TODAY)).collect();
    store.ingest_usage(sender(TODAY), 0, 1, &events).await.unwrap();
    assert_eq!(count("usage_event_default"), 6);
    assert_eq!(store.make_days(TODAY - DAY_MS, TODAY + 3 * DAY_MS).await.unwrap(), 15);
    assert_eq!(store.make_days(TODAY, TODAY + 3 * DAY_MS).await.unwrap(), 0);
    assert_eq!((count("usage_event_default"), count("usage_event_day_20833"), count("usage_event")), (2, 1, 6));

    // An id counts once, wherever it is.
    let again: Vec<UsageRow> = events.iter().map(|row| event(row.id.clone(), TODAY + DAY_MS)).collect();
    store.ingest_usage(Sender { boot: "other", ..sender(TODAY) }, 0, 1, &again).await.unwrap();
    assert_eq!(count("usage_event"), 6);
    let stray = [event("not a uuid".to_owned(), TODAY), event(id(TODAY + 2 * DAY_MS - 1, 2), i64::MAX)];
    store.ingest_usage(sender(TODAY + 5 * DAY_MS), 0, 7, &stray).await.unwrap();
    assert_eq!((count("usage_event_default"), count("usage_event_day_20834")), (3, 2));

    // The day before today, today and tomorrow have ended by then; two strays were stored before, one after.
    let before = TODAY + 2 * DAY_MS;
    assert_eq!(store.prune_usage(before).await.unwrap(), Pruned { n_rows: 2, n_days: 3 });
    assert_eq!(count("usage_event"), 3);
    assert_eq!(store.usage(None, 10).await.unwrap().len(), 3);
    let record = LogRow { id: id(TODAY, 1), ..LogRow::default() };
    store.ingest_logs(sender(TODAY), 1, std::slice::from_ref(&record), 0).await.unwrap();
    assert_eq!(count("log_record_day_20833"), 1);
    assert_eq!(store.log(&record.id).await.unwrap(), Some(record));
    assert_eq!(store.prune_logs(before, Some(10)).await.unwrap(), Pruned { n_rows: 0, n_days: 3 });
    assert!(store.search(&Filter::default(), None, 10, before).await.unwrap().rows.is_empty());
    let body = BodyRow { id: id(TODAY, 1), started_ms: TODAY, document: vec![0, 255] };
    store.ingest_bodies(sender(TODAY), 1, vec![body.clone()], 0).await.unwrap();
    assert_eq!((count("log_body_day_20833"), store.body(&body.id).await.unwrap()), (1, Some(body)));
    assert_eq!(store.prune_bodies(before).await.unwrap(), Pruned { n_rows: 0, n_days: 3 });
    assert_eq!(count("log_body"), 0);
}
