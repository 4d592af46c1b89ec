//! Which of the control planes on one database does what only one may do.

use crate::db::{signed, unsigned};
use crate::error::Error;
use crate::store::Store;

/// Somebody's right to be the one who does something, for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub name: String,
    pub holder: String,
    /// Grows whenever the lease goes to somebody else or begins anew: of two who believe that they hold it, the one with the
    /// smaller number is wrong.
    pub fencing: u64,
    pub expires_at_ms: i64,
}

// === impl Store ===

impl Store {
    /// Takes a lease that is free or over, or prolongs one's own, until `now_ms + ttl_ms`. `None` while another holds it.
    /// Clocks that differ by less than `ttl_ms` take nothing from each other.
    pub async fn lease(&self, name: &str, holder: &str, ttl_ms: i64, now_ms: i64) -> Result<Option<Lease>, Error> {
        let expires_at_ms = now_ms.saturating_add(ttl_ms);
        let mut tx = self.db.begin().await?;
        let row = sqlx::query(
            "INSERT INTO job_lease (name, holder, fencing, expires_at_ms) VALUES ($1, $2, 1, $3) \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at_ms = excluded.expires_at_ms, \
             fencing = job_lease.fencing + CASE WHEN job_lease.holder = excluded.holder AND job_lease.expires_at_ms > $4 \
             THEN 0 ELSE 1 END \
             WHERE job_lease.holder = excluded.holder OR job_lease.expires_at_ms <= $4 RETURNING fencing",
        );
        let row = row.bind(name).bind(holder).bind(expires_at_ms).bind(now_ms).fetch_optional(&mut *tx).await?;
        tx.commit().await?;
        let Some(row) = row else { return Ok(None) };
        let fencing = unsigned(&row, "fencing")?;
        Ok(Some(Lease { name: name.to_owned(), holder: holder.to_owned(), fencing, expires_at_ms }))
    }

    /// Gives a lease back before it is over. One that has gone to somebody else is not touched.
    pub async fn release(&self, lease: &Lease) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        // The row stays, so that the numbers go on.
        sqlx::query("UPDATE job_lease SET expires_at_ms = 0 WHERE name = $1 AND holder = $2 AND fencing = $3")
            .bind(lease.name.as_str())
            .bind(lease.holder.as_str())
            .bind(signed(lease.fencing))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }
}
