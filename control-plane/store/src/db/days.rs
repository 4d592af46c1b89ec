//! Tables that grow with traffic: on Postgres in parts by day, which go at once when they are old. SQLite has one part and deletes.
//!
//! A part holds the ids whose time (they are UUIDv7) is in its day; `NAME_day_N`, with N the days since 1970 (UTC). The rest is in
//! `NAME_default`: whatever came before its part was made, and ids that are none of ours.

use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

use super::{Db, Engine};
use crate::error::Error;

pub(crate) const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A table that is kept by days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Daily {
    Usage,
    Logs,
    Bodies,
}

// === impl Daily ===

impl Daily {
    pub(crate) const ALL: [Self; 3] = [Self::Usage, Self::Logs, Self::Bodies];

    fn table(self) -> &'static str {
        match self {
            Self::Usage => "usage_event",
            Self::Logs => "log_record",
            Self::Bodies => "log_body",
        }
    }
}

// === impl Db ===

impl Db {
    /// Sees to it that each day from that of `from_ms` to that of `to_ms` has its part, and moves what is in the default part to
    /// where it belongs. Returns how many parts were made.
    pub(crate) async fn make_days(&self, daily: Daily, from_ms: i64, to_ms: i64) -> Result<u64, Error> {
        if self.engine == Engine::Sqlite {
            return Ok(0);
        }
        let there = self.days(daily).await?;
        let mut n_made = 0;
        for day in from_ms.div_euclid(DAY_MS)..=to_ms.div_euclid(DAY_MS) {
            if !there.contains(&day) {
                self.make_day(daily, day).await?;
                n_made += 1;
            }
        }
        Ok(n_made)
    }

    /// Drops the parts of days that had ended by `before_ms`. Returns how many.
    pub(crate) async fn drop_days(&self, daily: Daily, before_ms: i64) -> Result<u64, Error> {
        if self.engine == Engine::Sqlite {
            return Ok(0);
        }
        let mut n_dropped = 0;
        for day in self.days(daily).await? {
            if (day + 1) * DAY_MS <= before_ms {
                // Each in its own transaction: this keeps everybody else from the whole table.
                let mut tx = self.begin().await?;
                run(&mut tx, format!("DROP TABLE IF EXISTS {}_day_{day}", daily.table())).await?;
                tx.commit().await?;
                n_dropped += 1;
            }
        }
        Ok(n_dropped)
    }

    /// The table from which rows are deleted one by one.
    pub(crate) fn undated(&self, daily: Daily) -> &'static str {
        match (self.engine, daily) {
            (Engine::Sqlite, _) => daily.table(),
            (Engine::Postgres, Daily::Usage) => "usage_event_default",
            (Engine::Postgres, Daily::Logs) => "log_record_default",
            (Engine::Postgres, Daily::Bodies) => "log_body_default",
        }
    }

    async fn days(&self, daily: Daily) -> Result<Vec<i64>, Error> {
        let rows = sqlx::query(
            "SELECT CAST(part.relname AS TEXT) AS name FROM pg_inherits JOIN pg_class part ON part.oid = inhrelid \
             WHERE inhparent = CAST($1 AS regclass)",
        );
        let rows = rows.bind(daily.table()).fetch_all(self.readers()).await?;
        let mut days = Vec::with_capacity(rows.len());
        for row in rows {
            let name: String = row.try_get("name")?;
            days.extend(name.rsplit_once("_day_").and_then(|(_, day)| day.parse::<i64>().ok()));
        }
        days.sort_unstable();
        Ok(days)
    }

    async fn make_day(&self, daily: Daily, day: i64) -> Result<(), Error> {
        let table = daily.table();
        let (from, to) = (first_id(day), first_id(day + 1));
        let mut tx = self.begin().await?;
        // Nothing may come into the default part between the move and the moment from which it has no business there.
        run(&mut tx, format!("LOCK TABLE {table}_default IN ACCESS EXCLUSIVE MODE")).await?;
        run(&mut tx, format!("CREATE TABLE {table}_day_{day} (LIKE {table} INCLUDING ALL)")).await?;
        run(
            &mut tx,
            format!(
                "WITH moved AS (DELETE FROM {table}_default WHERE id >= '{from}' AND id < '{to}' RETURNING *) \
                 INSERT INTO {table}_day_{day} SELECT * FROM moved"
            ),
        )
        .await?;
        run(
            &mut tx,
            format!("ALTER TABLE {table} ATTACH PARTITION {table}_day_{day} FOR VALUES FROM ('{from}') TO ('{to}')"),
        )
        .await?;
        Ok(tx.commit().await?)
    }
}

/// Names of ours and numbers.
async fn run(connection: &mut AnyConnection, statement: String) -> Result<(), Error> {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await?;
    Ok(())
}

/// What every UUIDv7 of a day, and of none before, is greater than: its first 48 bits are the milliseconds.
fn first_id(day: i64) -> String {
    let ms = day.saturating_mul(DAY_MS);
    format!("{:08x}-{:04x}", ms >> 16, ms & 0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_told_apart_by_ids() {
        for (at_ms, day) in [(1_800_000_000_123, 20_833), (20_833 * DAY_MS, 20_833), (20_834 * DAY_MS - 1, 20_833)] {
            let at_ms = u64::try_from(at_ms).expect("after 1970");
            let id = uuid::Builder::from_unix_timestamp_millis(at_ms, &[255; 10]).into_uuid().hyphenated().to_string();
            assert!(first_id(day) <= id && id < first_id(day + 1), "{id}");
        }
    }
}
