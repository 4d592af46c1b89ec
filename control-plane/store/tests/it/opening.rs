//! Databases that cannot be used say why; those that can keep what they hold.

use gateway_model::kind::Kind;
use gateway_store::{Error, Store};
use sqlx::{Connection, Executor};

use crate::engine::{commit, item, upsert};

async fn connect(path: &std::path::Path) -> sqlx::SqliteConnection {
    sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap()
}

#[tokio::test]
async fn a_closed_database_opens_again_with_all_it_held() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.db");
    let store = Store::open_file(&path).await.unwrap();
    store.commit(commit(vec![upsert(item(Kind::Provider, "p"))])).await.unwrap();
    let heads = store.heads().await.unwrap();
    store.close().await;
    let again = Store::open_file(&path).await.unwrap();
    assert_eq!(again.heads().await.unwrap(), heads);
    assert_ne!(Store::open("sqlite::memory:").await.unwrap().heads().await.unwrap().epoch, heads.epoch);
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.db");
    Store::open_file(&path).await.unwrap().close().await;
    let mut connection = connect(&path).await;
    connection.execute("INSERT INTO schema_version (version) VALUES (999)").await.unwrap();
    let refused = Store::open_file(&path).await.unwrap_err();
    assert!(matches!(refused, Error::NewerSchema { found: 999, .. }), "{refused}");
    assert!(refused.to_string().contains("was written by a newer version"), "{refused}");
}

#[tokio::test]
async fn a_locked_database_is_named_as_such() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.db");
    Store::open_file(&path).await.unwrap().close().await;
    let mut connection = connect(&path).await;
    connection.execute("BEGIN IMMEDIATE").await.unwrap();
    let refused = Store::open_file(&path).await.unwrap_err();
    assert!(matches!(refused, Error::Locked), "{refused}");
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.txt");
    std::fs::write(&path, "this is a text and not a database, however long it goes on".repeat(100)).unwrap();
    let refused = Store::open_file(&path).await.unwrap_err();
    assert!(matches!(refused, Error::NotADatabase), "{refused}");
    let refused = Store::open("mysql://user:secret@host/db").await.unwrap_err();
    assert!(refused.to_string().contains("`mysql`") && !refused.to_string().contains("secret"), "{refused}");
}
