//! Who may be a node: tokens that do not let in, a certificate that is taken away.

use std::time::Duration;

use gateway_testing::figure;
use serde_json::{Value, json};

use crate::eventually;
use crate::load::Load;
use crate::world::Fleet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_cert_revoked() {
    const TEST: &str = "node_cert_expired_and_revoked";
    let Some(mut fleet) = Fleet::start(1, 2).await else { return };
    fleet.in_step().await;
    let load = Load::start(fleet.nodes[0].address("base_url"), &fleet.key, 20);
    load.answered(20).await;
    let id = fleet.nodes[0].ready["node_id"].as_str().expect("a node has an id").to_owned();
    fleet.run(&["node", "revoke", &id]).await;
    let (_, cut) = eventually("the revoked node to be cut off", || async {
        let seen = fleet.seen(0).await;
        (seen["connected"] == false && seen["revoked_at"].is_string()).then_some(())
    })
    .await;
    // It serves on by what it has, and gets nothing more.
    fleet.change("after").await;
    eventually("the other node to have the change", || async {
        let (seen, head) = (fleet.seen(1).await, fleet.admin("GET", "/admin/status", Value::Null).await);
        (seen["topology"]["revision"] == head["revision"]["topology"]).then_some(())
    })
    .await;
    load.answered(20).await;
    let before = fleet.seen(0).await["topology"]["revision"].clone();
    let tally = load.finish().await;
    // Nor does a restart help: it serves from its disk, and stays outside.
    fleet.nodes[0].stop().await;
    fleet.nodes[0].start().await;
    let load = Load::start(fleet.nodes[0].address("base_url"), &fleet.key, 20);
    load.answered(40).await;
    let seen = fleet.seen(0).await;
    assert_eq!((&seen["connected"], &seen["topology"]["revision"]), (&json!(false), &before), "{seen}");
    let again = load.finish().await;
    let log = fleet.nodes[0].log();
    assert!(log.contains("revoked"), "the node says why it is alone:\n{log}");

    let n_failed = tally.failures.len() + again.failures.len();
    figure::note(TEST, "a revoked node is cut off after", cut.as_secs_f64(), "s", 5.0);
    figure::note(TEST, "failed requests of a revoked node", n_failed as f64, "requests", 0.0);
    assert!(cut < Duration::from_secs(5), "{cut:?}");
    assert_eq!(n_failed, 0, "{tally:?} {again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_do_not_let_in() {
    let Some(mut fleet) = Fleet::start(1, 1).await else { return };
    let Some(other) = Fleet::control_planes(1).await else { return };
    let used = token(&fleet, json!({"uses": 1})).await;
    let short = token(&fleet, json!({"ttl": "1s"})).await;
    let withdrawn = fleet.admin("POST", "/admin/nodes/tokens", json!({})).await;
    let id = withdrawn["id"].as_str().expect("a token has an id");
    fleet.admin("DELETE", &format!("/admin/nodes/tokens/{id}"), Value::Null).await;
    let withdrawn = withdrawn["token"].as_str().expect("a token is shown once").to_owned();
    let mut first = fleet.node_with(&["--join-token", &used], &[]);
    first.start().await;
    fleet.nodes.push(first);
    fleet.in_step().await;
    let foreign = other.control[0].ready["join_token"].as_str().expect("it has one").to_owned();
    let mut typo = used.clone();
    typo.replace_range(20..21, if &used[20..21] == "x" { "y" } else { "x" });
    // The short one has had its second by the time it is tried, whatever came before.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (what, token, expected) in [
        ("used", used.as_str(), "used"),
        ("expired", short.as_str(), "expired"),
        ("withdrawn", withdrawn.as_str(), "token"),
        ("of another fleet", foreign.as_str(), "authority"),
        ("mistyped", typo.as_str(), "token"),
        ("a virtual key", fleet.key.as_str(), "token"),
        ("empty", "", "token"),
    ] {
        let mut node = fleet.node_with(&["--join-token", token], &[]);
        node.launch();
        let status = node.ended().await;
        let log = node.log();
        assert!(!status.success(), "{what}: it must not start");
        let error =
            log.lines().rfind(|line| line.contains("error: ")).unwrap_or_else(|| panic!("{what}: no error:\n{log}"));
        assert!(error.contains(expected), "{what}: {error}");
        assert!(token.is_empty() || !log.contains(token), "{what}: a token is a secret");
        // Each try is a new node.
        fleet.nodes.push(node);
    }
    let nodes = fleet.admin("GET", "/admin/nodes", Value::Null).await;
    assert_eq!(nodes["data"].as_array().map(Vec::len), Some(2), "none of them became a node: {nodes}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_name_is_no_identity() {
    let Some(mut fleet) = Fleet::start(1, 2).await else { return };
    fleet.in_step().await;
    let victim = fleet.seen(1).await;
    let id = victim["id"].as_str().expect("a node has an id");
    let own = fleet.nodes[0].ready["node_id"].clone();
    fleet.nodes[0].stop().await;
    fleet.write("node1/node_id", id);
    fleet.nodes[0].start().await;
    let load = Load::start(fleet.nodes[0].address("base_url"), &fleet.key, 20);
    load.answered(20).await;
    let tally = load.finish().await;
    // Who it is, its certificate says.
    assert_eq!(fleet.nodes[0].ready["node_id"], own);
    fleet.in_step().await;
    fleet.usage_is(tally.n_answered).await;
    assert_eq!(fleet.count(&format!("SELECT count(*) FROM usage_event WHERE node_id = '{id}'")), 0);
    let seen = fleet.seen(1).await;
    assert_eq!((&seen["connected"], &seen["boot_id"]), (&json!(true), &victim["boot_id"]), "{seen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_with_another_key_is_refused() {
    let Some(fleet) = Fleet::control_planes(1).await else { return };
    fleet.write("other.key", "YW5vdGhlciBrZXkgb2YgdGhpcnR5LXR3byBieXRlcyE");
    let mut replica = fleet.control_plane("other.key");
    replica.launch();
    let status = replica.ended().await;
    let log = replica.log();
    assert!(!status.success(), "{log}");
    assert!(log.contains("error: ") && log.contains("key-encryption key"), "{log}");
}

async fn token(fleet: &Fleet, wish: Value) -> String {
    let made = fleet.admin("POST", "/admin/nodes/tokens", wish).await;
    made["token"].as_str().expect("a token is shown once").to_owned()
}
