//! What was asked and answered, kept where somebody asks for it: off by default, cut and redacted on the node, and the first to go.

use std::path::Path;

use bytes::Bytes;
use gateway_fake::reply::openai;
use gateway_fake::{Script, Upstream};
use gateway_proxy::config::{Options, Source};
use gateway_proxy::{Node, start};
use gateway_wire::v1::item::Body;
use gateway_wire::v1::{Class, IngestAck, LogBody};
use serde_json::{Value, json};

use crate::control::{Control, Stream, document, identity, topology};
use crate::gateway::{KEY, UPSTREAM_KEY, client, read, within};

const CANARY: &str = "canary-7f3a91";

/// A node whose control plane takes bodies when a test does.
struct World {
    control: Control,
    upstream: Upstream,
    node: Node,
    dir: tempfile::TempDir,
    _stream: Stream,
}

// === impl World ===

impl World {
    /// What the settings, a route for everything and the key say of bodies; `null`: nothing.
    async fn start(settings: Value, route: Value, key: &Value) -> Self {
        let upstream = Upstream::start().await;
        let (mut control, mut keys) = (Control::start(), identity(KEY));
        for item in &mut keys {
            if let (Some(Body::Key(sent)), false) = (&mut item.body, key.is_null()) {
                sent.log_bodies = key.to_string().into_bytes();
            }
        }
        let mut items = topology(upstream.addr());
        if !settings.is_null() {
            items.push(document("setting", "settings", &json!({"log_bodies": settings})));
        }
        if !route.is_null() {
            items.push(document("route", "r1", &json!({"name": "all", "match": {}, "log_bodies": route})));
        }
        let dir = tempfile::tempdir().expect("a directory");
        let options = Options {
            data_dir: Some(dir.path().to_owned()),
            listen: Some("127.0.0.1:0".parse().expect("an address")),
            workers: Some(1),
            ..Options::new(Source::Fleet(control.endpoint()))
        };
        let feed = async {
            let (stream, _) = control.stream().await;
            stream.snapshot(Class::Topology, 1, &items).await;
            stream.snapshot(Class::Identity, 1, &keys).await;
            stream
        };
        let (node, stream) = tokio::join!(start(options), feed);
        let node = node.expect("the node starts");
        node.ready().await;
        control.take_usage();
        Self { control, upstream, node, dir, _stream: stream }
    }

    async fn chat(&self, body: &Value) -> String {
        let url = format!("http://{}/v1/chat/completions", self.node.addr());
        read(client().post(url).bearer_auth(KEY).json(body)).await.text
    }

    /// The next body that the control plane is told.
    async fn told(&mut self) -> LogBody {
        let wait = tokio::time::timeout(gateway_fake::PATIENCE, self.control.bodies.recv());
        let (mut batch, acks) = wait.await.expect("a body comes").expect("the server runs");
        let up_to_seq = batch.first_seq + batch.bodies.len() as u64 - 1;
        let ack = IngestAck { up_to_seq, lane: 0, boot_id: batch.boot_id };
        acks.send(Ok(ack)).await.expect("the node is there");
        assert_eq!((batch.bodies.len(), batch.dropped_total), (1, 0));
        batch.bodies.remove(0)
    }

    /// Log records until that of the last request.
    async fn record(&mut self) -> String {
        let wait = tokio::time::timeout(gateway_fake::PATIENCE, self.control.records.recv());
        wait.await.expect("a record comes").expect("the server runs").id
    }
}

fn asked(content: &str) -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": content}]})
}

