//! `node token`, `node revoke`, `db new-epoch` and `snapshot export` on a real gateway.

use crate::local::Local;
use crate::support::World;

#[test]
fn tokens_are_shown_once_and_gone_when_deleted() {
    let local = Local::fresh();
    let made = local.run(&["node", "token", "create", "--labels", "zone=eu", "--ttl", "2h", "--uses", "3"]);
    let made = made.ended(0).says(&["for 3 nodes, ends in 2h"]);
    let token = made.stdout.trim_end();
    assert!(token.starts_with("gw_join_") && gateway_model::token::decode_join(token).is_some(), "{token}");
    let listed = local.run(&["node", "token", "list", "-o", "json"]).ended(0);
    assert!(!listed.stdout.contains(token));
    let listed = listed.json();
    let mine = listed.as_array().into_iter().flatten().find(|token| token["labels"]["zone"] == "eu");
    let id = mine.and_then(|token| token["id"].as_str()).expect("it is listed");
    local.run(&["node", "token", "list"]).ended(0).prints(&[id, "zone=eu", "in 2h"]);
    local.run(&["node", "token", "delete", id]).ended(0);
    local.run(&["node", "token", "delete", id]).ended(4);
    assert!(!local.run(&["node", "token", "list"]).ended(0).stdout.contains(id));
    local.run(&["node", "token", "create", "--ttl", "9999d"]).ended(1).says(&["ttl"]);
}

#[test]
fn the_node_of_this_process_cannot_be_put_out() {
    let local = Local::fresh();
    let nodes = local.run(&["nodes", "-o", "json"]).ended(0).json();
    let id = nodes[0]["id"].as_str().expect("an id");
    local.run(&["node", "revoke", id]).ended(1);
    local.run(&["node", "revoke", "node_missing"]).ended(4);
    local.run(&["nodes"]).ended(0).prints(&[id, "connected"]);
}

#[test]
fn after_a_new_epoch_the_nodes_run_what_the_database_holds() {
    let local = Local::fresh();
    let key = local.text("virtual_key").to_owned();
    let epoch = || local.run(&["status", "-o", "json"]).ended(0).json()["epoch"].clone();
    let before = epoch();
    local.run(&["db", "new-epoch", "--yes"]).ended(0).prints(&["epoch ", "revision topology"]);
    assert_ne!(epoch(), before);
    let made = local.run(&["keys", "create", "later", "--timeout", "60s"]).ended(0);
    assert_eq!(local.chat(made.stdout.trim_end(), "demo/chat", false).0, 200);
    assert_eq!(local.chat(&key, "demo/chat", false).0, 200);
    local.run(&["nodes"]).ended(0).prints(&["connected"]);
}

#[test]
fn a_snapshot_is_sealed_and_needs_its_key() {
    let world = World::new();
    world.write("gateway.yaml", "providers:\n  - {name: p, kind: openai, api_key: sk-canary-0123456789}\n");
    let local = Local::start(world, &["-f", "gateway.yaml"]);
    let export = ["snapshot", "export", "--out", "seed.snapshot"];
    let key = [("GATEWAY_STATE_KEY", "a-state-key-of-thirty-two-bytes!")];
    local.world.run_with(&key, &export).ended(0).says(&["wrote "]);
    let sealed = std::fs::read(local.world.path().join("seed.snapshot")).expect("it is there");
    assert!(!String::from_utf8_lossy(&sealed).contains("canary") && sealed.len() > 100, "{}", sealed.len());
    local.world.run_reading("short", &["snapshot", "export", "--out", "other"]).ended(1);
    assert!(!local.world.path().join("other").exists());
}
