//! Pools, transactions and bulk statements. Every difference between database engines is in this file.
//!
//! `sqlx::Any` rather than an enum of two native pools: one set of row and argument types means that every statement and every
//! decoder is written once and needs no macro that compiles it twice. The price is that only TEXT, BIGINT, DOUBLE PRECISION and
//! BYTEA exist, which the schema keeps to anyway. `Any` is named in this crate only, so the way back is one crate long.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use sqlx::any::{AnyPoolOptions, AnyRow};
use sqlx::{Any, AnyConnection, AnyPool, AssertSqlSafe, Connection, Row, SqlSafeStr, SqlStr, Transaction};

use crate::error::Error;

pub(crate) type Tx = Transaction<'static, Any>;

/// Readers beside the one writer.
const MAX_READERS: u32 = 4;
/// Waiting for the writer longer than this means something is stuck; the caller gets [`Error::Locked`].
const MAX_WAIT: Duration = Duration::from_secs(10);
/// Bound parameters of one statement; SQLite takes 32,766.
pub(crate) const MAX_PARAMETERS: usize = 16_000;

/// `synchronous=NORMAL` under WAL: a crash of the process loses nothing, a power cut may lose the last commits but never
/// tears one. `busy_timeout` is in milliseconds.
const SQLITE_SETUP: &str =
    "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;";

/// One writer, several readers.
#[derive(Clone, Debug)]
pub(crate) struct Db {
    writer: AnyPool,
    readers: AnyPool,
}

// === impl Db ===

impl Db {
    /// `sqlite::memory:` or `sqlite://path`. The file is made if it is missing.
    pub(crate) async fn open(url: &str) -> Result<Self, Error> {
        sqlx::any::install_default_drivers();
        let Some(rest) = url.strip_prefix("sqlite:") else {
            // What follows the scheme may hold a password.
            return Err(Error::Address(url.split(':').next().unwrap_or_default().to_owned()));
        };
        let in_memory = rest == ":memory:";
        let url = if in_memory || rest.contains('?') { url.to_owned() } else { format!("{url}?mode=rwc") };
        // A pool repeats a failing set-up until it times out and then says only that; one connection says what is wrong.
        let mut probe = AnyConnection::connect(&url).await?;
        sqlx::raw_sql(SQLITE_SETUP).execute(&mut probe).await?;
        probe.close().await?;
        // SQLite serialises writers anyway. One connection makes them queue here, in order, instead of failing as busy.
        let writer = options().max_connections(1).connect(&url).await?;
        // Each connection to `:memory:` would be a database of its own.
        let readers =
            if in_memory { writer.clone() } else { options().max_connections(MAX_READERS).connect(&url).await? };
        Ok(Self { writer, readers })
    }

    pub(crate) fn readers(&self) -> &AnyPool {
        &self.readers
    }

    /// A transaction that holds the write lock from its start. Dropped, it rolls back.
    pub(crate) async fn begin(&self) -> Result<Tx, Error> {
        // A deferred transaction that reads first cannot be upgraded once somebody else has written.
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// A transaction that sees one state of the database throughout.
    pub(crate) async fn begin_read(&self) -> Result<Tx, Error> {
        Ok(self.readers.begin().await?)
    }

    /// Waits for running statements and closes the files.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

fn options() -> AnyPoolOptions {
    AnyPoolOptions::new()
        .acquire_timeout(MAX_WAIT)
        // An idle connection costs nothing here, and an in-memory database lives only as long as its connection.
        .idle_timeout(None)
        .max_lifetime(None)
        .after_connect(|connection: &mut AnyConnection, _| {
            Box::pin(async move { sqlx::raw_sql(SQLITE_SETUP).execute(connection).await.map(drop) })
        })
}

/// The address of a database file.
pub(crate) fn file_url(path: &Path) -> String {
    let mut url = String::from("sqlite://");
    for byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(byte) {
            url.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(url, "%{byte:02X}");
        }
    }
    url
}

/// `before (?, ?, …), (?, ?, …) after` for bulk inserts.
///
/// `?` and not `$1 … $n`: SQLite looks numbered parameters up one by one, which makes a large insert 40 times slower. Only
/// constants of this crate and question marks go into the text, so nothing that came from outside can.
pub(crate) fn bulk(before: &'static str, n_columns: usize, n_rows: usize, after: &'static str) -> SqlStr {
    let row = format!("({})", vec!["?"; n_columns].join(", "));
    let rows = vec![row.as_str(); n_rows].join(", ");
    AssertSqlSafe(format!("{before} {rows} {after}")).into_sql_str()
}

/// A column of whole numbers that are never negative.
pub(crate) fn unsigned(row: &AnyRow, column: &str) -> Result<u64, Error> {
    let value: i64 = row.try_get(column)?;
    u64::try_from(value).map_err(|_| Error::Unreadable(format!("a negative `{column}`")))
}

/// As the database stores it; what does not fit is far beyond anything real.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_survive_the_address() {
        assert_eq!(file_url(Path::new("/data/a b?#%.db")), "sqlite:///data/a%20b%3F%23%25.db");
    }

    #[test]
    fn bulk_text_has_one_group_per_row() {
        assert_eq!(
            bulk("INSERT INTO t VALUES", 2, 3, "RETURNING id").as_str(),
            "INSERT INTO t VALUES (?, ?), (?, ?), (?, ?) RETURNING id"
        );
    }
}
