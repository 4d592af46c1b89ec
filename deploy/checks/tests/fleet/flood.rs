//! More than can be taken: keys that nobody was ever given. What a node has in memory is counted from outside, of the node's own process.

use std::net::SocketAddr;
use std::time::Instant;

use gateway_testing::figure;
use serde_json::json;

use crate::eventually;
use crate::http::Connection;
use crate::load::Load;
use crate::world::Fleet;

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
    figure::note_at_least(TEST, "refusals", N_KEYS as f64 / took.as_secs_f64(), "a second", 250.0);
    figure::note_at_least(TEST, "refusals by processor time", N_KEYS as f64 / worked, "a second", 500.0);
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
