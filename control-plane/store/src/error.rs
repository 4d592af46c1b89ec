//! What can go wrong with the database, as callers can act on it. Names what happened and what to do; never a statement, never a value.

use gateway_model::kind::Class;
use sqlx::sqlite::SqliteError;

/// A refusal or a failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "`{0}` is no database this version can use; write postgres://user:password@host/database or sqlite:///path/to/gateway.db, \
         or leave it out for a file in the data directory"
    )]
    Address(String),
    #[error(
        "the database's address has a parameter that is not known, or a value of one; there are {known}, and notify=on|off \
         (a `?` in a password is written %3F)"
    )]
    Parameter { known: String },
    #[error("the database is Postgres {found}; use version 15 or newer")]
    OldServer { found: u32 },
    #[error(
        "the database was written by a newer version of the gateway (schema {found}, this one knows up to {known}); \
         use that version or restore a backup"
    )]
    NewerSchema { found: i64, known: i64 },
    #[error("the database is locked by another process; stop that process or wait until it is done, then try again")]
    Locked,
    /// It cannot be reached, or it is about to stop or to start.
    #[error("the database does not answer; check that it runs and can be reached, then try again")]
    Away(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    #[error(
        "the database lets nobody in with this user, password or database name; correct its address or create what is missing"
    )]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the database is read-only; name the primary server, or make it (or its file and folder) writable")]
    ReadOnly(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the database file is not a SQLite database, or it is damaged; restore a backup or name another file")]
    NotADatabase,
    #[error(
        "the configuration has moved on: topology is at revision {topology}, identity at {identity}; read it again and repeat the change"
    )]
    Conflict { topology: u64, identity: u64 },
    #[error("another {kind} has this name or this secret already")]
    Exists { kind: &'static str },
    #[error("revision {revision} of {class} is not there; revisions {oldest} to {newest} are kept", class = class.name())]
    NoRevision { class: Class, revision: u64, oldest: u64, newest: u64 },
    #[error("the search took too long; ask for a shorter time, or name a field that few requests share")]
    Slow,
    #[error("the address of the logs' database cannot be used: {0}; write http://user:password@host:8123/database")]
    LogsAddress(&'static str),
    #[error(
        "the ClickHouse that keeps the logs of requests does not answer; check that it runs and can be reached, then try again"
    )]
    LogsAway(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error(
        "the ClickHouse that keeps the logs of requests lets nobody in with this user, password or database name; correct its \
         address or create what is missing"
    )]
    LogsRefused(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the ClickHouse that keeps the logs of requests failed")]
    LogsFailed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A row says something this version cannot mean.
    #[error("the database holds {0} that this version cannot read; restore a backup or use the version that wrote it")]
    Unreadable(String),
    #[error("the database failed")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
}

// === impl Error ===

impl Error {
    /// Whether the same call may succeed later, with nobody changing it.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Locked
                | Self::Away(_)
                | Self::ReadOnly(_)
                | Self::Database(_)
                | Self::LogsAway(_)
                | Self::LogsFailed(_)
        )
    }

    /// One word for what is amiss with the database; `None` for what it rightly said no to.
    pub fn failure(&self) -> Option<&'static str> {
        Some(match self {
            Self::Conflict { .. } | Self::Exists { .. } | Self::NoRevision { .. } | Self::Slow => return None,
            Self::Address(_) | Self::Parameter { .. } | Self::LogsAddress(_) => "address",
            Self::OldServer { .. } | Self::NewerSchema { .. } => "version",
            Self::Locked => "locked",
            Self::Away(_) | Self::LogsAway(_) => "away",
            Self::Refused(_) | Self::LogsRefused(_) => "refused",
            Self::ReadOnly(_) => "read_only",
            Self::NotADatabase => "damaged",
            Self::Unreadable(_) => "unreadable",
            Self::Database(_) | Self::LogsFailed(_) => "failed",
        })
    }

    /// Nothing was heard in time.
    pub(crate) fn away() -> Self {
        Self::Away(None)
    }

    fn of_sqlite(error: sqlx::Error, code: i32) -> Self {
        // The low byte is the primary code, the rest tells variants of it apart.
        match code & 0xff {
            sqlite::BUSY | sqlite::LOCKED => Self::Locked,
            sqlite::READONLY => Self::ReadOnly(Box::new(error)),
            sqlite::NOT_A_DATABASE | sqlite::CORRUPT => Self::NotADatabase,
            _ => Self::Database(Box::new(error)),
        }
    }

    /// By SQLSTATE; its first two letters are the class.
    fn of_postgres(error: sqlx::Error, code: &str) -> Self {
        match code {
            // Lock timeout, statement timeout, deadlock, serialization, a transaction that was left idle.
            "55P03" | "57014" | "40P01" | "40001" | "25P03" => Self::Locked,
            "25006" => Self::ReadOnly(Box::new(error)),
            "28P01" | "28000" | "3D000" | "42501" => Self::Refused(Box::new(error)),
            // Shutting down, crashed, starting up, out of connections.
            "57P01" | "57P02" | "57P03" | "53300" => Self::Away(Some(Box::new(error))),
            _ if code.starts_with("08") => Self::Away(Some(Box::new(error))),
            _ => Self::Database(Box::new(error)),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default().into_owned();
                if database.try_downcast_ref::<SqliteError>().is_some() {
                    return Self::of_sqlite(error, code.parse().unwrap_or_default());
                }
                Self::of_postgres(error, &code)
            }
            // Includes a server that refuses connections: the pool tries again until its time is up.
            sqlx::Error::PoolTimedOut => Self::away(),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Self::Away(Some(Box::new(error))),
            _ => Self::Database(Box::new(error)),
        }
    }
}

/// Primary result codes of SQLite.
mod sqlite {
    pub(super) const BUSY: i32 = 5;
    pub(super) const LOCKED: i32 = 6;
    pub(super) const READONLY: i32 = 8;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const NOT_A_DATABASE: i32 = 26;
}
