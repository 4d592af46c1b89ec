//! The lines of revisions: committing a change, what changed since, what it was at an earlier revision.
//!
//! A revision is taken while the head's row is locked, so that revisions have no gaps and their order is the order of commits.

mod write;

use gateway_model::kind::Class;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::audit::{self, AuditRow};
use crate::db::{Announcement, signed, unsigned};
use crate::error::Error;
use crate::heads::{Heads, lock_heads, read_heads};
use crate::item::StoredItem;
use crate::store::Store;

/// What to write in one transaction.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The heads the edits were made from; the commit fails with [`Error::Conflict`] if they have moved.
    pub expected: Option<Heads>,
    /// At most one per item.
    pub edits: Vec<Edit>,
    pub actor: String,
    /// One line for the history.
    pub summary: String,
    pub audit: Vec<AuditRow>,
    pub at_ms: i64,
}

#[derive(Clone, Debug)]
pub struct Edit {
    pub op: Op,
    /// For [`Op::Delete`]: the item as it was.
    pub item: StoredItem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Upsert,
    Delete,
}

/// The heads after a commit. A class without edits stays where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    pub topology: u64,
    pub identity: u64,
}

/// One item's part of a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub revision: u64,
    pub op: Op,
    /// For [`Op::Delete`]: the item as it was.
    pub item: StoredItem,
    pub actor: String,
    pub at_ms: i64,
}

/// One line of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    pub revision: u64,
    pub actor: String,
    pub summary: String,
    pub n_changes: u64,
    pub at_ms: i64,
}

// === impl Store ===

impl Store {
    /// Writes rows, revisions, change log and audit, all or nothing. Each class with edits goes up by exactly one.
    pub async fn commit(&self, commit: Commit) -> Result<Committed, Error> {
        let mut tx = self.db.begin().await?;
        let mut heads = lock_heads(&mut tx).await?;
        if commit.expected.as_ref().is_some_and(|expected| *expected != heads) {
            return Err(Error::Conflict { topology: heads.topology, identity: heads.identity });
        }
        for class in Class::ALL {
            let edits: Vec<&Edit> = commit.edits.iter().filter(|edit| edit.item.kind.class() == class).collect();
            if !edits.is_empty() {
                let head = heads.of_mut(class);
                *head += 1;
                write::class(&self.db, &mut tx, class, *head, &edits, &commit).await?;
                self.db.announce(&mut tx, Announcement::Moved(class, *head)).await?;
            }
        }
        audit::append(&mut tx, &commit.audit).await?;
        tx.commit().await?;
        let committed = Committed { topology: heads.topology, identity: heads.identity };
        // Commits end in order, but the tasks that made them may run here in another.
        self.watch.send_if_modified(|seen| seen.advance(&heads));
        Ok(committed)
    }

    /// The changes of the next `limit` revisions after `after`, whole revisions only, oldest first. Complete only if `after`
    /// is at least [`Store::min_resumable`].
    pub async fn changes(&self, class: Class, after: u64, limit: u64) -> Result<Vec<Change>, Error> {
        let rows = sqlx::query(
            "SELECT kind, id, name, revision, document, sealed, secret_facts, digest, pepper_version, created_at_ms, updated_at_ms, owner, \
             op, actor, at_ms FROM config_change WHERE class = $1 AND revision > $2 AND revision <= $3 ORDER BY revision, kind, id",
        )
        .bind(class.name())
        .bind(signed(after))
        // Revisions have no gaps, so the next `limit` of them end here.
        .bind(signed(after.saturating_add(limit)))
        .fetch_all(self.db.readers())
        .await?;
        rows.iter().map(Change::read).collect()
    }

    /// The oldest revision from which [`Store::changes`] is complete.
    pub async fn min_resumable(&self, class: Class) -> Result<u64, Error> {
        let row = sqlx::query("SELECT min_resumable FROM config_head WHERE class = $1").bind(class.name());
        unsigned(&row.fetch_one(self.db.readers()).await?, "min_resumable")
    }

