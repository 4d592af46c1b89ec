//! What was asked and answered in requests, where that is kept. Losing one is allowed, losing count is not.

use sqlx::Row as _;

use crate::db::{MAX_PARAMETERS, key, text, unsigned};
use crate::error::Error;
use crate::logs::watermark;
use crate::store::Store;
use crate::usage::Sender;

/// The bodies of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodyRow {
    /// The request id.
    pub id: String,
    pub started_ms: i64,
    /// Nothing is known of it here.
    pub document: Vec<u8>,
}

const N_COLUMNS: usize = 5;

// === impl Store ===

impl Store {
    /// Takes a batch; what is already there stays as it is. `dropped_total` is what this boot has lost so far. Returns the number up to which
    /// this boot's bodies are stored.
    pub async fn ingest_bodies(
        &self,
        from: Sender<'_>,
        first_seq: u64,
        mut rows: Vec<BodyRow>,
        dropped_total: u64,
    ) -> Result<u64, Error> {
        let last = first_seq.saturating_add(rows.len() as u64).saturating_sub(1);
        // Two who write the same rows write them in one order, or they would wait for each other.
        rows.sort_by(|one, other| one.id.cmp(&other.id));
        let mut tx = self.db.begin().await?;
        for chunk in rows.chunks(MAX_PARAMETERS / N_COLUMNS) {
            let statement = self.db.bulk(
                "INSERT INTO log_body (id, node_id, started_ms, document, stored_ms) VALUES",
                N_COLUMNS,
                chunk.len(),
                "ON CONFLICT (id) DO NOTHING",
            );
            let mut query = sqlx::query(statement).persistent(false);
            for row in chunk {
                query = query
                    .bind(key(&row.id))
                    .bind(from.node)
                    .bind(row.started_ms)
                    .bind(row.document.as_slice())
                    .bind(from.at_ms);
            }
            query.execute(&mut *tx).await?;
        }
        let up_to_seq = watermark::advance(&mut tx, "body_watermark", from, last, dropped_total).await?;
        tx.commit().await?;
        Ok(up_to_seq)
    }

    /// What is kept of one request.
    pub async fn body(&self, id: &str) -> Result<Option<BodyRow>, Error> {
        let row = sqlx::query("SELECT id, started_ms, document FROM log_body WHERE id = $1");
        let row = row.bind(text(id)).fetch_optional(self.db.readers()).await?;
        let read = |row: sqlx::any::AnyRow| {
            let (id, started_ms, document) = (row.try_get("id")?, row.try_get("started_ms")?, row.try_get("document")?);
            Ok(BodyRow { id, started_ms, document })
        };
        row.map(read).transpose()
    }

    /// How many are there, and what all boots of all nodes have said they lost.
    pub async fn bodies(&self) -> Result<(u64, u64), Error> {
        let row = sqlx::query(
            "SELECT (SELECT COUNT(*) FROM log_body) AS stored, \
             CAST((SELECT COALESCE(SUM(dropped_total), 0) FROM body_watermark) AS BIGINT) AS dropped",
        );
        let row = row.fetch_one(self.db.readers()).await?;
        Ok((unsigned(&row, "stored")?, unsigned(&row, "dropped")?))
    }
}
