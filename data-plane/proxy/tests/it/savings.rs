//! What a request would have cost at the first target of its model: told with its usage, and the same in its receipt.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use gateway_fake::reply::openai;
use gateway_fake::{PATIENCE, Script, Upstream};
use gateway_proxy::config::{Drain, Options, Source};
use gateway_proxy::{Node, start};
use gateway_wire::v1::{Class, IngestAck, Item, Status, UsageEvent};
use serde_json::{Value, json};

use crate::control::{Control, Stream, document, identity};
use crate::gateway::{Answer, KEY, client, read, within};

/// A cheap provider and one at twice its price, models on both, and one model whose first target has no price.
fn topology(cheap: &Upstream, dear: &Upstream) -> Vec<Item> {
    let provider = |name: &str, upstream: &Upstream| {
        let url = format!("{}/v1", upstream.url());
        let provider = json!({"name": name, "kind": "openai-compatible", "base_url": url, "allow_private_networks": true,
            "breaker": {"enabled": false}});
        document("provider", name, &provider)
    };
    let price = |provider: &str, input: u32| {
        let price = json!({"provider": provider, "model": "up", "input_per_1m": input, "output_per_1m": 2 * input});
        document("price", provider, &price)
    };
    let (a, b) = (json!({"provider": "a", "model": "up"}), json!({"provider": "b", "model": "up"}));
    let unknown = json!({"provider": "a", "model": "unknown"});
    let model = |name: &str, targets: &[&Value], more: Value| {
        let mut model =
            json!({"name": name, "strategy": "priority", "targets": targets, "breaker": {"enabled": false}});
        model.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        document("model", name, &model)
    };
    let trial = json!({"experiment": {"name": "x", "variants": [{"name": "control", "weight": 0}, {"name": "t", "model": "only-b"}]}});
    vec![
        provider("a", cheap),
        provider("b", dear),
        price("a", 1000),
        price("b", 2000),
        model("both", &[&a, &b], json!({"retry": {"max_attempts": 2}})),
        model("dear-first", &[&b, &a], json!({"strategy": "cheapest"})),
        model("only-b", &[&b], json!({})),
        model("tried", &[&a], trial),
        model("unknown-first", &[&unknown, &b], json!({"retry": {"max_attempts": 2}})),
        model("beside", &[&a, &b], json!({"hedge": {"after": "50ms", "max_percent": 100}})),
        model("goes-on", &[&a, &b], json!({"continuation": {"enabled": true}})),
        document("setting", "settings", &json!({"receipts": true, "cache": {"enabled": true}})),
    ]
}

async fn node(topology: &[Item], dir: &Path) -> (Node, Control, Stream) {
    let mut control = Control::start();
    let options = Options {
        data_dir: Some(dir.to_owned()),
        listen: Some("127.0.0.1:0".parse().expect("an address")),
        workers: Some(1),
        drain: Drain { delay: Duration::ZERO, timeout: Duration::from_secs(5) },
        ..Options::new(Source::Fleet(control.endpoint()))
    };
    let feed = async {
        let (mut stream, _) = control.stream().await;
        stream.snapshot(Class::Topology, 1, topology).await;
        stream.snapshot(Class::Identity, 1, &identity(KEY)).await;
        for _ in 0..2 {
            let ack = stream.ack().await;
            assert_eq!((ack.status(), ack.revision), (Status::Applied, 1), "{ack:?}");
        }
        stream
    };
    let (node, stream) = tokio::join!(start(options), feed);
    let node = node.expect("the node starts");
    node.ready().await;
    (node, control, stream)
}

/// What is used is the same every time: seven tokens in, two out.
fn whole() -> Script {
    Script::json(200, &openai::reply("up", "one two", 7))
}

const CHEAP: i64 = 7 * 1_000_000 + 2 * 2_000_000;
const DEAR: i64 = 2 * CHEAP;

async fn ask(node: &Node, model: &str, stream: bool) -> Answer {
    let question = json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": model}]});
    let url = format!("http://{}/v1/chat/completions", node.addr());
    let answer = read(client().post(url).bearer_auth(KEY).json(&question)).await;
    assert_eq!(answer.status, 200, "{model}: {}", answer.text);
    answer
}

/// Settled events by request and number, until there are so many.
async fn reported(control: &mut Control, n_all: usize) -> BTreeMap<String, UsageEvent> {
    let mut events = BTreeMap::new();
    while events.len() < n_all {
        let (batch, acks) = tokio::time::timeout(PATIENCE, control.usage.recv()).await.expect("usage").expect("a node");
        let up_to_seq = batch.first_seq + batch.events.len() as u64 - 1;
        acks.send(Ok(IngestAck { up_to_seq, lane: batch.lane, boot_id: batch.boot_id })).await.expect("it listens");
        events.extend(batch.events.into_iter().map(|event| (event.id.clone(), event)));
    }
    assert_eq!(events.len(), n_all, "{events:?}");
    events
}

/// By request, once there are so many: they are written after what is charged.
async fn receipts(dir: &Path, n_all: usize) -> BTreeMap<String, Value> {
    within("the receipts", || async {
        let text = std::fs::read_to_string(dir.join("receipts.jsonl")).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let receipts = lines.map(|mut line| line["receipt"].take());
        let by_id = receipts.filter_map(|receipt| Some((receipt["id"].as_str()?.to_owned(), receipt)));
        Some(by_id.collect::<BTreeMap<_, _>>()).filter(|all| all.len() == n_all)
    })
    .await
}

fn id(answer: &Answer) -> String {
    answer.header("x-gateway-request-id").expect("an id").to_owned()
}

