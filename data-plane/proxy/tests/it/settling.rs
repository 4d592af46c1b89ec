//! What batches at a provider cost: counted when they are over, once, for the key that made them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gateway_engine::identity::Peppers;
use gateway_fake::{PATIENCE, Script, Upstream};
use gateway_proxy::config::{Drain, Options, Source};
use gateway_proxy::{Node, start};
use gateway_wire::v1::item::Body;
use gateway_wire::v1::{Class, Item, Key, UsageEvent};
use serde_json::{Value, json};

use crate::control::{Control, Stream, document, identity};
use crate::gateway::{Gateway, KEY, UPSTREAM_KEY, client, read};
use crate::pass::{PLAIN, asked, config};

/// A vendor with one batch, which is over once `is_over` says so; `told` is what it says of it then.
fn vendor(upstream: &Upstream, is_over: &Arc<AtomicBool>, told: Value, answers: &'static str) {
    let (is_over, asked) = (Arc::clone(is_over), std::sync::Mutex::new(Value::Null));
    upstream.respond_with(move |received| {
        let path = received.target.split('?').next().unwrap_or_default().replace("//", "/");
        let path = path.as_str();
        if (received.method.as_str(), path) == ("POST", "/v1/batches") {
            *asked.lock().expect("not poisoned") = received.json();
        }
        let asked = asked.lock().expect("not poisoned").clone();
        let mut batch = json!({"id": "batch_1", "object": "batch", "endpoint": "/v1/chat/completions",
            "input_file_id": asked["input_file_id"], "metadata": asked["metadata"], "status": "in_progress",
            "created_at": now(), "output_file_id": null});
        if is_over.load(Ordering::SeqCst) {
            batch.as_object_mut().expect("an object").extend(told.as_object().expect("an object").clone());
        }
        match (received.method.as_str(), path) {
            ("POST", "/v1/files") => Script::json(200, &json!({"id": "file-1", "object": "file"})),
            ("GET", "/v1/files/file-2/content") => Script::text(200, "application/octet-stream", answers),
            ("GET", "/v1/batches") => Script::json(200, &json!({"object": "list", "data": [batch]})),
            (_, path) if path.starts_with("/v1/batches") => Script::json(200, &batch),
            _ => Script::json(404, &json!({"error": {"message": "no such object"}})),
        }
    });
}

/// The beginning of today, so that two asks tell the same.
fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    i64::try_from(now).expect("before the year 292 billion") / 86_400 * 86_400
}

fn over() -> Value {
    json!({"status": "completed", "completed_at": now() + 10, "model": "gpt-x", "output_file_id": "file-2",
        "request_counts": {"total": 2, "completed": 2, "failed": 0},
        "usage": {"input_tokens": 1000, "input_tokens_details": {"cached_tokens": 400}, "output_tokens": 100,
            "output_tokens_details": {"reasoning_tokens": 10}, "total_tokens": 1100}})
}

/// Of models without a price of their own for batches, half of the ordinary price.
const PRICE: &str =
    "prices:\n  - {provider: up, model: gpt-x, input_per_1m: 2, output_per_1m: 8, cache_read_per_1m: 0.5}\n";

