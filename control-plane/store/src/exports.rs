//! How far the log records have been sent to each exporter. A record is behind the cursor or before it, so that none is sent twice
//! and none is left out, whoever sends and however often they begin anew.

use sqlx::Row;
use sqlx::any::AnyRow;

use crate::clickhouse::ClickHouse;
use crate::db::{Tx, key, signed, text, unsigned};
use crate::error::Error;
use crate::logs::{LogRow, clickhouse};
use crate::store::Store;

/// Where a record stands in the order in which they were stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub stored_ms: i64,
    pub id: String,
}

/// An exporter's progress.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub exporter: String,
    /// All up to here is done with.
    pub at: Place,
    /// The end of the batch that is being sent.
    pub until: Option<Place>,
    /// Counts batches.
    pub batch: u64,
    pub n_attempts: u64,
    /// Before this nothing is tried.
    pub due_ms: i64,
    pub n_delivered: u64,
    /// Refused by who was to take them.
    pub n_failed: u64,
    /// Deleted before they were sent.
    pub n_dropped: u64,
    /// Of the last attempt that failed; empty where none did since the last that did not.
    pub error: String,
    pub error_ms: i64,
    pub delivered_ms: Option<i64>,
}

/// A record, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub place: Place,
    pub row: LogRow,
}

/// What became of a batch that is not tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub n_delivered: u64,
    pub n_failed: u64,
    /// Why some failed.
    pub error: String,
}

/// How much is yet to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Counted up to [`MOST_COUNTED`].
    pub n_records: u64,
    /// When the oldest of them was stored.
    pub oldest_ms: Option<i64>,
}

/// Beyond it, it is "at least as many".
pub const MOST_COUNTED: u64 = 100_000;

/// After all places.
const END: (i64, &str) = (i64::MAX, "");

const COLUMNS: &str = "exporter, stored_ms, id, until_ms, until_id, batch, n_attempts, due_ms, n_delivered, n_failed, n_dropped, \
                       error, error_ms, delivered_ms";

// === impl Store ===

impl Store {
    /// How far an exporter is. One that is new begins at `now_ms`: what was before is not sent to it.
    pub async fn export_progress(&self, exporter: &str, now_ms: i64) -> Result<Progress, Error> {
        let known = self.exports_known(Some(exporter)).await?.pop();
        if let Some(progress) = known {
            return Ok(progress);
        }
        let mut tx = self.db.begin().await?;
        let made = sqlx::query(
            "INSERT INTO export_cursor (exporter, stored_ms, id, until_ms, until_id, batch, n_attempts, due_ms, n_delivered, \
             n_failed, n_dropped, error, error_ms, delivered_ms) VALUES ($1, $2, '', 0, '', 0, 0, 0, 0, 0, 0, '', 0, 0) \
             ON CONFLICT (exporter) DO NOTHING",
        );
        made.bind(key(exporter)).bind(now_ms).execute(&mut *tx).await?;
        tx.commit().await?;
        let at = Place { stored_ms: now_ms, id: String::new() };
        Ok(Progress { exporter: exporter.to_owned(), at, ..Progress::default() })
    }

    /// Of one, or of all that were ever begun.
    pub async fn exports_known(&self, exporter: Option<&str>) -> Result<Vec<Progress>, Error> {
        let statement =
            format!("SELECT {COLUMNS} FROM export_cursor WHERE $1 IS NULL OR exporter = $1 ORDER BY exporter");
        // Names of ours.
        let rows = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(exporter.map(key));
        rows.fetch_all(self.db.readers()).await?.iter().map(Progress::read).collect()
    }

    /// Those that are none any more begin anew if they come back.
    pub async fn forget_exports(&self, kept: &[&str]) -> Result<(), Error> {
        for progress in self.exports_known(None).await? {
            if !kept.contains(&progress.exporter.as_str()) {
                let mut tx = self.db.begin().await?;
                let gone = sqlx::query("DELETE FROM export_cursor WHERE exporter = $1").bind(key(&progress.exporter));
                gone.execute(&mut *tx).await?;
                tx.commit().await?;
            }
        }
        Ok(())
    }

