//! `nodes`: the data-plane nodes and what they run.

use clap::Args;
use serde_json::Value;

use crate::args::{Gateway, Output};
use crate::client::{Client, Query, path};
use crate::exit::{Exit, Failure};
use crate::host;
use crate::output::table::{self, Column, pairs};
use crate::output::{items, number, text, when};

/// Show the nodes and the revision each one runs
#[derive(Args, Debug)]
#[command(
    after_help = "A node that refuses a revision keeps serving the one before; `gatewayctl nodes ID` shows why it refused.

Examples:
  gatewayctl nodes
  gatewayctl nodes node_01JD -o json"
)]
pub(crate) struct Nodes {
    /// Only this one, in full
    id: Option<String>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

pub(crate) async fn run(nodes: Nodes) -> Result<Exit, Failure> {
    let client = Client::new(&nodes.gateway)?;
    if let Some(id) = &nodes.id {
        let node = client.get(&path(&["nodes", id]), &Query::new()).await?;
        nodes.output.format.print(&node, one)?;
        return Ok(Exit::Done);
    }
    let list = client.list(&path(&["nodes"]), &Query::new(), 10_000).await?;
    if list.items.is_empty() {
        host::say("no node has ever connected");
    }
    nodes.output.format.print(&Value::Array(list.items), |value| match items(value, "") {
        [] => String::new(),
        nodes => rows(nodes),
    })?;
    Ok(Exit::Done)
}

fn rows(nodes: &[Value]) -> String {
    use Column::{Number, Text};
    let columns = [
        Text("ID"),
        Text("STATE"),
        Text("VERSION"),
        Number("TOPOLOGY"),
        Number("IDENTITY"),
        Text("STATUS"),
        Number("OPEN"),
        Text("SEEN"),
    ];
    table::render(
        &columns,
        nodes.iter().map(|node| {
            let (topology, identity) = (text(node, "/topology/revision"), text(node, "/identity/revision"));
            let (version, open) = (text(node, "/version"), text(node, "/inflight"));
            vec![
                text(node, "/id"),
                state(node).to_owned(),
                version,
                topology,
                identity,
                status(node),
                open,
                when(node, "/last_seen"),
            ]
        }),
    )
}

fn one(node: &Value) -> String {
    let labels = node.get("labels").and_then(Value::as_object).into_iter().flatten();
    let labels: Vec<String> = labels.map(|(name, value)| format!("{name}={}", text(value, ""))).collect();
    let class = |class: &str| {
        let at = |field: &str| text(node, &format!("/{class}/{field}"));
        format!("revision {}, {}, {} on disk", at("revision"), at("status"), at("persisted"))
    };
    let mut drawn = pairs(&[
        ("Id", text(node, "/id")),
        ("State", format!("{}, seen {}", state(node), when(node, "/last_seen"))),
        ("Version", text(node, "/version")),
        ("Boot", text(node, "/boot_id")),
        ("Labels", labels.join(", ")),
        ("Topology", class("topology")),
        ("Identity", class("identity")),
        ("Requests", format!("{} open", number(node, "/inflight"))),
        (
            "Usage",
            format!(
                "{} records not yet delivered, {} dropped",
                number(node, "/spool/usage_pending"),
                number(node, "/spool/usage_dropped")
            ),
        ),
        (
            "Logs",
            format!(
                "{} records not yet delivered, {} dropped",
                number(node, "/spool/logs_pending"),
                number(node, "/spool/logs_dropped")
            ),
        ),
    ]);
    for error in items(node, "/errors") {
        let (kind, name, path) = (text(error, "/kind"), text(error, "/name"), text(error, "/field_path"));
        drawn.push_str(&format!(
            "Refused:   {kind} {name}: {path}: {} ({})\n",
            text(error, "/message"),
            text(error, "/code")
        ));
    }
    drawn
}

fn state(node: &Value) -> &'static str {
    if node.get("connected") == Some(&Value::Bool(true)) { "connected" } else { "offline" }
}

/// One word for both classes, the worse one.
fn status(node: &Value) -> String {
    let both = [text(node, "/topology/status"), text(node, "/identity/status")];
    both.iter().find(|status| *status != "applied").unwrap_or(&both[0]).clone()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_that_refused_shows_it_in_the_list_and_why_in_full() {
        let node = json!({"id": "node_a", "version": "0.1.0", "connected": true, "boot_id": "b", "labels": {"zone": "a"},
            "topology": {"revision": 4, "status": "rejected", "persisted": 4}, "identity": {"revision": 2, "status": "applied", "persisted": 2},
            "errors": [{"kind": "provider", "name": "p", "field_path": "base_url", "code": "invalid_value", "message": "no"}], "inflight": 3});
        let list = rows(std::slice::from_ref(&node));
        assert!(
            list.lines()
                .nth(1)
                .is_some_and(|line| line.starts_with("node_a  connected  0.1.0           4         2  rejected     3")),
            "{list}"
        );
        let full = one(&node);
        assert!(full.contains("Labels:    zone=a\n"), "{full}");
        assert!(full.contains("Refused:   provider p: base_url: no (invalid_value)\n"), "{full}");
    }
}
