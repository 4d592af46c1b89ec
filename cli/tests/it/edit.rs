//! `edit`: a script stands for the editor.

use crate::local::Local;
use crate::support::{Outcome, World};

fn gateway() -> Local {
    let world = World::new();
    world.write("gateway.yaml", "providers:\n  - {name: trial, kind: demo}\nmodels:\n  - {name: m, targets: [{provider: trial, model: x}]}\nroutes:\n  - {name: r, model: m}\n");
    Local::start(world, &["-f", "gateway.yaml"])
}

fn edit(local: &Local, script: &str) -> Outcome {
    local.world.write("editor.sh", script);
    local.world.run_with(&[("EDITOR", "sh ./editor.sh")], &["edit", "route", "r"])
}

#[test]
fn an_edit_shows_the_difference_and_applies_it() {
    let local = gateway();
    edit(&local, "sed -i 's|^match: .*|match: {path: /v1/chat/completions}|' \"$1\"")
        .ended(0)
        .says(&["+match:"])
        .prints(&["route r changed", "running on node_"]);
    let route = local.run(&["get", "route", "r", "-o", "json"]).ended(0).json();
    assert_eq!(route["spec"]["match"]["path"], "/v1/chat/completions", "{route}");
}

#[test]
fn an_unchanged_text_changes_nothing() {
    let local = gateway();
    let before = local.run(&["status", "-o", "json"]).ended(0).json()["revision"].clone();
    edit(&local, "true").ended(0).says(&["nothing changed"]);
    edit(&local, "echo '# a remark' >> \"$1\"").ended(0).says(&["nothing changed"]);
    assert_eq!(local.run(&["status", "-o", "json"]).ended(0).json()["revision"], before);
}

#[test]
fn garbage_is_opened_again_with_the_reasons() {
    let local = gateway();
    // First garbage, then, when the reasons are in the text, the repair.
    let script = "if grep -q '# .*colour' \"$1\"; then sed -i '/^colour/d; s/^model: .*/model: trial\\/y/' \"$1\"; else echo 'colour: red' >> \"$1\"; fi";
    edit(&local, script).ended(0).prints(&["route r changed"]);
    // A reference that only the gateway can check, then giving up by leaving the text as it is.
    let script = "grep -q '# .*nobody' \"$1\" || sed -i 's/^model: .*/model: nobody/' \"$1\"";
    edit(&local, script).ended(1).says(&["given up", "nobody"]);
    edit(&local, "exit 3").ended(1).says(&["the editor", "nothing was changed"]);
    local.run(&["edit", "route", "missing"]).ended(4);
}

#[test]
fn an_editor_that_is_always_wrong_comes_to_an_end_and_no_text_is_lost() {
    let local = gateway();
    let kept = |outcome: &Outcome| {
        let path = outcome.stderr.split("kept in `").nth(1).and_then(|rest| rest.split('`').next());
        let path = path.unwrap_or_else(|| panic!("no file is named: {outcome:#?}"));
        std::fs::read_to_string(path).expect("the file is there")
    };
    let outcome =
        edit(&local, "echo x >> runs; echo \"colour_$(wc -l < runs): red\" >> \"$1\"").ended(1).says(&["given up"]);
    let n_runs = std::fs::read_to_string(local.world.path().join("runs")).expect("it ran").lines().count();
    assert!((2..=20).contains(&n_runs), "{n_runs}");
    assert!(kept(&outcome).contains("colour_10: red"), "{outcome:#?}");
    // An editor that dies after saving.
    let outcome = edit(&local, "echo 'colour: red' >> \"$1\"; exit 3").ended(1);
    assert!(kept(&outcome).contains("colour: red"));
    // Changed by somebody else while the editor was open.
    let other = "sed -i 's|^match: .*|match: {path: /mine}|' \"$1\"; sed -i 's/name: m,/name: n,/; s/model: m}/model: n}/' gateway.yaml; \
                 env -u EDITOR $GATEWAYCTL apply -f gateway.yaml > /dev/null";
    local.world.write("editor.sh", other);
    let environment = [("EDITOR", "sh ./editor.sh"), ("GATEWAYCTL", env!("CARGO_BIN_EXE_gatewayctl"))];
    let outcome = local.world.run_with(&environment, &["edit", "route", "r"]).ended(1).says(&["somebody else"]);
    assert!(kept(&outcome).contains("/mine"));
    // Nothing of the user's: nothing is kept.
    assert!(!edit(&local, "exit 3").ended(1).stderr.contains("kept in"));
}

#[test]
fn settings_are_edited_from_nothing_and_back() {
    let local = gateway();
    local.world.write("editor.sh", "echo 'chat: {default_stream: true}' >> \"$1\"");
    let editor = [("EDITOR", "sh ./editor.sh")];
    local
        .world
        .run_with(&editor, &["edit", "settings"])
        .ended(0)
        .says(&["+  default_stream: true"])
        .prints(&["changed"]);
    local.run(&["get", "settings"]).ended(0).prints(&["default_stream"]);
    local.world.write("editor.sh", "sed -i '/^[^#]/d' \"$1\"");
    local.world.run_with(&editor, &["edit", "settings"]).ended(0);
    local.run(&["get", "settings"]).ended(0).says(&["every setting has its default"]);
}