    /// Up to `limit` records after a place, in the order in which they were stored, of those that were stored before `before_ms`
    /// and, where there is one, up to `until`.
    pub async fn records_after(
        &self,
        after: &Place,
        until: Option<&Place>,
        before_ms: i64,
        limit: usize,
    ) -> Result<Vec<Stored>, Error> {
        let (until_ms, until_id) = until.map_or((i64::MAX, ""), Place::parts);
        if let Some(place) = &self.clickhouse {
            let rows = clickhouse::stored_after(place, after.parts(), (until_ms, until_id), before_ms, limit).await?;
            let stored =
                rows.into_iter().map(|(stored_ms, row)| Stored { place: Place { stored_ms, id: row.id.clone() }, row });
            return Ok(stored.collect());
        }
        let rows = sqlx::query(
            "SELECT id, started_ms, key_id, key_name, model, provider, status, record, stored_ms FROM log_record \
             WHERE (stored_ms, id) > ($1, $2) AND (stored_ms, id) <= ($3, $4) AND stored_ms < $5 \
             ORDER BY stored_ms, id LIMIT $6",
        );
        let rows = rows.bind(after.stored_ms).bind(text(&after.id)).bind(until_ms).bind(text(until_id));
        let rows = rows.bind(before_ms).bind(signed(limit as u64)).fetch_all(self.db.readers()).await?;
        rows.iter()
            .map(|row| {
                let place = Place { stored_ms: row.try_get("stored_ms")?, id: row.try_get("id")? };
                Ok(Stored { place, row: LogRow::read(row)? })
            })
            .collect()
    }

    /// What is to be sent after a place.
    pub async fn export_backlog(&self, after: &Place) -> Result<Backlog, Error> {
        if let Some(place) = &self.clickhouse {
            let (n_records, oldest_ms) = clickhouse::count_stored(place, after.parts(), END).await?;
            return Ok(Backlog {
                n_records: n_records.min(MOST_COUNTED),
                oldest_ms: (oldest_ms > 0).then_some(oldest_ms),
            });
        }
        let row = sqlx::query(
            "SELECT CAST(COUNT(*) AS BIGINT) AS n_records, COALESCE(MIN(stored_ms), 0) AS oldest_ms FROM \
             (SELECT stored_ms FROM log_record WHERE (stored_ms, id) > ($1, $2) ORDER BY stored_ms, id LIMIT $3) AS waiting",
        );
        let row = row.bind(after.stored_ms).bind(text(&after.id)).bind(signed(MOST_COUNTED));
        let row = row.fetch_one(self.db.readers()).await?;
        let oldest_ms: i64 = row.try_get("oldest_ms")?;
        Ok(Backlog { n_records: unsigned(&row, "n_records")?, oldest_ms: (oldest_ms > 0).then_some(oldest_ms) })
    }

    /// A batch is about to be sent: everything after where the exporter is, up to there. False where somebody else was faster.
    pub async fn plan_export(&self, from: &Progress, until: &Place) -> Result<bool, Error> {
        let row = sqlx::query(
            "UPDATE export_cursor SET until_ms = $2, until_id = $3, batch = batch + 1, n_attempts = 0 \
             WHERE exporter = $1 AND batch = $4 AND until_ms = 0 AND stored_ms = $5 AND id = $6",
        );
        let row = row.bind(key(&from.exporter)).bind(until.stored_ms).bind(text(&until.id)).bind(signed(from.batch));
        self.moved(row.bind(from.at.stored_ms).bind(text(&from.at.id))).await
    }

    /// It is done with everything up to there: the batch on its way, or what none of was for it. False where it was elsewhere.
    pub async fn advance_export(
        &self,
        from: &Progress,
        until: &Place,
        outcome: &Outcome,
        now_ms: i64,
    ) -> Result<bool, Error> {
        let row = sqlx::query(
            "UPDATE export_cursor SET stored_ms = $2, id = $3, until_ms = 0, until_id = '', n_attempts = 0, due_ms = 0, \
             n_delivered = n_delivered + $4, n_failed = n_failed + $5, \
             error = CASE WHEN $6 <> '' THEN $6 WHEN $4 > 0 THEN '' ELSE error END, \
             error_ms = CASE WHEN $6 <> '' THEN $7 ELSE error_ms END, \
             delivered_ms = CASE WHEN $4 > 0 THEN $7 ELSE delivered_ms END \
             WHERE exporter = $1 AND batch = $8 AND stored_ms = $9 AND id = $10",
        );
        let row = row.bind(key(&from.exporter)).bind(until.stored_ms).bind(text(&until.id));
        let row = row.bind(signed(outcome.n_delivered)).bind(signed(outcome.n_failed)).bind(key(&outcome.error));
        let row = row.bind(now_ms).bind(signed(from.batch)).bind(from.at.stored_ms).bind(text(&from.at.id));
        self.moved(row).await
    }

