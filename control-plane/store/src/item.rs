//! One configured thing as it is stored, and how it is read from a row.

use gateway_model::kind::{Class, Kind};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::db::unsigned;
use crate::error::Error;

/// What an item is: a resource that people write, or the pepper under which virtual keys are digested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ItemKind {
    Resource(Kind),
    Pepper,
}

/// An item of the configuration. Secrets in it are sealed or digested; the store can read neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredItem {
    pub kind: ItemKind,
    /// Never changes, is never used again.
    pub id: String,
    /// Unique within the kind.
    pub name: String,
    /// Revision of its class that wrote this content. Set by the store.
    pub revision: u64,
    /// JSON of the resource without its secrets.
    pub document: String,
    /// Its secrets, sealed by the caller.
    pub sealed: Option<Vec<u8>>,
    /// JSON about the secrets that may be shown: which are set, since when. `{}` where there are none.
    pub secret_facts: String,
    /// Virtual keys only: keyed digest of the secret; unique among all items.
    pub digest: Option<Vec<u8>>,
    /// Which pepper the digest was made under; 0 without one.
    pub pepper_version: u32,
    pub created_at_ms: i64,
    pub updated_at_ms: i64,
    /// The source that manages it (`gateway.yaml`); `None` for what was made by hand.
    pub owner: Option<String>,
}

/// Binds an item's columns, from `kind` to `owner`, to a query that selects or inserts them in this order.
macro_rules! bind_item {
    ($query:expr, $item:expr) => {
        $query
            .bind($item.kind.name())
            .bind($item.id.as_str())
            .bind(crate::db::text(&$item.name))
            .bind($item.document.as_str())
            .bind($item.sealed.clone())
            .bind($item.secret_facts.as_str())
            .bind($item.digest.clone())
            .bind(i64::from($item.pepper_version))
            .bind($item.created_at_ms)
            .bind($item.updated_at_ms)
            .bind($item.owner.as_deref().map(crate::db::text))
    };
}
pub(crate) use bind_item;

// === impl ItemKind ===

impl ItemKind {
    /// As in documents and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Resource(kind) => kind.name(),
            Self::Pepper => "pepper",
        }
    }

    pub fn class(self) -> Class {
        match self {
            Self::Resource(kind) => kind.class(),
            Self::Pepper => Class::Identity,
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        if name == Self::Pepper.name() { Some(Self::Pepper) } else { Kind::parse(name).map(Self::Resource) }
    }
}

// === impl StoredItem ===

impl StoredItem {
    pub(crate) fn read(row: &AnyRow) -> Result<Self, Error> {
        let kind: String = row.try_get("kind")?;
        Ok(Self {
            kind: ItemKind::parse(&kind).ok_or_else(|| Error::Unreadable(format!("an item of kind `{kind}`")))?,
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            revision: unsigned(row, "revision")?,
            document: row.try_get("document")?,
            sealed: row.try_get("sealed")?,
            secret_facts: row.try_get("secret_facts")?,
            digest: row.try_get("digest")?,
            pepper_version: u32::try_from(unsigned(row, "pepper_version")?)
                .map_err(|_| Error::Unreadable("a pepper version out of range".to_owned()))?,
            created_at_ms: row.try_get("created_at_ms")?,
            updated_at_ms: row.try_get("updated_at_ms")?,
            owner: row.try_get("owner")?,
        })
    }
}
