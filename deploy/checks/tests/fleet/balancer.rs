//! Two nodes behind the balancer configuration that we ship, and three. Any node is killed or asked to stop: no client that asks
//! afterwards sees anything of it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gateway_testing::{Haproxy, figure, free_port};

use crate::load::Load;
use crate::streams::Streams;
use crate::upstream::Question;
use crate::world::{Fleet, repository};
use crate::{eventually, http};

const N_STREAMS: usize = 10;
/// Streams outlast the node that is asked to stop: from before the signal until after its listener is closed.
const WORDS: usize = 5;
const PACE: Duration = Duration::from_secs(1);

/// The balancer and where it listens.
#[derive(Debug)]
pub(crate) struct Balancer {
    _haproxy: Haproxy,
    pub(crate) public: SocketAddr,
    stats: SocketAddr,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_behind_haproxy() {
    const TEST: &str = "two_nodes_behind_haproxy";
    let Some(mut fleet) = Fleet::start(1, 2).await else { return };
    let Some(balancer) = Balancer::start(&fleet) else { return };
    balancer.until_up(2).await;
    let load = Load::start(balancer.public, &fleet.key, 50);
    load.answered(50).await;
    // Each client waits for its answer before it asks again, so that a kill can cut one request of each, however slow the machine is.
    let most_cut = 2 * load.n_clients();

    let mut killed = Vec::new();
    for node in 0..2 {
        let before = Instant::now();
        fleet.nodes[node].kill().await;
        killed.push((before, Instant::now()));
        load.answered(100).await;
        fleet.nodes[node].start().await;
        balancer.until_up(2).await;
    }
    let stopping = Instant::now();
    let mut cut = Vec::new();
    let mut slowest = Duration::ZERO;
    for node in 0..2 {
        let streams = Streams::open(balancer.public, &fleet.key, N_STREAMS, Question::Paced(WORDS, PACE)).await;
        let asked = Instant::now();
        fleet.nodes[node].stop().await;
        slowest = slowest.max(asked.elapsed());
        cut.extend(streams.cut(WORDS).await);
        fleet.nodes[node].start().await;
        balancer.until_up(2).await;
    }
    let tally = load.finish().await;

    // A request that a node was answering when it was killed is cut, and was sent before.
    let is_cut =
        |at: &Instant| killed.iter().any(|(before, after)| at >= &(*before - Duration::from_secs(1)) && at <= after);
    let (old, new): (Vec<_>, Vec<_>) = tally.failures.iter().partition(|failure| is_cut(&failure.at));
    let n_stopped = tally.failed_since(stopping).len();
    figure::note(TEST, "failed new requests", new.len() as f64, "requests", 0.0);
    figure::note(TEST, "requests cut by two kills", old.len() as f64, "requests", most_cut as f64);
    figure::note(TEST, "failed requests while nodes stop in order", n_stopped as f64, "requests", 0.0);
    figure::note(TEST, "streams cut while nodes stop in order", cut.len() as f64, "streams", 0.0);
    figure::note(TEST, "slowest stop with open streams", slowest.as_secs_f64(), "s", 30.0);
    assert!(new.is_empty(), "{new:?}");
    assert!(old.len() <= most_cut, "{old:?}");
    assert!(cut.is_empty(), "{cut:?}");
    assert!(slowest < Duration::from_secs(30), "{slowest:?}");
}

/// Three nodes are restarted one after the other, as an upgrade does it: clients see nothing of it, whose streams are open or who ask
/// meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drain_sigterm() {
    const TEST: &str = "drain_sigterm";
    /// Streams of half a minute for the first, of a few seconds for the others.
    const WORDS: [usize; 3] = [15, 4, 4];
    const PACE: Duration = Duration::from_secs(2);
    let Some(mut fleet) = Fleet::start(1, 3).await else { return };
    let Some(balancer) = Balancer::start(&fleet) else { return };
    balancer.until_up(3).await;
    let load = Load::start(balancer.public, &fleet.key, 50);
    load.answered(50).await;
    let mut cut = Vec::new();
    for (node, n_words) in WORDS.into_iter().enumerate() {
        let streams = Streams::open(balancer.public, &fleet.key, 3 * N_STREAMS, Question::Paced(n_words, PACE)).await;
        fleet.nodes[node].stop().await;
        fleet.nodes[node].start().await;
        balancer.until_up(3).await;
        cut.extend(streams.cut(n_words).await);
    }
    let tally = load.finish().await;
    figure::note(
        TEST,
        "failed requests in a rolling restart of three nodes",
        tally.failures.len() as f64,
        "requests",
        0.0,
    );
    figure::note(TEST, "streams cut in a rolling restart of three nodes", cut.len() as f64, "streams", 0.0);
    assert!(tally.failures.is_empty(), "{:?}", tally.failures);
    assert!(cut.is_empty(), "{cut:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_api_is_under_the_public_name() {
    let Some(mut fleet) = Fleet::start(2, 1).await else { return };
    let Some(balancer) = Balancer::start(&fleet) else { return };
    // Behind two control planes, either may go.
    for control in [0, 1] {
        eventually("the admin API through the balancer", || async {
            let reply =
                http::send(balancer.public, "GET", "/admin/status", crate::world::MASTER_KEY, String::new()).await;
            reply.ok().filter(|reply| reply.status == 200 && reply.json()["version"].is_string())
        })
        .await;
        fleet.control[control].kill().await;
        eventually("the other control plane", || async {
            let reply =
                http::send(balancer.public, "GET", "/admin/status", crate::world::MASTER_KEY, String::new()).await;
            reply.ok().filter(|reply| reply.status == 200)
        })
        .await;
        fleet.control[control].start().await;
    }
    for (path, key, expected) in [
        ("/admin/status", fleet.key.as_str(), 403),
        ("/metrics", crate::world::MASTER_KEY, 404),
        ("/administrator", fleet.key.as_str(), 404),
        ("/v1/models", fleet.key.as_str(), 200),
    ] {
        let reply = http::send(balancer.public, "GET", path, key, String::new()).await.expect("a reply");
        assert_eq!(reply.status, expected, "{path}: {}", reply.text());
    }
    fleet.nodes[0].kill().await;
    let (reply, _) = eventually("no node to be left", || async {
        let reply = http::send(balancer.public, "GET", "/v1/models", &fleet.key, String::new()).await.ok()?;
        (reply.status == 503).then_some(reply)
    })
    .await;
    assert_eq!(reply.json()["error"]["code"], "no_node", "clients of the API can read it: {}", reply.text());
}

// === impl Balancer ===

impl Balancer {
    /// The shipped configuration in front of the fleet's nodes and control planes.
    pub(crate) fn start(fleet: &Fleet) -> Option<Self> {
        let [public, stats] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
        let at = |process: Option<&crate::process::Process>, field: &str| {
            // Where the test has no second one, nothing listens.
            process.map_or_else(crate::world::loopback, |process| process.address(field).to_string())
        };
        let mut variables = vec![
            ("GATEWAY_BIND", public.to_string()),
            ("GATEWAY_STATS_BIND", stats.to_string()),
            ("GATEWAY_NODE_1", at(fleet.nodes.first(), "base_url")),
            ("GATEWAY_NODE_2", at(fleet.nodes.get(1), "base_url")),
            ("GATEWAY_CONTROL_1", at(fleet.control.first(), "admin_url")),
            ("GATEWAY_CONTROL_2", at(fleet.control.get(1), "admin_url")),
        ];
        variables.extend(fleet.nodes.get(2).map(|third| ("GATEWAY_NODE_3", third.address("base_url").to_string())));
        let config = repository("deploy/haproxy/haproxy.cfg");
        let haproxy = tokio::task::block_in_place(|| Haproxy::launch(&config, &variables, public))?;
        Some(Self { _haproxy: haproxy, public, stats })
    }

    /// Waits until so many nodes are in rotation.
    pub(crate) async fn until_up(&self, n: usize) {
        eventually(&format!("{n} nodes to be in rotation"), || async {
            let table = http::send(self.stats, "GET", "/;csv", "", String::new()).await.ok()?.text();
            let rows = table.lines().filter(|row| row.starts_with("nodes,node"));
            (rows.filter(|row| row.split(',').nth(17) == Some("UP")).count() == n).then_some(())
        })
        .await;
    }
}
