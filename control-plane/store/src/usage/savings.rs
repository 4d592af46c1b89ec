//! Requests of which it is known what they would have cost otherwise.

use sqlx::{AssertSqlSafe, SqlSafeStr as _};

use super::{COLUMNS, Cursor, UsageRow};
use crate::db::text;
use crate::error::Error;
use crate::store::Store;

/// What is known of them.
const AND_SAVED: &str = " AND baseline_nano_usd IS NOT NULL AND priced = 1";

// === impl Store ===

impl Store {
    /// Up to `limit` of them, newest first, after the cursor.
    pub async fn savings(&self, after: Option<&Cursor>, limit: usize) -> Result<Vec<UsageRow>, Error> {
        self.usage_of(AND_SAVED, after, limit).await
    }

    /// One of them, by its id.
    pub async fn saving(&self, id: &str) -> Result<Option<UsageRow>, Error> {
        let statement = format!("SELECT {COLUMNS} FROM usage_event WHERE id = $1{AND_SAVED}");
        // Names of ours only.
        let query = sqlx::query(AssertSqlSafe(statement).into_sql_str()).bind(text(id));
        let row = query.fetch_optional(self.db.readers()).await?;
        row.as_ref().map(UsageRow::read).transpose()
    }
}