fn text(content: &Bytes) -> &str {
    std::str::from_utf8(content).expect("UTF-8")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_are_kept_where_key_route_or_settings_say_so() {
    let (both, none) = (json!({"request": true, "response": true}), json!({}));
    for (settings, route, key, is_kept) in [
        (Value::Null, Value::Null, Value::Null, false),
        (both.clone(), Value::Null, Value::Null, true),
        (Value::Null, both.clone(), Value::Null, true),
        (Value::Null, Value::Null, both.clone(), true),
        (both.clone(), none.clone(), Value::Null, false),
        (both.clone(), both.clone(), none, false),
        (json!({"request": true, "sample": 0}), Value::Null, Value::Null, false),
    ] {
        let case = format!("{settings} {route} {key}");
        let mut world = World::start(settings, route, &key).await;
        world.upstream.respond_with(|received| openai::answer(received, "hello you"));
        let body = asked("what is it?");
        let answer = world.chat(&body).await;
        let id = world.record().await;
        if is_kept {
            let told = world.told().await;
            assert_eq!(told.id, id, "{case}");
            let (request, response) = (told.request.expect("a request"), told.response.expect("a response"));
            assert_eq!((text(&request.content), text(&response.content)), (&*body.to_string(), &*answer), "{case}");
            assert_eq!(
                (request.total_bytes, request.truncated, request.redacted),
                (body.to_string().len() as u64, false, 0)
            );
            assert_eq!(response.content_type, "application/json");
        }
        world.node.shutdown().await;
        assert!(world.control.bodies.try_recv().is_err(), "{case}: nothing more is told");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_refusals_and_what_is_too_long() {
    let mut world =
        World::start(json!({"request": true, "response": true, "max_bytes": 200}), Value::Null, &Value::Null).await;
    world.upstream.respond_with(|received| openai::answer(received, &"many words ".repeat(40)));
    let mut body = asked(&"long ".repeat(100));
    body["stream"] = json!(true);
    let answer = world.chat(&body).await;
    let told = world.told().await;
    let (request, response) = (told.request.expect("a request"), told.response.expect("a response"));
    assert!(request.truncated && body.to_string().starts_with(text(&request.content)), "{}", text(&request.content));
    assert_eq!((request.total_bytes, response.total_bytes), (body.to_string().len() as u64, answer.len() as u64));
    assert!(response.truncated && answer.starts_with(text(&response.content)) && response.content.len() > 50);
    assert_eq!(response.content_type, "text/event-stream; charset=utf-8");

    world.upstream.respond_with(|_| Script::json(400, &openai::error("invalid_request_error", "no such thing")));
    let answer = world.chat(&asked("hi")).await;
    let told = world.told().await.response.expect("a response");
    assert!(answer.starts_with(text(&told.content)) && !told.content.is_empty(), "a refusal is an answer: {answer}");
    world.node.shutdown().await;
}

/// Everything below the directory.
fn on_disk(dir: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.extend(on_disk(&path));
        } else {
            all.extend(std::fs::read(&path).unwrap_or_default());
        }
    }
    all
}

fn holds(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secret_canary_is_in_no_body_that_leaves_or_lies_on_disk() {
    let rule = json!({"request": true, "response": true, "redact": ["secret_note"]});
    let mut world = World::start(rule, Value::Null, &Value::Null).await;
    world.upstream.respond_with(|_| {
        let reply = json!({"id": "x", "object": "chat.completion", "model": "own-name", "secret_note": CANARY, "choices": [{"index": 0,
            "finish_reason": "stop", "message": {"role": "assistant", "content": format!("your key {UPSTREAM_KEY} is fine")}}]});
        Script::json(200, &reply)
    });
    let mut body = asked(&format!("mail me: somebody@example.com, {KEY}, 4111 1111 1111 1111, and keep it"));
    body["secret_note"] = json!({"deep": [CANARY]});
    body["tools"] = json!([{"type": "function", "function": {"name": "f", "description": json!({"secret_note": CANARY}).to_string()}}]);
    world.chat(&body).await;
    // The first is on its way, the second waits on the disk: nobody acknowledges.
    world.chat(&body).await;
    let (batch, acks) = world.control.bodies.recv().await.expect("the server runs");
    drop((acks, std::mem::replace(&mut world.control, Control::start())));
    let dir = world.dir.path().to_owned();
    within("bodies on the disk", || async { holds(&on_disk(&dir), "and keep it").then_some(()) }).await;
    let (disk, wire) = (on_disk(&dir), prost::Message::encode_to_vec(&batch));
    for canary in [CANARY, "somebody@example.com", KEY, "4111 1111", UPSTREAM_KEY] {
        assert!(!holds(&wire, canary), "{canary} is told");
        assert!(!holds(&disk, canary), "{canary} is on the disk");
    }
    assert!(holds(&wire, "and keep it"));
    let told = &batch.bodies[0];
    assert_eq!(
        told.request.as_ref().map(|part| part.redacted),
        Some(5),
        "{}",
        text(&told.request.as_ref().expect("a request").content)
    );
    world.node.shutdown().await;
}
