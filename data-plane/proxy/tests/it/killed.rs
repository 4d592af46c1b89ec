//! A node that is killed with a request under way: who is charged for it is who was being asked, by what the spool holds in that moment.

use std::path::Path;
use std::time::Duration;

use gateway_fake::reply::openai;
use gateway_fake::{PATIENCE, Script, Upstream};
use gateway_proxy::config::{Drain, Options, Source};
use gateway_proxy::{Node, start};
use gateway_wire::v1::{Class, IngestAck, Item, SettledBy, UsageEvent};
use serde_json::{Value, json};

use crate::control::{Control, Stream, document, identity};
use crate::gateway::{KEY, UPSTREAM_KEY, client};

/// A node with its control plane.
struct World {
    node: Node,
    control: Control,
    _stream: Stream,
}

// === impl World ===

impl World {
    async fn start(topology: &[Item], dir: &Path) -> Self {
        let mut control = Control::start();
        let options = Options {
            data_dir: Some(dir.to_owned()),
            listen: Some("127.0.0.1:0".parse().expect("an address")),
            workers: Some(1),
            drain: Drain { delay: Duration::ZERO, timeout: Duration::ZERO },
            ..Options::new(Source::Fleet(control.endpoint()))
        };
        let feed = async {
            let (stream, _) = control.stream().await;
            stream.snapshot(Class::Topology, 1, topology).await;
            stream.snapshot(Class::Identity, 1, &identity(KEY)).await;
            stream
        };
        let (node, stream) = tokio::join!(start(options), feed);
        let node = node.expect("the node starts");
        node.ready().await;
        Self { node, control, _stream: stream }
    }

    /// Ends it, with whatever it has to say.
    async fn end(mut self) {
        self.control.take_usage();
        self.node.shutdown().await;
    }

    /// So many events.
    async fn told(&mut self, n: usize) -> Vec<UsageEvent> {
        let mut events = Vec::new();
        while events.len() < n {
            let next = tokio::time::timeout(PATIENCE, self.control.usage.recv()).await;
            let (batch, acks) = next.expect("usage").expect("a node");
            let up_to_seq = batch.first_seq + batch.events.len() as u64 - 1;
            let ack = IngestAck { up_to_seq, lane: batch.lane, boot_id: batch.boot_id };
            acks.send(Ok(ack)).await.expect("the node listens");
            events.extend(batch.events);
        }
        assert_eq!(events.len(), n, "{events:?}");
        events
    }
}

/// `a` and, where that fails, `b`; those of them that are named have a budget of their own. A reservation costs the same of either.
fn topology((a, b): (&Upstream, &Upstream), funded: &[&str], of_model: &Value) -> Vec<Item> {
    let mut items = Vec::new();
    for (name, upstream) in [("a", a), ("b", b)] {
        let provider = json!({"name": name, "kind": "openai-compatible", "base_url": format!("{}/v1", upstream.url()),
            "allow_private_networks": true, "breaker": {"enabled": false}});
        let mut provider = document("provider", name, &provider);
        provider.secrets.insert("api_key".to_owned(), UPSTREAM_KEY.as_bytes().to_vec());
        let price = json!({"provider": name, "model": "x", "input_per_1m": 1000, "output_per_1m": 1000});
        items.extend([provider, document("price", &format!("price-{name}"), &price)]);
    }
    for name in funded {
        let budget = json!({"name": format!("of-{name}"), "amount_usd": 1000, "window": "monthly",
            "on_exhausted": "alert", "match": {"credentials": [name]}});
        items.push(document("budget", &format!("budget-{name}"), &budget));
    }
    let mut model = json!({"name": "m", "strategy": "priority", "retry": {"max_attempts": 2},
        "targets": [{"provider": "a", "model": "x"}, {"provider": "b", "model": "x"}]});
    model.as_object_mut().expect("an object").extend(of_model.as_object().expect("an object").clone());
    items.push(document("model", "m", &model));
    items
}

/// What a process that begins with what another one has on its disk in this moment tells of it.
async fn recovered(topology: &[Item], dir: &Path, n: usize) -> Vec<UsageEvent> {
    let copy = tempfile::tempdir().expect("a directory");
    let spool = copy.path().join("spool");
    std::fs::create_dir(&spool).expect("a folder");
    for entry in std::fs::read_dir(dir.join("spool")).expect("a spool") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), spool.join(entry.file_name())).expect("a copy");
    }
    let mut world = World::start(topology, copy.path()).await;
    let events = world.told(n).await;
    world.end().await;
    events
}

