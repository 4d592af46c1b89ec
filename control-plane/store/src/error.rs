//! What can go wrong with the database, as callers can act on it. Names what happened and what to do; never a statement, never a value.

use gateway_model::kind::Class;

/// A refusal or a failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "`{0}` is no database this version can use; write sqlite:///path/to/gateway.db, or leave it out for a file in the data directory"
    )]
    Address(String),
    #[error(
        "the database was written by a newer version of the gateway (schema {found}, this one knows up to {known}); \
         use that version or restore a backup"
    )]
    NewerSchema { found: i64, known: i64 },
    #[error("the database is locked by another process; stop that process or wait until it is done, then try again")]
    Locked,
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
    /// A row says something this version cannot mean.
    #[error("the database holds {0} that this version cannot read; restore a backup or use the version that wrote it")]
    Unreadable(String),
    #[error("the database failed")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Primary result codes of SQLite: busy, locked, not a database.
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const CORRUPT: i32 = 11;
const NOT_A_DATABASE: i32 = 26;

// === impl Error ===

impl Error {
    /// Whether the same call may succeed later, with nobody changing it.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Locked | Self::Database(_))
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let code = match &error {
            sqlx::Error::Database(database) => database.code().and_then(|code| code.parse::<i32>().ok()),
            // The one writer is in use for longer than anybody should wait.
            sqlx::Error::PoolTimedOut => return Self::Locked,
            _ => None,
        };
        // The low byte is the primary code, the rest tells variants of it apart.
        match code.map(|code| code & 0xff) {
            Some(BUSY | LOCKED) => Self::Locked,
            Some(NOT_A_DATABASE | CORRUPT) => Self::NotADatabase,
            _ => Self::Database(Box::new(error)),
        }
    }
}
