//! More than can be taken: bodies faster than the database stores them, and keys that nobody was ever given. What a node has in memory is
//! counted from outside, of the node's own process.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gateway_fake::Script;
use gateway_fake::reply::openai;
use gateway_testing::figure;
use serde_json::json;

use crate::disk::SmallDisk;
use crate::eventually;
use crate::http::Connection;
use crate::load::Load;
use crate::world::Fleet;

/// Of a node's memory, in MiB, however much comes.
const MAX_GROWTH: f64 = 128.0;
/// Each batch, here a body, takes the database so long, as one does that is busy with something else. Not at the bodies' own table, whose parts
/// are being made at the same time.
const SLOW: &str = "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN PERFORM pg_sleep(0.25); RETURN NEW; END';
CREATE TRIGGER slowly BEFORE INSERT OR UPDATE ON body_watermark FOR EACH ROW EXECUTE FUNCTION slowly();";
const FAST_AGAIN: &str =
    "CREATE OR REPLACE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'";

/// Bodies faster than the control plane stores them, and more than the disk has room for: the node's memory stays, usage goes on as if there
/// were none, and each body is stored or counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_flood() {
    const TEST: &str = "log_flood";
    const N_REQUESTS: usize = 160;
    const N_CLIENTS: usize = 4;
    /// Of requests in a second: with what is answered, 50 MB.
    const RATE: u32 = 25;
    /// What the node's disk has room for, in MiB: a fifth of what comes.
    const ROOM: u32 = 64;
    let Some(mut fleet) = Fleet::control_planes(1).await else { return };
    let mut node = fleet.node(&[]);
    std::fs::create_dir(fleet.path("node1")).expect("the folder is ours");
    // Where nothing may be mounted, there is room for all of them, and none is lost.
    let disk = SmallDisk::mount(&fleet.path("node1/logs"), ROOM);
    node.start().await;
    fleet.nodes.push(node);
    let rule = json!({"log_bodies": {"request": true, "response": true, "max_bytes": "1MiB"}});
    fleet.admin("PATCH", "/admin/settings", rule).await;
    fleet.in_step().await;
    fleet.sql(SLOW);
    let words = "many words, and then some more of them; ".repeat(25_000);
    let reply = Bytes::from(openai::reply("upstream-model", &words, 7).to_string());
    fleet.upstream.respond_with(move |_| Script::text(200, "application/json", reply.clone()));

    let (before, _) = fleet.nodes[0].memory();
    let start = Instant::now();
    let clients = (0..N_CLIENTS).map(|_| {
        let (addr, key, words) = (fleet.nodes[0].address("base_url"), fleet.key.clone(), words.clone());
        let pace = Duration::from_secs(1) * N_CLIENTS as u32 / RATE;
        tokio::spawn(async move { client(addr, &key, &words, N_REQUESTS / N_CLIENTS, pace).await })
    });
    let clients: Vec<_> = clients.collect();
    let mut n_bytes = 0;
    for client in clients {
        n_bytes += client.await.expect("a client does not panic");
    }
    let took = start.elapsed();
    let counted = fleet.usage_is(N_REQUESTS).await;
    let n_early = fleet.count("SELECT count(*) FROM log_body");
    fleet.sql(FAST_AGAIN);
    let (n_dropped, drained) = eventually("each body to be stored or counted as lost", || async {
        let n_dropped = fleet.count("SELECT coalesce(sum(dropped_total), 0) FROM body_watermark");
        (fleet.count("SELECT count(*) FROM log_body") + n_dropped >= N_REQUESTS).then_some(n_dropped)
    })
    .await;
    let n_stored = fleet.count("SELECT count(*) FROM log_body");
    let (_, most) = fleet.nodes[0].memory();
    let (seen, _) = eventually("the fleet view to say the same", || async {
        let spool = fleet.seen(0).await["spool"].clone();
        (spool["bodies_dropped"] == n_dropped && spool["bodies_pending"] == 0).then_some(spool)
    })
    .await;

    let rate = n_bytes as f64 / took.as_secs_f64() / 1e6;
    figure::note_at_least(TEST, "bodies that came, of requests and replies", rate, "MB/s", 5.0);
    figure::note(TEST, "growth of the node's memory, at its most", most - before, "MiB", MAX_GROWTH);
    figure::note(TEST, "usage stored after the flood, bodies still waiting", counted.as_secs_f64(), "s", 10.0);
    figure::note(TEST, "bodies lost and counted", n_dropped as f64, "bodies", N_REQUESTS as f64);
    let difference = (N_REQUESTS as f64 - (n_stored + n_dropped) as f64).abs();
    figure::note(TEST, "bodies neither stored nor counted, or both", difference, "bodies", 0.0);
    figure::note(TEST, "rest stored after the database is well", drained.as_secs_f64(), "s", 30.0);
    assert!(most - before < MAX_GROWTH, "from {before} to {most} MiB");
    assert_eq!(n_stored + n_dropped, N_REQUESTS, "sent = stored + dropped");
    assert!(n_early < n_stored, "{n_early} of {n_stored} were stored at once: the database was not slow");
    assert_eq!(n_dropped > 0, disk.is_some(), "{n_dropped} were dropped");
    assert!(counted < Duration::from_secs(10), "{counted:?}");
    assert_eq!((&seen["usage_dropped"], &seen["logs_dropped"]), (&json!(0), &json!(0)), "{seen}");
}

