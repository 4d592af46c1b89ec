//! A node of another release refuses what it does not understand. The others run it; who looks sees which node, which item, which
//! field.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use gateway_testing::{figure, gatewayctl};
use serde_json::Value;

use crate::eventually;
use crate::load::Load;
use crate::world::Fleet;

/// A field of the configuration, and what a release that does not know it has in its place.
const FIELD: (&[u8], &[u8]) = (b"first_byte", b"first_bite");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_topology_nacked() {
    const TEST: &str = "bad_topology_nacked";
    let Some(mut fleet) = Fleet::start(1, 1).await else { return };
    let mut skewed = fleet.node(&[]);
    skewed.program = other_release(&fleet);
    skewed.start().await;
    fleet.nodes.push(skewed);
    fleet.in_step().await;
    let old = fleet.seen(1).await["topology"]["revision"].clone();
    let load = Load::start(fleet.nodes[1].address("base_url"), &fleet.key, 20);
    load.answered(20).await;

    let file = fs::read_to_string(fleet.path("gateway.yaml")).expect("it is there");
    let file = file.replace("retry: {max_attempts: 1}", "retry: {max_attempts: 1}\n    timeouts: {first_byte: 30s}");
    fleet.write("gateway.yaml", &file);
    let start = std::time::Instant::now();
    let applied = fleet.gatewayctl(&["apply", "-f", "gateway.yaml"]).await;
    let (seen, _) = eventually("the refusal to be shown", || async {
        let seen = fleet.seen(1).await;
        (seen["topology"]["status"] == "rejected").then_some(seen)
    })
    .await;
    let shown = start.elapsed();
    let error = &seen["errors"][0];
    assert_eq!((&error["kind"], &error["name"]), (&Value::from("provider"), &Value::from("fake")), "{seen}");
    assert!(error["field_path"].as_str().is_some_and(|path| path.contains("timeouts.first_byte")), "{seen}");
    assert_eq!(seen["topology"]["revision"], old, "the old configuration serves: {seen}");

    // Whoever applied it was told, and whoever looks is.
    let id = seen["id"].as_str().expect("a node has an id");
    let told = [&applied.stdout[..], &applied.stderr[..]].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(!applied.status.success() && told.contains(id) && told.contains("first_byte"), "{told}");
    let described = fleet.run(&["node", "describe", id]).await;
    assert!(described.contains("first_byte"), "{described}");
    let nodes = fleet.run(&["nodes"]).await;
    assert!(nodes.contains("rejected"), "{nodes}");
    let other = fleet.seen(0).await;
    assert_eq!(other["topology"]["status"], "applied", "{other}");
    assert!(other["topology"]["revision"].as_u64() > old.as_u64(), "{other}");

    // What it can read again, it takes.
    fleet.write("gateway.yaml", &file.replace("\n    timeouts: {first_byte: 30s}", ""));
    fleet.run(&["apply", "-f", "gateway.yaml"]).await;
    fleet.in_step().await;
    load.answered(20).await;
    let tally = load.finish().await;
    figure::note(TEST, "failed requests of the refusing node", tally.failures.len() as f64, "requests", 0.0);
    figure::note(TEST, "from the change to the refusal shown", shown.as_secs_f64(), "s", 2.0);
    assert!(tally.failures.is_empty(), "{tally:?}");
    assert!(shown.as_secs_f64() < 2.0, "{shown:?}");
}

/// The program under test, but for one field of the configuration, whose name it does not know.
fn other_release(fleet: &Fleet) -> PathBuf {
    let mut program = fs::read(gatewayctl()).expect("the program can be read");
    let (known, unknown) = FIELD;
    let mut n_places = 0;
    let mut at = 0;
    while let Some(found) = program[at..].windows(known.len()).position(|window| window == known) {
        at += found;
        program[at..at + known.len()].copy_from_slice(unknown);
        n_places += 1;
    }
    assert!(n_places > 0, "the program does not hold the field's name");
    let path = fleet.path("gatewayctl-of-another-release");
    fs::write(&path, program).expect("the folder is ours");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is there");
    path
}
