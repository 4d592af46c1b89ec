//! What the ledger says of a budget, for people.

use sqlx::Row;

use crate::db::key;
use crate::error::Error;
use crate::store::Store;

/// All that counts towards an amount now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    pub spent: i64,
    /// With nodes, not spent yet.
    pub leased: i64,
    /// The oldest window with anything in it.
    pub oldest_ms: Option<i64>,
}

// === impl Store ===

impl Store {
    /// Of the windows that begin at `from_ms` or later.
    pub async fn balance(&self, budget: &str, from_ms: i64) -> Result<Balance, Error> {
        let row = sqlx::query(
            "SELECT CAST(COALESCE(SUM(spent), 0) AS BIGINT) AS spent, CAST(COALESCE(SUM(leased), 0) AS BIGINT) AS leased, \
             MIN(start_ms) AS oldest FROM budget_window WHERE budget = $1 AND start_ms >= $2 AND spent + leased > 0",
        );
        let row = row.bind(key(budget)).bind(from_ms).fetch_one(self.db.readers()).await?;
        Ok(Balance { spent: row.try_get("spent")?, leased: row.try_get("leased")?, oldest_ms: row.try_get("oldest")? })
    }
}
