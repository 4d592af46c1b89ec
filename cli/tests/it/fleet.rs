//! `nodes`, `node`, `db`, `snapshot`, and following a change, against a stand-in: nodes in trouble are made up easily.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::fake::{Call, Fake};
use crate::terminal::Terminal;

fn node(id: &str) -> Value {
    json!({"id": id, "version": "0.1.0", "connected": true, "last_seen": "2027-01-15T08:00:00Z", "labels": {"zone": "eu"}, "boot_id": "b",
        "topology": {"revision": 7, "status": "applied", "persisted": 7}, "identity": {"revision": 3, "status": "applied", "persisted": 3},
        "lag": {"topology": 0, "identity": 0}, "errors": [], "warnings": [], "inflight": 0, "revoked_at": null, "clock_offset_ms": 0,
        "certificate": {"not_after": "2999-01-15T08:00:00Z", "serial": "1f"},
        "spool": {"usage_pending": 1, "usage_dropped": 0, "logs_pending": 2, "logs_dropped": 0},
        "metrics": {"requests_per_second": 12.5, "errors_per_second": 0.5, "p95_ms": 240.0, "open_streams": 4, "resident_bytes": 1}})
}

fn rejecting() -> Value {
    let mut node = node("node_01JD0Q6S0Z6QK1GZ0YV4M8T9XB");
    node["topology"] = json!({"revision": 6, "status": "rejected", "refused": 7, "persisted": 6});
    node["lag"]["topology"] = json!(1);
    node["errors"] = json!([{"class": "topology", "kind": "provider", "name": "p", "field_path": "base_url", "code": "invalid_value", "message": "no such scheme"}]);
    node
}

fn of_nodes(nodes: Vec<Value>) -> Fake {
    Fake::start(move |call| match call.path.strip_prefix("/admin/nodes") {
        Some("") => (200, json!({"data": nodes, "next": null})),
        Some(id) => match nodes.iter().find(|node| node["id"].as_str() == Some(&id[1..])) {
            Some(node) => (200, node.clone()),
            None => (404, json!({"error": {"code": "not_found", "message": "there is no such node"}})),
        },
        None => (404, Value::Null),
    })
}

#[test]
fn nodes_are_listed_narrow_and_wide_and_described_in_full() {
    let (good, bad) = ("node_01JD0Q6S0Z6QK1GZ0YV4M8T9XA", "node_01JD0Q6S0Z6QK1GZ0YV4M8T9XB");
    let fake = of_nodes(vec![node(good), rejecting()]);
    for arguments in [&["nodes"][..], &["node", "list"], &["nodes", "-o", "wide"]] {
        let listed = fake.run(arguments).ended(0);
        let lines: Vec<&str> = listed.stdout.lines().collect();
        assert!(lines[1].starts_with(&format!("{good}  connected  7/3 ")), "{listed:#?}");
        assert!(lines[2].starts_with(&format!("{bad}  rejected   6/3 (-1/-0) ")), "{listed:#?}");
        for wanted in ["12.5", "0.5", "240ms", "2999-01-15", "zone=eu", "0.1.0"] {
            assert!(lines[1].contains(wanted), "{wanted}: {listed:#?}");
        }
    }
    let listed = fake.run(&["nodes", "-o", "json"]).ended(0).json();
    assert_eq!(listed[1]["lag"]["topology"], 1);
    fake.run(&["nodes", "-o", "yaml"]).ended(0).prints(&["status: rejected"]);
    for arguments in [["node", "describe", bad].as_slice(), &["nodes", bad]] {
        fake.run(arguments).ended(0).prints(&[
            "revision 6, 1 behind, rejected, refuses 7",
            "Error:   provider p: base_url: no such scheme (invalid_value)",
            "serial 1f",
        ]);
    }
    fake.run(&["node", "describe", "node_x"]).ended(4).says(&["no such node"]);

    let narrow = Terminal::start(&fake.world, 80, &fake.environment(), &["nodes"]).ended(0);
    assert!(
        narrow.lines().all(|line| line.trim_end().chars().count() <= 80) && narrow.contains("left out"),
        "{narrow}"
    );
    let wide = Terminal::start(&fake.world, 200, &fake.environment(), &["nodes"]).ended(0);
    assert!(wide.contains("LABELS") && !wide.contains("left out") && !wide.contains('\x1b'), "{wide}");
    let tiny = Terminal::start(&fake.world, 40, &fake.environment(), &["nodes"]).ended(0);
    assert!(tiny.contains(&format!("ID:       {good}")), "{tiny}");
}

