//! Records of requests at the exporters' destinations: what arrives, byte by byte; what is slow, full, wrong or away; what a restart
//! changes.

mod languages;
mod s3;

use std::io::Read as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::hmac;
use bytes::Bytes;
use flate2::read::GzDecoder;
use gateway_fake::{Received, Script, Upstream};
use gateway_model::kind::Class;
use gateway_server::{ControlPlane, clock, start};
use gateway_store::logs::LogRow;
use gateway_store::usage::Sender;
use gateway_wire::v1::fleet_client::FleetClient;
use gateway_wire::v1::{Attempt, BodyBatch, BodyPart, LogBody, LogRecord, TokenUsage};
use serde_json::{Value, json};

use crate::node::{Node, channel};
use crate::world::{World, options};

const SECRET: &str = "a-secret-for-the-webhook";
const PROMPT: &str = "a prompt that nobody may see";
const ANSWER: &str = "an answer that nobody may see";

fn record(number: u64) -> LogRecord {
    LogRecord {
        id: format!("r{number:04}"),
        started_unix_ms: 1_800_000_000_123,
        node_id: "node_1".to_owned(),
        key_id: "vk_1".to_owned(),
        key_name: "demo".to_owned(),
        path: "/v1/chat/completions".to_owned(),
        dialect: "openai-chat".to_owned(),
        model: "smart".to_owned(),
        route: "all".to_owned(),
        provider: "up".to_owned(),
        upstream_model: "gpt-x".to_owned(),
        status: 200,
        ending: "finished".to_owned(),
        tokens: Some(TokenUsage { input: 100, cache_read: 20, output: 7, ..TokenUsage::default() }),
        cost_nano_usd: 1_250_000_000,
        admitted_us: 1500,
        first_byte_us: 250_000,
        first_token_us: 300_000,
        total_us: 900_000,
        overhead_us: 2500,
        attempts: vec![Attempt { provider: "up".to_owned(), status: 200, ..Attempt::default() }],
        session_id: "s1".to_owned(),
        tags: vec!["blue".to_owned()],
        team: "search".to_owned(),
        ..LogRecord::default()
    }
}

/// As a node would have brought them, now; with what was asked and answered beside them.
async fn store(control: &ControlPlane, records: &[LogRecord]) {
    bring(control, records).await;
    let row = |record: &LogRecord| {
        let whole = serde_json::to_string(record).unwrap();
        LogRow { id: record.id.clone(), status: record.status, record: whole, ..LogRow::default() }
    };
    let rows: Vec<LogRow> = records.iter().map(row).collect();
    let from = Sender { node: "node_1", boot: "b", at_ms: clock::unix_ms() };
    control.app().store.ingest_logs(from, 1, &rows, 0).await.unwrap();
}

async fn bring(control: &ControlPlane, records: &[LogRecord]) {
    let part = |said: &Value| {
        let content = Bytes::from(said.to_string());
        let (total_bytes, content_type) = (content.len() as u64, "application/json".to_owned());
        Some(BodyPart { content, content_type, total_bytes, ..BodyPart::default() })
    };
    let body = |record: &LogRecord| LogBody {
        id: record.id.clone(),
        started_unix_ms: record.started_unix_ms,
        request: part(&json!({"messages": [{"role": "user", "content": PROMPT}]})),
        response: part(&json!({"content": ANSWER})),
    };
    let batch = BodyBatch {
        node_id: "node_1".to_owned(),
        boot_id: "b".to_owned(),
        first_seq: 1,
        bodies: records.iter().map(body).collect(),
        dropped_total: 0,
    };
    let sent = FleetClient::new(channel(control).await).bodies(tokio_stream::iter([batch])).await;
    assert!(sent.unwrap().into_inner().message().await.unwrap().is_some(), "they are stored");
}

/// Makes it, and waits until it has begun.
async fn make(world: &World, exporter: Value) {
    let shown = world.call("POST", "/admin/exporters", exporter.clone()).await.expect(201);
    assert!(!shown.to_string().contains("hidden") && !shown.to_string().contains(SECRET), "{shown}");
    health(world, exporter["name"].as_str().unwrap(), |health| health["state"] != "starting").await;
}

async fn health(world: &World, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let health = world.eventually(&format!("/admin/exporters/{name}/health"), holds).await;
    assert!(!health.to_string().contains("hidden"), "{health}");
    health
}

fn webhook(name: &str, url: &str) -> Value {
    json!({"name": name, "type": "webhook", "url": format!("{url}/{name}?token=hidden"), "secret": SECRET,
        "allow_private_networks": true})
}

/// What came there.
fn at(upstream: &Upstream, path: &str) -> Vec<Received> {
    upstream.requests().into_iter().filter(|received| received.target.starts_with(path)).collect()
}

