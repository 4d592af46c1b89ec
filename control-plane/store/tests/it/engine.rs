//! The engines the contract runs on, and items to put into them.

use gateway_model::kind::Kind;
use gateway_store::revisions::{Commit, Edit, Op};
use gateway_store::{ItemKind, Store, StoredItem};

use gateway_model::secret::Secret;
use gateway_testing::{ClickHouse, Postgres};

/// An open store, and the directory that lives as long as it.
pub(crate) struct World {
    pub(crate) store: Store,
    _directory: Option<tempfile::TempDir>,
}

/// `None` where the engine is not installed, which has been said then.
pub(crate) async fn memory() -> Option<World> {
    Some(World { store: Store::open("sqlite::memory:").await.unwrap(), _directory: None })
}

/// A new database file.
pub(crate) fn file_url(directory: &tempfile::TempDir) -> String {
    format!("sqlite://{}/gateway.db", directory.path().display())
}

/// A new database of the shared server; `None` where there is none, which has been said then.
pub(crate) fn postgres_url() -> Option<String> {
    // Starting a server blocks.
    tokio::task::block_in_place(|| Postgres::shared().map(Postgres::database))
}

pub(crate) async fn file() -> Option<World> {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open_file(&directory.path().join("a name with spaces?.db")).await.unwrap();
    Some(World { store, _directory: Some(directory) })
}

pub(crate) async fn postgres() -> Option<World> {
    let url = postgres_url()?;
    Some(World { store: Store::open(&url).await.unwrap(), _directory: None })
}

/// A new database of the shared server; `None` where there is none, which has been said then.
pub(crate) fn clickhouse_url() -> Option<String> {
    // Starting a server blocks, and so does asking it.
    tokio::task::block_in_place(|| ClickHouse::shared().map(ClickHouse::database))
}

/// Records of requests in a ClickHouse, all else in memory.
pub(crate) async fn clickhouse() -> Option<World> {
    let url = clickhouse_url()?;
    Some(World { store: beside(&url).await, _directory: None })
}

/// A new store in memory, with the records of requests there.
pub(crate) async fn beside(clickhouse: &str) -> Store {
    Store::open("sqlite::memory:").await.unwrap().with_logs_in(&Secret::new(clickhouse)).unwrap()
}

pub(crate) fn item(kind: Kind, name: &str) -> StoredItem {
    StoredItem {
        kind: ItemKind::Resource(kind),
        id: format!("id-{name}"),
        name: name.to_owned(),
        revision: 0,
        document: format!(r#"{{"name":"{name}"}}"#),
        sealed: None,
        secret_facts: "{}".to_owned(),
        digest: None,
        pepper_version: 0,
        created_at_ms: 1,
        updated_at_ms: 2,
        owner: None,
    }
}

pub(crate) fn upsert(item: StoredItem) -> Edit {
    Edit { op: Op::Upsert, item }
}

pub(crate) fn delete(item: StoredItem) -> Edit {
    Edit { op: Op::Delete, item }
}

pub(crate) fn commit(edits: Vec<Edit>) -> Commit {
    Commit {
        expected: None,
        edits,
        actor: "test".to_owned(),
        summary: "a change".to_owned(),
        audit: Vec::new(),
        at_ms: 1000,
    }
}
