//! Nodes to which something has happened: their control plane is away, their disk is not what it was, what they are told makes no sense.

use gateway_fake::reply::openai;
use gateway_fake::{Conditions, Script, Upstream};
use gateway_proxy::Node;
use gateway_proxy::config::Otlp;
use gateway_wire::v1::item::Body;
use gateway_wire::v1::{Class, Status};
use serde_json::json;

use super::samples;
use crate::control::{identity, topology};
use crate::gateway::{Gateway, KEY, client, openai_at, read, within};
use crate::member::{World, chat};

pub(super) async fn scrapes() -> Vec<String> {
    let mut texts = vec![unsigned().await, collected().await, uncounted().await];
    texts.extend(Box::pin(away()).await);
    texts
}

/// Receipts are wanted, and where they should be written is a directory.
async fn unsigned() -> String {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "hello"));
    let yaml = format!("{}settings: {{receipts: true}}\n", openai_at(&upstream.url()));
    let gateway = Gateway::start_with(&yaml, |options| {
        let dir = options.data_dir.clone().expect("it has one");
        std::fs::create_dir_all(dir.join("receipts.jsonl")).expect("made");
    })
    .await;
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(gateway.chat(&body).await.status, 200);
    gateway.records(1).await;
    let text = super::scrape(&gateway).await;
    gateway.stop().await;
    text
}

/// Limits should be counted in a place of which this node was not told, and what it serves has no price.
async fn uncounted() -> String {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "hello"));
    let yaml = format!("{}settings: {{limit_store: {{kind: redis}}}}\n", openai_at(&upstream.url()));
    let gateway = Gateway::start(&yaml).await;
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(gateway.chat(&body).await.status, 200);
    super::moved(&gateway, "gateway_unpriced_requests_total").await;
    let text = super::moved(&gateway, "gateway_limit_store_away").await;
    gateway.stop().await;
    text
}

/// Somebody collects traces.
async fn collected() -> String {
    let (upstream, collector) = (Upstream::start().await, Upstream::start().await);
    upstream.respond_with(|received| openai::answer(received, "hello"));
    collector.respond_with(|_| Script::text(200, "application/x-protobuf", ""));
    let otlp = Otlp { sample_ratio: 1.0, ..Otlp::new(collector.url()) };
    let gateway = Gateway::start_with(&openai_at(&upstream.url()), |options| options.otlp = Some(otlp)).await;
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(gateway.chat(&body).await.status, 200);
    let text = super::moved(&gateway, "gateway_spans_total").await;
    gateway.stop().await;
    text
}

/// All that is told once each of these is more than nothing.
async fn told(node: &Node, names: &[&str]) -> String {
    within(&names.join(", "), || async {
        let text = read(client().get(format!("http://{}/metrics", node.addr()))).await.text;
        let moved = |wanted: &&str| samples(&text).any(|(name, value)| name == *wanted && value > 0.0);
        names.iter().all(moved).then(|| text.clone())
    })
    .await
}

/// A member of a fleet, whose control plane says odd things and then nothing.
async fn away() -> Vec<String> {
    let mut world = World::new().await;
    let (node, mut stream, _) = world.member().await;
    // A key that makes no sense.
    let mut items = identity(KEY);
    if let Some(Body::Key(key)) = &mut items[1].body {
        key.log_bodies = br#"{"request":true}"#.to_vec();
    }
    let mut bad = items[1].clone();
    bad.id = "vk_2".to_owned();
    if let Some(Body::Key(key)) = &mut bad.body {
        (key.name, key.digest) = ("bad".to_owned(), vec![1, 2, 3]);
    }
    items.push(bad.clone());
    stream.delta(Class::Identity, 1, 2, vec![items[1].clone(), bad], &items).await;
    assert_eq!(stream.ack().await.status(), Status::AppliedWithQuarantine);
    // The same revision, and another content.
    let other = topology("127.0.0.1:1".parse().expect("an address"));
    stream.bookmark(Class::Topology, 1, &other).await;
    let odd = told(&node, &["gateway_config_quarantined_total", "gateway_config_drift_total"]).await;
    drop(stream);
    // Nobody takes what has happened, and the disk takes nothing either.
    world.link.set(Conditions { refuse: true, ..Conditions::default() });
    world.link.reset_all();
    assert_eq!(chat(&node).await, 200);
    let owed = [
        "gateway_usage_pending",
        "gateway_log_records_pending",
        "gateway_log_bodies_pending",
        "gateway_config_stale_seconds",
    ];
    let alone = told(&node, &owed).await;
    node.shutdown().await;
    // What was kept is rubbish.
    let config = world.dir.path().join("config");
    for file in std::fs::read_dir(&config).expect("it was kept").flatten() {
        std::fs::write(file.path(), b"rubbish").expect("written");
    }
    let node = world.start(None).await.expect("the node starts");
    let damaged = told(&node, &["gateway_config_damaged_files_total"]).await;
    // Where it would be kept is no folder any more.
    std::fs::remove_dir_all(&config).expect("removed");
    std::fs::write(&config, b"").expect("written");
    world.link.set(Conditions::default());
    let (_stream, _) = world.feed().await;
    let unkept = told(&node, &["gateway_config_unkept", "gateway_warnings"]).await;
    node.shutdown().await;
    vec![odd, alone, damaged, unkept]
}
