//! The store itself: opening it, where its heads are, closing it. What it keeps is in the modules after this one.

use std::path::Path;
use std::sync::Arc;

use gateway_model::kind::Class;
use gateway_model::secret::Secret;
use tokio::sync::watch;

use crate::clickhouse::ClickHouse;
use crate::db::{self, Db, Engine};
use crate::error::Error;
use crate::follow::Follower;
use crate::heads::{Heads, read_heads};
use crate::migrate;
use crate::tally::{Duplicates, Pool, Tally};

/// The database of a control plane. Cheap to clone. Every method is safe to cancel: a dropped write has happened whole or
/// not at all.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) db: Db,
    pub(crate) watch: watch::Sender<Heads>,
    /// Ends with the last clone of the store, if not before.
    follower: Option<Arc<Follower>>,
    pub(crate) tally: Tally,
    /// Where the records of requests are, if not in the database.
    pub(crate) clickhouse: Option<ClickHouse>,
}

/// Where the records of requests are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogsPlace {
    /// `sqlite`, `postgres` or `clickhouse`.
    pub engine: &'static str,
    /// Why the last call of a ClickHouse failed; `None` where it did not.
    pub trouble: Option<String>,
}

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
        let heads = read_heads(&mut *tx).await?;
        tx.commit().await?;
        let watch = watch::Sender::new(heads);
        let follower = db.announces().then(|| Arc::new(Follower::spawn(db.clone(), watch.clone())));
        Ok(Self { db, watch, follower, tally: Tally::default(), clickhouse: None })
    }

    /// As [`Store::open`], by path.
    pub async fn open_file(path: &Path) -> Result<Self, Error> {
        Self::open(&db::file_url(path)).await
    }

    /// The same, with the records of requests in a ClickHouse: `http://user:password@host:8123/database`. It need not be there yet.
    /// Records that are in the database already stay there until they are old, and are not shown.
    pub fn with_logs_in(self, url: &Secret) -> Result<Self, Error> {
        Ok(Self { clickhouse: Some(ClickHouse::new(url)?), ..self })
    }

    /// Makes what the records of requests need, where that is not in the database.
    pub async fn prepare_logs(&self) -> Result<(), Error> {
        match &self.clickhouse {
            Some(clickhouse) => Ok(clickhouse.make().await?),
            None => Ok(()),
        }
    }

    /// As the last call found it; nobody is asked.
    pub fn logs_place(&self) -> LogsPlace {
        let engine = match (&self.clickhouse, self.db.engine()) {
            (Some(_), _) => "clickhouse",
            (None, Engine::Sqlite) => "sqlite",
            (None, Engine::Postgres) => "postgres",
        };
        let trouble = self.clickhouse.as_ref().and_then(ClickHouse::trouble).map(|fault| fault.to_string());
        LogsPlace { engine, trouble }
    }

    /// Where the database is now, whoever wrote it.
    pub async fn heads(&self) -> Result<Heads, Error> {
        read_heads(self.db.readers()).await
    }

    /// Tells of commits made through this store, and on Postgres, as far as they are heard of, of those of other processes. A
    /// hint that may be late or missing: the truth is in [`Store::heads`].
    pub fn watch(&self) -> watch::Receiver<Heads> {
        self.watch.subscribe()
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), Error> {
        sqlx::query("SELECT 1").execute(self.db.readers()).await?;
        Ok(())
    }

    /// Whether the records of requests are in parts by day, so that many of them go at once.
    pub fn has_days(&self) -> bool {
        self.clickhouse.is_some() || self.db.engine() == Engine::Postgres
    }

    pub fn duplicates(&self) -> Duplicates {
        self.tally.duplicates()
    }

    /// Of this moment. A database in memory has one pool for everything, which is told as both.
    pub fn pools(&self) -> [Pool; 2] {
        let (writers, readers) = self.db.pools();
        [Pool::of("write", writers), Pool::of("read", readers)]
    }

    /// Waits for what is running, then closes the files.
    pub async fn close(&self) {
        if let Some(follower) = &self.follower {
            follower.stop();
        }
        self.db.close().await;
    }
}
