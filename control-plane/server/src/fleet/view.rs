//! The nodes as the admin API shows them, and as the store keeps them.

use std::collections::BTreeMap;

use gateway_store::revisions::Committed;
use gateway_wire::v1::{ConfigError, SpoolState};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Of each text that a node sends about itself, as many characters are kept.
const MAX_TEXT: usize = 1000;
/// Warnings kept of one node.
const MAX_WARNINGS: usize = 20;

/// Status of a class of which the node has said nothing.
pub(super) const UNKNOWN: &str = "unknown";

/// A node, connected or not.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Node")]
pub struct NodeView {
    pub id: String,
    pub version: String,
    pub connected: bool,
    /// RFC 3339.
    pub last_seen: String,
    pub labels: BTreeMap<String, String>,
    pub boot_id: String,
    #[serde(flatten)]
    pub state: State,
    /// How far it is behind the revisions that there are.
    pub lag: Lag,
    /// Over the last minute; `null` for a node that sends no frames or is not connected.
    pub metrics: Option<Rates>,
}

/// Revisions between what a node serves by and the newest, per class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "NodeLag")]
pub struct Lag {
    pub topology: u64,
    pub identity: u64,
}

/// What a node said last.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "NodeState")]
#[serde(default)]
pub struct State {
    pub topology: ClassView,
    pub identity: ClassView,
    /// Why a class is not what it should be.
    pub errors: Vec<Finding>,
    pub inflight: u64,
    pub spool: Spool,
    /// What is amiss on the node and does not stop it, in its own words.
    pub warnings: Vec<String>,
    /// Its clock minus the control plane's, as of its last heartbeat; the way over the network is in it.
    pub clock_offset_ms: i64,
}

/// One class on one node.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "NodeClass")]
#[serde(default)]
pub struct ClassView {
    /// What it serves by.
    pub revision: u64,
    /// `applied`, `applied_with_quarantine`, `rejected`, `incompatible`, `regressed` or `unknown`.
    pub status: String,
    /// What it would not take; only with the status that says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<u64>,
    /// Safe on its disk; 0 for a node that keeps nothing.
    pub persisted: u64,
}

/// One finding of a node about a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "NodeFinding")]
#[serde(default)]
pub struct Finding {
    pub class: String,
    pub kind: String,
    pub name: String,
    pub field_path: String,
    pub code: String,
    pub message: String,
}

/// What a node still owes, and what it has lost.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "NodeSpool")]
#[serde(default)]
pub struct Spool {
    pub usage_bytes: u64,
    pub usage_pending: u64,
    pub usage_dropped: u64,
    pub logs_pending: u64,
    pub logs_dropped: u64,
    pub bodies_pending: u64,
    pub bodies_dropped: u64,
}

/// From the node's metric frames.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "NodeRates")]
pub struct Rates {
    pub requests_per_second: f64,
    pub errors_per_second: f64,
    /// 95 of 100 requests that ended took at most this long; `null` where none ended.
    pub p95_ms: Option<f64>,
    pub open_streams: u64,
    pub resident_bytes: u64,
}

/// How the nodes took a revision.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Rollout {
    pub applied: Vec<String>,
    pub rejected: Vec<Rejection>,
    pub offline: Vec<String>,
    /// Connected, and silent about it so far.
    pub pending: Vec<String>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Rejection {
    pub node: String,
    pub errors: Vec<Finding>,
}

/// As much of a node's warnings as is kept.
pub(super) fn warnings(warnings: Vec<String>) -> Vec<String> {
    warnings.into_iter().take(MAX_WARNINGS).map(|text| text.chars().take(MAX_TEXT).collect()).collect()
}

// === impl Lag ===

impl Lag {
    /// A node that is ahead (its database was restored from an older copy) is behind by nothing.
    pub(super) fn new(state: &State, heads: Committed) -> Self {
        Self {
            topology: heads.topology.saturating_sub(state.topology.revision),
            identity: heads.identity.saturating_sub(state.identity.revision),
        }
    }
}

// === impl ClassView ===

impl Default for ClassView {
    fn default() -> Self {
        Self { revision: 0, status: UNKNOWN.to_owned(), refused: None, persisted: 0 }
    }
}

// === impl Finding ===

impl Finding {
    pub(super) fn new(class: &str, error: &ConfigError) -> Self {
        let text = |text: &str| text.chars().take(MAX_TEXT).collect();
        Self {
            class: class.to_owned(),
            kind: text(&error.kind),
            name: text(&error.name),
            field_path: text(&error.field_path),
            code: text(&error.code),
            message: text(&error.message),
        }
    }
}

impl From<SpoolState> for Spool {
    fn from(spool: SpoolState) -> Self {
        Self {
            usage_bytes: spool.usage_bytes,
            usage_pending: spool.usage_pending,
            usage_dropped: spool.usage_dropped,
            logs_pending: spool.logs_pending,
            logs_dropped: spool.logs_dropped,
            bodies_pending: spool.bodies_pending,
            bodies_dropped: spool.bodies_dropped,
        }
    }
}
