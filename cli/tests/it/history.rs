//! `config`: history, difference, rollback.

use crate::local::Local;

#[test]
fn a_change_shows_in_the_history_and_can_be_taken_back() {
    let local = Local::fresh();
    let file = |weight: u32| {
        format!(
            "providers:\n  - {{name: trial, kind: demo}}\nmodels:\n  - {{name: m, targets: [{{provider: trial, model: x, weight: {weight}}}]}}\n"
        )
    };
    local.world.write("gateway.yaml", &file(10));
    local.run(&["apply", "-f", "gateway.yaml"]).ended(0);
    let topology =
        || local.run(&["status", "-o", "json"]).ended(0).json()["revision"]["topology"].as_u64().expect("a revision");
    let before = topology();
    local.world.write("gateway.yaml", &file(20));
    local.run(&["apply", "-f", "gateway.yaml"]).ended(0);

    local.run(&["config", "diff", &before.to_string()]).ended(0).prints(&["~ model m", "10 -> 20"]);
    let history = local.run(&["config", "history", "-o", "json"]).ended(0).json();
    assert_eq!(history[0]["revision"].as_u64(), Some(before + 1), "{history}");
    local.run(&["config", "history", "--limit", "1"]).ended(0).prints(&["REVISION", "SUMMARY"]);
    local.run(&["config", "history", "--class", "identity"]).ended(0);

    local.run(&["config", "rollback", "--to", "previous"]).ended(0).prints(&["20 -> 10", "running on node_"]);
    assert_eq!(topology(), before + 2);
    let model = local.run(&["get", "model", "m", "-o", "json"]).ended(0).json();
    assert_eq!(model["spec"]["targets"][0]["weight"], 10, "{model}");
    local.run(&["config", "rollback", "--to", "999999"]).ended(4);
    local.run(&["config", "rollback", "--to", "yesterday"]).ended(2);
    local.run(&["config", "diff", &before.to_string(), &before.to_string()]).ended(0).prints(&["no difference"]);
}
