//! Every record is somewhere: written, delivered or counted as dropped.

use std::collections::BTreeSet;

use super::*;
use crate::telemetry::segment::{Found, LOGS};

fn start(sink: &LogSink, n_lanes: usize) -> Logs {
    let identity = Identity::load(None);
    identity.adopt("node_1");
    Logs::start(sink, Arc::new(identity), n_lanes).expect("the log starts")
}

fn record(id: usize) -> LogRecord {
    LogRecord { id: id.to_string(), ..LogRecord::default() }
}

#[test]
fn what_is_pushed_is_written_with_the_nodes_id() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("access.log");
    let mut logs = start(&LogSink::File(path.clone()), 2);
    let workers: Vec<_> = (0..2)
        .map(|worker| {
            let lane = logs.lane(worker);
            std::thread::spawn(move || (0..1000).for_each(|n| lane.push(record(worker * 1000 + n))))
        })
        .collect();
    workers.into_iter().for_each(|worker| worker.join().expect("no panic"));
    logs.close();
    let text = std::fs::read_to_string(path).expect("the log");
    let ids: BTreeSet<String> = text
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
            assert_eq!(line["node_id"], "node_1");
            line["id"].as_str().expect("an id").to_owned()
        })
        .collect();
    assert_eq!(ids.len() as u64 + logs.losses().n_dropped(), 2000);
}

/// Everything that can be taken, delivered as it comes: ids, and the count of drops that came with the last.
fn drain(backlog: &Backlog<LogRecord>) -> (Vec<String>, u64) {
    backlog.connected();
    let (mut ids, mut last, mut dropped_total) = (Vec::new(), (String::new(), 0), 0);
    while let Some(batch) = backlog.take() {
        let first = (batch.boot_id.clone(), batch.first_seq);
        assert!(first > last, "numbers go up: {first:?} after {last:?}");
        last = (batch.boot_id, batch.first_seq + batch.records.len() as u64 - 1);
        dropped_total = dropped_total.max(batch.dropped_total);
        ids.extend(batch.records.into_iter().map(|record| record.id));
        backlog.delivered();
    }
    (ids, dropped_total)
}

/// How many log files there are.
fn n_files(dir: &Path) -> usize {
    Found::all(dir, LOGS).expect("a directory").len()
}

#[test]
fn nothing_is_lost_uncounted_when_nobody_collects() {
    const N: usize = 50_000;
    let mut logs = start(&LogSink::None, 1);
    let backlog = logs.backlog(None, "boot");
    let lane = logs.lane(0);
    (0..N).for_each(|n| lane.push(record(n)));
    logs.close();
    let (ids, dropped_total) = drain(&backlog);
    assert_eq!(ids.len() as u64 + logs.losses().n_dropped(), N as u64);
    assert_eq!(dropped_total, logs.losses().n_dropped());
}

/// `log_flood`, in small: the disk has room for a part, and each record is delivered or counted.
#[test]
fn a_full_disk_costs_the_oldest_and_counts_them() {
    const N: u64 = 300_000;
    let dir = tempfile::tempdir().expect("a directory");
    let backlog = Backlog::open_bounded(Some(dir.path()), "boot", 1, 10_000_000);
    let filler = "x".repeat(100);
    for round in 0..N / 1000 {
        let records = (0..1000).map(|n| LogRecord {
            id: (round * 1000 + n).to_string(),
            path: filler.clone(),
            ..LogRecord::default()
        });
        backlog.extend(records, 0);
    }
    let n_bytes: u64 = Found::all(dir.path(), LOGS).expect("a directory").iter().map(|file| file.n_bytes).sum();
    assert!(n_bytes < 20_000_000, "{n_bytes}");
    let (ids, dropped_total) = drain(&backlog);
    assert!(!ids.is_empty() && dropped_total > 0);
    assert_eq!(ids.len() as u64 + dropped_total, N);
    assert_eq!(ids.last().map(String::as_str), Some("299999"), "the newest are kept");
    assert_eq!((backlog.len(), n_files(dir.path())), (0, 0));
}

