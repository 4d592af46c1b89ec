//! Pools, transactions and bulk statements. Every difference between database engines is in this file and its folder, but for the
//! few steps of the schema that come in two texts.
//!
//! `sqlx::Any` rather than an enum of two native pools: one set of row and argument types means that every statement and every
//! decoder is written once and needs no macro that compiles it twice. The price is that only TEXT, BIGINT, DOUBLE PRECISION and
//! BYTEA exist, which the schema keeps to anyway. `Any` is named in this crate only, so the way back is one crate long.

mod address;
mod days;
mod find;
mod listener;
mod rows;

use std::time::Duration;

use gateway_model::secret::Secret;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions, AnyRow};
use sqlx::{
    Any, AnyConnection, AnyPool, AssertSqlSafe, ConnectOptions as _, Connection as _, Row, SqlSafeStr as _, SqlStr,
    Transaction,
};

use crate::error::Error;
use address::Address;

pub(crate) use address::file_url;
pub(crate) use days::{DAY_MS, Daily};
pub(crate) use find::{Condition, HEAD, Value, Wanted, columns, line};
pub(crate) use listener::{Announcement, Listener};
pub(crate) use rows::Rows;

pub(crate) type Tx = Transaction<'static, Any>;

/// What kind of database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// Connections of one process, by what they are for: on SQLite one writer, because writers take turns there anyway.
const SQLITE_READERS: u32 = 4;
const POSTGRES_WRITERS: u32 = 8;
const POSTGRES_READERS: u32 = 6;
/// Waiting for SQLite's one writer longer than this means that something is stuck; the caller gets [`Error::Locked`].
const SQLITE_WAIT: Duration = Duration::from_secs(10);
/// A server that does not give a connection within this time is away: people wait for the answer, and nodes come again.
const POSTGRES_WAIT: Duration = Duration::from_secs(3);
/// At the start there is time to find out whether a slow one is there.
const PROBE_WAIT: Duration = Duration::from_secs(10);
/// The first of them: the `server_version_num` of Postgres 15.
const OLDEST_POSTGRES: u32 = 150_000;
/// Bound parameters of one statement; SQLite takes 32,766, Postgres 65,535.
pub(crate) const MAX_PARAMETERS: usize = 16_000;

/// Bytes of a text that is part of a key.
const MAX_KEY: usize = 512;
const MAX_SHORT_KEY: usize = 256;

/// `synchronous=NORMAL` under WAL: a crash of the process loses nothing, a power cut may lose the last commits but never
/// tears one. `busy_timeout` is in milliseconds.
const SQLITE_SETUP: &str =
    "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;";

/// A process that was cut off from the server must not keep the others from writing. Said in each transaction and not once per
/// connection, because behind a pooler a connection is not ours for longer.
const POSTGRES_BEGIN: &str =
    "BEGIN; SET LOCAL lock_timeout = '10s'; SET LOCAL idle_in_transaction_session_timeout = '20s'";
const POSTGRES_BEGIN_READ: &str =
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL idle_in_transaction_session_timeout = '60s'";
/// A search that takes longer is looking for too much. To compile a plan takes longer than most do; and where what is found does not
/// fit the memory, whole pages of records are taken apart anew.
const POSTGRES_BEGIN_SEARCH: &str =
    "BEGIN READ ONLY; SET LOCAL statement_timeout = '4s'; SET LOCAL jit = off; SET LOCAL work_mem = '32MB'";
/// Changing the schema waits for whoever else is at it, and may take as long as the data is large. The number names this lock
/// among those of others in the same database.
const POSTGRES_BEGIN_SCHEMA: &str = "BEGIN; SET LOCAL lock_timeout = '120s'; SET LOCAL statement_timeout = 0; \
                                     SELECT pg_advisory_xact_lock(7310579604163127)";

/// Connections that write, connections that read.
#[derive(Clone, Debug)]
pub(crate) struct Db {
    engine: Engine,
    writers: AnyPool,
    readers: AnyPool,
    /// Where commits of others can be heard of.
    announcements: Option<Secret>,
}

// === impl Db ===

