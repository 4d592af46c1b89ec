//! The nodes: who is connected, and what each of them runs.

use std::time::Duration;

use gateway_store::revisions::Committed;
use gateway_store::{Error, Store};
use serde::Serialize;

/// All nodes that are known.
#[derive(Debug)]
pub struct Fleet {
    store: Store,
}

/// A node as the admin API shows it.
#[derive(Clone, Debug, Serialize)]
pub struct NodeView {
    pub id: String,
    pub version: String,
    pub connected: bool,
}

/// How the nodes took a revision.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Rollout {
    pub applied: Vec<String>,
    pub rejected: Vec<serde_json::Value>,
    pub offline: Vec<String>,
    pub pending: Vec<String>,
}

// === impl Fleet ===

impl Fleet {
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    pub async fn nodes(&self) -> Result<Vec<NodeView>, Error> {
        let nodes = self.store.nodes("", 10_000).await?;
        Ok(nodes.into_iter().map(|node| NodeView { id: node.id, version: node.version, connected: false }).collect())
    }

    pub async fn wait_applied(&self, _revision: Committed, _timeout: Duration) -> Rollout {
        let offline = self.nodes().await.unwrap_or_default().into_iter().map(|node| node.id).collect();
        Rollout { offline, ..Rollout::default() }
    }
}