#[test]
fn watched_nodes_are_drawn_again_and_a_gateway_that_is_away_is_waited_for() {
    static N_CALLS: AtomicUsize = AtomicUsize::new(0);
    let fake = Fake::start(|_| match N_CALLS.fetch_add(1, Ordering::SeqCst) {
        1 => (503, json!({"error": {"code": "unavailable", "message": "the database is away"}})),
        n_calls => (200, json!({"data": [node(&format!("node_{n_calls}"))], "next": null})),
    });
    let mut screen = Terminal::start(&fake.world, 120, &fake.environment(), &["nodes", "--watch", "--every", "100ms"]);
    screen.wait_for("node_0");
    screen.wait_for("not current: ");
    screen.wait_for("node_3");
    assert!(
        screen.screen().contains("the database is away") && screen.screen().contains("\x1b[H"),
        "{}",
        screen.screen()
    );
    screen.types("\u{3}");
    drop(screen);
    // Without a screen each look is a record.
    let mut command = fake.world.command(&["nodes", "--watch", "--every", "100ms", "-o", "json"]);
    command.envs(fake.environment()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().expect("gatewayctl starts");
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().expect("stdout is piped")));
    let looks: Vec<Value> =
        lines.take(2).map(|line| serde_json::from_str(&line.expect("text")).expect("a line of JSON")).collect();
    assert!(looks.iter().all(|look| look[0]["connected"] == true), "{looks:?}");
    child.kill().and_then(|()| child.wait()).expect("it can be ended");
}

#[test]
fn tokens_are_made_listed_and_deleted_and_nodes_revoked() {
    let fake = Fake::start(|call| match (call.method.as_str(), call.path.as_str()) {
        ("POST", "/admin/nodes/tokens") => (
            201,
            json!({"id": "tok_1", "token": "gw_join_x", "expires_at": "2999-01-15T08:00:00Z", "uses": 10, "labels": {}}),
        ),
        ("GET", "/admin/nodes/tokens") => (
            200,
            json!({"data": [{"id": "tok_1", "expires_at": "2999-01-15T08:00:00Z", "uses": 10, "uses_left": 9, "labels": {"zone": "eu"}}], "next": null}),
        ),
        ("DELETE", "/admin/nodes/tokens/tok_1") => (204, Value::Null),
        ("POST", "/admin/nodes/node_1/revoke") => (200, json!({"id": "node_1", "revoked_at": "2027-01-15T08:00:00Z"})),
        _ => (404, json!({"error": {"code": "not_found", "message": "there is no such thing"}})),
    });
    let create =
        ["node", "token", "create", "--labels", "zone=eu,tier=edge", "--label", "a=b", "--ttl", "24h", "--uses", "10"];
    let made = fake.run(&create).ended(0).says(&["tok_1", "10 nodes", "not shown again"]);
    assert_eq!(made.stdout, "gw_join_x\n");
    assert!(!made.stderr.contains("gw_join_x"));
    let body = fake.calls()[0].body.clone();
    assert_eq!(body, json!({"labels": {"zone": "eu", "tier": "edge", "a": "b"}, "ttl": "86400000ms", "uses": 10}));
    fake.run(&["node", "token", "list"]).ended(0).prints(&["tok_1", "9", "2999-01-15", "zone=eu"]);
    fake.run(&["node", "token", "delete", "tok_1"]).ended(0).prints(&["token tok_1 deleted"]);
    fake.run(&["node", "token", "delete", "tok_2"]).ended(4);
    fake.run(&["node", "revoke", "node_1"]).ended(0).prints(&["node node_1 revoked"]);
    fake.run(&["node", "revoke", "node_2"]).ended(4);
    for wrong in
        [&["node", "token", "create", "--uses", "0"][..], &["node", "token", "create", "--labels", "zone"], &["node"]]
    {
        fake.run(wrong).ended(2);
    }
}