/// With a signature that holds.
fn signed(received: &Received) -> Value {
    let signature = received.header("x-gateway-signature").expect("it is signed");
    let (seconds, tag) = signature.strip_prefix("t=").and_then(|rest| rest.split_once(",v1=")).expect("its form");
    let tag: Vec<u8> = (0..tag.len()).step_by(2).map(|at| u8::from_str_radix(&tag[at..at + 2], 16).unwrap()).collect();
    let text = [seconds.as_bytes(), b".", &received.body].concat();
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), &text, &tag).expect("the signature holds");
    let content = received.json();
    assert_eq!(received.header("x-gateway-batch-id"), content["id"].as_str());
    content
}

fn ids(content: &Value) -> Vec<String> {
    content["events"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

fn gunzip(bytes: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callbacks() {
    let (world, upstream) = (World::new().await, Upstream::start().await);
    upstream.respond_with(|_| Script::text(200, "text/plain", "ok"));
    let mut picky = webhook("picky", upstream.url().as_str());
    picky["filter"] = json!({"status": ["5xx"], "teams": ["search"]});
    make(&world, webhook("ops", upstream.url().as_str())).await;
    make(&world, picky).await;
    let (_node, _, topology) = Node::synced(&world.control).await;
    assert!(topology.items.iter().all(|item| item.kind != "exporter"), "nodes never hear of it");

    let failed = LogRecord { status: 502, error_code: "bad_gateway".to_owned(), ..record(2) };
    store(&world.control, &[record(1), failed, record(3)]).await;
    let told = health(&world, "ops", |health| health["delivered"] == 3 && health["behind_records"] == 0).await;
    assert_eq!(
        (&told["state"], &told["failed"], &told["dropped"]),
        (&json!("current"), &json!(0), &json!(0)),
        "{told}"
    );
    assert_eq!(told["destination"], json!(upstream.url()));
    assert!(told["last_success_at"].is_string() && told["last_error"].is_null(), "{told}");
    health(&world, "picky", |health| health["delivered"] == 1 && health["behind_records"] == 0).await;
    let (all, some) = (at(&upstream, "/ops"), at(&upstream, "/picky"));
    assert_eq!((all.len(), some.len()), (1, 1));
    assert_eq!(ids(&signed(&all[0])), ["r0001", "r0002", "r0003"]);
    assert_eq!(ids(&signed(&some[0])), ["r0002"]);
    let event = &signed(&all[0])["events"][0];
    for (pointer, expected) in [
        ("/timestamp", json!("2027-01-15T08:00:00.123Z")),
        ("/duration_ms", json!(900.0)),
        ("/alias", json!("smart")),
        ("/model", json!("gpt-x")),
        ("/status", json!(200)),
        ("/tokens/input", json!(120)),
        ("/tokens/total", json!(127)),
        ("/cost/actual_usd", json!(1.25)),
        ("/key_name", json!("demo")),
        ("/team", json!("search")),
        ("/error", Value::Null),
        ("/routing/served_alias", json!("smart")),
    ] {
        assert_eq!(event.pointer(pointer), Some(&expected), "{pointer}: {event}");
    }
    assert!(!String::from_utf8_lossy(&all[0].body).contains("nobody may see"), "never a prompt, never an answer");

    let tried = world.call("POST", "/admin/exporters/ops/test", Value::Null).await.expect(200);
    assert_eq!((&tried["delivered"], &tried["status"]), (&json!(true), &json!(200)), "{tried}");
    assert_eq!(signed(&at(&upstream, "/ops")[1])["events"][0]["key_name"], "test");
    upstream.respond_with(|_| Script::text(302, "text/plain", "elsewhere"));
    let tried = world.call("POST", "/admin/exporters/ops/test", Value::Null).await.expect(200);
    assert_eq!((&tried["delivered"], &tried["status"]), (&json!(false), &json!(302)), "{tried}");
    world.get("/admin/exporters/nobody/health").await.refused(404, "not_found");
    let mut inside = webhook("inside", upstream.url().as_str());
    inside["allow_private_networks"] = json!(false);
    world.call("POST", "/admin/exporters", inside).await.expect(422);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_sharing_modes() {
    let (world, upstream) = (World::new().await, Upstream::start().await);
    upstream.respond_with(|_| Script::text(202, "application/json", "{}"));
    let of = |share: &str| {
        let mut exporter = json!({"name": share, "type": "collector", "url": format!("{}/{share}", upstream.url()),
            "api_key": "hidden", "share": share, "allow_private_networks": true});
        if share == "default" {
            exporter.as_object_mut().unwrap().remove("share");
        }
        exporter
    };
    for share in ["off", "default", "metrics", "prompts", "responses"] {
        make(&world, of(share)).await;
    }
    store(&world.control, &[record(1)]).await;
    for (share, n_events, sees_prompt, sees_answer) in [
        ("default", 2, false, false),
        ("metrics", 2, false, false),
        ("prompts", 3, true, false),
        ("responses", 3, true, true),
    ] {
        health(&world, share, |health| health["delivered"] == 1).await;
        let sent = at(&upstream, &format!("/{share}/collector"));
        assert_eq!((sent.len(), sent[0].header("authorization")), (1, Some("Bearer hidden")), "{share}");
        let (text, body) = (String::from_utf8_lossy(&sent[0].body).into_owned(), sent[0].json());
        assert_eq!((text.contains(PROMPT), text.contains(ANSWER)), (sees_prompt, sees_answer), "{share}: {text}");
        assert_eq!((&body["version"], body["events"].as_array().unwrap().len()), (&json!("1.0"), n_events), "{body}");
        assert!(body["gateway_version"].is_string() && body["timestamp"].is_string(), "{body}");
    }
    let sent = at(&upstream, "/responses/")[0].json();
    let types: Vec<&str> = sent["events"].as_array().unwrap().iter().map(|one| one["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["trace", "metric", "request_log"]);
    assert_eq!(sent["events"][0]["data"]["phase"], "request_start");
    let metric = json!({
        "request_id": "r0001", "timestamp": "2027-01-15T08:00:00.123Z", "request_type": "/v1/chat/completions",
        "duration_ms": 900.0, "gateway_pre_upstream_ms": 1.5, "ttft_ms": 300.0, "ttlt_ms": 900.0, "provider": "up",
        "model": "gpt-x", "user": "", "session_id": "s1", "tokens_input": 120, "tokens_output": 7, "cost_usd": 1.25,
        "status_code": 200, "error_code": "", "error_message": "", "cache_hit": false, "route_used": "all",
        "target_index": 0, "fallback_used": false, "retry_count": 0, "circuit_breaker_state": "closed", "tags": ["blue"],
    });
    assert_eq!(sent["events"][1]["data"], metric);
    assert!(at(&upstream, "/off").is_empty(), "nothing leaves");
    assert_eq!(world.get("/admin/exporters/off/health").await.expect(200)["state"], "off");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_taken_comes_again_and_what_is_refused_does_not() {
    let (world, upstream) = (World::new().await, Upstream::start().await);
    let n_asked = AtomicUsize::new(0);
    upstream.respond_with(move |received| match received.target.split(['/', '?']).nth(1) {
        Some("wrong") => Script::text(400, "text/plain", "what is this"),
        Some("slow") => Script::new().hang(),
        _ => match n_asked.fetch_add(1, Ordering::SeqCst) {
            0 => Script::new().head(429, &[("retry-after", "1"), ("content-length", "0")]),
            1 => Script::new().reset(),
            // The key is wrong, and somebody mends it.
            2 => Script::text(401, "text/plain", "who are you"),
            _ => Script::text(200, "text/plain", "ok"),
        },
    });
    for name in ["late", "wrong", "slow"] {
        make(&world, webhook(name, upstream.url().as_str())).await;
    }
    store(&world.control, &[record(1), record(2)]).await;
    let told = health(&world, "late", |health| health["delivered"] == 2).await;
    assert_eq!(
        (&told["failed"], &told["state"]),
        (&json!(0), &json!("current")),
        "one that hangs holds up nobody: {told}"
    );
    let tries = at(&upstream, "/late");
    assert_eq!(tries.len(), 4);
    let first = signed(&tries[0]);
    assert!(tries.iter().all(|one| signed(one) == first), "it is the same batch each time");
    let told = health(&world, "wrong", |health| health["failed"] == 2).await;
    let why = told["last_error"].as_str().expect("it says why");
    assert!(why.contains("400") && why.contains("what is this") && told["delivered"] == 0, "{told}");
    assert_eq!(at(&upstream, "/wrong").len(), 1);
    let told = world.get("/admin/exporters/slow/health").await.expect(200);
    assert_eq!((&told["delivered"], &told["behind_records"]), (&json!(0), &json!(2)), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_neither_loses_nor_doubles() {
    let (world, upstream) = (World::new().await, Upstream::start().await);
    upstream.respond_with(|_| Script::text(503, "text/plain", "not now"));
    make(&world, webhook("ops", upstream.url().as_str())).await;
    store(&world.control, &[record(1), record(2)]).await;
    health(&world, "ops", |health| health["state"] == "failing").await;
    store(&world.control, &[record(3)]).await;
    let heads = world.control.app().store.heads().await.unwrap();
    assert!(heads.of(Class::Topology) > 0);
    world.control.shutdown().await;
    let first = signed(&at(&upstream, "/ops")[0]);
    upstream.respond_with(|_| Script::text(200, "text/plain", "ok"));
    let n_before = at(&upstream, "/ops").len();

    let again = start(options(world.directory.path())).await.unwrap();
    let app = again.app();
    let began = std::time::Instant::now();
    loop {
        let progress = app.store.exports_known(Some("ops")).await.unwrap().pop().expect("it is known");
        if progress.n_delivered == 3 {
            break;
        }
        assert!(began.elapsed().as_secs() < 100, "{progress:?}");
        tokio::task::yield_now().await;
    }
    let sent: Vec<Value> = at(&upstream, "/ops").iter().skip(n_before).map(signed).collect();
    assert_eq!(sent[0], first, "the batch that was on its way, under its id");
    assert_eq!(sent.iter().flat_map(ids).collect::<Vec<_>>(), ["r0001", "r0002", "r0003"]);
    again.shutdown().await;
}
