//! What is kept of requests, and for how long. By our own clock, that is by when a row was stored: the start that a node tells may lie
//! in any year.

use sqlx::{AssertSqlSafe, Row};

use crate::clickhouse::ClickHouse;
use crate::db::{DAY_MS, Daily, Db, Tx, signed};
use crate::error::Error;
use crate::exports::{self, Place};
use crate::last_used;
use crate::log_sessions;
use crate::logs::clickhouse;
use crate::store::Store;

/// What went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// One by one.
    pub n_rows: u64,
    /// With all that was in them; only where tables are kept in parts by day.
    pub n_days: u64,
}

// === impl Store ===

impl Store {
    /// Where tables are kept in parts by day: sees to it that the days from that of `from_ms` to that of `to_ms` have theirs.
    /// Without it nothing is lost, but what is stored meanwhile is deleted row by row later. Returns how many were made.
    pub async fn make_days(&self, from_ms: i64, to_ms: i64) -> Result<u64, Error> {
        let mut n_made = 0;
        for daily in Daily::ALL {
            n_made += self.db.make_days(daily, from_ms, to_ms).await?;
        }
        Ok(n_made)
    }

    /// Deletes single events that were stored before, and whole days that had ended before. The sums stay.
    pub async fn prune_usage(&self, older_than_ms: i64) -> Result<Pruned, Error> {
        let n_days = self.db.drop_days(Daily::Usage, older_than_ms).await?;
        let mut tx = self.db.begin().await?;
        let n_rows = prune_aged(&self.db, &mut tx, Daily::Usage, older_than_ms).await?;
        last_used::prune(&mut tx).await?;
        tx.commit().await?;
        Ok(Pruned { n_rows, n_days })
    }

    /// Deletes what was kept of bodies before, and whole days that had ended before.
    pub async fn prune_bodies(&self, older_than_ms: i64) -> Result<Pruned, Error> {
        let n_days = self.db.drop_days(Daily::Bodies, older_than_ms).await?;
        let mut tx = self.db.begin().await?;
        let n_rows = prune_aged(&self.db, &mut tx, Daily::Bodies, older_than_ms).await?;
        tx.commit().await?;
        Ok(Pruned { n_rows, n_days })
    }

    /// Deletes records that were stored before `older_than_ms`, whole days that had ended before, and beyond `keep` those that
    /// were stored first; in a ClickHouse, whole days only. Sessions of which no record is left go with them, and are not counted.
    pub async fn prune_logs(&self, older_than_ms: i64, keep: Option<u64>) -> Result<Pruned, Error> {
        let mut n_elsewhere = 0;
        if let Some(place) = &self.clickhouse {
            n_elsewhere = self.drop_days_of(place, older_than_ms, keep).await?;
        } else {
            self.lose(&Place { stored_ms: older_than_ms, id: String::new() }).await?;
        }
        // Where the records are elsewhere, those from before that was so.
        let n_days = self.db.drop_days(Daily::Logs, older_than_ms).await?;
        let mut tx = self.db.begin().await?;
        let mut n_rows = prune_aged(&self.db, &mut tx, Daily::Logs, older_than_ms).await?;
        log_sessions::prune(&mut tx, older_than_ms).await?;
        if let Some(keep) = keep {
            n_rows += prune_beyond(&mut tx, keep, self.clickhouse.is_none()).await?;
        }
        tx.commit().await?;
        Ok(Pruned { n_rows, n_days: n_days + n_elsewhere })
    }

    async fn drop_days_of(&self, place: &ClickHouse, older_than_ms: i64, keep: Option<u64>) -> Result<u64, Error> {
        let doomed = clickhouse::doomed(&clickhouse::days(place).await?, older_than_ms, keep);
        let Some(last) = doomed.last() else { return Ok(0) };
        self.lose(&Place { stored_ms: (last + 1).saturating_mul(DAY_MS), id: String::new() }).await?;
        for day in &doomed {
            clickhouse::drop_day(place, *day).await?;
        }
        Ok(doomed.len() as u64)
    }

    async fn lose(&self, up_to: &Place) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        exports::lose(&mut tx, self.clickhouse.as_ref(), up_to).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// All records but the newest. Costs a look at the index of those. Exporters are told where it is from here that they send.
async fn prune_beyond(tx: &mut Tx, keep: u64, is_exported: bool) -> Result<u64, Error> {
    let newest = sqlx::query("SELECT stored_ms, id FROM log_record ORDER BY stored_ms DESC, id DESC LIMIT 1 OFFSET $1");
    let Some(row) = newest.bind(signed(keep)).fetch_optional(&mut **tx).await? else { return Ok(0) };
    let (stored_ms, id): (i64, String) = (row.try_get("stored_ms")?, row.try_get("id")?);
    if is_exported {
        exports::lose(tx, None, &Place { stored_ms, id: id.clone() }).await?;
    }
    log_sessions::prune(tx, stored_ms).await?;
    let deleted = sqlx::query("DELETE FROM log_record WHERE (stored_ms, id) <= ($1, $2)");
    Ok(deleted.bind(stored_ms).bind(id).execute(&mut **tx).await?.rows_affected())
}

async fn prune_aged(db: &Db, tx: &mut Tx, daily: Daily, older_than_ms: i64) -> Result<u64, Error> {
    // A name of ours.
    let statement = format!("DELETE FROM {} WHERE stored_ms < $1", db.undated(daily));
    let deleted = sqlx::query(AssertSqlSafe(statement)).bind(older_than_ms).execute(&mut **tx).await?;
    Ok(deleted.rows_affected())
}
