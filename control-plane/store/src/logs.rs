//! Records of requests: bounded, filtered, newest first. Losing one is allowed, losing count is not.

use sqlx::Row;
use sqlx::any::AnyRow;

use crate::db::{MAX_PARAMETERS, signed, unsigned};
use crate::error::Error;
use crate::store::Store;
use crate::usage::Cursor;

/// One request's record, and what it can be found by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogRow {
    /// The request id.
    pub id: String,
    pub started_ms: i64,
    pub key_id: String,
    pub key_name: String,
    pub model: String,
    pub provider: String,
    pub status: u32,
    /// The whole record as JSON.
    pub record: String,
}

/// Which records; what is `None` does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Name or id.
    pub key: Option<String>,
    pub model: Option<String>,
    pub provider: Option<String>,
    pub status: Option<u32>,
    pub since_ms: Option<i64>,
}

const N_COLUMNS: usize = 9;

// === impl Store ===

impl Store {
    /// Takes a batch; records that are already there stay as they are. `dropped_total` is what this boot has lost so far.
    /// Returns the number up to which this boot's records are stored.
    pub async fn ingest_logs(
        &self,
        node: &str,
        boot: &str,
        first_seq: u64,
        rows: &[LogRow],
        dropped_total: u64,
    ) -> Result<u64, Error> {
        let mut tx = self.db.begin().await?;
        for chunk in rows.chunks(MAX_PARAMETERS / N_COLUMNS) {
            let statement = self.db.bulk(
                "INSERT INTO log_record (id, node_id, started_ms, key_id, key_name, model, provider, status, record) VALUES",
                N_COLUMNS,
                chunk.len(),
                "ON CONFLICT (id) DO NOTHING",
            );
            let mut query = sqlx::query(statement).persistent(false);
            for row in chunk {
                query = query
                    .bind(row.id.as_str())
                    .bind(node)
                    .bind(row.started_ms)
                    .bind(row.key_id.as_str())
                    .bind(row.key_name.as_str())
                    .bind(row.model.as_str())
                    .bind(row.provider.as_str())
                    .bind(i64::from(row.status))
                    .bind(row.record.as_str());
            }
            query.execute(&mut *tx).await?;
        }
        let last = first_seq.saturating_add(rows.len() as u64).saturating_sub(1);
        // The largest of two numbers has no name that both engines know.
        let watermark = sqlx::query(
            "INSERT INTO log_watermark (node_id, boot_id, up_to_seq, dropped_total, newest_ms) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (node_id, boot_id) DO UPDATE SET \
             up_to_seq = CASE WHEN excluded.up_to_seq > log_watermark.up_to_seq THEN excluded.up_to_seq ELSE log_watermark.up_to_seq END, \
             dropped_total = CASE WHEN excluded.dropped_total > log_watermark.dropped_total THEN excluded.dropped_total \
             ELSE log_watermark.dropped_total END, \
             newest_ms = CASE WHEN excluded.newest_ms > log_watermark.newest_ms THEN excluded.newest_ms ELSE log_watermark.newest_ms END \
             RETURNING up_to_seq",
        )
        .bind(node)
        .bind(boot)
        .bind(signed(last))
        .bind(signed(dropped_total))
        .bind(rows.iter().map(|row| row.started_ms).max().unwrap_or(0))
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        unsigned(&watermark, "up_to_seq")
    }

    /// Up to `limit` records, newest first, after the cursor.
    pub async fn logs(&self, filter: &Filter, after: Option<&Cursor>, limit: usize) -> Result<Vec<LogRow>, Error> {
        let (started_ms, id) = after.map_or((i64::MAX, ""), |cursor| (cursor.started_ms, cursor.id.as_str()));
        let rows = sqlx::query(
            "SELECT id, started_ms, key_id, key_name, model, provider, status, record FROM log_record \
             WHERE (started_ms, id) < ($1, $2) AND started_ms >= $3 AND ($4 IS NULL OR key_id = $4 OR key_name = $4) \
             AND ($5 IS NULL OR model = $5) AND ($6 IS NULL OR provider = $6) AND ($7 < 0 OR status = $7) \
             ORDER BY started_ms DESC, id DESC LIMIT $8",
        )
        .bind(started_ms)
        .bind(id)
        .bind(filter.since_ms.unwrap_or(i64::MIN))
        .bind(filter.key.clone())
        .bind(filter.model.clone())
        .bind(filter.provider.clone())
        .bind(filter.status.map_or(-1, i64::from))
        .bind(signed(limit as u64))
        .fetch_all(self.db.readers())
        .await?;
        rows.iter().map(LogRow::read).collect()
    }

