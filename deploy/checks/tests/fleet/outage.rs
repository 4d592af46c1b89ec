//! Everything behind the nodes is gone: control plane and database at once, or the database alone. What clients see of it is
//! nothing; what was used meanwhile is accounted for afterwards, to the request.

use std::time::{Duration, Instant};

use gateway_testing::figure;
use serde_json::{Value, json};

use crate::eventually;
use crate::load::{Load, Tally};
use crate::streams::Streams;
use crate::upstream::Question;
use crate::world::Fleet;

/// How long the control plane and the database are away.
const OUTAGE: Duration = Duration::from_secs(60);
/// How long the database alone is away. Stands for hours: the nodes and the control plane do nothing in them that they do not do
/// in this time.
const DATABASE_OUTAGE: Duration = Duration::from_secs(20);
/// Streams begin before an outage and last longer than it.
const WORDS: usize = 75;
const PACE: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cp_kill_under_load() {
    const TEST: &str = "cp_kill_under_load";
    const N_STREAMS: usize = 50;
    let Some(mut fleet) = Fleet::start(1, 2).await else { return };
    fleet.in_step().await;
    let addresses = [fleet.nodes[0].address("base_url"), fleet.nodes[1].address("base_url")];
    let mut streams = Vec::new();
    for address in addresses {
        streams.push(Streams::open(address, &fleet.key, N_STREAMS / 2, Question::Paced(WORDS, PACE)).await);
    }
    let loads = addresses.map(|address| Load::start(address, &fleet.key, 100));
    loads[0].answered(100).await;

    let start = Instant::now();
    fleet.control[0].kill().await;
    fleet.stop_postgres();
    tokio::time::sleep(OUTAGE).await;
    fleet.start_postgres();
    fleet.control[0].start().await;
    let back = fleet.in_step().await;
    let mut tally = Tally::default();
    for load in loads {
        tally.add(load.finish().await);
    }
    let per_second = tally.n_answered as f64 / start.elapsed().as_secs_f64();
    let mut cut = Vec::new();
    for streams in streams {
        cut.extend(streams.cut(WORDS).await);
    }
    let n_requests = tally.n_answered + tally.failures.len() + N_STREAMS;
    let drained = fleet.usage_is(n_requests).await;
    fleet.note_usage(TEST, n_requests);

    figure::note(TEST, "failed requests", tally.failures.len() as f64, "requests", 0.0);
    figure::note(TEST, "cut streams", cut.len() as f64, "streams", 0.0);
    figure::note(TEST, "nodes connected and current after the restart", back.as_secs_f64(), "s", 35.0);
    figure::note(TEST, "usage stored after that", drained.as_secs_f64(), "s", 60.0);
    assert!(tally.failures.is_empty(), "{:?}", tally.failures);
    assert!(cut.is_empty(), "{cut:?}");
    assert!(back < Duration::from_secs(35), "{back:?}");
    assert!(drained < Duration::from_secs(60), "{drained:?}");
    assert!(per_second > 150.0, "the load was {per_second} requests/s: too little to show anything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_restart() {
    const TEST: &str = "postgres_restart";
    let Some(mut fleet) = Fleet::start(1, 2).await else { return };
    fleet.in_step().await;
    let load = Load::start(fleet.nodes[0].address("base_url"), &fleet.key, 50);
    let mut n_restarts = 0;
    while n_restarts < 3 {
        load.answered(100).await;
        fleet.stop_postgres();
        fleet.start_postgres();
        n_restarts += 1;
    }
    // The control plane has found its database again when it takes a write.
    let (_, writes) =
        eventually("a write", || async { write(&fleet, "after").await.ok().filter(|&status| status < 300) }).await;
    let tally = load.finish().await;
    let n_requests = tally.n_answered + tally.failures.len();
    let drained = fleet.usage_is(n_requests).await;
    fleet.note_usage(TEST, n_requests);
    fleet.in_step().await;

    figure::note(TEST, "failed requests", tally.failures.len() as f64, "requests", 0.0);
    figure::note(TEST, "first write after the restart", writes.as_secs_f64(), "s", 10.0);
    figure::note(TEST, "usage stored after that", drained.as_secs_f64(), "s", 60.0);
    assert!(tally.failures.is_empty(), "{:?}", tally.failures);
    assert!(writes < Duration::from_secs(10), "{writes:?}");
    assert!(drained < Duration::from_secs(60), "{drained:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_down() {
    const TEST: &str = "postgres_down";
    let Some(mut fleet) = Fleet::start(2, 2).await else { return };
    fleet.in_step().await;
    let load = Load::start(fleet.nodes[0].address("base_url"), &fleet.key, 50);
    load.answered(50).await;
    fleet.stop_postgres();
    let start = Instant::now();
    let mut slowest = Duration::ZERO;
    while start.elapsed() < DATABASE_OUTAGE {
        let asked = Instant::now();
        let reply = fleet.ask(0, "POST", "/admin/providers", provider("during")).await.expect("the admin API answers");
        slowest = slowest.max(asked.elapsed());
        assert_eq!(reply.status, 503, "{}", reply.text());
        assert!(reply.headers.contains_key("retry-after"), "{:?}", reply.headers);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    fleet.start_postgres();
    let (_, writes) =
        eventually("a write", || async { write(&fleet, "after").await.ok().filter(|&status| status < 300) }).await;
    let tally = load.finish().await;
    let n_requests = tally.n_answered + tally.failures.len();
    let drained = fleet.usage_is(n_requests).await;
    fleet.note_usage(TEST, n_requests);
    fleet.in_step().await;

    figure::note(TEST, "failed requests", tally.failures.len() as f64, "requests", 0.0);
    figure::note(TEST, "slowest 503 of the admin API", slowest.as_secs_f64(), "s", 15.0);
    figure::note(TEST, "first write after the outage", writes.as_secs_f64(), "s", 10.0);
    figure::note(TEST, "usage stored after that", drained.as_secs_f64(), "s", 60.0);
    assert!(tally.failures.is_empty(), "{:?}", tally.failures);
    assert!(slowest < Duration::from_secs(15), "{slowest:?}");
    assert!(writes < Duration::from_secs(10), "{writes:?}");
    assert!(drained < Duration::from_secs(60), "{drained:?}");
}

/// The status of a write.
async fn write(fleet: &Fleet, name: &str) -> Result<u16, String> {
    Ok(fleet.ask(0, "POST", "/admin/providers", provider(name)).await?.status)
}

fn provider(name: &str) -> Value {
    json!({"name": name, "kind": "openai-compatible", "base_url": "http://127.0.0.1:9/v1", "api_key": "k",
        "allow_private_networks": true})
}
