//! Requests of which it is known what they would have cost otherwise.

use sqlx::{AssertSqlSafe, SqlSafeStr as _};

use super::{COLUMNS, Cursor, UsageRow};
use crate::db::{signed, text};
use crate::error::Error;
use crate::store::Store;

// === impl Store ===

impl Store {
    /// Up to `limit` of them, newest first, after the cursor.
    pub async fn savings(&self, after: Option<&Cursor>, limit: usize) -> Result<Vec<UsageRow>, Error> {
        let (started_ms, id) = after.map_or((i64::MAX, ""), |cursor| (cursor.started_ms, cursor.id.as_str()));
        let statement = format!(
            "SELECT {COLUMNS} FROM usage_event WHERE (started_ms, id) < ($1, $2) AND baseline_nano_usd IS NOT NULL AND priced = 1 \
             ORDER BY started_ms DESC, id DESC LIMIT $3"
        );
        // Names of ours only.
        let rows = sqlx::query(AssertSqlSafe(statement).into_sql_str())
            .bind(started_ms)
            .bind(text(id))
            .bind(signed(limit as u64))
            .fetch_all(self.db.readers())
            .await?;
        rows.iter().map(UsageRow::read).collect()
    }

    /// One of them, by its id.
    pub async fn saving(&self, id: &str) -> Result<Option<UsageRow>, Error> {
        let statement =
            format!("SELECT {COLUMNS} FROM usage_event WHERE id = $1 AND baseline_nano_usd IS NOT NULL AND priced = 1");
        // Names of ours only.
        let query = sqlx::query(AssertSqlSafe(statement).into_sql_str()).bind(text(id));
        let row = query.fetch_optional(self.db.readers()).await?;
        row.as_ref().map(UsageRow::read).transpose()
    }
}
