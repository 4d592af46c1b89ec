//! Brings a database to this version's schema, forward only. The steps are the files of `/migrations`.

use sqlx::Row;

use crate::db::Db;
use crate::error::Error;

/// Step `n` is at position `n - 1`.
const STEPS: &[&str] =
    &[include_str!("../../../migrations/0001_first.sql"), include_str!("../../../migrations/0002_membership.sql")];

/// Runs what is missing, each step in a transaction of its own.
pub(crate) async fn run(db: &Db) -> Result<(), Error> {
    let mut tx = db.begin().await?;
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL PRIMARY KEY)")
        .execute(&mut *tx)
        .await?;
    let found: i64 = sqlx::query("SELECT COALESCE(MAX(version), 0) AS version FROM schema_version")
        .fetch_one(&mut *tx)
        .await?
        .try_get("version")?;
    tx.commit().await?;
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(Error::NewerSchema { found, known });
    }
    for (step, version) in STEPS.iter().zip(1_i64..) {
        if version > found {
            let mut tx = db.begin().await?;
            sqlx::raw_sql(*step).execute(&mut *tx).await?;
            sqlx::query("INSERT INTO schema_version (version) VALUES ($1)").bind(version).execute(&mut *tx).await?;
            tx.commit().await?;
        }
    }
    Ok(())
}
