//! `node list`: one line per node, once or again and again.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::words::{certificate, labels, p95, revision, state};
use crate::args::{self, Gateway, Output};
use crate::client::{Client, List as Page, Query, path};
use crate::exit::{Exit, Failure};
use crate::host::{self, terminal};
use crate::output::table::{self, Column};
use crate::output::{Format, items, number, rate, when};

pub(super) const HELP: &str = "CONFIG is topology/identity, with what the node is behind in parentheses. Rates and P95 are of the last minute. \
SPOOL is what the node has not delivered yet: usage and log records.

States: connected; stale (connected, behind the newest revision); offline (serves on with what it has); rejected, \
incompatible (refuses the newest revision, serves the one before); quarantine (denies keys it cannot read); regressed (has a \
revision that this database does not: it was restored from an older copy, see `gatewayctl db new-epoch`); revoked.

Examples:
  gatewayctl nodes
  gatewayctl nodes --watch
  gatewayctl nodes -o wide
  gatewayctl nodes -o json | jq -r '.[] | select(.connected | not) | .id'";

/// Nodes shown at most; as many as the gateway lists.
const MAX_NODES: usize = 10_000;

/// Show the nodes and the revision each one runs
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct List {
    /// Show them again and again, until Ctrl-C
    #[arg(long)]
    pub(super) watch: bool,
    /// How often
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = args::span, requires = "watch")]
    pub(super) every: Duration,
    #[command(flatten)]
    pub(super) output: Output,
    #[command(flatten)]
    pub(super) gateway: Gateway,
}

pub(super) async fn run(list: List) -> Result<Exit, Failure> {
    let client = Client::new(&list.gateway)?;
    let format = list.output.format;
    if list.watch {
        return watch(&client, format, list.every).await;
    }
    let nodes = fetch(&client).await?;
    if nodes.items.is_empty() {
        host::say("no node has ever connected; `gatewayctl node token create` lets one join");
    }
    format.print(&Value::Array(nodes.items), |value| match items(value, "") {
        [] => String::new(),
        nodes => rows(nodes, format.width()),
    })?;
    Ok(Exit::Done)
}

async fn fetch(client: &Client) -> Result<Page, Failure> {
    client.list(&path(&["nodes"]), &Query::new(), MAX_NODES).await
}

/// A gateway that is away for a while is waited for; the first answer must come.
async fn watch(client: &Client, format: Format, every: Duration) -> Result<Exit, Failure> {
    let is_screen = format.is_for_people() && terminal::is_screen();
    let mut nodes = Value::Array(fetch(client).await?.items);
    let mut trouble = None;
    loop {
        if is_screen {
            let table = rows(items(&nodes, ""), format.width());
            host::print(&terminal::screen(&format!("{}{table}", head(client, trouble.as_ref()))))?;
        } else {
            format.print_record(&nodes, |nodes| format!("{}\n", rows(items(nodes, ""), format.width())))?;
        }
        loop {
            tokio::time::sleep(every.max(Duration::from_millis(100))).await;
            match fetch(client).await {
                Ok(page) => {
                    nodes = Value::Array(page.items);
                    trouble = None;
                    break;
                }
                Err(failure) if is_screen => {
                    trouble = Some(failure);
                    break;
                }
                // Records are news; that there are none is talk.
                Err(failure) => host::say(&format!("warning: {}", failure.message())),
            }
        }
    }
}

fn head(client: &Client, trouble: Option<&Failure>) -> String {
    let at = crate::output::time::clock(host::now_ms());
    let trouble = trouble.map(|failure| format!("not current: {}\n", failure.message())).unwrap_or_default();
    format!("{at}  {}  (Ctrl-C ends)\n{trouble}\n", client.context())
}

fn rows(nodes: &[Value], width: Option<usize>) -> String {
    use Column::{Number, Spare, SpareNumber, Text};
    let columns = [
        Text("ID"),
        Text("STATE"),
        Text("CONFIG"),
        Number("REQ/S"),
        Number("ERR/S"),
        Number("P95"),
        SpareNumber("OPEN"),
        SpareNumber("SPOOL"),
        Spare("CERT"),
        Spare("VERSION"),
        Spare("LABELS"),
        Spare("SEEN"),
    ];
    let row = |node: &Value| {
        let text = |pointer: &str| crate::output::text(node, pointer);
        let open = if node["connected"] == true { text("/metrics/open_streams") } else { String::new() };
        vec![
            text("/id"),
            state(node),
            config(node),
            rate(node, "/metrics/requests_per_second"),
            rate(node, "/metrics/errors_per_second"),
            p95(node),
            crate::output::dash(open),
            spool(node),
            certificate(node),
            text("/version"),
            crate::output::dash(labels(node)),
            when(node, "/last_seen"),
        ]
    };
    table::render(&columns, nodes.iter().map(row), width)
}

/// `7/3`, or `7/3 (-2/-0)` for a node that is two changes of the topology behind.
fn config(node: &Value) -> String {
    let (topology, identity) = (revision(node, "topology"), revision(node, "identity"));
    let lag = |class: &str| number(node, &format!("/lag/{class}"));
    match (lag("topology"), lag("identity")) {
        (0, 0) => format!("{topology}/{identity}"),
        (t, i) => format!("{topology}/{identity} (-{t}/-{i})"),
    }
}

/// What is on its way, and what got lost.
fn spool(node: &Value) -> String {
    let sum =
        |field: &str| number(node, &format!("/spool/usage_{field}")) + number(node, &format!("/spool/logs_{field}"));
    match (sum("pending"), sum("dropped")) {
        (pending, 0) => pending.to_string(),
        (pending, dropped) => format!("{pending} ({dropped} lost)"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_has_what_one_looks_for_first() {
        let node = json!({"id": "node_a", "version": "0.1.0", "connected": true, "labels": {"zone": "a"}, "lag": {"topology": 2, "identity": 0},
            "topology": {"revision": 4, "status": "applied"}, "identity": {"revision": 2, "status": "applied"},
            "metrics": {"requests_per_second": 12.34, "errors_per_second": 0.0, "p95_ms": 240.9, "open_streams": 3},
            "spool": {"usage_pending": 5, "usage_dropped": 0, "logs_pending": 2, "logs_dropped": 9}});
        let offline = json!({"id": "node_b", "version": "0.1.0", "connected": false,
            "topology": {"revision": 6, "status": "applied"}, "identity": {"revision": 2, "status": "applied"}});
        let drawn = rows(&[node, offline], None);
        let words: Vec<Vec<&str>> = drawn
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect())
            .collect();
        assert_eq!(
            words[1],
            ["node_a", "stale", "4/2 (-2/-0)", "12.3", "0", "240ms", "3", "7 (9 lost)", "-", "0.1.0", "zone=a"]
        );
        assert_eq!(words[2], ["node_b", "offline", "6/2", "-", "-", "-", "-", "0", "-", "0.1.0", "-"]);
        assert!(rows(&[json!({"id": format!("node_{}", "x".repeat(26))})], Some(80)).starts_with("ID "), "{drawn}");
    }
}
