//! SIGKILL of a node with streams open and a backlog that nobody has collected yet.

use gateway_testing::figure;
use serde_json::Value;

use crate::eventually;
use crate::load::Load;
use crate::streams::Streams;
use crate::upstream::Question;
use crate::world::Fleet;

const N_STREAMS: usize = 200;
/// A tenth of a second's worth of log records may be lost, at the rate of the load.
const MAX_LOST: f64 = 10.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_mid_stream() {
    const TEST: &str = "sigkill_mid_stream";
    let Some(mut fleet) = Fleet::start(1, 1).await else { return };
    fleet.in_step().await;
    // Nobody collects from here on.
    fleet.control[0].kill().await;
    let address = fleet.nodes[0].address("base_url");
    let load = Load::start(address, &fleet.key, 100);
    load.answered(300).await;
    let tally = load.finish().await;
    let streams = Streams::open(address, &fleet.key, N_STREAMS, Question::Held).await;
    fleet.gate.reached(N_STREAMS).await;
    fleet.nodes[0].kill().await;
    let n_cut = streams.cut(2).await.len();

    fleet.nodes[0].start().await;
    let again = Load::start(fleet.nodes[0].address("base_url"), &fleet.key, 20);
    again.answered(20).await;
    let again = again.finish().await;
    fleet.control[0].start().await;
    fleet.in_step().await;
    let n_requests = tally.n_answered + N_STREAMS + again.n_answered;
    let drained = fleet.usage_is(n_requests).await;
    let n_recovered = fleet.count("SELECT count(*) FROM usage_event WHERE settled_by = 'recovery'");
    // A log record may be lost; then it is counted.
    let (n_dropped, _) = eventually("every log record to be stored or counted as lost", || async {
        let n_stored = fleet.count("SELECT count(*) FROM log_record");
        let n_dropped =
            fleet.admin("GET", "/admin/nodes", Value::Null).await["data"][0]["spool"]["logs_dropped"].as_u64();
        let n_dropped = n_dropped.unwrap_or_default() as usize;
        (n_stored + n_dropped == n_requests).then_some(n_dropped)
    })
    .await;

    figure::note(TEST, "failed requests", (tally.failures.len() + again.failures.len()) as f64, "requests", 0.0);
    fleet.note_usage(TEST, n_requests);
    figure::note(TEST, "open streams not charged by estimate", N_STREAMS.abs_diff(n_recovered) as f64, "streams", 0.0);
    figure::note(TEST, "log records lost and counted", n_dropped as f64, "records", MAX_LOST);
    figure::note(TEST, "usage stored after the control plane is back", drained.as_secs_f64(), "s", 60.0);
    assert!(tally.failures.is_empty() && again.failures.is_empty(), "{tally:?} {again:?}");
    assert_eq!(n_cut, N_STREAMS, "a cut stream must not read as success");
    assert!(n_dropped as f64 <= MAX_LOST, "{n_dropped} log records were lost");
    assert_eq!(n_recovered, N_STREAMS, "what was open is charged by estimate");
}