/// So many questions of that many words, one after the other and not faster than this; returns how many bytes went both ways.
async fn client(addr: SocketAddr, key: &str, words: &str, n_requests: usize, pace: Duration) -> usize {
    let mut connection = Connection::open(addr).await.expect("the node listens");
    let body = json!({"model": "m", "messages": [{"role": "user", "content": words}]}).to_string();
    let (mut n_bytes, mut beat) = (0, tokio::time::interval(pace));
    for _ in 0..n_requests {
        beat.tick().await;
        let reply = connection.send("POST", "/v1/chat/completions", key, body.clone()).await.expect("an answer");
        assert_eq!(reply.status, 200, "{}", reply.text());
        n_bytes += body.len() + reply.body.len();
    }
    n_bytes
}

/// Ten thousand keys that are none: each is refused and told why, nobody upstream hears of it, whoever has a good key does not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_wrong_keys() {
    const TEST: &str = "ten_thousand_wrong_keys";
    const N_KEYS: usize = 10_000;
    const N_CONNECTIONS: usize = 16;
    let Some(fleet) = Fleet::start(1, 1).await else { return };
    fleet.in_step().await;
    let node = &fleet.nodes[0];
    let addr = node.address("base_url");
    let load = Load::start(addr, &fleet.key, 20);
    load.answered(10).await;

    let ((before, _), worked) = (node.memory(), node.processor_seconds());
    let start = Instant::now();
    let guessers = (0..N_CONNECTIONS).map(|number| tokio::spawn(guess(addr, number, N_KEYS / N_CONNECTIONS)));
    let guessers: Vec<_> = guessers.collect();
    let mut n_refused = 0;
    for guesser in guessers {
        n_refused += guesser.await.expect("whoever guesses does not panic");
    }
    let took = start.elapsed();
    let worked = node.processor_seconds() - worked;
    load.answered(5).await;
    let tally = load.finish().await;
    let (_, most) = node.memory();

    figure::note(TEST, "wrong keys that were not refused", (N_KEYS - n_refused) as f64, "requests", 0.0);
    figure::note(TEST, "failed requests of a good key meanwhile", tally.failures.len() as f64, "requests", 0.0);
    figure::note(TEST, "growth of the node's memory, at its most", most - before, "MiB", 32.0);
    figure::note_at_least(TEST, "refusals", N_KEYS as f64 / took.as_secs_f64(), "a second", 0.0);
    figure::note_at_least(TEST, "refusals by processor time", N_KEYS as f64 / worked, "a second", 0.0);
    assert_eq!(n_refused, N_KEYS);
    assert!(tally.failures.is_empty(), "{tally:?}");
    assert!(most - before < 32.0, "from {before} to {most} MiB");
    // Nobody upstream heard of them, and nobody is charged.
    assert_eq!(fleet.upstream.requests().len(), tally.n_answered);
    fleet.usage_is(tally.n_answered).await;
    // In the log they are some records and a count, not a record each.
    let (n_kept, _) = eventually("each request to be in the log or counted", || async {
        let n_kept = fleet.count("SELECT count(*) FROM log_record");
        let n_dropped = fleet.seen(0).await["spool"]["logs_dropped"].as_u64().unwrap_or_default() as usize;
        (n_kept + n_dropped == tally.n_answered + N_KEYS).then_some(n_kept)
    })
    .await;
    let n_kept = n_kept - tally.n_answered;
    let bound = 51 + usize::try_from(took.as_millis() / 100).expect("a short time");
    figure::note(TEST, "records of them in the log", n_kept as f64, "records", bound as f64);
    assert!((1..=bound).contains(&n_kept), "{n_kept} records in {took:?}");
}

/// Asks with so many different keys; returns how many were refused, and told that there is no such key.
async fn guess(addr: SocketAddr, number: usize, n_keys: usize) -> usize {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "let me in"}]}).to_string();
    let (mut connection, mut n_refused) = (None, 0);
    for at in 0..n_keys {
        let mut open = match connection.take() {
            Some(open) => open,
            None => Connection::open(addr).await.expect("the node listens"),
        };
        let key = format!("sk-guess-{number:04}-{at:024}");
        let reply = open.send("POST", "/v1/chat/completions", &key, body.clone()).await.expect("an answer");
        n_refused += usize::from(reply.status == 401 && reply.json()["error"]["code"] == "invalid_api_key");
        // What a stranger sends is not read to its end, and then the connection is of no use any more.
        let closes = reply.headers.get("connection").is_some_and(|value| value == "close");
        connection = (!closes).then_some(open);
    }
    n_refused
}