    /// The batch was not taken; to be tried again then.
    pub async fn postpone_export(&self, from: &Progress, error: &str, now_ms: i64, due_ms: i64) -> Result<bool, Error> {
        let row = sqlx::query(
            "UPDATE export_cursor SET n_attempts = n_attempts + 1, error = $2, error_ms = $3, due_ms = $4 \
             WHERE exporter = $1 AND batch = $5",
        );
        let row = row.bind(key(&from.exporter)).bind(key(error)).bind(now_ms).bind(due_ms).bind(signed(from.batch));
        self.moved(row).await
    }

    /// Somebody has mended something, or begins anew: what waits is tried now.
    pub async fn hurry_export(&self, exporter: &str) -> Result<bool, Error> {
        let row = sqlx::query("UPDATE export_cursor SET due_ms = 0 WHERE exporter = $1 AND due_ms > 0");
        self.moved(row.bind(key(exporter))).await
    }

    async fn moved(
        &self,
        statement: sqlx::query::Query<'_, sqlx::Any, sqlx::any::AnyArguments>,
    ) -> Result<bool, Error> {
        let mut tx = self.db.begin().await?;
        let n_rows = statement.execute(&mut *tx).await?.rows_affected();
        tx.commit().await?;
        Ok(n_rows > 0)
    }
}

/// Records up to there are about to be deleted, in the database or in the ClickHouse that keeps them: who has not sent them has
/// lost them.
pub(crate) async fn lose(tx: &mut Tx, kept_in: Option<&ClickHouse>, up_to: &Place) -> Result<(), Error> {
    // Nobody moves until this is over.
    sqlx::query("UPDATE export_cursor SET n_dropped = n_dropped").execute(&mut **tx).await?;
    let statement = format!("SELECT {COLUMNS} FROM export_cursor");
    // Names of ours.
    let rows = sqlx::query(sqlx::AssertSqlSafe(statement)).fetch_all(&mut **tx).await?;
    for progress in rows.iter().map(Progress::read) {
        let progress = progress?;
        // Compared here, byte by byte, as ids are compared where they are stored.
        if progress.at >= *up_to {
            continue;
        }
        let n_lost = match kept_in {
            Some(place) => clickhouse::count_stored(place, progress.at.parts(), up_to.parts()).await?.0,
            None => count_stored(tx, &progress.at, up_to).await?,
        };
        let until = progress.until.filter(|until| until > up_to).unwrap_or_default();
        let moved = sqlx::query(
            "UPDATE export_cursor SET n_dropped = n_dropped + $2, stored_ms = $3, id = $4, until_ms = $5, until_id = $6 \
             WHERE exporter = $1",
        );
        let moved = moved.bind(progress.exporter).bind(signed(n_lost)).bind(up_to.stored_ms).bind(text(&up_to.id));
        moved.bind(until.stored_ms).bind(until.id).execute(&mut **tx).await?;
    }
    Ok(())
}

async fn count_stored(tx: &mut Tx, after: &Place, up_to: &Place) -> Result<u64, Error> {
    let stored = sqlx::query(
        "SELECT CAST(COUNT(*) AS BIGINT) AS n_stored FROM log_record WHERE (stored_ms, id) > ($1, $2) AND (stored_ms, id) <= ($3, $4)",
    );
    let stored = stored.bind(after.stored_ms).bind(text(&after.id)).bind(up_to.stored_ms).bind(text(&up_to.id));
    unsigned(&stored.fetch_one(&mut **tx).await?, "n_stored")
}

// === impl Place ===

impl Place {
    fn parts(&self) -> (i64, &str) {
        (self.stored_ms, &self.id)
    }
}

// === impl Progress ===

impl Progress {
    fn read(row: &AnyRow) -> Result<Self, Error> {
        let (until_ms, delivered_ms): (i64, i64) = (row.try_get("until_ms")?, row.try_get("delivered_ms")?);
        let until = Place { stored_ms: until_ms, id: row.try_get("until_id")? };
        Ok(Self {
            exporter: row.try_get("exporter")?,
            at: Place { stored_ms: row.try_get("stored_ms")?, id: row.try_get("id")? },
            until: (until_ms > 0).then_some(until),
            batch: unsigned(row, "batch")?,
            n_attempts: unsigned(row, "n_attempts")?,
            due_ms: row.try_get("due_ms")?,
            n_delivered: unsigned(row, "n_delivered")?,
            n_failed: unsigned(row, "n_failed")?,
            n_dropped: unsigned(row, "n_dropped")?,
            error: row.try_get("error")?,
            error_ms: row.try_get("error_ms")?,
            delivered_ms: (delivered_ms > 0).then_some(delivered_ms),
        })
    }
}
