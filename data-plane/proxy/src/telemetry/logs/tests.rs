//! Every record is somewhere: written, delivered or counted as dropped.

use super::*;

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
    let ids: std::collections::BTreeSet<String> = text
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
            assert_eq!(line["node_id"], "node_1");
            line["id"].as_str().expect("an id").to_owned()
        })
        .collect();
    assert_eq!(ids.len() as u64 + logs.losses().n_dropped(), 2000);
}

#[test]
fn nothing_is_lost_uncounted_when_nobody_collects() {
    const N: usize = 50_000;
    let mut logs = start(&LogSink::None, 1);
    let backlog = logs.backlog();
    let lane = logs.lane(0);
    (0..N).for_each(|n| lane.push(record(n)));
    logs.close();
    let (mut n_delivered, mut last) = (0, 0);
    let mut dropped_total = 0;
    while let Some(batch) = backlog.take() {
        assert!(batch.first_seq > last, "numbers go up");
        last = batch.first_seq + batch.records.len() as u64 - 1;
        n_delivered += batch.records.len();
        dropped_total = batch.dropped_total;
    }
    assert_eq!(n_delivered as u64 + logs.losses().n_dropped(), N as u64);
    assert_eq!(dropped_total, logs.losses().n_dropped());
}

#[test]
fn a_push_is_cheap() {
    let mut logs = start(&LogSink::None, 1);
    let lane = logs.lane(0);
    let began = std::time::Instant::now();
    (0..10_000).for_each(|n| lane.push(record(n)));
    println!("pushing a log record: {} ns", began.elapsed().as_nanos() / 10_000);
    logs.close();
}