fn asks(file: &str) -> Option<Value> {
    Some(json!({"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}))
}

/// The records of settlements among all.
async fn settled(gateway: &Gateway, n: usize, n_all: usize) -> Vec<Value> {
    let records = gateway.records(n_all).await;
    let settled: Vec<Value> = records.into_iter().filter(|record| record["dialect"] == "batch").collect();
    assert_eq!(settled.len(), n, "{settled:?}");
    settled
}

#[tokio::test]
async fn a_batch_is_charged_once_to_the_key_that_made_it() {
    let (upstream, is_over) = (Upstream::start().await, Arc::new(AtomicBool::new(false)));
    vendor(&upstream, &is_over, over(), "");
    let gateway = Gateway::start(&config("openai", &format!("{}/v1", upstream.url()), PRICE)).await;
    // The account's own view, and the same in the vendor's words.
    let made = asked(&gateway, KEY, "POST", "/proxy/up/v1//batches", asks("file-1")).await;
    assert_eq!((made.status, &made.json()["metadata"]), (200, &Value::Null), "{}", made.text);
    let sent = upstream.request(0).await.json();
    assert!(sent["metadata"]["gateway_key"].is_string(), "{sent}");
    for path in ["/v1/batches/batch_1", "/v1/batches"] {
        assert_eq!(asked(&gateway, KEY, "GET", path, None).await.status, 200);
    }
    settled(&gateway, 0, 3).await;
    is_over.store(true, Ordering::SeqCst);
    for path in ["/v1/batches", "/v1/batches/batch_1", "/proxy/up/v1/batches/batch_1", "/v1/batches?limit=2"] {
        let told = asked(&gateway, KEY, "GET", path, None).await;
        assert!(told.status == 200 && !told.text.contains("gateway_key"), "{path}: {}", told.text);
    }
    let record = settled(&gateway, 1, 8).await.remove(0);
    assert_eq!([&record["model"], &record["upstream_model"], &record["provider"]], ["proxy:up", "gpt-x", "up"]);
    assert_eq!([&record["key_name"], &record["settled_by"], &record["ending"]], ["owner", "exact", "finished"]);
    let tokens = ["input", "cache_read", "output", "reasoning"].map(|class| record["tokens"][class].as_u64());
    assert_eq!(tokens, [Some(600), Some(400), Some(100), Some(10)], "{record}");
    // Half of 600 × 2 + 400 × 0.5 + 100 × 8 dollars per million.
    assert_eq!(record["cost_nano_usd"], 1_100_000, "{record}");
    assert_eq!(record["started_unix_ms"], now() * 1000, "{record}");
    let refused = json!({"input_file_id": "file-1", "metadata": {"gateway_key": "vk_other"}});
    assert_eq!(asked(&gateway, KEY, "POST", "/v1/batches", Some(refused)).await.status, 400);
}

/// What was made by somebody else, in the vendor's own console say, is nobody's here.
#[tokio::test]
async fn a_batch_that_was_not_made_here_is_not_charged() {
    let (upstream, is_over) = (Upstream::start().await, Arc::new(AtomicBool::new(true)));
    let mut forged = over();
    forged["input_file_id"] = json!("file-9");
    forged["metadata"] = json!({"gateway_key": "vk_1~up~0123456789abcdef0123456789abcdef"});
    vendor(&upstream, &is_over, forged, "");
    let gateway = Gateway::start(&config("openai", &format!("{}/v1", upstream.url()), PRICE)).await;
    for path in ["/v1/batches", "/v1/batches/batch_1"] {
        assert_eq!(asked(&gateway, KEY, "GET", path, None).await.status, 200);
    }
    settled(&gateway, 0, 2).await;
}

/// A vendor whose batches do not say what they used: the answers do, whatever became of the rest.
#[tokio::test]
async fn answers_tell_what_a_batch_used() {
    const ANSWERS: &str = concat!(
        r#"{"custom_id":"a","response":{"status_code":200,"body":{"model":"gpt-x","usage":{"prompt_tokens":10,"completion_tokens":5}}}}"#,
        "\n",
        r#"{"custom_id":"b","response":{"status_code":200,"body":{"model":"gpt-y","usage":{"prompt_tokens":1,"completion_tokens":1}}}}"#,
        "\n",
        r#"{"custom_id":"c","response":{"status_code":200,"body":{"model":"gpt-x","usage":{"prompt_tokens":10,"completion_tokens":5}}}}"#,
    );
    for (status, ended_at) in [("completed", "completed_at"), ("expired", "expired_at"), ("cancelled", "cancelled_at")]
    {
        let (upstream, is_over) = (Upstream::start().await, Arc::new(AtomicBool::new(true)));
        let told = json!({"status": status, ended_at: now() + 10, "output_file_id": "file-2"});
        vendor(&upstream, &is_over, told, ANSWERS);
        let gateway = Gateway::start(&config("openai", &format!("{}/v1", upstream.url()), PRICE)).await;
        // Seen by the tenant that made it alone, whose id for it tells whose it is.
        let made = asked(&gateway, PLAIN, "POST", "/v1/files", Some(json!({}))).await;
        let file = made.json()["id"].as_str().expect("an id").to_owned();
        let made = asked(&gateway, PLAIN, "POST", "/v1/batches", asks(&file)).await;
        assert!(made.json()["id"].as_str().expect("an id").starts_with("batch_1~up~"), "{}", made.text);
        let used: BTreeMap<String, (u64, u64)> = settled(&gateway, 2, 4)
            .await
            .into_iter()
            .map(|record| {
                let tokens = ["input", "output"].map(|class| record["tokens"][class].as_u64().expect("a number"));
                (record["upstream_model"].as_str().expect("a name").to_owned(), tokens.into())
            })
            .collect();
        assert_eq!(used, BTreeMap::from([("gpt-x".to_owned(), (20, 10)), ("gpt-y".to_owned(), (1, 1))]), "{status}");
    }
}

fn topology(upstream: &Upstream) -> Vec<Item> {
    let provider = json!({"name": "up", "kind": "openai", "base_url": format!("{}/v1", upstream.url()),
        "allow_private_networks": true});
    let mut provider = document("provider", "p1", &provider);
    provider.secrets.insert("api_key".to_owned(), UPSTREAM_KEY.as_bytes().to_vec());
    let price = json!({"provider": "up", "model": "gpt-x", "input_per_1m": 2, "output_per_1m": 8,
        "cache_read_per_1m": 0.5});
    vec![provider, document("price", "c1", &price)]
}

/// The key of [`identity`], and one that may use the account as it is.
fn keys() -> Vec<Item> {
    let mut keys = identity(PLAIN);
    let (pepper_version, digest) = Peppers::new([(1, [7; 32])]).expect("a pepper").digest(KEY).expect("a pepper");
    let admin = Key {
        name: "admin".to_owned(),
        pepper_version,
        digest: digest.to_vec(),
        enabled: true,
        models: vec!["*".to_owned()],
        passthrough: vec!["*".to_owned()],
        ..Key::default()
    };
    keys.push(Item { kind: "key".to_owned(), id: "vk_2".to_owned(), body: Some(Body::Key(admin)), ..Item::default() });
    keys
}

async fn node(upstream: &Upstream, dir: &Path) -> (Node, Control, Stream) {
    node_of(&topology(upstream), dir).await
}

async fn node_of(topology: &[Item], dir: &Path) -> (Node, Control, Stream) {
    let mut control = Control::start();
    let options = Options {
        data_dir: Some(dir.to_owned()),
        listen: Some("127.0.0.1:0".parse().expect("an address")),
        workers: Some(1),
        drain: Drain { delay: Duration::ZERO, timeout: Duration::from_secs(5) },
        ..Options::new(Source::Fleet(control.endpoint()))
    };
    let feed = async {
        let (stream, _) = control.stream().await;
        stream.snapshot(Class::Topology, 1, topology).await;
        stream.snapshot(Class::Identity, 1, &keys()).await;
        stream
    };
    let (node, stream) = tokio::join!(start(options), feed);
    let node = node.expect("the node starts");
    node.ready().await;
    (node, control, stream)
}

async fn said(node: &Node, key: &str, path: &str, body: Option<Value>) -> Value {
    let url = format!("http://{}{path}", node.addr());
    let request = match body {
        Some(body) => client().post(url).json(&body),
        None => client().get(url),
    };
    let answer = read(request.bearer_auth(key)).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    answer.json()
}

/// Settlements that a node reports, until it has reported `n_all` records.
async fn reported(control: &mut Control, n_all: usize) -> Vec<UsageEvent> {
    let mut events = Vec::new();
    while events.len() < n_all {
        let (batch, acks) = tokio::time::timeout(PATIENCE, control.usage.recv()).await.expect("usage").expect("a node");
        let up_to_seq = batch.first_seq + batch.events.len() as u64 - 1;
        let ack = gateway_wire::v1::IngestAck { up_to_seq, lane: batch.lane, boot_id: batch.boot_id };
        acks.send(Ok(ack)).await.expect("the node listens");
        events.extend(batch.events);
    }
    assert_eq!(events.len(), n_all, "{events:?}");
    events.into_iter().filter(|event| event.upstream_model == "gpt-x").collect()
}

/// The store takes a record once by its id, so that what two nodes report of one batch counts once.
#[tokio::test]
async fn two_nodes_settle_a_batch_with_one_record() {
    let (upstream, is_over) = (Upstream::start().await, Arc::new(AtomicBool::new(false)));
    vendor(&upstream, &is_over, over(), "");
    let dirs = [tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory")];
    let (one, mut control_of_one, _stream_of_one) = node(&upstream, dirs[0].path()).await;
    let (other, mut control_of_other, _stream_of_other) = node(&upstream, dirs[1].path()).await;
    let file = said(&one, PLAIN, "/v1/files", Some(json!({}))).await["id"].as_str().expect("an id").to_owned();
    let made = said(&one, PLAIN, "/v1/batches", asks(&file)).await;
    let path = format!("/v1/batches/{}", made["id"].as_str().expect("an id"));
    is_over.store(true, Ordering::SeqCst);
    // One node hears it from the tenant, the other from somebody who sees all that is in the account.
    assert_eq!(said(&one, PLAIN, &path, None).await["status"], "completed");
    assert_eq!(said(&one, PLAIN, &path, None).await["status"], "completed");
    assert_eq!(said(&other, KEY, "/v1/batches", None).await["data"][0]["status"], "completed");
    let (first, second) = (reported(&mut control_of_one, 5).await, reported(&mut control_of_other, 2).await);
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_eq!(first[0], second[0], "the same record, whoever writes it");
    let tokens = first[0].tokens.expect("tokens");
    assert_eq!((tokens.input, tokens.cache_read, tokens.output), (600, 400, 100));
    assert_eq!((first[0].key_id.as_str(), first[0].cost_nano_usd, first[0].priced), ("vk_1", 1_100_000, true));
}

/// Nobody asks what has become of a batch: the node that made it looks, also after a restart, and counts it once.
#[tokio::test]
async fn a_batch_that_nobody_asks_about_is_counted() {
    let (upstream, is_over) = (Upstream::start().await, Arc::new(AtomicBool::new(false)));
    vendor(&upstream, &is_over, over(), "");
    let dir = tempfile::tempdir().expect("a directory");
    let (first, control, stream) = node_of(&looking(&upstream), dir.path()).await;
    let file = said(&first, PLAIN, "/v1/files", Some(json!({}))).await["id"].as_str().expect("an id").to_owned();
    said(&first, PLAIN, "/v1/batches", asks(&file)).await;
    // Two looks, and it is not over.
    upstream.request(3).await;
    first.shutdown().await;
    drop((stream, control));
    is_over.store(true, Ordering::SeqCst);
    let (again, mut control, _stream) = node_of(&looking(&upstream), dir.path()).await;
    // With what the first has not reported.
    let settled = loop {
        let (batch, acks) = tokio::time::timeout(PATIENCE, control.usage.recv()).await.expect("usage").expect("a node");
        let up_to_seq = batch.first_seq + batch.events.len() as u64 - 1;
        let ack = gateway_wire::v1::IngestAck { up_to_seq, lane: batch.lane, boot_id: batch.boot_id };
        acks.send(Ok(ack)).await.expect("the node listens");
        if let Some(settled) = batch.events.into_iter().find(|event| event.upstream_model == "gpt-x") {
            break settled;
        }
    };
    let tokens = settled.tokens.expect("tokens");
    assert_eq!((tokens.input, tokens.cache_read, tokens.output), (600, 400, 100));
    assert_eq!((settled.key_id.as_str(), settled.cost_nano_usd, settled.priced), ("vk_1", 1_100_000, true));
    let n_asked = upstream.requests().len();
    // It is looked at no more, and to whoever asks after all it is told without being counted again.
    assert_eq!(said(&again, KEY, "/v1/batches", None).await["data"][0]["status"], "completed");
    assert_eq!(upstream.requests().len(), n_asked + 1);
    assert_eq!(std::fs::read_dir(dir.path().join("watched")).expect("a folder").count(), 0);
    again.shutdown().await;
}

fn looking(upstream: &Upstream) -> Vec<Item> {
    let mut items = topology(upstream);
    items.push(document("setting", "settings", &json!({"passthrough": {"batch_look": "20ms"}})));
    items
}
