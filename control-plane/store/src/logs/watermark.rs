//! How far what a boot sends has been stored, and what it says it has lost: of records and of bodies alike.

use sqlx::AssertSqlSafe;

use crate::db::{Tx, signed, unsigned};
use crate::error::Error;
use crate::usage::Sender;

/// Neither number ever goes back. Returns the one up to which this boot's are stored. `table` is a name of ours.
pub(crate) async fn advance(
    tx: &mut Tx,
    table: &'static str,
    from: Sender<'_>,
    last: u64,
    dropped_total: u64,
) -> Result<u64, Error> {
    // The largest of two numbers has no name that both engines know.
    let statement = format!(
        "INSERT INTO {table} AS held (node_id, boot_id, up_to_seq, dropped_total, newest_ms) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (node_id, boot_id) DO UPDATE SET \
         up_to_seq = CASE WHEN excluded.up_to_seq > held.up_to_seq THEN excluded.up_to_seq ELSE held.up_to_seq END, \
         dropped_total = CASE WHEN excluded.dropped_total > held.dropped_total THEN excluded.dropped_total \
         ELSE held.dropped_total END, \
         newest_ms = excluded.newest_ms \
         RETURNING up_to_seq"
    );
    let row = sqlx::query(AssertSqlSafe(statement))
        .bind(from.node)
        .bind(from.boot)
        .bind(signed(last))
        .bind(signed(dropped_total))
        .bind(from.at_ms)
        .fetch_one(&mut **tx)
        .await?;
    unsigned(&row, "up_to_seq")
}
