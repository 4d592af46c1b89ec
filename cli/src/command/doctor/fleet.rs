//! The nodes: are they there, do they run what they should, is anything about to go wrong with one of them.

use serde_json::Value;

use super::report::Report;
use crate::client::{Client, Query, path};
use crate::host;
use crate::output::{items, number, text, time};

/// As many as the gateway lists.
const MAX_NODES: usize = 10_000;
/// A clock that is off by more makes times in logs and limits wrong.
const CLOCK_MS: u64 = 5_000;
/// Certificates live for 7 days and are renewed when a third of that is left; one with less left is not being renewed.
const RENEWED_MS: i64 = 2 * 24 * 60 * 60 * 1000;
/// A node delivers usage every second or so; this much waiting means that it cannot.
const MANY_RECORDS: u64 = 1_000;

/// A finding about some nodes, the advice with it, and whether it is a failure.
type Trouble = (&'static str, &'static str, bool, fn(&Value, i64) -> bool);

/// What can be wrong with a node that is connected.
const TROUBLES: &[Trouble] = &[
    (
        "hold a revision that this database does not know: it was restored from an older copy",
        "if the database is right as it is, `gatewayctl db new-epoch`; else restore a newer copy",
        true,
        |node, _| has_status(node, "regressed"),
    ),
    (
        "refuse the newest revision and serve the one before",
        "`gatewayctl node describe ID` shows which field; put it right, or `gatewayctl config rollback --to previous`",
        true,
        |node, _| has_status(node, "rejected"),
    ),
    (
        "cannot read the newest revision, because their version is too old",
        "upgrade them; they serve the revision before until then",
        true,
        |node, _| has_status(node, "incompatible"),
    ),
    (
        "deny keys that they cannot read",
        "`gatewayctl node describe ID` names them; make those keys anew",
        true,
        |node, _| has_status(node, "applied_with_quarantine"),
    ),
    (
        "are behind the newest revision",
        "a moment after a change this is as it should be; later, look at their logs",
        false,
        |node, _| number(node, "/lag/topology") + number(node, "/lag/identity") > 0 && is_fine(node),
    ),
    (
        "have a clock that is off by more than 5 s",
        "set up NTP there; limits, expiry and times in logs go by it",
        false,
        |node, _| node.get("clock_offset_ms").and_then(Value::as_i64).unwrap_or(0).unsigned_abs() > CLOCK_MS,
    ),
    (
        "have a certificate that has expired",
        "restart them; when that does not renew it, join them again with a new token",
        true,
        |node, now_ms| not_after(node).is_some_and(|at| at <= now_ms),
    ),
    (
        "have a certificate that ends within 2 days, so it is not being renewed",
        "look at their logs for `certificate`; the fleet address must be reachable from them",
        false,
        |node, now_ms| not_after(node).is_some_and(|at| at > now_ms && at - now_ms < RENEWED_MS),
    ),
    (
        "have more than 1000 usage records waiting",
        "look at the control plane's log and its database; records wait on the nodes' disks and are not lost",
        false,
        |node, _| number(node, "/spool/usage_pending") >= MANY_RECORDS,
    ),
    (
        "have lost usage records: their spool was full, or could not be written",
        "make room on their disks; what is lost is in no sum",
        true,
        |node, _| number(node, "/spool/usage_dropped") > 0,
    ),
    (
        "have dropped log records since they started",
        "logs are dropped rather than requests; look whether the control plane's database keeps up",
        false,
        |node, _| number(node, "/spool/logs_dropped") > 0,
    ),
];

pub(super) async fn check(report: &mut Report, client: &Client) {
    match client.list(&path(&["nodes"]), &Query::new(), MAX_NODES).await {
        Ok(nodes) => judge(report, &nodes.items, host::now_ms()),
        Err(failure) => report.failed("nodes", &failure),
    }
}