const RESTORED: fn(&Call) -> (u16, Value) = |call| match call.path.as_str() {
    "/admin/status" => {
        (200, json!({"revision": {"topology": 7, "identity": 3}, "nodes": {"connected": 2, "known": 3}}))
    }
    "/admin/epoch" => (200, json!({"epoch": "e2", "revision": {"topology": 7, "identity": 3}})),
    _ => (404, Value::Null),
};

#[test]
fn a_new_epoch_is_explained_and_asked_for() {
    let fake = Fake::start(RESTORED);
    let asked = || fake.calls().iter().filter(|call| call.path == "/admin/epoch").count();
    fake.run(&["db", "new-epoch"]).ended(2).says(&["no terminal to ask at", "--yes"]);
    for (answer, code, n_asked) in [("n\r", 1, 0), ("\r", 1, 0), ("y\r", 0, 1)] {
        let mut terminal = Terminal::start(&fake.world, 80, &fake.environment(), &["db", "new-epoch"]);
        terminal.wait_for("[y/N]");
        assert!(terminal.screen().contains("topology 7, identity 3") && terminal.screen().contains("3 known nodes"));
        terminal.types(answer);
        terminal.ended(code);
        assert_eq!(asked(), n_asked, "{answer:?}");
    }
    fake.run(&["db", "new-epoch", "--yes", "-o", "json"]).ended(0).prints(&["\"epoch\": \"e2\""]);
    assert_eq!(asked(), 2);
}

#[test]
fn a_snapshot_is_written_private_and_its_key_is_no_argument() {
    let fake = Fake::start(|call| match call.body["state_key"].as_str() {
        Some("the-state-key") => (200, json!("sealed")),
        _ => (400, json!({"error": {"code": "malformed", "message": "that key is too short"}})),
    });
    let export = ["snapshot", "export", "--out", "seed.snapshot"];
    let key = [fake.environment().as_slice(), &[("GATEWAY_STATE_KEY", "the-state-key")]].concat();
    let outcome = fake.world.run_with(&key, &export).ended(0).says(&["wrote 8 bytes"]);
    assert!(outcome.stdout.is_empty() && !outcome.stderr.contains("the-state-key"));
    let file = fake.world.path().join("seed.snapshot");
    assert_eq!(std::fs::read(&file).expect("it is there"), b"\"sealed\"");
    assert_eq!(file.metadata().expect("it is there").permissions().mode() & 0o777, 0o600);
    fake.world.run_with(&key, &export).ended(1).says(&["exists", "--force"]);
    fake.run(&export[..3]).ended(2);
    fake.run(&["snapshot", "export", "--out", "other"]).ended(2).says(&["no state key was given"]);
    assert!(!fake.world.path().join("other").exists());
    // Typed at a terminal it is not shown; Ctrl-C leaves the terminal as it was.
    let arguments = ["snapshot", "export", "--out", "typed"];
    let mut terminal = Terminal::start(&fake.world, 80, &fake.environment(), &arguments);
    terminal.wait_for("state key: ");
    terminal.types("the-state-key\r");
    assert!(!terminal.ended(0).contains("the-state-key"));
    assert!(fake.world.path().join("typed").exists());
    let mut terminal = Terminal::start(&fake.world, 80, &fake.environment(), &["snapshot", "export", "--out", "not"]);
    terminal.wait_for("state key: ");
    terminal.types("the-st\u{3}");
    assert!(terminal.ended(1).contains("cancelled"));
}

const FILE: &str = "providers:\n  - {name: p, kind: demo}\n";

/// A gateway that stores every file as revision 7/3; its nodes answer as `rollout` says.
fn storing(rollout: impl Fn(usize) -> Value + Send + 'static) -> Fake {
    let n_looks = AtomicUsize::new(0);
    let fake = Fake::start(move |call| {
        let rollout = rollout(n_looks.fetch_add(1, Ordering::SeqCst));
        match call.path.as_str() {
            "/admin/apply" => (
                200,
                json!({"revision": {"topology": 7, "identity": 3}, "changes": [{"op": "create", "kind": "provider", "name": "p", "diff": []}],
                    "problems": [], "minted": [], "rollout": rollout}),
            ),
            "/admin/rollout" if rollout.is_null() => {
                (503, json!({"error": {"code": "unavailable", "message": "going down"}}))
            }
            "/admin/rollout" => (200, rollout),
            _ => (404, Value::Null),
        }
    });
    fake.world.write("gateway.yaml", FILE);
    fake
}

