//! `node describe`: everything about one node.

use clap::Args;
use serde_json::Value;

use super::words::{certificate, labels, p95, state};
use crate::args::{Gateway, Output};
use crate::client::{Client, Query, path};
use crate::exit::{Exit, Failure};
use crate::output::table::{pairs, visible};
use crate::output::{dash, items, number, rate, text, when};

/// Show everything about one node
#[derive(Args, Debug)]
#[command(
    after_help = "A node that refuses a revision keeps serving the one before; what it found is listed with kind, name and field.

Examples:
  gatewayctl node describe node_01JD0Q6S0Z6QK1GZ0YV4M8T9XA
  gatewayctl node describe node_01JD0Q6S0Z6QK1GZ0YV4M8T9XA -o json | jq .errors"
)]
pub(super) struct Describe {
    /// Its id
    pub(super) id: String,
    #[command(flatten)]
    pub(super) output: Output,
    #[command(flatten)]
    pub(super) gateway: Gateway,
}

pub(super) async fn run(describe: Describe) -> Result<Exit, Failure> {
    let client = Client::new(&describe.gateway)?;
    let node = client.get(&path(&["nodes", &describe.id]), &Query::new()).await?;
    describe.output.format.print(&node, whole)?;
    Ok(Exit::Done)
}

fn whole(node: &Value) -> String {
    let class = |class: &str| {
        let at = |field: &str| text(node, &format!("/{class}/{field}"));
        let lag = match number(node, &format!("/lag/{class}")) {
            0 => String::new(),
            lag => format!(", {lag} behind"),
        };
        let refused = match at("refused") {
            none if none.is_empty() => String::new(),
            revision => format!(", refuses {revision}"),
        };
        format!("revision {}{lag}, {}{refused}, {} on disk", at("revision"), at("status"), at("persisted"))
    };
    let records = |kind: &str| {
        let count = |field: &str| number(node, &format!("/spool/{kind}_{field}"));
        format!("{} records not yet delivered, {} lost", count("pending"), count("dropped"))
    };
    let rates = format!(
        "{} requests/s, {} errors/s, p95 {}, {} streams open, {} requests in flight",
        rate(node, "/metrics/requests_per_second"),
        rate(node, "/metrics/errors_per_second"),
        p95(node),
        dash(text(node, "/metrics/open_streams")),
        number(node, "/inflight")
    );
    let serial = match text(node, "/certificate/serial") {
        none if none.is_empty() => String::new(),
        serial => format!(", serial {serial}"),
    };
    let mut drawn = pairs(&[
        ("Id", text(node, "/id")),
        ("State", format!("{}, seen {}", state(node), when(node, "/last_seen"))),
        ("Revoked", when(node, "/revoked_at")),
        ("Version", text(node, "/version")),
        ("Boot", text(node, "/boot_id")),
        ("Labels", labels(node)),
        ("Topology", class("topology")),
        ("Identity", class("identity")),
        ("Last minute", rates),
        ("Memory", megabytes(number(node, "/metrics/resident_bytes"))),
        ("Usage", records("usage")),
        ("Logs", records("logs")),
        ("Certificate", format!("{}{serial}", certificate(node))),
        ("Clock", clock(node)),
    ]);
    for warning in items(node, "/warnings") {
        drawn.push_str(&format!("Warning: {}\n", visible(text(warning, ""))));
    }
    for error in items(node, "/errors") {
        drawn.push_str(&format!("Error:   {}\n", visible(finding(error))));
    }
    drawn
}

/// `provider openai: base_url: message (code)`, as far as the node said it.
fn finding(error: &Value) -> String {
    let what = [text(error, "/kind"), text(error, "/name")].join(" ");
    let parts = [what.trim().to_owned(), text(error, "/field_path"), text(error, "/message")];
    let said: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("{} ({})", said.join(": "), text(error, "/code"))
}

/// Only a clock that is off is worth a line.
fn clock(node: &Value) -> String {
    const FINE_MS: u64 = 2_000;
    let offset = node.get("clock_offset_ms").and_then(Value::as_i64).unwrap_or(0);
    if offset.unsigned_abs() < FINE_MS {
        return String::new();
    }
    let side = if offset > 0 { "ahead of" } else { "behind" };
    format!("{} s {side} the control plane's", offset.unsigned_abs() / 1000)
}

fn megabytes(bytes: u64) -> String {
    if bytes == 0 { String::new() } else { format!("{} MiB", bytes / (1024 * 1024)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_description_tells_findings_warnings_and_the_certificate() {
        let node = json!({"id": "node_a", "version": "0.1.0", "connected": true, "boot_id": "b", "labels": {"zone": "a"},
            "topology": {"revision": 4, "status": "rejected", "refused": 5, "persisted": 4}, "identity": {"revision": 2, "status": "applied", "persisted": 2},
            "lag": {"topology": 1, "identity": 0}, "certificate": {"not_after": "2001-01-01T00:00:00Z", "serial": "1f"}, "clock_offset_ms": -3_600_500,
            "errors": [{"kind": "provider", "name": "p", "field_path": "base_url", "code": "invalid_value", "message": "no\u{1b}[2J"}],
            "warnings": ["the disk is full"], "inflight": 3});
        let full = whole(&node);
        for wanted in [
            "Labels:       zone=a\n",
            "Topology:     revision 4, 1 behind, rejected, refuses 5, 4 on disk\n",
            "Certificate:  expired 2001-01-01, serial 1f\n",
            "Clock:        3600 s behind the control plane's\n",
            "Warning: the disk is full\n",
            "Error:   provider p: base_url: no [2J (invalid_value)\n",
        ] {
            assert!(full.contains(wanted), "{wanted}: {full}");
        }
    }
}