fn judge(report: &mut Report, nodes: &[Value], now_ms: i64) {
    let members: Vec<&Value> = nodes.iter().filter(|node| node["revoked_at"].is_null()).collect();
    let (connected, offline): (Vec<&Value>, Vec<&Value>) =
        members.into_iter().partition(|node| node["connected"] == true);
    let n_known = connected.len() + offline.len();
    match (connected.len(), offline.len()) {
        (0, 0) => report.fail(
            "nodes",
            "no node has ever connected: nothing serves requests",
            "`gatewayctl node token create` makes a token with which `gateway-data-plane` joins",
        ),
        (0, _) => report.fail(
            "nodes",
            format!("none of {n_known} is connected: {}", names(&offline)),
            "they serve on with what they have; look whether they run, and whether they reach the fleet address",
        ),
        (n_connected, 0) => report.ok("nodes", format!("{n_connected} of {n_known} connected")),
        (n_connected, _) => report.warn(
            "nodes",
            format!("{n_connected} of {n_known} connected; offline: {}", names(&offline)),
            "one that is gone for good is put out with `gatewayctl node revoke ID`",
        ),
    }
    let n_before = report.checks.len();
    for (what, advice, is_failure, applies) in TROUBLES {
        let meant: Vec<&Value> = connected.iter().copied().filter(|node| applies(node, now_ms)).collect();
        if meant.is_empty() {
            continue;
        }
        let found = format!("{} of {} {what}: {}", meant.len(), connected.len(), names(&meant));
        if *is_failure { report.fail("nodes", found, *advice) } else { report.warn("nodes", found, *advice) }
    }
    for node in &connected {
        for warning in items(node, "/warnings") {
            let found = format!("{} says: {}", text(node, "/id"), text(warning, ""));
            report.warn("nodes", found, format!("`gatewayctl node describe {}` shows more", text(node, "/id")));
        }
    }
    if !connected.is_empty() && report.checks.len() == n_before {
        report.ok("nodes", "revisions, clocks, certificates, usage and logs are as they should be");
    }
}

fn has_status(node: &Value, status: &str) -> bool {
    ["topology", "identity"].iter().any(|class| text(node, &format!("/{class}/status")) == status)
}

/// Nothing worse than being behind.
fn is_fine(node: &Value) -> bool {
    !["regressed", "rejected", "incompatible"].iter().any(|status| has_status(node, status))
}

fn not_after(node: &Value) -> Option<i64> {
    node.pointer("/certificate/not_after").and_then(time::unix_ms)
}

fn names(nodes: &[&Value]) -> String {
    const SHOWN: usize = 5;
    let mut names: Vec<String> = nodes.iter().take(SHOWN).map(|node| text(node, "/id")).collect();
    if nodes.len() > SHOWN {
        names.push(format!("and {} more", nodes.len() - SHOWN));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::report::State;
    use super::*;

    /// The worst state and the lines about a healthy node `a` and a node `b` with `changes`.
    fn check(changes: Value, state: State, wanted: &str) {
        let healthy = json!({"connected": true, "revoked_at": null, "topology": {"status": "applied"}, "identity": {"status": "applied"},
            "certificate": {"not_after": "2027-01-20T08:00:00Z"}});
        let mut nodes = [healthy.clone(), healthy];
        for (node, id) in nodes.iter_mut().zip(["a", "b"]) {
            node["id"] = json!(id);
        }
        for (field, value) in changes.as_object().into_iter().flatten() {
            nodes[1][field] = value.clone();
        }
        let mut report = Report::default();
        judge(&mut report, &nodes, 1_800_000_000_000);
        assert_eq!(report.worst(), state, "{report:?}");
        assert!(report.draw(false).contains(wanted), "{wanted}: {report:?}");
    }

    #[test]
    fn each_trouble_of_a_node_is_told() {
        for (changes, state, wanted) in [
            (json!({}), State::Ok, "as they should be"),
            (json!({"connected": false}), State::Warn, "1 of 2 connected; offline: b"),
            (json!({"connected": false, "revoked_at": "2027-01-01T00:00:00Z"}), State::Ok, "1 of 1 connected"),
            (
                json!({"topology": {"status": "rejected"}, "lag": {"topology": 1}}),
                State::Fail,
                "1 of 2 refuse the newest revision and serve the one before: b",
            ),
            (json!({"topology": {"status": "regressed"}}), State::Fail, "new-epoch"),
            (json!({"identity": {"status": "incompatible"}}), State::Fail, "upgrade"),
            (json!({"identity": {"status": "applied_with_quarantine"}}), State::Fail, "deny keys"),
            (json!({"lag": {"topology": 0, "identity": 3}}), State::Warn, "behind the newest"),
            (json!({"clock_offset_ms": -3_600_000}), State::Warn, "NTP"),
            (json!({"certificate": {"not_after": "2027-01-16T08:00:00Z"}}), State::Warn, "within 2 days"),
            (json!({"certificate": {"not_after": "2027-01-15T07:00:00Z"}}), State::Fail, "has expired"),
            (json!({"certificate": null}), State::Ok, "2 of 2 connected"),
            (json!({"spool": {"usage_pending": 1000}}), State::Warn, "usage records waiting"),
            (json!({"spool": {"usage_dropped": 1}}), State::Fail, "lost usage"),
            (json!({"spool": {"logs_dropped": 1}}), State::Warn, "dropped log"),
            (json!({"warnings": ["the disk is full"]}), State::Warn, "b says: the disk is full"),
        ] {
            check(changes, state, wanted);
        }
        let mut report = Report::default();
        judge(&mut report, &[], 0);
        assert_eq!(report.worst(), State::Fail);
    }
}