    /// Up to `limit` records that follow the cursor in time, oldest first: what a reader missed who was away.
    pub async fn logs_since(&self, filter: &Filter, after: &Cursor, limit: usize) -> Result<Vec<LogRow>, Error> {
        let rows = sqlx::query(
            "SELECT id, started_ms, key_id, key_name, model, provider, status, record FROM log_record \
             WHERE (started_ms, id) > ($1, $2) AND started_ms >= $3 AND ($4 IS NULL OR key_id = $4 OR key_name = $4) \
             AND ($5 IS NULL OR model = $5) AND ($6 IS NULL OR provider = $6) AND ($7 < 0 OR status = $7) \
             ORDER BY started_ms, id LIMIT $8",
        )
        .bind(after.started_ms)
        .bind(after.id.as_str())
        .bind(filter.since_ms.unwrap_or(i64::MIN))
        .bind(filter.key.clone())
        .bind(filter.model.clone())
        .bind(filter.provider.clone())
        .bind(filter.status.map_or(-1, i64::from))
        .bind(signed(limit as u64))
        .fetch_all(self.db.readers())
        .await?;
        rows.iter().map(LogRow::read).collect()
    }

    /// One record by its request id.
    pub async fn log(&self, id: &str) -> Result<Option<LogRow>, Error> {
        let row = sqlx::query(
            "SELECT id, started_ms, key_id, key_name, model, provider, status, record FROM log_record WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(self.db.readers())
        .await?;
        row.as_ref().map(LogRow::read).transpose()
    }

    /// What all boots of all nodes have said they lost.
    pub async fn logs_dropped(&self) -> Result<u64, Error> {
        let row = sqlx::query("SELECT CAST(COALESCE(SUM(dropped_total), 0) AS BIGINT) AS dropped FROM log_watermark");
        unsigned(&row.fetch_one(self.db.readers()).await?, "dropped")
    }

    /// Deletes records that began before `older_than_ms`, and the oldest ones beyond `keep`. Returns how many.
    pub async fn prune_logs(&self, older_than_ms: i64, keep: u64) -> Result<u64, Error> {
        let mut tx = self.db.begin().await?;
        let aged = sqlx::query("DELETE FROM log_record WHERE started_ms < $1").bind(older_than_ms);
        let aged = aged.execute(&mut *tx).await?.rows_affected();
        let floor =
            sqlx::query("SELECT started_ms, id FROM log_record ORDER BY started_ms DESC, id DESC LIMIT 1 OFFSET $1");
        let surplus = match floor.bind(signed(keep)).fetch_optional(&mut *tx).await? {
            Some(row) => {
                let (started_ms, id): (i64, String) = (row.try_get("started_ms")?, row.try_get("id")?);
                let deleted = sqlx::query("DELETE FROM log_record WHERE (started_ms, id) <= ($1, $2)");
                deleted.bind(started_ms).bind(id).execute(&mut *tx).await?.rows_affected()
            }
            None => 0,
        };
        tx.commit().await?;
        Ok(aged + surplus)
    }
}

// === impl LogRow ===

impl LogRow {
    fn read(row: &AnyRow) -> Result<Self, Error> {
        Ok(Self {
            id: row.try_get("id")?,
            started_ms: row.try_get("started_ms")?,
            key_id: row.try_get("key_id")?,
            key_name: row.try_get("key_name")?,
            model: row.try_get("model")?,
            provider: row.try_get("provider")?,
            status: u32::try_from(unsigned(row, "status")?).unwrap_or(u32::MAX),
            record: row.try_get("record")?,
        })
    }
}
