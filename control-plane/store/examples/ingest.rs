//! How many usage records a second go into Postgres, as nodes send them: batches of 500 on two connections, with sums by day, a budget
//! of each key and one for all; then how many log records of 1 KB, with what they are found by, there and into a ClickHouse. By hand:
//! `cargo run --release -p gateway-store --example ingest`. Ends with 1 below 10,000 and 5,000.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on should stop where it is")]

use std::process::ExitCode;
use std::time::Instant;

use gateway_model::secret::Secret;
use gateway_store::Store;
use gateway_store::ledger::Charge;
use gateway_store::logs::{Filter, LogRow, Terms};
use gateway_store::traffic::Sample;
use gateway_store::usage::{Sender, Tokens, UsageRow};
use gateway_testing::{ClickHouse, Postgres};

const LEAST: f64 = 10_000.0;
const LEAST_LOGS: f64 = 5_000.0;
/// Both are written out below.
const N_NODES: u64 = 2;
const N_BATCHES: u64 = 100;
const BATCH: u64 = 500;
const N_KEYS: u64 = 200;
/// Any day.
const AT_MS: i64 = 1_800_000_000_000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let Some(postgres) = tokio::task::block_in_place(Postgres::launch) else { return ExitCode::FAILURE };
    let store = Store::open(&postgres.database()).await.unwrap();
    store.make_days(AT_MS, AT_MS).await.unwrap();
    let began = Instant::now();
    tokio::join!(send(&store, 0, AT_MS), send(&store, 1, AT_MS));
    let took = began.elapsed().as_secs_f64();
    let n_rows = (N_NODES * N_BATCHES * BATCH) as f64;
    let spent = store.balance("budget/all", 0).await.unwrap().spent;
    assert_eq!(spent, i64::try_from(N_NODES * N_BATCHES * BATCH).unwrap() * 1000, "all of it is booked, once");
    println!("{n_rows} usage records in {took:.2} s: {:.0} a second (at least {LEAST})", n_rows / took);
    let began = Instant::now();
    tokio::join!(send_logs(&store, 0), send_logs(&store, 1));
    let took_logs = began.elapsed().as_secs_f64();
    println!("{n_rows} log records in {took_logs:.2} s: {:.0} a second (at least {LEAST_LOGS})", n_rows / took_logs);
    let mut is_enough = n_rows / took >= LEAST && n_rows / took_logs >= LEAST_LOGS;
    if let Some(clickhouse) = tokio::task::block_in_place(ClickHouse::launch) {
        let url = tokio::task::block_in_place(|| clickhouse.database());
        let store = store.with_logs_in(&Secret::new(url)).unwrap();
        store.prepare_logs().await.unwrap();
        let began = Instant::now();
        tokio::join!(send_logs(&store, 2), send_logs(&store, 3));
        let took_there = began.elapsed().as_secs_f64();
        let rate = n_rows / took_there;
        println!(
            "{n_rows} log records into ClickHouse in {took_there:.2} s: {rate:.0} a second (at least {LEAST_LOGS})"
        );
        let began = Instant::now();
        let needle = Filter { texts: vec!["zebra".to_owned()], ..Filter::default() };
        let found = store.search(&needle, None, 100, AT_MS).await.unwrap();
        println!(
            "a word that nobody says: {:.0} ms, {} found",
            began.elapsed().as_secs_f64() * 1000.0,
            found.rows.len()
        );
        is_enough &= rate >= LEAST_LOGS;
    }
    if is_enough { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn send_logs(store: &Store, node: u64) {
    let name = format!("node_{node}");
    let from = Sender { node: &name, boot: "boot", at_ms: AT_MS };
    for batch in 0..N_BATCHES {
        let rows: Vec<LogRow> = (0..BATCH).map(|number| log(node, batch * BATCH + number)).collect();
        store.ingest_logs(from, batch * BATCH + 1, &rows, 0).await.unwrap();
    }
}

fn log(node: u64, number: u64) -> LogRow {
    let mut terms = Terms::default();
    for (field, value) in [
        ("team", format!("team-{}", number % 10)),
        ("user", format!("user-{}", number % 5000)),
        ("session", format!("session-{}", number / 20)),
        ("trace", format!("{number:032x}")),
        ("tag", format!("tag-{}", number % 100)),
    ] {
        terms.put(field, &value);
    }
    for (field, value) in
        [("route", "main"), ("ending", "finished"), ("lane", "pass"), ("dialect", "openai_chat"), ("stream", "true")]
    {
        terms.put(field, value);
    }
    terms.say(&format!(
        "/v1/chat/completions model-{} provider team-{} user-{}",
        number % 5,
        number % 10,
        number % 5000
    ));
    // Its time is in its id, as in those of requests.
    let at_ms = u64::try_from(AT_MS).unwrap() + number;
    LogRow {
        id: format!("{:08x}-{:04x}-7000-8000-{node:04x}{number:08x}", at_ms >> 16, at_ms & 0xffff),
        started_ms: AT_MS,
        key_id: format!("vk_{}", number % N_KEYS),
        key_name: format!("key-{}", number % N_KEYS),
        model: format!("model-{}", number % 5),
        provider: "provider".to_owned(),
        status: 200,
        record: format!(r#"{{"id":"{number}","text":"{}"}}"#, "x".repeat(1000)),
        terms: terms.into_text(),
        // Five requests each.
        session: format!("session-{node}-{}", number / 5),
        user: format!("user-{}", number % 5000),
        total_us: 1_000_000,
        cost_nano_usd: 1000,
        sample: Some(Sample { input: 400, output: 100, total_us: 1_000_000, ..Sample::default() }),
    }
}

async fn send(store: &Store, node: u64, now_ms: i64) {
    let name = format!("node_{node}");
    let from = Sender { node: &name, boot: "boot", at_ms: now_ms };
    for batch in 0..N_BATCHES {
        let rows: Vec<UsageRow> = (0..BATCH).map(|number| row(&name, batch * BATCH + number, now_ms)).collect();
        store.ingest_usage(from, 0, batch * BATCH + 1, &rows).await.unwrap();
    }
}

fn row(node: &str, number: u64, now_ms: i64) -> UsageRow {
    let key = format!("vk_{}", number % N_KEYS);
    let charge = |budget: String| Charge { budget, start_ms: 0, nano_usd: 1000 };
    UsageRow {
        id: format!("{node}-{number}"),
        started_ms: now_ms,
        node_id: node.to_owned(),
        charges: vec![charge(format!("key/{key}")), charge("budget/all".to_owned())],
        key_id: key,
        model: format!("model-{}", number % 5),
        provider: "provider".to_owned(),
        team: format!("team-{}", number % 10),
        tokens: Tokens { input: 400, output: 100, ..Tokens::default() },
        cost_nano_usd: 1000,
        priced: true,
        tags: r#"["batch"]"#.to_owned(),
        ..UsageRow::default()
    }
}
