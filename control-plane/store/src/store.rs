//! The store itself: opening it, where its heads are, closing it. What it keeps is in the modules after this one.

use std::path::Path;

use gateway_model::kind::Class;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};
use tokio::sync::watch;

use crate::db::{self, Db, unsigned};
use crate::error::Error;
use crate::migrate;

/// The database of a control plane. Cheap to clone. Every method is safe to cancel: a dropped write has happened whole or
/// not at all.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) db: Db,
    pub(crate) watch: watch::Sender<Heads>,
}

/// The newest revision of each class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Lineage of the database: made with it, so that revisions of two databases are never compared.
    pub epoch: String,
    pub topology: u64,
    pub identity: u64,
}

const HEADS: &str = "SELECT class, epoch, revision FROM config_head";

// === impl Store ===

impl Store {
    /// Opens `sqlite::memory:`, `sqlite://path` or `postgres://…` (version 15 or newer), making and upgrading the schema. Any
    /// number of processes may do this at once. Fails with [`Error::Locked`] after five seconds if another process holds the
    /// file, and with [`Error::Away`] after a few if no server answers.
    ///
    /// A Postgres address takes the parameters of its driver (`sslmode` …) and `notify=off`: commits are then neither announced
    /// to other processes nor listened for, which is the way behind a pooler that shares connections between transactions;
    /// other processes see them when they ask.
    pub async fn open(url: &str) -> Result<Self, Error> {
        let db = Db::open(url).await?;
        migrate::run(&db).await?;
        let mut tx = db.begin().await?;
        let epoch = uuid::Uuid::new_v4().to_string();
        for class in Class::ALL {
            sqlx::query(
                "INSERT INTO config_head (class, epoch, revision, min_resumable) VALUES ($1, $2, 0, 0) ON CONFLICT (class) DO NOTHING",
            )
            .bind(class.name())
            .bind(epoch.as_str())
            .execute(&mut *tx)
            .await?;
        }
        let heads = read_heads(&mut tx).await?;
        tx.commit().await?;
        Ok(Self { db, watch: watch::Sender::new(heads) })
    }

    /// As [`Store::open`], by path.
    pub async fn open_file(path: &Path) -> Result<Self, Error> {
        Self::open(&db::file_url(path)).await
    }

    /// Where the database is now, whoever wrote it.
    pub async fn heads(&self) -> Result<Heads, Error> {
        // One statement sees one state, so this needs no transaction; it is asked every second.
        heads_from(&sqlx::query(HEADS).fetch_all(self.db.readers()).await?)
    }

    /// Tells of commits made through this store. A hint: other processes' commits are seen by asking [`Store::heads`].
    pub fn watch(&self) -> watch::Receiver<Heads> {
        self.watch.subscribe()
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), Error> {
        sqlx::query("SELECT 1").execute(self.db.readers()).await?;
        Ok(())
    }

    /// Waits for what is running, then closes the files.
    pub async fn close(&self) {
        self.db.close().await;
    }
}

// === impl Heads ===

impl Heads {
    pub fn of(&self, class: Class) -> u64 {
        match class {
            Class::Topology => self.topology,
            Class::Identity => self.identity,
        }
    }

    pub(crate) fn of_mut(&mut self, class: Class) -> &mut u64 {
        match class {
            Class::Topology => &mut self.topology,
            Class::Identity => &mut self.identity,
        }
    }
}

pub(crate) async fn read_heads(connection: &mut AnyConnection) -> Result<Heads, Error> {
    heads_from(&sqlx::query(HEADS).fetch_all(connection).await?)
}

/// Locks both classes for this transaction and says where they are. Always topology first: one order, no deadlock.
pub(crate) async fn lock_heads(connection: &mut AnyConnection) -> Result<Heads, Error> {
    let mut rows = Vec::new();
    for class in Class::ALL {
        // An update that changes nothing is the row lock that both engines understand.
        let locked =
            sqlx::query("UPDATE config_head SET revision = revision WHERE class = $1 RETURNING class, epoch, revision");
        rows.push(locked.bind(class.name()).fetch_one(&mut *connection).await?);
    }
    heads_from(&rows)
}

fn heads_from(rows: &[AnyRow]) -> Result<Heads, Error> {
    let mut heads = Heads { epoch: String::new(), topology: 0, identity: 0 };
    for row in rows {
        let name: String = row.try_get("class")?;
        let class = Class::ALL.into_iter().find(|class| class.name() == name);
        let class = class.ok_or_else(|| Error::Unreadable(format!("a class `{name}`")))?;
        *heads.of_mut(class) = unsigned(row, "revision")?;
        heads.epoch = row.try_get("epoch")?;
    }
    Ok(heads)
}
