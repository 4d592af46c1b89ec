//! Usage over a bad network into two control planes and a database that dies: each event counts once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gateway_store::Store;
use gateway_store::spend::{Dimension, Sum, Wanted};
use gateway_store::usage::{Sender, Tokens, Totals, Units, UsageRow};
use gateway_testing::Postgres;
use gateway_testing::figure::note;
use gateway_testing::postgres::Stop;

use crate::engine::{file_url, postgres_url};

const TEST: &str = "ingest_exactly_once";
const PATIENCE: Duration = Duration::from_secs(60);
const T0: i64 = 1_800_000_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingest_exactly_once_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let url = file_url(&directory);
    ingest("SQLite", &url, 6, 8_000, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingest_exactly_once_postgres() {
    let Some(url) = postgres_url() else { return };
    ingest("Postgres", &url, 6, 8_000, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingest_exactly_once_postgres_dies() {
    let Some(mut postgres) = tokio::task::block_in_place(Postgres::launch) else { return };
    let url = tokio::task::block_in_place(|| postgres.database());
    let mut n_deaths = 0;
    ingest("Postgres that dies twice", &url, 4, 4_000, |n_acknowledged| {
        if n_deaths < 2 && n_acknowledged > (n_deaths + 1) * 4_000 {
            n_deaths += 1;
            postgres.stop(Stop::Immediate);
            postgres.start();
        }
    })
    .await;
    assert_eq!(n_deaths, 2);
}

/// `between` is told, again and again, how much has been acknowledged.
async fn ingest(engine: &str, url: &str, n_nodes: u64, n_events: u64, mut between: impl FnMut(u64)) {
    let stores = [Store::open(url).await.unwrap(), Store::open(url).await.unwrap()];
    let today = T0 - 86_400_000;
    stores[0].make_days(today, T0 + 86_400_000).await.unwrap();
    let n_acknowledged = Arc::new(AtomicU64::new(0));
    let nodes: Vec<_> = (0..n_nodes)
        .map(|number| {
            let node = Node { number, n_events, stores: stores.clone(), n_acknowledged: Arc::clone(&n_acknowledged) };
            tokio::spawn(node.deliver())
        })
        .collect();
    while !nodes.iter().all(tokio::task::JoinHandle::is_finished) {
        tokio::task::block_in_place(|| between(n_acknowledged.load(Ordering::SeqCst)));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for node in nodes {
        node.await.unwrap();
    }
    let n_sent = n_nodes * n_events;
    let sent = Totals {
        requests: n_sent,
        tokens: Tokens { input: n_nodes * n_events * (n_events + 1) / 2, output: n_sent, ..Tokens::default() },
        units: Units::default(),
        cost_nano_usd: i64::try_from(7 * n_sent).unwrap(),
        saved_nano_usd: i64::try_from(2 * n_sent).unwrap(),
        unpriced: 0,
    };
    let by_model = Wanted { by: vec![Dimension::Model], ..Wanted::default() };
    let sums = stores[1].spend(&by_model, None, 10).await.unwrap().sums;
    assert_eq!(sums, [Sum { names: vec!["m".to_owned()], totals: sent }]);
    let mut n_stored = 0;
    let mut after = None;
    loop {
        let page = stores[0].usage(after.as_ref(), 10_000).await.unwrap();
        let Some(last) = page.last() else { break };
        n_stored += page.len() as u64;
        after = Some(gateway_store::usage::Cursor { started_ms: last.started_ms, id: last.id.clone() });
    }
    let difference = n_stored.abs_diff(n_sent);
    note(TEST, &format!("events lost or doubled of {n_sent}, {engine}"), difference as f64, "events", 0.0);
    assert_eq!(difference, 0);
}

struct Node {
    number: u64,
    n_events: u64,
    stores: [Store; 2],
    n_acknowledged: Arc<AtomicU64>,
}

/// How a batch fares.
enum Fate {
    Arrives,
    AcknowledgementLost,
    ArrivesTwice,
    AfterTheNext,
    CutOff(u64),
    OfAnotherBoot,
}

// === impl Node ===

impl Node {
    async fn deliver(self) {
        let mut random = Random(self.number * 7919 + 1);
        let mut acknowledged = 0;
        let begun = Instant::now();
        while acknowledged < self.n_events {
            assert!(begun.elapsed() < PATIENCE, "node {} is stuck at {acknowledged}", self.number);
            let size = 1 + random.below(700);
            let store = &self.stores[random.below(2) as usize];
            let stored = match random.fate() {
                Fate::Arrives => self.send(store, "boot", acknowledged + 1, size).await,
                Fate::AcknowledgementLost => {
                    self.send(store, "boot", acknowledged + 1, size).await;
                    None
                }
                Fate::ArrivesTwice => {
                    let [one, other] = &self.stores;
                    let first = acknowledged + 1;
                    tokio::join!(self.send(one, "boot", first, size), self.send(other, "boot", first, size / 2 + 1)).0
                }
                Fate::AfterTheNext => {
                    self.send(store, "boot", acknowledged + 1 + size, size).await;
                    self.send(store, "boot", acknowledged + 1, size).await
                }
                Fate::CutOff(after_ms) => {
                    let sending = self.send(store, "boot", acknowledged + 1, size);
                    tokio::time::timeout(Duration::from_millis(after_ms), sending).await.ok().flatten()
                }
                // What a restarted node finds on its disk is partly what was stored already.
                Fate::OfAnotherBoot => {
                    self.send(store, "recovered", 1, size.min(self.n_events)).await;
                    None
                }
            };
            let newly = stored.unwrap_or(acknowledged).saturating_sub(acknowledged);
            acknowledged += newly;
            self.n_acknowledged.fetch_add(newly, Ordering::SeqCst);
        }
    }

    /// `None` where it failed, as over a network that says nothing.
    async fn send(&self, store: &Store, boot: &str, first_seq: u64, size: u64) -> Option<u64> {
        let last = (first_seq + size - 1).min(self.n_events);
        let rows: Vec<UsageRow> = (first_seq..=last).map(|seq| self.event(seq)).collect();
        let node = format!("node_{}", self.number);
        match store.ingest_usage(Sender { node: &node, boot, at_ms: T0 }, 0, first_seq, &rows).await {
            Ok(up_to) => Some(up_to),
            Err(error) => {
                assert!(error.is_transient(), "{error:?}");
                None
            }
        }
    }

    fn event(&self, seq: u64) -> UsageRow {
        let at_ms = T0 + i64::try_from(seq * 40_000 % 86_400_000).unwrap() - 43_200_000;
        let mut unique = [0; 10];
        unique[..8].copy_from_slice(&(self.number << 32 | seq).to_be_bytes());
        let id = uuid::Builder::from_unix_timestamp_millis(u64::try_from(at_ms).unwrap(), &unique).into_uuid();
        UsageRow {
            id: id.hyphenated().to_string(),
            started_ms: at_ms,
            key_id: format!("vk_{}", seq % 50),
            model: "m".to_owned(),
            provider: format!("p{}", seq % 3),
            tokens: Tokens { input: seq, output: 1, ..Tokens::default() },
            settled_by: "exact".to_owned(),
            cost_nano_usd: 7,
            baseline_nano_usd: Some(9),
            priced: true,
            status: 200,
            tags: "[]".to_owned(),
            ..UsageRow::default()
        }
    }
}

/// Xorshift: the same fates in every run.
struct Random(u64);

// === impl Random ===

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn fate(&mut self) -> Fate {
        match self.below(10) {
            0 => Fate::AcknowledgementLost,
            1 => Fate::ArrivesTwice,
            2 => Fate::AfterTheNext,
            3 | 4 => Fate::CutOff(self.below(40)),
            5 => Fate::OfAnotherBoot,
            _ => Fate::Arrives,
        }
    }
}

/// What storing a batch costs, alone on the machine's database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingest_cost_of_a_batch() {
    const BATCHES: u64 = 20;
    let directory = tempfile::tempdir().unwrap();
    let urls = [Some(("SQLite", file_url(&directory))), postgres_url().map(|url| ("Postgres", url))];
    for (engine, url) in urls.into_iter().flatten() {
        let store = Store::open(&url).await.unwrap();
        store.make_days(T0 - 86_400_000, T0 + 86_400_000).await.unwrap();
        let node = Node {
            number: 1,
            n_events: 1000 * BATCHES,
            stores: [store.clone(), store.clone()],
            n_acknowledged: Arc::default(),
        };
        let mut took = Vec::new();
        for batch in 0..BATCHES {
            let begun = Instant::now();
            assert_eq!(node.send(&store, "boot", 1 + 1000 * batch, 1000).await, Some(1000 * (batch + 1)));
            took.push(begun.elapsed());
        }
        took.sort_unstable();
        let median_ms = took[took.len() / 2].as_secs_f64() * 1000.0;
        note(TEST, &format!("median cost of a batch of 1,000 events, {engine}"), median_ms.round(), "ms", 1000.0);
        assert!(median_ms < 1000.0);
    }
}
