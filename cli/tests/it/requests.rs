//! `logs`, `explain`, `usage`, `nodes`, `status`: what requests leave behind.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::local::Local;

#[test]
fn a_request_is_logged_explained_and_counted() {
    let local = Local::fresh();
    local.run(&["logs"]).ended(0).says(&["no requests yet"]);
    let key = local.text("virtual_key").to_owned();
    assert_eq!(local.chat(&key, "demo/chat", true).0, 200);
    local.wait_until("the log record", |local| {
        local.run(&["logs", "-o", "json"]).json().as_array().is_some_and(|logs| !logs.is_empty())
    });
    let logs = local.run(&["logs", "-o", "json"]).ended(0).json();
    let id = logs[0]["id"].as_str().expect("an id").to_owned();
    assert_eq!((&logs[0]["status"], &logs[0]["provider"]), (&200.into(), &"demo".into()), "{logs}");
    local.run(&["logs"]).ended(0).prints(&[&id, "demo/chat", "200", "finished"]);
    local.run(&["logs", "--status", "500"]).ended(0).says(&["none that match"]);
    local.run(&["explain", &id]).ended(0).prints(&[
        "POST /v1/chat/completions for model demo/chat",
        "by key default",
        "attempt 1: demo/chat",
        "tokens in",
    ]);
    local.run(&["explain", "nothing"]).ended(4);
    local.wait_until("the usage", |local| {
        local.run(&["usage", "-o", "json"]).json().as_array().is_some_and(|rows| !rows.is_empty())
    });
    local.run(&["usage"]).ended(0).prints(&["MODEL", "demo/chat", "REQUESTS"]);
    local.run(&["usage", "--by", "key"]).ended(0).prints(&["default"]);
    local.run(&["spend", "--by", "key,model,day"]).ended(0).prints(&["KEY", "MODEL", "DAY", "default", "demo/chat"]);
    let spent = local.run(&["spend", "-o", "json"]).ended(0).json();
    assert_eq!((&spent[0]["model"], &spent[0]["requests"]), (&"demo/chat".into(), &1.into()), "{spent}");
    local.run(&["spend", "--by", "team", "-o", "csv"]).ended(0).prints(&["team,requests,", "\r\n,1,"]);
    local.run(&["spend", "-o", "focus"]).ended(0).prints(&["BilledCost,", "demo/chat"]);
    local.run(&["spend", "--by", "team", "-o", "focus"]).ended(1).says(&["group_by"]);
    local.run(&["spend", "--key", "nobody"]).ended(0).says(&["nothing was spent"]);
}

#[test]
fn followed_logs_come_line_by_line() {
    let local = Local::fresh();
    let mut command = local.world.command(&["logs", "--follow", "-o", "json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("gatewayctl starts");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    let key = local.text("virtual_key").to_owned();
    // Requests go on until the follower has connected and sees one.
    let stop = std::sync::atomic::AtomicBool::new(false);
    let record = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                local.chat(&key, "demo/chat", false);
            }
        });
        let line = lines.next().expect("a line").expect("text");
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        serde_json::from_str::<serde_json::Value>(&line).expect("a line of JSON")
    });
    assert_eq!(record["model"], "demo/chat", "{record}");
    child.kill().expect("the follower can be ended");
    child.wait().expect("the follower ends");
}

#[test]
fn nodes_and_status_say_what_runs() {
    let local = Local::fresh();
    local.run(&["nodes"]).ended(0).prints(&["ID", "node_", "connected", "P95"]);
    let nodes = local.run(&["nodes", "-o", "json"]).ended(0).json();
    let id = nodes[0]["id"].as_str().expect("an id");
    local.run(&["nodes", id]).ended(0).prints(&["Topology:", "on disk"]);
    local.run(&["nodes", "node_missing"]).ended(4);
    local.run(&["status"]).ended(0).prints(&["Revision:", "topology", "1 of 1 connected"]);
}
