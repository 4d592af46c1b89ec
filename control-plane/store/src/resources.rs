//! What is configured now: all of a class, a page of a kind, one by name or digest.

use gateway_model::kind::Class;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::db::{signed, text, unsigned};
use crate::error::Error;
use crate::item::{ItemKind, StoredItem};
use crate::store::Store;

/// All of a class at one revision.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub epoch: String,
    pub revision: u64,
    /// By kind and id.
    pub items: Vec<StoredItem>,
}

// === impl Store ===

impl Store {
    /// All of a class, as of one moment. Memory and time grow with the class.
    pub async fn snapshot(&self, class: Class) -> Result<Snapshot, Error> {
        let mut tx = self.db.begin_read().await?;
        let head = sqlx::query("SELECT epoch, revision FROM config_head WHERE class = $1").bind(class.name());
        let head = head.fetch_one(&mut *tx).await?;
        let items = items_of(&mut tx, class).await?;
        tx.commit().await?;
        Ok(Snapshot { epoch: head.try_get("epoch")?, revision: unsigned(&head, "revision")?, items })
    }

    /// Up to `limit` items of a kind, by name, after the name `after`.
    pub async fn items(&self, kind: ItemKind, after: &str, limit: usize) -> Result<Vec<StoredItem>, Error> {
        let rows = sqlx::query(
            "SELECT kind, id, name, revision, document, sealed, secret_facts, digest, pepper_version, created_at_ms, updated_at_ms, owner \
             FROM config_item WHERE kind = $1 AND name > $2 ORDER BY name LIMIT $3",
        )
        .bind(kind.name())
        .bind(text(after))
        .bind(signed(limit as u64))
        .fetch_all(self.db.readers())
        .await?;
        read_all(&rows)
    }

    /// Up to `limit` items of a kind that have a budget or are one, by name, after the name `after`.
    pub async fn budgeted(&self, kind: ItemKind, after: &str, limit: usize) -> Result<Vec<StoredItem>, Error> {
        // A key's tags may say the same; whoever reads the document sees that.
        let rows = sqlx::query(
            "SELECT kind, id, name, revision, document, sealed, secret_facts, digest, pepper_version, created_at_ms, updated_at_ms, owner \
             FROM config_item WHERE kind = $1 AND name > $2 AND (kind = 'budget' OR document LIKE '%\"budget\":{%') \
             ORDER BY name LIMIT $3",
        )
        .bind(kind.name())
        .bind(text(after))
        .bind(signed(limit as u64))
        .fetch_all(self.db.readers())
        .await?;
        read_all(&rows)
    }

    /// One item by its name or its id; a name wins over an equal id.
    pub async fn item(&self, kind: ItemKind, name_or_id: &str) -> Result<Option<StoredItem>, Error> {
        let rows = sqlx::query(
            "SELECT kind, id, name, revision, document, sealed, secret_facts, digest, pepper_version, created_at_ms, updated_at_ms, owner \
             FROM config_item WHERE kind = $1 AND (name = $2 OR id = $2)",
        )
        .bind(kind.name())
        .bind(text(name_or_id))
        .fetch_all(self.db.readers())
        .await?;
        let mut found = read_all(&rows)?;
        found.sort_by_key(|item| item.name != name_or_id);
        Ok(found.into_iter().next())
    }

    /// The virtual key with this digest.
    pub async fn key_by_digest(&self, digest: &[u8]) -> Result<Option<StoredItem>, Error> {
        let row = sqlx::query(
            "SELECT kind, id, name, revision, document, sealed, secret_facts, digest, pepper_version, created_at_ms, updated_at_ms, owner \
             FROM config_item WHERE digest = $1",
        )
        .bind(digest.to_vec())
        .fetch_optional(self.db.readers())
        .await?;
        row.as_ref().map(StoredItem::read).transpose()
    }
}

async fn items_of(connection: &mut AnyConnection, class: Class) -> Result<Vec<StoredItem>, Error> {
    let rows = sqlx::query(
        "SELECT kind, id, name, revision, document, sealed, secret_facts, digest, pepper_version, created_at_ms, updated_at_ms, owner \
         FROM config_item WHERE class = $1 ORDER BY kind, id",
    )
    .bind(class.name())
    .fetch_all(connection)
    .await?;
    read_all(&rows)
}

fn read_all(rows: &[AnyRow]) -> Result<Vec<StoredItem>, Error> {
    rows.iter().map(StoredItem::read).collect()
}