fn charged(event: &UsageEvent) -> Vec<&str> {
    event.charges.iter().map(|charge| charge.budget.as_str()).collect()
}

/// Where `a` has failed, in each of these ways, and `b` is being asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_being_asked_is_charged_and_nobody_who_failed() {
    let cases: [(&[&str], &[&str]); 4] =
        [(&["a"], &[]), (&["b"], &["budget/of-b"]), (&["a", "b"], &["budget/of-b"]), (&[], &[])];
    for (funded, expected) in cases {
        let (a, b) = (Upstream::start().await, Upstream::start().await);
        a.push(Script::json(500, &openai::error("no", "not today")));
        b.push(Script::new().hang());
        let (topology, dir) = (topology((&a, &b), funded, &json!({})), tempfile::tempdir().expect("a directory"));
        let world = World::start(&topology, dir.path()).await;
        let question = json!({"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]});
        let url = format!("http://{}/v1/chat/completions", world.node.addr());
        let asked = tokio::spawn(client().post(url).bearer_auth(KEY).json(&question).send());
        b.request(0).await;
        let event = recovered(&topology, dir.path(), 1).await.remove(0);
        assert_eq!((event.settled_by(), charged(&event).as_slice()), (SettledBy::Recovery, expected), "{funded:?}");
        if !funded.is_empty() {
            assert_eq!(event.provider, "b", "{funded:?}: what it costs is what it would have cost there");
        }
        asked.abort();
        world.end().await;
    }
}

/// Two attempts at once: each is paid for by its own credential, and by both where the process dies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_attempts_at_once_both_are_charged() {
    for (funded, expected) in [
        (vec!["a"], vec!["budget/of-a"]),
        (vec!["b"], vec!["budget/of-b"]),
        (vec!["a", "b"], vec!["budget/of-a", "budget/of-b"]),
    ] {
        let (a, b) = (Upstream::start().await, Upstream::start().await);
        a.push(Script::new().hang());
        b.push(Script::new().hang());
        let hedged = json!({"hedge": {"after": "20ms", "max_percent": 100}});
        let (topology, dir) = (topology((&a, &b), &funded, &hedged), tempfile::tempdir().expect("a directory"));
        let world = World::start(&topology, dir.path()).await;
        let question = json!({"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]});
        let url = format!("http://{}/v1/chat/completions", world.node.addr());
        let asked = tokio::spawn(client().post(url).bearer_auth(KEY).json(&question).send());
        tokio::join!(a.request(0), b.request(0));
        let event = recovered(&topology, dir.path(), 1).await.remove(0);
        assert_eq!((event.settled_by(), charged(&event)), (SettledBy::Recovery, expected), "{funded:?}");
        asked.abort();
        world.end().await;
    }
}

/// Who broke off is charged for what it told by an event of its own, once somebody goes on; until then by the request's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_broke_off_is_charged_once() {
    for (goes_on, n_events) in [(false, 1), (true, 2)] {
        let (a, b) = (Upstream::start().await, Upstream::start().await);
        let events = openai::stream("x", "one two three four", 7);
        let begun = |n: usize| events[..n].iter().fold(Script::sse_head(), |script, event| script.chunk(event));
        a.push(begun(4).reset());
        b.push(if goes_on { begun(3).hang() } else { Script::new().hang() });
        let continued = json!({"continuation": {"enabled": true}});
        let (topology, dir) = (topology((&a, &b), &["a"], &continued), tempfile::tempdir().expect("a directory"));
        let world = World::start(&topology, dir.path()).await;
        let question = json!({"model": "m", "max_tokens": 50, "stream": true,
            "messages": [{"role": "user", "content": "hi"}]});
        let url = format!("http://{}/v1/chat/completions", world.node.addr());
        let mut response = client().post(url).bearer_auth(KEY).json(&question).send().await.expect("a head");
        b.request(0).await;
        let mut read = Vec::new();
        while goes_on && !String::from_utf8_lossy(&read).contains("x-gateway-continued-by") {
            read.extend(response.chunk().await.expect("a piece").expect("more"));
        }
        let events = recovered(&topology, dir.path(), n_events).await;
        let charged: Vec<_> = events.iter().flat_map(charged).collect();
        assert_eq!(charged, ["budget/of-a"], "{events:?}");
        let open = events.iter().find(|event| event.settled_by() == SettledBy::Recovery).expect("an open one");
        assert_eq!(open.charges.is_empty(), goes_on, "{open:?}");
        drop(response);
        world.end().await;
    }
}