#[tokio::test]
async fn a_request_is_held_against_the_first_target_of_its_model() {
    let (cheap, dear) = (Upstream::start().await, Upstream::start().await);
    dear.respond_with(|_| whole());
    let dir = tempfile::tempdir().expect("a directory");
    let (node, mut control, _stream) = node(&topology(&cheap, &dear), dir.path()).await;
    let mut expected = Vec::new();
    for (model, cheap_says, cost, baseline) in [
        // The first one serves: nothing is saved. Then the same out of the cache: all of it is.
        ("both", Some(whole()), CHEAP, Some(CHEAP)),
        ("both", None, 0, Some(CHEAP)),
        // The cheaper one of two is chosen.
        ("dear-first", Some(whole()), CHEAP, Some(DEAR)),
        ("dear-first", None, 0, Some(DEAR)),
        // One target, which is the first.
        ("only-b", None, DEAR, Some(DEAR)),
        // A variant that serves in place of the model that was asked for.
        ("tried", None, DEAR, Some(CHEAP)),
        // Nobody knows what the first one charges, in the cache or not.
        ("unknown-first", Some(Script::json(500, &json!({}))), DEAR, None),
        ("unknown-first", None, 0, None),
    ] {
        if let Some(says) = cheap_says {
            cheap.push(says);
        }
        expected.push((model, id(&ask(&node, model, false).await), cost, baseline));
    }
    let events = reported(&mut control, expected.len()).await;
    let receipts = receipts(dir.path(), expected.len()).await;
    for (model, id, cost, baseline) in expected {
        let event = &events[&id];
        assert!(event.priced, "{model}: {event:?}");
        assert_eq!((event.cost_nano_usd, event.baseline_nano_usd), (cost, baseline), "{model}");
        let receipt = &receipts[&id];
        assert_eq!(receipt["baseline_nano_usd"], json!(baseline), "{model}: {receipt}");
        assert_eq!(receipt["saved_nano_usd"], json!(baseline.map(|baseline| baseline - cost)), "{model}: {receipt}");
    }
}

#[tokio::test]
async fn a_fallback_to_a_dearer_target_saves_less_than_nothing() {
    let (cheap, dear) = (Upstream::start().await, Upstream::start().await);
    cheap.respond_with(|_| Script::json(500, &openai::error("no", "not today")));
    dear.respond_with(|_| whole());
    let dir = tempfile::tempdir().expect("a directory");
    let (node, mut control, _stream) = node(&topology(&cheap, &dear), dir.path()).await;
    let ids = [id(&ask(&node, "both", false).await), id(&ask(&node, "both", false).await)];
    let events = reported(&mut control, 2).await;
    let receipts = receipts(dir.path(), 2).await;
    // The second is out of the cache, and is not worth more for having been made by a dear one.
    for (id, cost, saved) in [(&ids[0], DEAR, CHEAP - DEAR), (&ids[1], 0, CHEAP)] {
        let event = &events[id];
        assert_eq!((event.cost_nano_usd, event.baseline_nano_usd), (cost, Some(CHEAP)));
        assert_eq!(receipts[id]["saved_nano_usd"], json!(saved));
    }
}

/// Each usage event of a request has its own baseline, and its receipt the sum of them.
#[tokio::test]
async fn an_attempt_that_lost_would_not_have_been_made_and_halves_are_held_against_the_first_each() {
    let (cheap, dear) = (Upstream::start().await, Upstream::start().await);
    let dir = tempfile::tempdir().expect("a directory");
    let (node, mut control, _stream) = node(&topology(&cheap, &dear), dir.path()).await;
    cheap.push(Script::new().hang());
    dear.push(whole());
    let beside = id(&ask(&node, "beside", false).await);
    let events = openai::stream("up", "one two three", 7);
    cheap.push(events[..=2].iter().fold(Script::sse_head(), |script, event| script.chunk(event)).reset());
    dear.push(Script::sse(&openai::stream("up", "three", 11)));
    let halves = id(&ask(&node, "goes-on", true).await);
    let events = reported(&mut control, 4).await;
    let receipts = receipts(dir.path(), 2).await;
    let of =
        |id: &str| events.iter().filter(|(one, _)| one.starts_with(id)).map(|(_, event)| event).collect::<Vec<_>>();
    let (own, lost) = (&events[&beside], &events[&format!("{beside}-1")]);
    assert_eq!((own.cost_nano_usd, own.baseline_nano_usd), (DEAR, Some(CHEAP)));
    assert!(lost.cost_nano_usd > 0 && lost.baseline_nano_usd == Some(0), "{lost:?}");
    let (own, first) = (&events[&halves], &events[&format!("{halves}-1")]);
    assert_eq!((first.provider.as_str(), first.baseline_nano_usd), ("a", Some(first.cost_nano_usd)), "{first:?}");
    assert_eq!((own.provider.as_str(), own.baseline_nano_usd), ("b", Some(own.cost_nano_usd / 2)), "{own:?}");
    for id in [&beside, &halves] {
        let sum = |of_one: fn(&UsageEvent) -> i64| of(id).into_iter().map(of_one).sum::<i64>();
        let (cost, baseline) = (sum(|event| event.cost_nano_usd), sum(|event| event.baseline_nano_usd.expect("known")));
        let receipt = &receipts[id];
        assert_eq!((&receipt["cost_nano_usd"], &receipt["baseline_nano_usd"]), (&json!(cost), &json!(baseline)));
        assert_eq!(receipt["saved_nano_usd"], json!(baseline - cost));
    }
}
