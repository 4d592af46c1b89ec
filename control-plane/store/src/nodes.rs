//! The data-plane nodes that have ever connected, and the last that was heard of each.

use sqlx::Row;
use sqlx::any::AnyRow;

use crate::db::{MAX_PARAMETERS, signed, text};
use crate::error::Error;
use crate::store::Store;

/// A node as it was last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeRow {
    pub id: String,
    pub version: String,
    pub boot_id: String,
    /// JSON map of texts.
    pub labels: String,
    /// Kept from the first time.
    pub first_seen_ms: i64,
    pub last_seen_ms: i64,
    /// JSON whose meaning is the caller's.
    pub state: String,
}

/// Of a row of `node`.
const N_COLUMNS: usize = 7;

// === impl Store ===

impl Store {
    /// All nodes by id, after the id `after`.
    pub async fn nodes(&self, after: &str, limit: usize) -> Result<Vec<NodeRow>, Error> {
        let rows = sqlx::query(
            "SELECT id, version, boot_id, labels, first_seen_ms, last_seen_ms, state FROM node WHERE id > $1 ORDER BY id LIMIT $2",
        )
        .bind(text(after))
        .bind(signed(limit as u64))
        .fetch_all(self.db.readers())
        .await?;
        rows.iter().map(NodeRow::read).collect()
    }

    pub async fn node(&self, id: &str) -> Result<Option<NodeRow>, Error> {
        let row = sqlx::query(
            "SELECT id, version, boot_id, labels, first_seen_ms, last_seen_ms, state FROM node WHERE id = $1",
        );
        row.bind(text(id)).fetch_optional(self.db.readers()).await?.as_ref().map(NodeRow::read).transpose()
    }

    pub async fn upsert_node(&self, node: &NodeRow) -> Result<(), Error> {
        self.upsert_nodes(std::slice::from_ref(node)).await
    }

    /// All of them or none; each at most once.
    pub async fn upsert_nodes(&self, nodes: &[NodeRow]) -> Result<(), Error> {
        if nodes.is_empty() {
            return Ok(());
        }
        // Two who write the same rows write them in one order, or they would wait for each other.
        let mut nodes: Vec<&NodeRow> = nodes.iter().collect();
        nodes.sort_by(|one, other| one.id.cmp(&other.id));
        let mut tx = self.db.begin().await?;
        for nodes in nodes.chunks(MAX_PARAMETERS / N_COLUMNS) {
            let mut query = sqlx::query(self.db.bulk(
                "INSERT INTO node (id, version, boot_id, labels, first_seen_ms, last_seen_ms, state) VALUES",
                N_COLUMNS,
                nodes.len(),
                "ON CONFLICT (id) DO UPDATE SET version = excluded.version, boot_id = excluded.boot_id, \
                 labels = excluded.labels, last_seen_ms = excluded.last_seen_ms, state = excluded.state",
            ));
            for node in nodes {
                query = query
                    .bind(node.id.as_str())
                    .bind(text(&node.version))
                    .bind(node.boot_id.as_str())
                    .bind(node.labels.as_str())
                    .bind(node.first_seen_ms)
                    .bind(node.last_seen_ms)
                    .bind(node.state.as_str());
            }
            query.execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Forgets nodes that have not been heard of since. Returns how many.
    pub async fn prune_nodes(&self, older_than_ms: i64) -> Result<u64, Error> {
        let mut tx = self.db.begin().await?;
        let deleted = sqlx::query("DELETE FROM node WHERE last_seen_ms < $1").bind(older_than_ms);
        let deleted = deleted.execute(&mut *tx).await?.rows_affected();
        tx.commit().await?;
        Ok(deleted)
    }

    /// Forgets how far boots have been stored whose newest batch is older, except the boots that nodes are in now: a lane
    /// without a watermark has to begin at 1. Returns how many.
    pub async fn prune_watermarks(&self, older_than_ms: i64) -> Result<u64, Error> {
        let mut tx = self.db.begin().await?;
        let mut n_deleted = 0;
        for statement in [
            "DELETE FROM usage_watermark WHERE newest_ms < $1 AND NOT EXISTS (SELECT 1 FROM node \
             WHERE node.id = usage_watermark.node_id AND node.boot_id = usage_watermark.boot_id)",
            "DELETE FROM log_watermark WHERE newest_ms < $1 AND NOT EXISTS (SELECT 1 FROM node \
             WHERE node.id = log_watermark.node_id AND node.boot_id = log_watermark.boot_id)",
            "DELETE FROM body_watermark WHERE newest_ms < $1 AND NOT EXISTS (SELECT 1 FROM node \
             WHERE node.id = body_watermark.node_id AND node.boot_id = body_watermark.boot_id)",
        ] {
            n_deleted += sqlx::query(statement).bind(older_than_ms).execute(&mut *tx).await?.rows_affected();
        }
        tx.commit().await?;
        Ok(n_deleted)
    }
}

// === impl NodeRow ===

impl NodeRow {
    fn read(row: &AnyRow) -> Result<Self, Error> {
        Ok(Self {
            id: row.try_get("id")?,
            version: row.try_get("version")?,
            boot_id: row.try_get("boot_id")?,
            labels: row.try_get("labels")?,
            first_seen_ms: row.try_get("first_seen_ms")?,
            last_seen_ms: row.try_get("last_seen_ms")?,
            state: row.try_get("state")?,
        })
    }
}
