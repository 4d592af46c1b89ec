//! The node on the fleet channel: what it applies, what it refuses and how it says so, and what it reports until somebody
//! takes it.

use std::time::Duration;

use gateway_fake::Upstream;
use gateway_fake::reply::openai;
use gateway_proxy::config::{Drain, Endpoint, Options, Source};
use gateway_proxy::{Node, start};
use gateway_wire::v1::{Class, IngestAck, ItemId, Status as AckStatus, UsageBatch, control_msg, item::Body};
use serde_json::{Value, json};

use crate::control::{Control, Stream, document, identity, topology};
use crate::gateway::{Answer, KEY, client, read};

struct World {
    control: Control,
    stream: Stream,
    node: Node,
    upstream: Upstream,
    dir: tempfile::TempDir,
}

async fn start_node(endpoint: Endpoint, dir: &std::path::Path) -> Node {
    let options = Options {
        data_dir: Some(dir.to_owned()),
        listen: Some("127.0.0.1:0".parse().expect("an address")),
        workers: Some(1),
        drain: Drain { delay: Duration::ZERO, timeout: Duration::from_secs(5) },
        ..Options::new(Source::Fleet(endpoint))
    };
    start(options).await.expect("the node starts")
}

// === impl World ===

impl World {
    /// A node that has revision 1 of both classes.
    async fn new() -> Self {
        let upstream = Upstream::start().await;
        upstream.respond_with(|received| openai::answer(received, "hello"));
        let dir = tempfile::tempdir().expect("a directory");
        let mut control = Control::start();
        let endpoint = control.endpoint();
        let feed = async {
            let (mut stream, hello) = control.stream().await;
            assert!(hello.have.iter().all(|have| have.revision == 0 && have.epoch.is_empty()), "{hello:?}");
            stream.snapshot(Class::Topology, 1, &topology(upstream.addr())).await;
            stream.snapshot(Class::Identity, 1, &identity(KEY)).await;
            for _ in 0..2 {
                let ack = stream.ack().await;
                assert_eq!((ack.status(), ack.revision), (AckStatus::Applied, 1), "{ack:?}");
            }
            stream
        };
        let (node, stream) = tokio::join!(start_node(endpoint, dir.path()), feed);
        node.ready().await;
        Self { control, stream, node, upstream, dir }
    }

    async fn chat(&self, key: &str) -> Answer {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        read(client().post(format!("http://{}/v1/chat/completions", self.node.addr())).bearer_auth(key).json(&body))
            .await
    }

    /// The next batch of usage; the sender acknowledges or ends its stream.
    async fn usage(&mut self) -> (UsageBatch, tokio::sync::mpsc::Sender<Result<IngestAck, tonic::Status>>) {
        let wait = tokio::time::timeout(gateway_fake::PATIENCE, self.control.usage.recv());
        wait.await.expect("usage comes").expect("the server runs")
    }
}

#[tokio::test]
async fn a_document_that_must_be_refused_is_nacked_with_its_field_path_while_the_old_one_serves() {
    let mut world = World::new().await;
    assert_eq!(world.chat(KEY).await.status, 200);
    let good = topology(world.upstream.addr());
    let mut provider: Value = match &good[0].body {
        Some(Body::Document(document)) => serde_json::from_slice(document).expect("JSON"),
        _ => panic!("a document"),
    };
    provider["timeouts"] = json!({"idel": "1s"});
    let bad = vec![document("provider", "p1", &provider), good[1].clone()];
    world.stream.delta(Class::Topology, 1, 2, vec![bad[0].clone()], &bad).await;
    let ack = world.stream.ack().await;
    assert_eq!((ack.class(), ack.revision, ack.status()), (Class::Topology, 2, AckStatus::Rejected));
    let error = &ack.errors[0];
    assert_eq!((error.kind.as_str(), error.name.as_str()), ("provider", "up"));
    assert_eq!((error.field_path.as_str(), error.code.as_str()), ("timeouts.idel", "unknown_field"), "{error:?}");
    assert!(error.message.contains("did you mean `idle`?"), "{error:?}");

    let answer = world.chat(KEY).await;
    assert_eq!(answer.status, 200, "the old configuration serves: {}", answer.text);
    assert_eq!(answer.header("x-gateway-config-revision"), Some("1"));

    // What comes next follows from what it still runs.
    let more = document("model", "m2", &json!({"name": "n", "targets": [{"provider": "up", "model": "x"}]}));
    let items = [good, vec![more.clone()]].concat();
    world.stream.delta(Class::Topology, 1, 3, vec![more], &items).await;
    let ack = world.stream.ack().await;
    assert_eq!((ack.revision, ack.status()), (3, AckStatus::Applied), "{ack:?}");
    assert_eq!(world.chat(KEY).await.header("x-gateway-config-revision"), Some("3"));
}

