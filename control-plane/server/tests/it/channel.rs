//! The fleet channel from the node's side: what it is sent, what becomes of its answers, and that its reports count once.

use futures_util::StreamExt as _;
use gateway_store::Store;
use gateway_wire::tree::Tree;
use gateway_wire::v1::control_msg::Msg;
use gateway_wire::v1::fleet_client::FleetClient;
use gateway_wire::v1::item::Body;
use gateway_wire::v1::node_msg::Msg as Says;
use gateway_wire::v1::{
    Ack, BucketRequest, Class, ConfigError, Hello, Item, LogBatch, LogRecord, Resync, SettledBy, Status as AckStatus,
    TokenUsage, UsageBatch, UsageEvent,
};
use serde_json::{Value, json};
use tokio_stream::wrappers::ReceiverStream;

use crate::node::{Node, channel, have, hello};
use crate::world::World;

const UPSTREAM_KEY: &str = "sk-upstream-0123456789";

fn provider(name: &str) -> Value {
    json!({"name": name, "kind": "openai", "api_key": UPSTREAM_KEY})
}

fn model(name: &str) -> Value {
    json!({"name": name, "targets": [{"provider": "up", "model": "x"}]})
}

async fn node_view(world: &World) -> Value {
    world.get("/admin/nodes/node_1").await.expect(200)
}

