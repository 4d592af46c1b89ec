//! `apply`, `plan`, `get`, `describe`, `delete`: the life of a configuration.

use crate::local::Local;
use crate::support::World;

const FILE: &str = "providers:\n  - name: trial\n    kind: demo\nmodels:\n  - name: team/smart\n    targets:\n      - {provider: trial, model: x, weight: 70}\n\
    routes:\n  - name: search\n    match: {headers: {x-team: search}}\n    model: team/smart\nkeys:\n  - name: app\n    limits: {rpm: 120}\n";

fn with_file(text: &str) -> Local {
    let world = World::new();
    world.write("gateway.yaml", text);
    Local::start(world, &[])
}

#[test]
fn a_file_is_planned_applied_served_and_applied_again_without_effect() {
    let local = with_file(FILE);
    local.run(&["plan", "-f", "gateway.yaml"]).ended(0).prints(&[
        "+ provider trial",
        "+ model team/smart",
        "+ route search",
        "+ key app",
    ]);
    local.run(&["get", "model", "team/smart"]).ended(4);
    local.run(&["apply", "-f", "gateway.yaml", "--dry-run"]).ended(0).prints(&["4 created"]);
    local.run(&["get", "model", "team/smart"]).ended(4);

    let applied = local.run(&["apply", "-f", "gateway.yaml"]).ended(0);
    let applied = applied.prints(&[
        "+ provider trial",
        "4 created",
        "revision topology ",
        "running on node_",
        "key app: gw_virt_",
    ]);
    let key = applied.stdout.lines().find_map(|line| line.strip_prefix("key app: ")).expect("a minted key").to_owned();
    assert_eq!(local.chat(&key, "team/smart", true).0, 200);

    let again = local.run(&["apply", "-f", "gateway.yaml"]).ended(0).prints(&["nothing to change (4 unchanged)"]);
    assert!(!again.stdout.contains("gw_virt_"));

    local.world.write("gateway.yaml", &FILE.replace("weight: 70", "weight: 50"));
    local.run(&["plan", "-f", "gateway.yaml"]).ended(0).prints(&[
        "~ model team/smart",
        "weight",
        "70 -> 50",
        "1 updated, 3 unchanged",
    ]);
    let report = local.run(&["apply", "-f", "gateway.yaml", "-o", "json"]).ended(0).json();
    assert_eq!(report["rollout"]["applied"].as_array().map(Vec::len), Some(1), "{report}");
}

#[test]
fn pruning_deletes_only_what_the_file_made() {
    let local = with_file(FILE);
    local.run(&["apply", "-f", "gateway.yaml", "--no-wait"]).ended(0);
    local.world.write("gateway.yaml", "providers:\n  - {name: trial, kind: demo}\nmodels:\n  - {name: team/smart, targets: [{provider: trial, model: x}]}\n");
    local.run(&["apply", "-f", "gateway.yaml"]).ended(0);
    local.run(&["get", "route", "search"]).ended(0);
    local.run(&["apply", "-f", "gateway.yaml", "--prune"]).ended(0).prints(&["- route search", "- key app"]);
    local.run(&["get", "route", "search"]).ended(4);
    local.run(&["get", "provider", "demo"]).ended(0);
}

#[test]
fn a_bad_file_changes_nothing() {
    let local = with_file(&FILE.replace("provider: trial", "provider: nobody"));
    let before = local.run(&["status", "-o", "json"]).ended(0).json()["revision"].clone();
    local.run(&["apply", "-f", "gateway.yaml"]).ended(1).says(&[
        "gateway.yaml:7:",
        "models[team/smart].targets[0].provider",
        "nobody",
    ]);
    assert_eq!(local.run(&["status", "-o", "json"]).ended(0).json()["revision"], before);
    local.run(&["get", "provider", "trial"]).ended(4);
}

#[test]
fn resources_are_shown_in_every_form() {
    let local = with_file(FILE);
    local.run(&["get", "routes"]).ended(0).says(&["no routes; requests go to the model they name"]);
    local.run(&["apply", "-f", "gateway.yaml"]).ended(0);
    local.run(&["get", "routes"]).ended(0).prints(&["ORDER", "search", "x-team: search", "team/smart"]);
    local.run(&["get", "models"]).ended(0).prints(&["team/smart", "trial/x x70"]);
    local.run(&["get", "prices"]).ended(0).says(&["no prices"]);
    let models = local.run(&["get", "model", "team/smart", "-o", "json"]).ended(0).json();
    assert_eq!(models["spec"]["targets"][0]["weight"], 70, "{models}");
    assert_eq!(models["owner"], "gateway.yaml");
    local.run(&["get", "models", "-o", "yaml"]).ended(0).prints(&["name: team/smart\n", "weight: 70\n"]);
    local
        .run(&["describe", "model", "team/smart"])
        .ended(0)
        .prints(&["Owner:     gateway.yaml", "targets:\n  - provider: trial"]);
    local.run(&["describe", "model"]).ended(2);
    local.run(&["describe", "model", "nobody"]).ended(4);
    local.run(&["get", "settings"]).ended(0);
}

#[test]
fn what_others_refer_to_is_not_deleted() {
    let local = with_file(FILE);
    local.run(&["apply", "-f", "gateway.yaml"]).ended(0);
    local.run(&["delete", "provider", "trial"]).ended(1).says(&["team/smart"]);
    local.run(&["delete", "model", "team/smart", "--dry-run"]).ended(1).says(&["search"]);
    local.run(&["delete", "route", "search", "--dry-run"]).ended(0).prints(&["could be deleted"]);
    local
        .run(&["delete", "route", "search"])
        .ended(0)
        .prints(&["route search deleted", "running on node_"])
        .says(&["gateway.yaml"]);
    local.run(&["delete", "model", "team/smart"]).ended(0);
    local.run(&["delete", "model", "team/smart"]).ended(4);
    local.run(&["delete", "settings", "x"]).ended(2);
}

#[test]
fn the_file_can_come_from_stdin() {
    let local = Local::fresh();
    local.world.run_reading(FILE, &["apply", "-f", "-", "--source", "pipe"]).ended(0).prints(&["4 created"]);
    assert_eq!(local.run(&["get", "provider", "trial", "-o", "json"]).ended(0).json()["owner"], "pipe");
}
