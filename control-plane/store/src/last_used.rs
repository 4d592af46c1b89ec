//! When keys were used last, to the minute: each key has one row, which is written once a minute at most.

use std::collections::BTreeMap;

use sqlx::{AnyConnection, Row as _};

use crate::db::{Db, Rows, Tx, text};
use crate::error::Error;
use crate::store::Store;

/// So much later a use has to be to be written.
const COARSE_MS: i64 = 60_000;
/// Keys asked for in one statement.
const PER_STATEMENT: usize = 500;

// === impl Store ===

impl Store {
    /// Unix milliseconds by key; one that was never used is not in it.
    pub async fn keys_used(&self, ids: &[&str]) -> Result<BTreeMap<String, i64>, Error> {
        let mut used = BTreeMap::new();
        for ids in ids.chunks(PER_STATEMENT) {
            let statement = self.db.bulk("SELECT key_id, used_ms FROM key_use WHERE key_id IN", ids.len(), 1, "");
            let mut query = sqlx::query(statement).persistent(false);
            for id in ids {
                query = query.bind(text(id));
            }
            for row in query.fetch_all(self.db.readers()).await? {
                used.insert(row.try_get("key_id")?, row.try_get("used_ms")?);
            }
        }
        Ok(used)
    }
}

/// By key id, in an order that is the same for everybody who writes them.
pub(crate) async fn note(db: &Db, connection: &mut AnyConnection, used: &BTreeMap<&str, i64>) -> Result<(), Error> {
    let mut values = Rows::of(2);
    for (id, at_ms) in used {
        values.put(*id).put(*at_ms);
    }
    let after = format!(
        "ON CONFLICT (key_id) DO UPDATE SET used_ms = excluded.used_ms \
         WHERE excluded.used_ms - key_use.used_ms >= {COARSE_MS}"
    );
    values.execute(db, connection, "INSERT INTO key_use (key_id, used_ms)", &after).await.map(drop)
}

/// Forgets keys that are gone, and those that a node made up.
pub(crate) async fn prune(tx: &mut Tx) -> Result<(), Error> {
    let gone = sqlx::query("DELETE FROM key_use WHERE key_id NOT IN (SELECT id FROM config_item WHERE kind = 'key')");
    gone.execute(&mut **tx).await?;
    Ok(())
}
