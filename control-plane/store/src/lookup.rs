//! Finding many items of what is configured now, each through an index: what a change of many keys asks at once.

use sqlx::{Any, AssertSqlSafe, Encode, SqlSafeStr as _, Type};

use crate::db::text;
use crate::error::Error;
use crate::item::{ItemKind, StoredItem};
use crate::store::Store;

/// Values asked for in one statement.
const PER_STATEMENT: usize = 500;

const COLUMNS: &str = "kind, id, name, revision, document, sealed, secret_facts, digest, pepper_version, created_at_ms, \
                       updated_at_ms, owner";

// === impl Store ===

impl Store {
    /// Those of these names that are there, in no order.
    pub async fn items_by_name(&self, kind: ItemKind, names: &[&str]) -> Result<Vec<StoredItem>, Error> {
        let names: Vec<String> = names.iter().map(|name| text(name)).collect();
        self.listed(kind, "name", &names).await
    }

    /// Those of these ids that are there, in no order.
    pub async fn items_by_id(&self, kind: ItemKind, ids: &[&str]) -> Result<Vec<StoredItem>, Error> {
        let ids: Vec<String> = ids.iter().map(|id| text(id)).collect();
        self.listed(kind, "id", &ids).await
    }

    /// The virtual keys with these digests, in no order.
    pub async fn keys_by_digest(&self, digests: &[Vec<u8>]) -> Result<Vec<StoredItem>, Error> {
        self.listed(ItemKind::Resource(gateway_model::kind::Kind::Key), "digest", digests).await
    }

    /// What a source manages, by name.
    pub async fn items_of_owner(&self, kind: ItemKind, owner: &str) -> Result<Vec<StoredItem>, Error> {
        let statement = format!("SELECT {COLUMNS} FROM config_item WHERE kind = $1 AND owner = $2 ORDER BY name");
        let rows = sqlx::query(AssertSqlSafe(statement).into_sql_str()).bind(kind.name()).bind(text(owner));
        rows.fetch_all(self.db.readers()).await?.iter().map(StoredItem::read).collect()
    }

    async fn listed<T>(&self, kind: ItemKind, column: &'static str, values: &[T]) -> Result<Vec<StoredItem>, Error>
    where
        T: Clone + Send + Type<Any> + for<'q> Encode<'q, Any> + 'static,
    {
        let mut items = Vec::with_capacity(values.len());
        for values in values.chunks(PER_STATEMENT) {
            // The kind is a constant of ours; what came from outside is bound.
            let before = format!("SELECT {COLUMNS} FROM config_item WHERE kind = '{}' AND {column} IN", kind.name());
            let mut query = sqlx::query(self.db.bulk(&before, values.len(), 1, ""));
            for value in values {
                query = query.bind(value.clone());
            }
            for row in &query.fetch_all(self.db.readers()).await? {
                items.push(StoredItem::read(row)?);
            }
        }
        Ok(items)
    }
}