impl Db {
    /// `sqlite::memory:`, `sqlite://path` (the file is made if it is missing) or `postgres://…`.
    pub(crate) async fn open(url: &str) -> Result<Self, Error> {
        sqlx::any::install_default_drivers();
        let address = Address::parse(url)?;
        // Statements are constants; the driver's notes about slow ones would be as long as a bulk insert.
        let options = address.url.expose().parse::<AnyConnectOptions>()?.disable_statement_logging();
        // A pool repeats a failing set-up until it times out and then says only that; one connection says what is wrong.
        match address.engine {
            Engine::Sqlite => probe_sqlite(&options).await?,
            Engine::Postgres => {
                let answer = tokio::time::timeout(PROBE_WAIT, probe_postgres(&options)).await;
                answer.map_err(|_| Error::away())??;
            }
        }
        let (writers, readers) = match address.engine {
            Engine::Sqlite => {
                let writer = pool(address.engine, 1).connect_with(options.clone()).await?;
                let readers = if address.in_memory {
                    writer.clone()
                } else {
                    pool(address.engine, SQLITE_READERS).connect_with(options).await?
                };
                (writer, readers)
            }
            Engine::Postgres => (
                pool(address.engine, POSTGRES_WRITERS).connect_lazy_with(options.clone()),
                pool(address.engine, POSTGRES_READERS).connect_lazy_with(options),
            ),
        };
        let announcements = (address.notify && address.engine == Engine::Postgres).then_some(address.url);
        Ok(Self { engine: address.engine, writers, readers, announcements })
    }

    pub(crate) fn engine(&self) -> Engine {
        self.engine
    }

    pub(crate) fn readers(&self) -> &AnyPool {
        &self.readers
    }

    /// Those who write, those who read.
    pub(crate) fn pools(&self) -> (&AnyPool, &AnyPool) {
        (&self.writers, &self.readers)
    }

    /// A transaction that writes; on SQLite it holds the write lock from its start. Dropped, it rolls back.
    pub(crate) async fn begin(&self) -> Result<Tx, Error> {
        let begun = match self.engine {
            // A deferred transaction that reads first cannot be upgraded once somebody else has written.
            Engine::Sqlite => self.writers.begin_with("BEGIN IMMEDIATE").await,
            Engine::Postgres => self.writers.begin_with(POSTGRES_BEGIN).await,
        };
        begun.map_err(|error| match (self.engine, error) {
            // The one writer is in use for longer than anybody should wait.
            (Engine::Sqlite, sqlx::Error::PoolTimedOut) => Error::Locked,
            (_, error) => error.into(),
        })
    }

    /// A transaction that changes the schema: one at a time among all processes that use the database.
    pub(crate) async fn begin_schema(&self) -> Result<Tx, Error> {
        match self.engine {
            Engine::Sqlite => self.begin().await,
            Engine::Postgres => Ok(self.writers.begin_with(POSTGRES_BEGIN_SCHEMA).await?),
        }
    }

    /// A transaction that sees one state of the database throughout.
    pub(crate) async fn begin_read(&self) -> Result<Tx, Error> {
        Ok(match self.engine {
            Engine::Sqlite => self.readers.begin().await?,
            Engine::Postgres => self.readers.begin_with(POSTGRES_BEGIN_READ).await?,
        })
    }

    /// As [`Db::begin_read`], for one statement that may be stopped: [`Error::Locked`] says then that its time was up. SQLite stops
    /// nothing; what is asked there is cut into pieces.
    pub(crate) async fn begin_search(&self) -> Result<Tx, Error> {
        Ok(match self.engine {
            Engine::Sqlite => self.readers.begin().await?,
            Engine::Postgres => self.readers.begin_with(POSTGRES_BEGIN_SEARCH).await?,
        })
    }

    /// `before (…, …), (…, …) after` for bulk inserts, with a mark for each value in the order in which they are bound.
    ///
    /// SQLite looks numbered parameters up one by one, which makes a large insert 40 times slower; Postgres knows no others. Only
    /// constants of this crate and marks go into the text, so nothing that came from outside can.
    pub(crate) fn bulk(&self, before: &str, n_columns: usize, n_rows: usize, after: &str) -> SqlStr {
        bulk(self.engine, before, n_columns, n_rows, after)
    }

