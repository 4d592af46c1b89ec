//! What a boot held that is over: once all of its usage is booked, the rest is free. Until then it counts as spent.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Holder, Locked, lock_head};
use crate::error::Error;
use crate::store::Store;

// === impl Store ===

impl Store {
    /// Boots of this node, but for this one, that hold money.
    pub async fn boots_with_leases(&self, node: &str, but: &str) -> Result<Vec<String>, Error> {
        let rows = sqlx::query(
            "SELECT DISTINCT boot_id FROM budget_lease \
             WHERE node_id = $1 AND boot_id <> $2 AND granted > returned + settled ORDER BY boot_id LIMIT 100",
        );
        let rows = rows.bind(node).bind(but).fetch_all(self.db.readers()).await?;
        Ok(rows.iter().map(|row| row.try_get("boot_id")).collect::<Result<_, _>>()?)
    }

    /// All usage of this boot has been delivered: what it did not spend is free. Returns how much that is.
    pub async fn close_leases(&self, holder: Holder<'_>) -> Result<i64, Error> {
        let mut tx = self.db.begin().await?;
        let rows = sqlx::query(
            "SELECT budget, start_ms FROM budget_lease \
             WHERE node_id = $1 AND boot_id = $2 AND granted > returned + settled",
        );
        let rows = rows.bind(holder.node).bind(holder.boot).fetch_all(&mut *tx).await?;
        let place = |row: &AnyRow| Ok((row.try_get("budget")?, row.try_get("start_ms")?));
        let mut places = rows.iter().map(place).collect::<Result<Vec<(String, i64)>, Error>>()?;
        // In our order, which need not be the database's.
        places.sort_unstable();
        let mut n_freed = 0_i64;
        for (budget, start_ms) in places {
            lock_head(&mut tx, &budget, holder.at_ms).await?;
            let locked = Locked::read(&mut tx, holder, &budget, start_ms).await?;
            let closed = Locked { returned: locked.granted.saturating_sub(locked.settled), unheard: 0, ..locked };
            n_freed = n_freed.saturating_add(locked.held());
            closed.write(&mut tx, holder, &budget, start_ms, &locked).await?;
        }
        tx.commit().await?;
        Ok(n_freed)
    }

    /// What nodes that were revoked before hold: they can deliver nothing any more, so that what has come of their usage is all there
    /// will be, and the rest is free. Returns node, boot and how much that is, of so many boots at most.
    pub async fn reap_leases(&self, revoked_before_ms: i64, at_ms: i64) -> Result<Vec<(String, String, i64)>, Error> {
        let rows = sqlx::query(
            "SELECT DISTINCT budget_lease.node_id AS node, boot_id FROM budget_lease \
             JOIN member ON member.node_id = budget_lease.node_id \
             WHERE revoked_at_ms > 0 AND revoked_at_ms < $1 AND granted > returned + settled \
             ORDER BY node, boot_id LIMIT 100",
        );
        let rows = rows.bind(revoked_before_ms).fetch_all(self.db.readers()).await?;
        let mut reaped = Vec::with_capacity(rows.len());
        for row in &rows {
            let (node, boot): (String, String) = (row.try_get("node")?, row.try_get("boot_id")?);
            let freed = self.close_leases(Holder { node: &node, boot: &boot, at_ms }).await?;
            reaped.push((node, boot, freed));
        }
        Ok(reaped)
    }

    /// Forgets windows that began before, with what nodes had of them.
    pub async fn prune_ledger(&self, older_than_ms: i64) -> Result<u64, Error> {
        let mut tx = self.db.begin().await?;
        let mut n_rows = 0;
        // Those that never end begin at 0 and stay.
        for statement in [
            "DELETE FROM budget_lease WHERE start_ms > 0 AND start_ms < $1",
            "DELETE FROM budget_window WHERE start_ms > 0 AND start_ms < $1",
        ] {
            n_rows += sqlx::query(statement).bind(older_than_ms).execute(&mut *tx).await?.rows_affected();
        }
        tx.commit().await?;
        Ok(n_rows)
    }
}
