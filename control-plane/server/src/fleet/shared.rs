//! What replicas of the control plane tell each other about the nodes that they speak with: the rows of the store. So each of
//! them can show the whole fleet, and wait for nodes that another one speaks with.

use gateway_store::nodes::NodeRow;
use gateway_store::revisions::Committed;
use serde::{Deserialize, Serialize};

use super::node::{Node, SILENT_MS, Target, Verdict, verdict};
use super::view::{Lag, NodeView, Rates, State};
use crate::clock::rfc3339;

/// A row's `state`: what the node said last, and that a replica hears it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Shared {
    #[serde(flatten)]
    state: State,
    connected: bool,
    metrics: Option<Rates>,
}

/// A node as the store knows it.
#[derive(Debug)]
pub(super) struct Stored {
    row: NodeRow,
    shared: Shared,
}

/// The row by which other replicas, and this one's successor, know the node.
pub(super) fn row(node: &Node, id: &str) -> NodeRow {
    let connected = node.session.is_some();
    let shared = Shared { state: node.state.clone(), connected, metrics: node.rates().filter(|_| connected) };
    NodeRow {
        id: id.to_owned(),
        version: node.version.clone(),
        boot_id: node.boot_id.clone(),
        labels: serde_json::to_string(&node.labels).unwrap_or_default(),
        first_seen_ms: node.first_seen_ms,
        last_seen_ms: node.last_seen_ms,
        state: serde_json::to_string(&shared).unwrap_or_default(),
    }
}

// === impl Stored ===

impl Stored {
    /// `since_ms` is when this process started: what a row said before may be what this process itself said in its last life,
    /// so only a row that was written since then speaks of a connection. What this version cannot read shows as unknown.
    pub(super) fn new(row: NodeRow, now_ms: i64, since_ms: i64) -> Self {
        let mut shared: Shared = serde_json::from_str(&row.state).unwrap_or_default();
        shared.connected &= row.last_seen_ms >= since_ms && now_ms - row.last_seen_ms < SILENT_MS;
        Self { row, shared }
    }

    pub(super) fn id(&self) -> &str {
        &self.row.id
    }

    /// Another replica speaks with it.
    pub(super) fn is_connected(&self) -> bool {
        self.shared.connected
    }

    pub(super) fn state(&self) -> &State {
        &self.shared.state
    }

    pub(super) fn verdict(&self, target: Target) -> Verdict {
        verdict(&self.shared.state, target)
    }

    pub(super) fn view(self, heads: Committed) -> NodeView {
        let Self { row, shared } = self;
        NodeView {
            connected: shared.connected,
            last_seen: rfc3339(row.last_seen_ms),
            labels: serde_json::from_str(&row.labels).unwrap_or_default(),
            lag: Lag::new(&shared.state, heads),
            state: shared.state,
            metrics: shared.metrics.filter(|_| shared.connected),
            id: row.id,
            version: row.version,
            boot_id: row.boot_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_the_store_alone_knows_is_offline_and_survives_rubbish() {
        let mut node = Node::new(7);
        node.state.topology.revision = 3;
        let heads = Committed { topology: 5, identity: 1 };
        let view = Stored::new(row(&node, "node_1"), 7, 0).view(heads);
        assert_eq!((view.id.as_str(), view.connected, view.state.topology.revision), ("node_1", false, 3));
        assert_eq!(view.lag, Lag { topology: 2, identity: 1 });
        for rubbish in ["rubbish", "", "[]", "{\"connected\": 7}"] {
            let row = NodeRow { state: rubbish.to_owned(), ..row(&node, "node_1") };
            let view = Stored::new(row, 7, 0).view(heads);
            assert_eq!((view.state.topology.status.as_str(), view.connected), ("unknown", false), "{rubbish}");
        }
    }

    #[test]
    fn a_connection_elsewhere_is_believed_for_a_while_and_not_from_before_the_start() {
        let state = r#"{"connected": true, "topology": {"revision": 3, "status": "applied"}, "metrics": {"requests_per_second": 1.5,
            "errors_per_second": 0.0, "p95_ms": null, "open_streams": 4, "resident_bytes": 5}}"#;
        for (now_ms, since_ms, expected) in
            [(1_000, 0, true), (1_000, 1_000, true), (1_000, 1_001, false), (1_000 + SILENT_MS, 0, false)]
        {
            let row = NodeRow { id: "node_1".into(), last_seen_ms: 1_000, state: state.into(), ..NodeRow::default() };
            let stored = Stored::new(row, now_ms, since_ms);
            assert_eq!(stored.is_connected(), expected, "{now_ms} {since_ms}");
            let view = stored.view(Committed { topology: 3, identity: 0 });
            assert_eq!((view.connected, view.metrics.is_some()), (expected, expected));
            assert_eq!(view.state.topology.revision, 3);
        }
    }
}
