//! The rows of one class in a commit, many at a time: 100,000 keys are some hundred statements.

use gateway_model::kind::Class;
use sqlx::AnyConnection;

use super::{Commit, Edit, Op};
use crate::db::{Db, MAX_PARAMETERS, signed, text};
use crate::error::Error;
use crate::item::bind_item;

/// Columns of `config_item` and of `config_change`.
const N_ITEM: usize = 13;
const N_CHANGE: usize = 16;
const N_DELETED: usize = 1000;

/// Writes items, change log, history and head. The caller holds the lock of the heads.
pub(super) async fn class(
    db: &Db,
    connection: &mut AnyConnection,
    class: Class,
    revision: u64,
    edits: &[&Edit],
    commit: &Commit,
) -> Result<(), Error> {
    // Deletes first: a name that is free after this commit may be taken in it.
    let (mut deleted, mut written): (Vec<&Edit>, Vec<&Edit>) = edits.iter().partition(|edit| edit.op == Op::Delete);
    // One statement is about one kind, so that a refusal can name it.
    deleted.sort_by_key(|edit| edit.item.kind);
    written.sort_by_key(|edit| edit.item.kind);
    for edits in deleted.chunk_by(|one, other| one.item.kind == other.item.kind) {
        for edits in edits.chunks(N_DELETED) {
            delete(db, connection, edits).await?;
        }
    }
    for edits in written.chunk_by(|one, other| one.item.kind == other.item.kind) {
        for edits in edits.chunks(MAX_PARAMETERS / N_ITEM) {
            upsert(db, connection, class, revision, edits).await?;
        }
    }
    for edits in edits.chunks(MAX_PARAMETERS / N_CHANGE) {
        log(db, connection, class, revision, edits, commit).await?;
    }
    sqlx::query("INSERT INTO config_revision (class, revision, actor, summary, n_changes, at_ms) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(class.name())
        .bind(signed(revision))
        .bind(text(&commit.actor))
        .bind(text(&commit.summary))
        .bind(signed(edits.len() as u64))
        .bind(commit.at_ms)
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE config_head SET revision = $2 WHERE class = $1")
        .bind(class.name())
        .bind(signed(revision))
        .execute(&mut *connection)
        .await?;
    Ok(())
}

/// All of one kind.
async fn delete(db: &Db, connection: &mut AnyConnection, edits: &[&Edit]) -> Result<(), Error> {
    let Some(first) = edits.first() else { return Ok(()) };
    // The kind is a constant of ours.
    let before = format!("DELETE FROM config_item WHERE kind = '{}' AND id IN", first.item.kind.name());
    let mut query = sqlx::query(db.bulk(&before, edits.len(), 1, "")).persistent(false);
    for edit in edits {
        query = query.bind(edit.item.id.as_str());
    }
    query.execute(connection).await?;
    Ok(())
}

/// All of one kind.
async fn upsert(
    db: &Db,
    connection: &mut AnyConnection,
    class: Class,
    revision: u64,
    edits: &[&Edit],
) -> Result<(), Error> {
    let statement = db.bulk(
        "INSERT INTO config_item (kind, id, name, document, sealed, secret_facts, digest, pepper_version, created_at_ms, \
         updated_at_ms, owner, class, revision) VALUES",
        N_ITEM,
        edits.len(),
        "ON CONFLICT (kind, id) DO UPDATE SET name = excluded.name, document = excluded.document, sealed = excluded.sealed, \
         secret_facts = excluded.secret_facts, digest = excluded.digest, pepper_version = excluded.pepper_version, \
         updated_at_ms = excluded.updated_at_ms, owner = excluded.owner, revision = excluded.revision",
    );
    let mut query = sqlx::query(statement).persistent(false);
    for edit in edits {
        query = bind_item!(query, edit.item).bind(class.name()).bind(signed(revision));
    }
    match query.execute(connection).await {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            Err(Error::Exists { kind: edits.first().map_or("item", |edit| edit.item.kind.name()) })
        }
        other => Ok(other.map(drop)?),
    }
}

async fn log(
    db: &Db,
    connection: &mut AnyConnection,
    class: Class,
    revision: u64,
    edits: &[&Edit],
    commit: &Commit,
) -> Result<(), Error> {
    let statement = db.bulk(
        "INSERT INTO config_change (kind, id, name, document, sealed, secret_facts, digest, pepper_version, created_at_ms, \
         updated_at_ms, owner, class, revision, op, actor, at_ms) VALUES",
        N_CHANGE,
        edits.len(),
        "",
    );
    let mut query = sqlx::query(statement).persistent(false);
    for edit in edits {
        query = bind_item!(query, edit.item)
            .bind(class.name())
            .bind(signed(revision))
            .bind(edit.op.name())
            .bind(text(&commit.actor))
            .bind(commit.at_ms);
    }
    query.execute(connection).await?;
    Ok(())
}
