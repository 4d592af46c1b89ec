//! The control planes on one database, as far as they have to know of each other: how many there are and what they carry.

use crate::db::{signed, unsigned};
use crate::error::Error;
use crate::store::Store;

/// All replicas together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicas {
    pub n_replicas: u64,
    /// Nodes that they serve.
    pub n_nodes: u64,
}

/// Of replicas that have been gone for so long nothing is kept.
const FORGET_MS: i64 = 24 * 60 * 60 * 1000;

// === impl Store ===

impl Store {
    /// Says that a replica lives and how many nodes it serves. Returns all that have done so after `since_ms`, this one
    /// among them.
    pub async fn beat(&self, id: &str, n_nodes: u64, now_ms: i64, since_ms: i64) -> Result<Replicas, Error> {
        let mut tx = self.db.begin().await?;
        sqlx::query(
            "INSERT INTO replica (id, n_nodes, seen_ms) VALUES ($1, $2, $3) \
             ON CONFLICT (id) DO UPDATE SET n_nodes = excluded.n_nodes, seen_ms = excluded.seen_ms",
        )
        .bind(id)
        .bind(signed(n_nodes))
        .bind(now_ms)
        .execute(&mut *tx)
        .await?;
        let gone = sqlx::query("DELETE FROM replica WHERE seen_ms < $1");
        gone.bind(now_ms - FORGET_MS).execute(&mut *tx).await?;
        let live = sqlx::query("SELECT n_nodes FROM replica WHERE seen_ms > $1");
        let live = live.bind(since_ms).fetch_all(&mut *tx).await?;
        tx.commit().await?;
        let mut replicas = Replicas { n_replicas: live.len() as u64, n_nodes: 0 };
        for row in &live {
            replicas.n_nodes += unsigned(row, "n_nodes")?;
        }
        Ok(replicas)
    }

    /// The replica ends in order; the others take its share and its jobs over without waiting. Whoever calls this does none any more.
    pub async fn leave(&self, id: &str) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        sqlx::query("DELETE FROM replica WHERE id = $1").bind(id).execute(&mut *tx).await?;
        sqlx::query("UPDATE job_lease SET expires_at_ms = 0 WHERE holder = $1").bind(id).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }
}
