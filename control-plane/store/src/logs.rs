//! Records of requests: bounded, filtered, newest first. Losing one is allowed, losing count is not.

use sqlx::Row;
use sqlx::any::AnyRow;

use crate::db::{MAX_PARAMETERS, key, signed, text, unsigned};
use crate::error::Error;
use crate::store::Store;
use crate::traffic::{self, Sample};
use crate::usage::{Cursor, Sender};

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
    /// What it adds to the minute's sums; not read back.
    pub sample: Option<Sample>,
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

const N_COLUMNS: usize = 10;

// === impl Store ===

impl Store {
    /// Takes a batch; records that are already there stay as they are. `dropped_total` is what this boot has lost so far.
    /// Returns the number up to which this boot's records are stored.
    pub async fn ingest_logs(
        &self,
        from: Sender<'_>,
        first_seq: u64,
        rows: &[LogRow],
        dropped_total: u64,
    ) -> Result<u64, Error> {
        let mut tx = self.db.begin().await?;
        let mut fresh: Vec<LogRow> = rows.iter().map(LogRow::storable).collect();
        // Two who write the same rows write them in one order, or they would wait for each other.
        fresh.sort_by(|one, other| one.id.cmp(&other.id));
        let mut n_new = 0;
        for chunk in fresh.chunks(MAX_PARAMETERS / N_COLUMNS) {
            let statement = self.db.bulk(
                "INSERT INTO log_record (id, node_id, started_ms, key_id, key_name, model, provider, status, record, stored_ms) VALUES",
                N_COLUMNS,
                chunk.len(),
                "ON CONFLICT (id) DO NOTHING",
            );
            let mut query = sqlx::query(statement).persistent(false);
            for row in chunk {
                query = query
                    .bind(row.id.as_str())
                    .bind(from.node)
                    .bind(row.started_ms)
                    .bind(row.key_id.as_str())
                    .bind(row.key_name.as_str())
                    .bind(row.model.as_str())
                    .bind(row.provider.as_str())
                    .bind(i64::from(row.status))
                    .bind(row.record.as_str())
                    .bind(from.at_ms);
            }
            n_new += query.execute(&mut *tx).await?.rows_affected();
        }
        let known = sqlx::query("SELECT up_to_seq FROM log_watermark WHERE node_id = $1 AND boot_id = $2");
        let known = known.bind(from.node).bind(from.boot).fetch_optional(&mut *tx).await?;
        let known = known.map_or(Ok(0), |row| unsigned(&row, "up_to_seq"))?;
        // What has been stored before has been counted before.
        let n_known = usize::try_from(known.saturating_add(1).saturating_sub(first_seq)).unwrap_or(usize::MAX);
        let uncounted = rows
            .iter()
            .skip(n_known)
            .filter_map(|row| Some((row.started_ms, row.provider.as_str(), row.sample.as_ref()?)));
        traffic::count(&self.db, &mut tx, uncounted, from.at_ms).await?;
        let last = first_seq.saturating_add(rows.len() as u64).saturating_sub(1);
        // The largest of two numbers has no name that both engines know.
        let watermark = sqlx::query(
            "INSERT INTO log_watermark (node_id, boot_id, up_to_seq, dropped_total, newest_ms) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (node_id, boot_id) DO UPDATE SET \
             up_to_seq = CASE WHEN excluded.up_to_seq > log_watermark.up_to_seq THEN excluded.up_to_seq ELSE log_watermark.up_to_seq END, \
             dropped_total = CASE WHEN excluded.dropped_total > log_watermark.dropped_total THEN excluded.dropped_total \
             ELSE log_watermark.dropped_total END, \
             newest_ms = excluded.newest_ms \
             RETURNING up_to_seq",
        )
        .bind(from.node)
        .bind(from.boot)
        .bind(signed(last))
        .bind(signed(dropped_total))
        .bind(from.at_ms)
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        self.tally.logs(rows.len(), n_new);
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
        .bind(text(id))
        .bind(filter.since_ms.unwrap_or(i64::MIN))
        .bind(filter.key.as_deref().map(text))
        .bind(filter.model.as_deref().map(text))
        .bind(filter.provider.as_deref().map(text))
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
        .bind(text(&after.id))
        .bind(filter.since_ms.unwrap_or(i64::MIN))
        .bind(filter.key.as_deref().map(text))
        .bind(filter.model.as_deref().map(text))
        .bind(filter.provider.as_deref().map(text))
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
        .bind(text(id))
        .fetch_optional(self.db.readers())
        .await?;
        row.as_ref().map(LogRow::read).transpose()
    }

    /// What all boots of all nodes have said they lost.
    pub async fn logs_dropped(&self) -> Result<u64, Error> {
        let row = sqlx::query("SELECT CAST(COALESCE(SUM(dropped_total), 0) AS BIGINT) AS dropped FROM log_watermark");
        unsigned(&row.fetch_one(self.db.readers()).await?, "dropped")
    }
}

// === impl LogRow ===

impl LogRow {
    /// As the columns take it.
    fn storable(&self) -> Self {
        Self {
            id: key(&self.id),
            key_id: text(&self.key_id),
            key_name: text(&self.key_name),
            model: text(&self.model),
            provider: text(&self.provider),
            record: text(&self.record),
            ..self.clone()
        }
    }

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
            sample: None,
        })
    }
}