    /// What a query ends with whose rows nobody else may change before its transaction ends. SQLite's transactions that write have
    /// the whole database.
    pub(crate) fn locking(&self) -> &'static str {
        match self.engine {
            Engine::Sqlite => "",
            Engine::Postgres => " FOR UPDATE",
        }
    }

    /// Whether commits are announced to other processes.
    pub(crate) fn announces(&self) -> bool {
        self.announcements.is_some()
    }

    /// Tells the other processes, when and if the transaction commits. Only for the configuration: commits that announce
    /// something take turns in the whole database.
    pub(crate) async fn announce(&self, tx: &mut Tx, what: Announcement) -> Result<(), Error> {
        if self.announces() {
            let statement = format!("NOTIFY {}, '{}'", listener::CHANNEL, what.text());
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut **tx).await?;
        }
        Ok(())
    }

    /// Hears, from now on, what other processes announce. `None` where nothing is announced.
    pub(crate) async fn listen(&self) -> Result<Option<Listener>, Error> {
        match &self.announcements {
            Some(url) => Ok(Some(Listener::connect(url).await?)),
            None => Ok(None),
        }
    }

    /// Waits for running statements and closes the connections.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writers.close().await;
    }
}

async fn probe_sqlite(options: &AnyConnectOptions) -> Result<(), Error> {
    let mut connection = AnyConnection::connect_with(options).await?;
    sqlx::raw_sql(SQLITE_SETUP).execute(&mut connection).await?;
    Ok(connection.close().await?)
}

async fn probe_postgres(options: &AnyConnectOptions) -> Result<(), Error> {
    let mut connection = AnyConnection::connect_with(options).await?;
    let row = sqlx::query("SHOW server_version_num").fetch_one(&mut connection).await?;
    let number: u32 = row.try_get::<String, _>(0)?.parse().unwrap_or_default();
    if number < OLDEST_POSTGRES {
        return Err(Error::OldServer { found: number / 10_000 });
    }
    Ok(connection.close().await?)
}

fn pool(engine: Engine, max_connections: u32) -> AnyPoolOptions {
    let options = AnyPoolOptions::new().max_connections(max_connections);
    match engine {
        Engine::Sqlite => options
            .acquire_timeout(SQLITE_WAIT)
            // An idle connection costs nothing here, and an in-memory database lives only as long as its connection.
            .idle_timeout(None)
            .max_lifetime(None)
            .after_connect(|connection: &mut AnyConnection, _| {
                Box::pin(async move { sqlx::raw_sql(SQLITE_SETUP).execute(connection).await.map(drop) })
            }),
        Engine::Postgres => options.acquire_timeout(POSTGRES_WAIT),
    }
}

fn bulk(engine: Engine, before: &str, n_columns: usize, n_rows: usize, after: &str) -> SqlStr {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(before.len() + after.len() + n_columns * n_rows * 8);
    text.push_str(before);
    for row in 0..n_rows {
        text.push_str(if row == 0 { " (" } else { ", (" });
        for column in 0..n_columns {
            text.push_str(if column == 0 { "" } else { ", " });
            match engine {
                Engine::Sqlite => text.push('?'),
                // Writing to a string cannot fail.
                Engine::Postgres => drop(write!(text, "${}", row * n_columns + column + 1)),
            }
        }
        text.push(')');
    }
    text.push(' ');
    text.push_str(after);
    AssertSqlSafe(text).into_sql_str()
}

/// What no column takes: Postgres knows no text with a NUL in it, so there is none in any database. Documents have none anyway,
/// because they are JSON.
pub(crate) fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// As [`text`], cut to what fits into an index of Postgres (2,704 bytes a row) with six of [`short_key`].
pub(crate) fn key(key: &str) -> String {
    cut(key, MAX_KEY)
}

/// As [`key`], for names, which have 256 letters at most where nobody means harm.
pub(crate) fn short_key(key: &str) -> String {
    cut(key, MAX_SHORT_KEY)
}

fn cut(key: &str, max: usize) -> String {
    // What stands for a NUL is longer than it.
    let key = text(&key[..key.floor_char_boundary(max)]);
    key[..key.floor_char_boundary(max)].to_owned()
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
    fn texts_are_what_a_column_takes() {
        assert_eq!(text("a\0b"), "a\u{fffd}b");
        assert_eq!(key("a\0b"), "a\u{fffd}b");
        assert_eq!(key(&"ü".repeat(400)), "ü".repeat(256));
    }

    #[test]
    fn bulk_text_has_one_group_per_row() {
        for (engine, expected) in [
            (Engine::Sqlite, "INSERT INTO t VALUES (?, ?), (?, ?), (?, ?) RETURNING id"),
            (Engine::Postgres, "INSERT INTO t VALUES ($1, $2), ($3, $4), ($5, $6) RETURNING id"),
        ] {
            assert_eq!(bulk(engine, "INSERT INTO t VALUES", 2, 3, "RETURNING id").as_str(), expected);
        }
    }
}
