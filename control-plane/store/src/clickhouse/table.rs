//! The table of records. A day of it, by our own clock, is a part that goes at once; a record that came twice is the one that was
//! stored first, when it is read and, sooner or later, where it lies.

use crate::db::DAY_MS;

/// Its name has the version of its columns.
pub(crate) const TABLE: &str = "gateway_log_1";

/// `terms` begin and end with a line's end, so that each is found with both of its own. `precedence` is larger for what was stored
/// earlier. The marks of the index are close together because records are read one here, one there.
pub(super) const CREATE: &str = "CREATE TABLE IF NOT EXISTS gateway_log_1 (id String, node_id String, started_ms Int64, key_id String, \
     key_name String, model String, provider String, status UInt32, record String, terms String, total_us Int64, cost_nano_usd Int64, \
     stored_ms Int64, precedence UInt64) ENGINE = ReplacingMergeTree(precedence) PARTITION BY intDiv(stored_ms, 86400000) \
     ORDER BY (started_ms, id) SETTINGS index_granularity = 1024";

pub(super) const INSERT: &str = "INSERT INTO gateway_log_1 (id, node_id, started_ms, key_id, key_name, model, provider, status, record, \
     terms, total_us, cost_nano_usd, stored_ms, precedence) FORMAT JSONEachRow";

/// What is known of a row only when it is written.
pub(super) fn end(stored_ms: i64) -> String {
    format!(r#","stored_ms":{stored_ms},"precedence":{}}}"#, i64::MAX.saturating_sub(stored_ms.max(0)))
}

/// The part, by its name, that holds what was stored then.
pub(crate) fn stored_day(stored_ms: i64) -> i64 {
    stored_ms.div_euclid(DAY_MS)
}