#[test]
fn a_change_that_not_every_connected_node_runs_is_exit_code_5() {
    let error =
        json!({"kind": "provider", "name": "p", "field_path": "base_url", "code": "invalid_value", "message": "no"});
    let rejected = json!({"applied": ["node_a"], "rejected": [{"node": "node_b", "errors": [error]}], "offline": ["node_c"], "pending": []});
    let late = json!({"applied": ["node_a"], "rejected": [], "offline": [], "pending": ["node_b"]});
    let offline = json!({"applied": ["node_a"], "rejected": [], "offline": ["node_b"], "pending": []});
    for (rollout, code, wanted) in [
        (
            rejected,
            5,
            &[
                "running on node_a (1 of 2 connected)",
                "rejected by node_b",
                "provider p: base_url: no (invalid_value)",
                "offline, will catch up: node_c",
            ][..],
        ),
        (late, 5, &["running on node_a (1 of 2 connected)", "not confirmed in time by node_b"]),
        (offline, 0, &["running on node_a\n", "offline, will catch up: node_b"]),
    ] {
        let fake = storing(move |_| rollout.clone());
        let apply = ["apply", "-f", "gateway.yaml", "--timeout", "300ms"];
        fake.run(&apply).ended(code).prints(wanted);
        assert_eq!(fake.calls()[0].query, "wait=applied&timeout=300ms");
        let drawn = Terminal::start(&fake.world, 80, &fake.environment(), &apply).ended(code);
        for wanted in wanted {
            assert!(drawn.contains(wanted.trim_end()), "{wanted}: {drawn}");
        }
        fake.run(&["apply", "-f", "gateway.yaml", "--no-wait"]).ended(code);
        assert_eq!(fake.calls().last().map(|call| call.query.as_str()), Some("wait=stored"));
    }
}

#[test]
fn a_terminal_shows_how_far_a_change_is() {
    let nodes = ["a", "b", "c"];
    let fake = storing(move |n_looks| {
        let n_applied = n_looks.min(3);
        json!({"applied": nodes[..n_applied], "rejected": [], "offline": ["d"], "pending": nodes[n_applied..]})
    });
    let drawn = Terminal::start(&fake.world, 80, &fake.environment(), &["apply", "-f", "gateway.yaml"]).ended(0);
    for wanted in ["applied 0/3, 1 offline; ", "applied 1/3", "applied 2/3", "running on a, b, c (3 of 3 connected)"] {
        assert!(drawn.contains(wanted), "{wanted}: {drawn}");
    }
    assert!(drawn.contains("\r\x1b[K"), "the line is taken away: {drawn}");
    let looks: Vec<String> = fake.calls().into_iter().map(|call| call.query).collect();
    assert_eq!(looks[0], "wait=applied&timeout=1ms");
    assert!(looks[1..].iter().all(|query| query.starts_with("topology=7&identity=3&timeout=")), "{looks:?}");
    // Stored, and then the gateway is gone.
    let fake = storing(|n_looks| if n_looks == 0 { json!({"pending": ["a"]}) } else { Value::Null });
    let drawn = Terminal::start(&fake.world, 80, &fake.environment(), &["apply", "-f", "gateway.yaml"]).ended(5);
    assert!(drawn.contains("stored as topology 7, identity 3, but whether the nodes run it is not known"), "{drawn}");
    // A dumb terminal and a pipe are not drawn over.
    let fake = storing(|_| json!({"applied": ["a"]}));
    let environment = [fake.environment().as_slice(), &[("TERM", "dumb")]].concat();
    let arguments = ["apply", "-f", "gateway.yaml"];
    fake.world.run_with(&environment, &arguments).ended(0).prints(&["running on a\n"]);
}
