//! `doctor`: with nothing, with trouble, with a gateway that is well.

use serde_json::{Value, json};

use crate::fake::Fake;
use crate::support::World;

/// The state of each check, by name; the worst where a name has several.
fn states(report: &Value) -> Vec<(String, String)> {
    let checks = report["checks"].as_array().expect("a list");
    checks
        .iter()
        .map(|check| (check["name"].to_string(), check["state"].as_str().unwrap_or_default().to_owned()))
        .collect()
}

#[test]
fn with_nothing_it_says_how_to_begin() {
    let world = World::new();
    world.run(&["doctor"]).ended(1).prints(&["fail  gateway", "gatewayctl up", "the first start makes it"]);
    let report = world.run(&["doctor", "-o", "json"]).ended(1).json();
    assert_eq!(report["state"], "fail", "{report}");
    world.run(&["doctor", "--admin-url", "http://127.0.0.1:1"]).ended(1).prints(&["no master key for"]);
    let gone = [("GATEWAY_ADMIN_URL", "http://127.0.0.1:1"), ("GATEWAY_MASTER_KEY", "k")];
    world.run_with(&gone, &["doctor"]).ended(1).prints(&["ok    gateway", "fail  admin api", "cannot reach"]);
}

#[test]
fn each_part_that_fails_is_named_and_the_rest_is_looked_at() {
    let refused = || (401, json!({"error": {"code": "unauthorized", "message": "that is not the master key"}}));
    let fake = Fake::start(move |call| match call.path.as_str() {
        "/health" => (200, json!({"status": "ok"})),
        "/ready" => (503, json!({"error": {"code": "unavailable", "message": "the database does not answer"}})),
        _ => refused(),
    });
    let report = fake.run(&["doctor", "-o", "json"]).ended(1).json();
    let wanted = [("\"gateway\"", "ok"), ("\"admin api\"", "ok"), ("\"database\"", "fail"), ("\"master key\"", "fail")];
    assert_eq!(states(&report), wanted.map(|(name, state)| (name.to_owned(), state.to_owned())), "{report}");

    let empty = json!({"data": [], "next": null});
    let fake = Fake::start(move |call| match call.path.as_str() {
        "/health" | "/ready" => (200, json!({})),
        "/admin/status" => (200, json!({"version": "9.9.9", "epoch": "e", "revision": {"topology": 7, "identity": 3}})),
        "/admin/nodes" => (
            200,
            json!({"data": [{"id": "node_a", "connected": true, "topology": {"status": "rejected"}}], "next": null}),
        ),
        _ => (200, empty.clone()),
    });
    let outcome = fake.run(&["doctor"]).ended(1).prints(&[
        "warn  version     the gateway is 9.9.9",
        "ok    revisions   topology 7, identity 3; epoch e",
        "warn  providers   none: requests have nowhere to go",
        "warn  keys        none of 0 can be used",
        "fail  nodes       1 of 1 refuse the newest revision",
        "1 failed, 3 to look at",
    ]);
    assert!(!outcome.stdout.contains('\x1b'));
}

#[cfg(feature = "server")]
#[test]
fn a_gateway_that_is_well_passes_and_one_that_was_killed_is_told() {
    let local = crate::local::Local::fresh();
    local.run(&["doctor"]).ended(0).prints(&[
        "ok    database",
        "ok    nodes       1 of 1 connected",
        "its secrets are private",
    ]);
    let data = local.world.path().join("gateway-data");
    let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(data.join("kek.key"), mode(0o644)).expect("it is ours");
    local.run(&["doctor"]).ended(1).prints(&["fail  data", "chmod 600"]);
    std::fs::set_permissions(data.join("kek.key"), mode(0o600)).expect("it is ours");
    let world = local.kill();
    world.run(&["doctor"]).ended(1).prints(&["fail  admin api", "cannot reach", "ports"]);
}