    /// All of a class as it was at a revision, by kind and id.
    pub async fn items_at(&self, class: Class, revision: u64) -> Result<Vec<StoredItem>, Error> {
        let mut tx = self.db.begin_read().await?;
        let heads = read_heads(&mut *tx).await?;
        let bounds = sqlx::query("SELECT min_resumable FROM config_head WHERE class = $1").bind(class.name());
        let oldest = unsigned(&bounds.fetch_one(&mut *tx).await?, "min_resumable")?;
        let newest = heads.of(class);
        if revision < oldest || revision > newest {
            return Err(Error::NoRevision { class, revision, oldest, newest });
        }
        let rows = sqlx::query(
            "SELECT kind, id, name, revision, document, sealed, secret_facts, digest, pepper_version, created_at_ms, updated_at_ms, owner \
             FROM config_change c WHERE class = $1 AND revision <= $2 AND op = 'upsert' AND NOT EXISTS (\
               SELECT 1 FROM config_change later WHERE later.class = c.class AND later.kind = c.kind AND later.id = c.id \
               AND later.revision > c.revision AND later.revision <= $2) ORDER BY kind, id",
        )
        .bind(class.name())
        .bind(signed(revision))
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        rows.iter().map(StoredItem::read).collect()
    }

    /// Up to `limit` revisions, newest first, from before `before`.
    pub async fn revisions(&self, class: Class, before: Option<u64>, limit: usize) -> Result<Vec<Revision>, Error> {
        let rows = sqlx::query(
            "SELECT revision, actor, summary, n_changes, at_ms FROM config_revision \
             WHERE class = $1 AND revision < $2 ORDER BY revision DESC LIMIT $3",
        )
        .bind(class.name())
        .bind(before.map_or(i64::MAX, signed))
        .bind(signed(limit as u64))
        .fetch_all(self.db.readers())
        .await?;
        rows.iter().map(Revision::read).collect()
    }

    /// Forgets history that is older than `older_than_ms` and more than `keep` revisions back. What the configuration was
    /// at the oldest kept revision, and at each later one, stays known. Returns the new oldest revision.
    pub async fn compact(&self, class: Class, older_than_ms: i64, keep: u64) -> Result<u64, Error> {
        let mut tx = self.db.begin().await?;
        let head = lock_heads(&mut tx).await?.of(class);
        let row = sqlx::query(
            "SELECT COALESCE(MAX(revision), 0) AS revision FROM config_revision WHERE class = $1 AND at_ms < $2 AND revision <= $3",
        )
        .bind(class.name())
        .bind(older_than_ms)
        .bind(signed(head.saturating_sub(keep)))
        .fetch_one(&mut *tx)
        .await?;
        let floor = unsigned(&row, "revision")?;
        let row = sqlx::query(
            "UPDATE config_head SET min_resumable = $2 WHERE class = $1 AND min_resumable < $2 RETURNING class",
        );
        if row.bind(class.name()).bind(signed(floor)).fetch_optional(&mut *tx).await?.is_some() {
            delete_superseded(&mut tx, class, floor).await?;
        }
        tx.commit().await?;
        self.min_resumable(class).await
    }
}

/// Deletes change rows up to `floor` that a later row up to `floor` replaces, and those that only say that an item is gone.
async fn delete_superseded(connection: &mut AnyConnection, class: Class, floor: u64) -> Result<(), Error> {
    sqlx::query(
        "DELETE FROM config_change WHERE class = $1 AND revision <= $2 AND EXISTS (\
           SELECT 1 FROM config_change later WHERE later.class = config_change.class AND later.kind = config_change.kind \
           AND later.id = config_change.id AND later.revision > config_change.revision AND later.revision <= $2)",
    )
    .bind(class.name())
    .bind(signed(floor))
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM config_change WHERE class = $1 AND revision <= $2 AND op = 'delete'")
        .bind(class.name())
        .bind(signed(floor))
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM config_revision WHERE class = $1 AND revision < $2")
        .bind(class.name())
        .bind(signed(floor))
        .execute(&mut *connection)
        .await?;
    Ok(())
}

// === impl Op ===

impl Op {
    fn name(self) -> &'static str {
        match self {
            Self::Upsert => "upsert",
            Self::Delete => "delete",
        }
    }
}

// === impl Change ===

impl Change {
    fn read(row: &AnyRow) -> Result<Self, Error> {
        let op: String = row.try_get("op")?;
        Ok(Self {
            revision: unsigned(row, "revision")?,
            op: match op.as_str() {
                "upsert" => Op::Upsert,
                "delete" => Op::Delete,
                _ => return Err(Error::Unreadable(format!("a change of kind `{op}`"))),
            },
            item: StoredItem::read(row)?,
            actor: row.try_get("actor")?,
            at_ms: row.try_get("at_ms")?,
        })
    }
}

// === impl Revision ===

impl Revision {
    fn read(row: &AnyRow) -> Result<Self, Error> {
        Ok(Self {
            revision: unsigned(row, "revision")?,
            actor: row.try_get("actor")?,
            summary: row.try_get("summary")?,
            n_changes: unsigned(row, "n_changes")?,
            at_ms: row.try_get("at_ms")?,
        })
    }
}