/// A process that is killed leaves its records to the next one; what it had in memory only is counted.
#[test]
fn a_killed_process_leaves_what_nobody_took() {
    let dir = tempfile::tempdir().expect("a directory");
    let records = |from: usize, to: usize| (from..to).map(record).collect::<VecDeque<_>>();
    let first = Backlog::open(Some(dir.path()), "boot1", 2);
    first.pushed(0, 4);
    first.pushed(1, 3);
    first.extend(records(0, 5), 2);
    first.connected();
    assert_eq!(first.take().map(|batch| (batch.records.len(), batch.dropped_total)), Some((5, 2)));
    // It was on its way; and two records were in the rings.
    drop(first);

    let second = Backlog::open(Some(dir.path()), "boot2", 2);
    assert_eq!(second.n_dropped(), 4, "two that were dropped, and two that died");
    second.adopt_earlier();
    assert_eq!(second.len(), 5);
    second.pushed(0, 1);
    second.extend(records(5, 6), 0);
    let (ids, dropped_total) = drain(&second);
    assert_eq!((ids, dropped_total), ((0..6).map(|id| id.to_string()).collect(), 4));
    assert_eq!(n_files(dir.path()), 0);
    drop(second);
    assert_eq!(Backlog::<LogRecord>::open(Some(dir.path()), "boot3", 2).n_dropped(), 0, "all of it was told");
}

#[test]
fn what_was_on_its_way_when_the_stream_broke_is_safe_and_comes_again() {
    let dir = tempfile::tempdir().expect("a directory");
    for dir in [Some(dir.path()), None] {
        let backlog = Backlog::open(dir, "boot", 1);
        backlog.connected();
        backlog.extend((0..3).map(record), 0);
        assert_eq!(dir.map_or(0, n_files), 0, "what flows is not written");
        assert_eq!(backlog.take().map(|batch| batch.records.len()), Some(3));
        backlog.extend((3..5).map(record), 0);
        assert_eq!(backlog.len(), 5);
        backlog.disconnected();
        assert_eq!(dir.map_or(0, n_files), usize::from(dir.is_some()));
        backlog.extend((5..6).map(record), 0);
        assert_eq!(drain(&backlog).0, ["0", "1", "2", "3", "4", "5"]);
        assert_eq!(backlog.len(), 0);
    }
}

/// Cut after any byte: the whole records before the cut are there.
#[test]
fn a_torn_file_at_every_byte() {
    let dir = tempfile::tempdir().expect("a directory");
    Backlog::open(Some(dir.path()), "boot1", 1).extend((0..5).map(record), 0);
    let file = Found::all(dir.path(), LOGS).expect("a directory").pop().expect("a file");
    let bytes = std::fs::read(&file.path).expect("the file");
    let mut n_whole = BTreeSet::new();
    for cut in 0..=bytes.len() {
        std::fs::write(&file.path, &bytes[..cut]).expect("write");
        let backlog = Backlog::open(Some(dir.path()), &format!("later{cut}"), 1);
        backlog.adopt_earlier();
        let (ids, _) = drain(&backlog);
        assert!(ids.iter().enumerate().all(|(at, id)| *id == at.to_string()), "cut at {cut}: {ids:?}");
        n_whole.insert(ids.len());
    }
    assert_eq!(n_whole, (0..=5).collect());
}

#[test]
fn a_push_is_cheap() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut logs = start(&LogSink::None, 1);
    logs.backlog(Some(dir.path()), "boot");
    let lane = logs.lane(0);
    let began = std::time::Instant::now();
    (0..10_000).for_each(|n| lane.push(record(n)));
    println!("pushing a log record: {} ns", began.elapsed().as_nanos() / 10_000);
    logs.close();
}