#[tokio::test]
async fn a_revoked_key_is_refused_and_one_that_cannot_be_read_is_denied() {
    let mut world = World::new().await;
    let mut items = identity(KEY);
    let mut broken = identity("sk-other-0123456789abcde").remove(1);
    broken.id = "vk_2".to_owned();
    if let Some(Body::Key(key)) = &mut broken.body {
        key.digest.clear();
    }
    items.push(broken.clone());
    world.stream.delta(Class::Identity, 1, 2, vec![broken], &items).await;
    let ack = world.stream.ack().await;
    assert_eq!((ack.revision, ack.status()), (2, AckStatus::AppliedWithQuarantine), "{ack:?}");
    assert_eq!(ack.errors[0].field_path, "digest");
    assert_eq!(world.chat(KEY).await.status, 200, "the others are not touched");

    items.remove(1);
    let removed = gateway_wire::v1::Delta {
        nonce: 1,
        class: Class::Identity.into(),
        epoch: "epoch".to_owned(),
        from_revision: 2,
        to_revision: 3,
        urgent: true,
        removed: vec![ItemId { kind: "key".to_owned(), id: "vk_1".to_owned() }],
        root_hash: gateway_wire::tree::Tree::of(&items).root().to_vec(),
        ..gateway_wire::v1::Delta::default()
    };
    world.stream.send(control_msg::Msg::Delta(removed)).await;
    assert_eq!(world.stream.ack().await.status(), AckStatus::Applied);
    assert_eq!(world.chat(KEY).await.status, 401);
}

#[tokio::test]
async fn a_broken_stream_is_resumed_from_what_is_held() {
    let World { mut control, stream, node, upstream, dir } = World::new().await;
    drop(stream);
    let (stream, hello) = control.stream().await;
    let have: Vec<u64> = hello.have.iter().map(|have| have.revision).collect();
    assert_eq!(have, [1, 1], "no snapshot is needed");
    let items = topology(upstream.addr());
    // From a revision it does not hold: it says so instead of guessing.
    stream.delta(Class::Topology, 5, 6, vec![items[0].clone()], &items).await;
    stream.delta(Class::Topology, 1, 2, Vec::new(), &items).await;
    let mut world = World { control, stream, node, upstream, dir };
    assert_eq!(world.chat(KEY).await.status, 200);
    let answers = [world.stream.answer().await, world.stream.answer().await];
    assert!(answers[0].starts_with("resync topology: a change from revision 5 where 1 is held"), "{answers:?}");
    assert_eq!(answers[1], "ack 2");
}

#[tokio::test]
async fn usage_comes_again_until_it_is_acknowledged_and_survives_the_node() {
    let mut world = World::new().await;
    assert_eq!(world.chat(KEY).await.status, 200);
    let (batch, stream) = world.usage().await;
    assert_eq!((batch.first_seq, batch.events.len(), batch.events[0].key_id.as_str()), (1, 1, "vk_1"));
    assert!(batch.events[0].tokens.is_some_and(|tokens| tokens.input > 0 && tokens.output > 0), "{batch:?}");
    let record = world.control.records.recv().await.expect("a record");
    assert_eq!((&record.id, &record.node_id), (&batch.events[0].id, &world.node.node_id()));
    // Stored, but the acknowledgement is lost with the stream.
    stream.send(Err(tonic::Status::unavailable("gone"))).await.expect("the stream is there");
    let (again, stream) = world.usage().await;
    assert_eq!(again, batch);
    let up_to_seq = again.first_seq;
    let ack = IngestAck { up_to_seq, lane: again.lane, boot_id: again.boot_id.clone() };
    stream.send(Ok(ack)).await.expect("the stream is there");
    drop(stream);

    assert_eq!(world.chat(KEY).await.status, 200);
    let (unacknowledged, stream) = world.usage().await;
    assert_eq!(unacknowledged.first_seq, 2);
    drop(stream);
    let World { control, node, dir, stream, .. } = world;
    let node_id = node.node_id();
    // Nobody is there: it ends all the same, and the next process of this directory owes what is left.
    drop((control, stream));
    node.shutdown().await;

    let mut control = Control::start();
    let node = start_node(control.endpoint(), dir.path()).await;
    let (batch, _stream) = control.usage.recv().await.expect("usage");
    assert_eq!((&batch.node_id, &node.node_id()), (&node_id, &node_id));
    // What had been acknowledged is in the same file and comes along; its number says that it is known.
    assert_eq!((batch.boot_id, batch.first_seq), (unacknowledged.boot_id, 1));
    assert_eq!(batch.events[1..], unacknowledged.events);
}
