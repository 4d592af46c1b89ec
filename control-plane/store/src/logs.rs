//! Records of requests: bounded, filtered, newest first. Losing one is allowed, losing count is not.

mod terms;
mod filter;
pub(crate) mod clickhouse;
mod search;
pub(crate) mod watermark;

use sqlx::Row;
use sqlx::any::AnyRow;

use crate::db::{Rows, Tx, key, signed, text, unsigned};
use crate::error::Error;
use crate::log_sessions::{self, Entry};
use crate::store::Store;
use crate::traffic::{self, Sample};
use crate::usage::Sender;

pub use filter::Filter;
pub use search::Found;
pub use terms::Terms;

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
    /// What it is found by beside the above, of [`Terms`]; not read back, nor are the two that follow.
    pub terms: String,
    pub total_us: u64,
    pub cost_nano_usd: i64,
    /// What it adds to the minute's sums; not read back, nor are the two that follow.
    pub sample: Option<Sample>,
    /// Empty where the client named none.
    pub session: String,
    pub user: String,
}

const N_COLUMNS: usize = 13;
const UNAUTHORIZED: u32 = 401;

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
        let mut fresh: Vec<LogRow> = rows.iter().map(LogRow::storable).collect();
        // Two who write the same rows write them in one order, or they would wait for each other.
        fresh.sort_by(|one, other| one.id.cmp(&other.id));
        if let Some(clickhouse) = &self.clickhouse {
            // First, so that what is counted and acknowledged is there. What comes again is there twice and read once.
            clickhouse::write(clickhouse, from, &fresh).await?;
        }
        let mut tx = self.db.begin().await?;
        let in_database =
            if self.clickhouse.is_none() { Some(self.insert(&mut tx, from, &fresh).await?) } else { None };
        let known = sqlx::query("SELECT up_to_seq FROM log_watermark WHERE node_id = $1 AND boot_id = $2");
        let known = known.bind(from.node).bind(from.boot).fetch_optional(&mut *tx).await?;
        let known = known.map_or(Ok(0), |row| unsigned(&row, "up_to_seq"))?;
        // What has been stored before has been counted before.
        let n_known = usize::try_from(known.saturating_add(1).saturating_sub(first_seq)).unwrap_or(usize::MAX);
        let uncounted = rows.iter().skip(n_known).filter_map(|row| Some((row, row.sample.as_ref()?)));
        let samples = uncounted.clone().map(|(row, sample)| (row.started_ms, row.provider.as_str(), sample));
        traffic::count(&self.db, &mut tx, samples, from.at_ms).await?;
        log_sessions::count(&self.db, &mut tx, uncounted.filter_map(|(row, sample)| row.entry(sample)), from.at_ms)
            .await?;
        let last = first_seq.saturating_add(rows.len() as u64).saturating_sub(1);
        let up_to_seq = watermark::advance(&mut tx, "log_watermark", from, last, dropped_total).await?;
        tx.commit().await?;
        self.tally.logs(rows.len(), in_database.unwrap_or(rows.len().saturating_sub(n_known) as u64));
        Ok(up_to_seq)
    }

    /// Returns how many were not there.
    async fn insert(&self, tx: &mut Tx, from: Sender<'_>, fresh: &[LogRow]) -> Result<u64, Error> {
        let mut values = Rows::of(N_COLUMNS);
        for row in fresh {
            values
                .put(row.id.as_str())
                .put(from.node)
                .put(row.started_ms)
                .put(row.key_id.as_str())
                .put(row.key_name.as_str())
                .put(row.model.as_str())
                .put(row.provider.as_str())
                .put(i64::from(row.status))
                .put(row.record.as_str())
                .put(row.terms.as_str())
                .put(signed(row.total_us))
                .put(row.cost_nano_usd)
                .put(from.at_ms);
        }
        let before = "INSERT INTO log_record (id, node_id, started_ms, key_id, key_name, model, provider, status, record, terms, \
             total_us, cost_nano_usd, stored_ms)";
        values.execute(&self.db, tx, before, "ON CONFLICT (id) DO NOTHING").await
    }

    /// One record by its request id.
    pub async fn log(&self, id: &str) -> Result<Option<LogRow>, Error> {
        if let Some(clickhouse) = &self.clickhouse {
            return clickhouse::one(clickhouse, &text(id)).await;
        }
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
            terms: text(&self.terms),
            ..self.clone()
        }
    }

    /// What it adds to its session. Who was refused for want of a key belongs to none: anybody may name one.
    fn entry<'a>(&'a self, sample: &'a Sample) -> Option<Entry<'a>> {
        let is_of_one = !self.session.is_empty() && self.status != UNAUTHORIZED;
        is_of_one.then_some(Entry {
            session: &self.session,
            started_ms: self.started_ms,
            key: &self.key_name,
            user: &self.user,
            model: &self.model,
            sample,
        })
    }

    pub(crate) fn read(row: &AnyRow) -> Result<Self, Error> {
        Ok(Self {
            id: row.try_get("id")?,
            started_ms: row.try_get("started_ms")?,
            key_id: row.try_get("key_id")?,
            key_name: row.try_get("key_name")?,
            model: row.try_get("model")?,
            provider: row.try_get("provider")?,
            status: u32::try_from(unsigned(row, "status")?).unwrap_or(u32::MAX),
            record: row.try_get("record")?,
            ..Self::default()
        })
    }
}