/// Asks until the node's view is so.
async fn eventually(world: &World, holds: impl Fn(&Value) -> bool) -> Value {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let view = node_view(world).await;
        if holds(&view) {
            return view;
        }
        assert!(std::time::Instant::now() < deadline, "{view}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_new_node_gets_everything_then_only_what_changed() {
    let world = World::new().await;
    world.call("POST", "/admin/providers", provider("up")).await.expect(201);
    let (mut node, identity, topology) = Node::synced(&world.control).await;
    let kinds: Vec<&str> = identity.items.iter().map(|item| item.kind.as_str()).collect();
    assert_eq!(kinds, ["key", "pepper"], "the default key and what it was digested under");
    assert_eq!((topology.revision, topology.items.len()), (1, 1));
    assert_eq!(topology.items[0].secrets["api_key"], UPSTREAM_KEY.as_bytes());
    let Some(Body::Document(document)) = &topology.items[0].body else { panic!("a document") };
    assert!(!String::from_utf8_lossy(document).contains("sk-"), "secrets travel apart");

    let view = eventually(&world, |view| view["topology"]["revision"] == 1).await;
    assert_eq!((&view["topology"]["status"], &view["connected"]), (&json!("applied"), &json!(true)));
    assert_eq!((&view["version"], &view["errors"]), (&json!("1.2.3"), &json!([])));

    let write = world.call("POST", "/admin/models?wait=applied&timeout=20s", model("m"));
    let answer = async {
        let Msg::Delta(delta) = node.next().await else { panic!("no change") };
        assert_eq!((delta.from_revision, delta.to_revision, delta.upsert.len()), (1, 2, 1));
        let items = [topology.items.clone(), delta.upsert.clone()].concat();
        assert_eq!(delta.root_hash, Tree::of(&items).root());
        node.applied(Class::Topology, delta.nonce, delta.to_revision).await;
    };
    let (written, ()) = tokio::join!(write, answer);
    assert_eq!(written.expect(201)["change"]["rollout"]["applied"], json!(["node_1"]));
    for (revision, expected) in [(2, "applied"), (3, "pending")] {
        let rollout = world.get(&format!("/admin/rollout?topology={revision}&identity=1")).await.expect(200);
        assert_eq!(rollout[expected], json!(["node_1"]), "{rollout}");
    }
    world.get("/admin/rollout?topology=1&timeout=301s").await.expect(400);
    let key = world.call("POST", "/admin/keys", json!({"name": "k", "limits": {"rpm": 7}})).await.expect(201);
    let Msg::Delta(delta) = node.next().await else { panic!("no change") };
    assert_eq!(node_view(&world).await["lag"], json!({"topology": 0, "identity": 1}));
    let Some(Body::Key(sent)) = &delta.upsert[0].body else { panic!("a key") };
    assert_eq!((sent.name.as_str(), sent.limits.as_ref().unwrap().rpm, sent.digest.len()), ("k", Some(7), 32));
    node.applied(Class::Identity, delta.nonce, delta.to_revision).await;
    let revoke = format!("/admin/keys/{}", key["id"].as_str().unwrap());
    world.call("DELETE", &revoke, Value::Null).await.expect(204);
    let Msg::Delta(delta) = node.next().await else { panic!("no change") };
    assert_eq!((delta.removed[0].id.as_str(), delta.class()), (key["id"].as_str().unwrap(), Class::Identity));
}

#[tokio::test]
async fn changes_are_merged_while_one_is_on_its_way() {
    let world = World::new().await;
    world.call("POST", "/admin/providers", provider("up")).await.expect(201);
    let (mut node, ..) = Node::synced(&world.control).await;
    world.call("POST", "/admin/models", model("a")).await.expect(201);
    let Msg::Delta(first) = node.next().await else { panic!("no change") };
    for name in ["b", "c", "b"] {
        world.call("PUT", &format!("/admin/models/{name}"), model(name)).await;
    }
    world.call("DELETE", "/admin/models/c", Value::Null).await.expect(204);
    node.applied(Class::Topology, first.nonce, first.to_revision).await;
    let mut delta = match node.next().await {
        Msg::Delta(delta) => delta,
        other => panic!("{other:?}"),
    };
    assert_eq!(delta.from_revision, first.to_revision);
    // The last revision may come a moment later; together they end where the store is.
    let head = world.get("/admin/status").await.expect(200)["revision"]["topology"].as_u64().unwrap();
    while delta.to_revision < head {
        node.applied(Class::Topology, delta.nonce, delta.to_revision).await;
        delta = match node.next().await {
            Msg::Delta(delta) => delta,
            other => panic!("{other:?}"),
        };
    }
    assert!(delta.upsert.len() <= 1, "{delta:?}");
}

#[tokio::test]
async fn a_refusal_is_shown_and_the_revision_is_not_sent_again_to_the_same_boot() {
    let world = World::new().await;
    world.call("POST", "/admin/providers", provider("up")).await.expect(201);
    let (mut node, identity, topology) = Node::synced(&world.control).await;
    let write = world.call("POST", "/admin/models?wait=applied&timeout=20s", model("m"));
    let answer = async {
        let Msg::Delta(delta) = node.next().await else { panic!("no change") };
        node.refuses(Class::Topology, delta.nonce, delta.to_revision, "timeouts.idel").await;
    };
    let (written, ()) = tokio::join!(write, answer);
    let rollout = &written.expect(201)["change"]["rollout"];
    assert_eq!((&rollout["applied"], &rollout["rejected"][0]["node"]), (&json!([]), &json!("node_1")), "{rollout}");
    assert_eq!(rollout["rejected"][0]["errors"][0]["field_path"], "timeouts.idel");
    let view = node_view(&world).await;
    assert_eq!((&view["topology"]["status"], &view["topology"]["revision"]), (&json!("rejected"), &json!(1)));
    assert_eq!(view["errors"][0]["field_path"], "timeouts.idel");
    assert!(world.get("/metrics").await.text.contains("gateway_config_nacks_total{class=\"topology\"} 1"));
    let audited = || async { world.get("/admin/audit").await.expect(200)["data"][0].clone() };
    while audited().await["action"] != "reject" {
        tokio::task::yield_now().await;
    }
    assert_eq!(audited().await["actor"], "node:node_1");

    // The same process comes back; identity changes still reach it.
    drop(node);
    let state = vec![
        have(Class::Topology, &topology.epoch, 1, &topology.items),
        have(Class::Identity, &identity.epoch, identity.revision, &identity.items),
    ];
    let mut node = Node::connect(&world.control, Hello { have: state.clone(), ..hello("boot1") }).await;
    world.call("POST", "/admin/keys", json!({"name": "k"})).await.expect(201);
    let Msg::Delta(delta) = node.next().await else { panic!("no change") };
    assert_eq!(delta.class(), Class::Identity, "and not the topology that it refused");
    // What comes next is made from what it runs.
    world.call("PATCH", "/admin/models/m", json!({"strategy": "priority"})).await.expect(200);
    let Msg::Delta(delta) = node.next().await else { panic!("no change") };
    assert_eq!((delta.class(), delta.from_revision, delta.to_revision), (Class::Topology, 1, 3));
    node.refuses(Class::Topology, delta.nonce, delta.to_revision, "timeouts.idel").await;
    eventually(&world, |view| view["topology"]["refused"] == 3).await;
    // Another process may take it.
    let mut node = Node::connect(&world.control, Hello { have: state, ..hello("boot2") }).await;
    let revisions = [node.next().await, node.next().await].map(|message| match message {
        Msg::Delta(delta) => (delta.class(), delta.to_revision),
        other => panic!("{other:?}"),
    });
    assert!(revisions.contains(&(Class::Topology, 3)), "{revisions:?}");
}

#[tokio::test]
async fn a_node_resumes_from_what_it_holds_also_after_a_restart_of_the_control_plane() {
    let world = World::new().await;
    world.call("POST", "/admin/providers", provider("up")).await.expect(201);
    let (node, identity, topology) = Node::synced(&world.control).await;
    drop(node);
    world.call("POST", "/admin/models", model("m")).await.expect(201);
    let World { control, directory, .. } = world;
    control.shutdown().await;
    let control = gateway_server::start(crate::world::options(directory.path())).await.unwrap();
    let state = vec![
        have(Class::Topology, &topology.epoch, 1, &topology.items),
        have(Class::Identity, &identity.epoch, identity.revision, &identity.items),
    ];
    let mut node = Node::connect(&control, Hello { have: state, ..hello("boot1") }).await;
    let Msg::Delta(delta) = node.next().await else { panic!("a snapshot where a change would do") };
    assert_eq!((delta.from_revision, delta.to_revision, delta.upsert.len()), (1, 2, 1));
}

#[tokio::test]
async fn drift_is_repaired_and_a_node_that_cannot_go_on_starts_over() {
    let world = World::new().await;
    world.call("POST", "/admin/providers", provider("up")).await.expect(201);
    let (node, identity, topology) = Node::synced(&world.control).await;
    drop(node);
    // One that resumes is told at once what it should have; on a longer stream that is told every ten seconds.
    let state = vec![
        have(Class::Topology, &topology.epoch, topology.revision, &topology.items),
        have(Class::Identity, &identity.epoch, identity.revision, &identity.items),
    ];
    let mut node = Node::connect(&world.control, Hello { have: state, ..hello("boot1") }).await;
    let bookmark = node.bookmark(Class::Topology).await;
    assert_eq!((bookmark.revision, &bookmark.root_hash[..]), (1, &Tree::of(&topology.items).root()[..]));
    let mut drifted = Tree::of(&topology.items);
    drifted.upsert(&Item { kind: "model".to_owned(), id: "ghost".to_owned(), ..Item::default() });
    let bucket_hashes = drifted.bucket_hashes();
    node.say(Says::Buckets(BucketRequest { class: Class::Topology.into(), revision: 1, bucket_hashes })).await;
    let Msg::Repair(repair) = node.next().await else { panic!("no repair") };
    assert_eq!(repair.buckets, [u32::from(gateway_wire::tree::bucket("model", "ghost"))]);
    assert_eq!(repair.root_hash, bookmark.root_hash);
    let state = have(Class::Topology, &topology.epoch, 1, &[]);
    node.say(Says::Resync(Resync { have: Some(state), reason: "a test".to_owned() })).await;
    assert_eq!(node.snapshot().await.items, topology.items);
}

#[tokio::test]
async fn what_a_node_cannot_read_is_not_sent_to_it() {
    let world = World::new().await;
    world.call("POST", "/admin/providers", provider("up")).await.expect(201);
    let features = ["key", "pepper", "model"].map(str::to_owned).to_vec();
    let mut node = Node::connect(&world.control, Hello { features, ..hello("boot1") }).await;
    let identity = node.snapshot().await;
    node.applied(Class::Identity, identity.nonce, identity.revision).await;
    let told = loop {
        match node.next().await {
            Msg::Incompatible(told) => break told,
            // The publisher may have been a moment behind the store: nothing is in it then.
            Msg::Begin(begin) => assert_eq!(begin.revision, 0),
            Msg::Chunk(_) | Msg::End(_) => {}
            other => panic!("it was sent what it cannot read: {other:?}"),
        }
    };
    assert_eq!((told.class(), told.features), (Class::Topology, vec!["provider".to_owned()]));
    let view = eventually(&world, |view| view["topology"]["status"] == "incompatible").await;
    assert!(view["errors"][0]["message"].as_str().unwrap().contains("provider"), "{view}");
}

#[tokio::test]
async fn strangers_and_doubles_are_sent_away() {
    let world = World::new().await;
    for (name, hello) in [
        ("schema", Hello { schema: 99, ..hello("b") }),
        ("id", Hello { node_id: "../x".to_owned(), ..hello("b") }),
        ("version", Hello { version: "x".repeat(1000), ..hello("b") }),
        ("boot", Hello { boot_id: String::new(), ..hello("b") }),
    ] {
        let mut node = Node::connect(&world.control, hello).await;
        assert!(node.any().await.is_err(), "{name}");
    }
    let mut first = Node::connect(&world.control, hello("b")).await;
    first.snapshot().await;
    let mut second = Node::connect(&world.control, hello("b")).await;
    second.snapshot().await;
    let ended = loop {
        if let Err(status) = first.any().await {
            break status;
        }
    };
    assert_eq!(ended.code(), tonic::Code::Aborted, "{ended:?}");
    assert_eq!(node_view(&world).await["connected"], true, "the second speaks for it");
}

#[tokio::test]
async fn a_node_that_is_ahead_keeps_what_it_has_and_shows_as_regressed() {
    let world = World::new().await;
    let epoch = world.control.app().store.heads().await.unwrap().epoch;
    let state = vec![have(Class::Topology, &epoch, 50, &[]), have(Class::Identity, &epoch, 50, &[])];
    let mut node = Node::connect(&world.control, Hello { have: state, ..hello("b") }).await;
    for _ in 0..2 {
        let Msg::Bookmark(bookmark) = node.any().await.unwrap() else { panic!("more than word of where the head is") };
        let error = ConfigError { code: "revision_regressed".to_owned(), ..ConfigError::default() };
        node.say(Says::Ack(Ack {
            class: bookmark.class,
            revision: bookmark.revision,
            status: AckStatus::Rejected.into(),
            errors: vec![error],
            ..Ack::default()
        }))
        .await;
    }
    let view = eventually(&world, |view| view["identity"]["status"] == "regressed").await;
    assert_eq!(view["topology"]["revision"], 50);
    let made = world.call("POST", "/admin/keys?wait=applied", json!({"name": "k"})).await.expect(201);
    assert_eq!(made["change"]["rollout"]["rejected"][0]["node"], "node_1", "{made}");
}

/// No hint: the database is written by another process. The poll alone must be enough.
#[tokio::test]
async fn a_change_by_another_process_is_published() {
    let world = World::new().await;
    world.call("POST", "/admin/providers", provider("up")).await.expect(201);
    let (mut node, ..) = Node::synced(&world.control).await;
    let other = Store::open_file(&world.directory.path().join("gateway.db")).await.unwrap();
    let item = other
        .item(gateway_store::ItemKind::Resource(gateway_model::kind::Kind::Provider), "up")
        .await
        .unwrap()
        .unwrap();
    let edit = gateway_store::revisions::Edit { op: gateway_store::revisions::Op::Delete, item };
    let commit = gateway_store::revisions::Commit {
        expected: None,
        edits: vec![edit],
        actor: "other".to_owned(),
        summary: String::new(),
        audit: Vec::new(),
        at_ms: 1,
    };
    other.commit(commit).await.unwrap();
    let Msg::Delta(delta) = node.next().await else { panic!("no change") };
    assert_eq!((delta.to_revision, delta.removed.len()), (2, 1));
}

fn event(id: u32) -> UsageEvent {
    UsageEvent {
        id: format!("r{id}"),
        // Far from old enough to be deleted.
        started_unix_ms: 4_000_000_000_000,
        key_id: "vk_1".to_owned(),
        model: "m".to_owned(),
        provider: "up".to_owned(),
        tokens: Some(TokenUsage { input: 10, output: 1, ..TokenUsage::default() }),
        settled_by: SettledBy::Exact.into(),
        ..UsageEvent::default()
    }
}

fn batch(first_seq: u64, ids: std::ops::Range<u32>) -> UsageBatch {
    UsageBatch {
        node_id: "node_1".to_owned(),
        boot_id: "boot1".to_owned(),
        lane: 3,
        first_seq,
        events: ids.map(event).collect(),
    }
}

#[tokio::test]
async fn usage_counts_once_however_often_it_comes() {
    let world = World::new().await;
    let mut client = FleetClient::new(channel(&world.control).await);
    // Sent, its answer lost, sent again with more, and once more from the start of another lane's view.
    for batches in [vec![batch(1, 0..5)], vec![batch(1, 0..5), batch(6, 5..8)], vec![batch(4, 3..8)]] {
        let n_batches = batches.len();
        let last = batches.last().map(|batch| batch.first_seq + batch.events.len() as u64 - 1).unwrap();
        let (sender, stream) = tokio::sync::mpsc::channel(8);
        for batch in batches {
            sender.send(batch).await.unwrap();
        }
        let mut acks = client.usage(ReceiverStream::new(stream)).await.unwrap().into_inner();
        let mut newest = None;
        for _ in 0..n_batches {
            newest = acks.message().await.unwrap();
        }
        let ack = newest.unwrap();
        assert_eq!((ack.up_to_seq, ack.lane, ack.boot_id.as_str()), (last.max(8.min(last)), 3, "boot1"));
    }
    let summary = world.get("/admin/usage/summary?group_by=key").await.expect(200);
    let row = &summary["data"][0];
    assert_eq!(row["requests"], 8, "{summary}");
    for bad in [batch(0, 0..1), batch(1, 0..0), UsageBatch { node_id: "a b".to_owned(), ..batch(1, 0..1) }] {
        let acks = client.usage(tokio_stream::once(bad)).await.unwrap().into_inner().message().await;
        assert_eq!(acks.unwrap_err().code(), tonic::Code::InvalidArgument);
    }
}

/// The database was made anew: it has no watermark, the node no older events. What is there must be taken all the same.
#[tokio::test]
async fn a_lane_that_begins_in_the_middle_is_acknowledged() {
    let world = World::new().await;
    let mut client = FleetClient::new(channel(&world.control).await);
    let mut acks = client.usage(tokio_stream::once(batch(100, 0..3))).await.unwrap().into_inner();
    assert_eq!(acks.message().await.unwrap().unwrap().up_to_seq, 102);
    let summary = world.get("/admin/usage/summary?group_by=key").await.expect(200);
    assert_eq!(summary["data"][0]["requests"], 3, "{summary}");
}

#[tokio::test]
async fn records_are_stored_shown_and_followed() {
    let world = World::new().await;
    let mut live = std::pin::pin!(world.control.app().tail.subscribe());
    let record = LogRecord {
        id: "r1".to_owned(),
        node_id: "node_1".to_owned(),
        status: 200,
        // Far from old enough to be deleted.
        started_unix_ms: 4_000_000_000_000,
        ..LogRecord::default()
    };
    let batch = LogBatch {
        node_id: "node_1".to_owned(),
        boot_id: "boot1".to_owned(),
        first_seq: 1,
        records: vec![record],
        dropped_total: 4,
    };
    let mut client = FleetClient::new(channel(&world.control).await);
    let mut acks = client.logs(tokio_stream::iter([batch.clone(), batch])).await.unwrap().into_inner();
    for _ in 0..2 {
        assert_eq!(acks.message().await.unwrap().unwrap().up_to_seq, 1);
    }
    assert_eq!(live.next().await.unwrap().id, "r1");
    let shown = world.get("/admin/logs").await.expect(200);
    assert_eq!((shown["data"].as_array().unwrap().len(), &shown["data"][0]["node_id"]), (1, &json!("node_1")));
    assert_eq!(world.control.app().store.logs_dropped().await.unwrap(), 4);
}
