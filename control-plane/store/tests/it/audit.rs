//! Who did what, in a chain.

use gateway_model::kind::Kind;
use gateway_store::Store;
use gateway_store::audit::AuditRow;
use gateway_store::revisions::Commit;
use sqlx::{Connection, Executor};

use crate::engine::{commit, item, upsert};

fn row(name: &str, at_ms: i64) -> AuditRow {
    AuditRow {
        at_ms,
        actor: "master".to_owned(),
        ip: "127.0.0.1".to_owned(),
        request_id: "r".to_owned(),
        action: "create".to_owned(),
        kind: "provider".to_owned(),
        name: name.to_owned(),
        before: None,
        after: Some("{}".to_owned()),
    }
}

pub(crate) async fn entries_are_chained_and_paged(store: &Store) {
    let audit = vec![row("a", 1), row("b", 2)];
    store.commit(Commit { audit: audit.clone(), ..commit(vec![upsert(item(Kind::Provider, "a"))]) }).await.unwrap();
    store.record_audit(&[row("c", 3)]).await.unwrap();
    let entries = store.audit(None, 10).await.unwrap();
    assert_eq!(
        entries.iter().map(|entry| (entry.seq, entry.row.name.as_str())).collect::<Vec<_>>(),
        [(3, "c"), (2, "b"), (1, "a")]
    );
    assert_eq!(entries[1].row, audit[1]);
    assert_eq!(store.audit(Some(2), 10).await.unwrap().len(), 1);
    assert_eq!(store.audit_break().await.unwrap(), None);
}

pub(crate) async fn pruning_keeps_the_chain_walkable(store: &Store) {
    let rows: Vec<AuditRow> = (1..=5).map(|at_ms| row("a", at_ms)).collect();
    store.record_audit(&rows).await.unwrap();
    assert_eq!(store.prune_audit(3).await.unwrap(), 2);
    assert_eq!(store.prune_audit(100).await.unwrap(), 2);
    store.record_audit(&[row("b", 6)]).await.unwrap();
    let seqs: Vec<u64> = store.audit(None, 10).await.unwrap().iter().map(|entry| entry.seq).collect();
    assert_eq!(seqs, [6, 5]);
    assert_eq!(store.audit_break().await.unwrap(), None);
}

#[tokio::test]
async fn a_row_that_was_altered_or_taken_out_shows() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.db");
    let store = Store::open_file(&path).await.unwrap();
    store.record_audit(&[row("a", 1), row("b", 2), row("c", 3)]).await.unwrap();
    assert_eq!(store.audit_break().await.unwrap(), None);
    let mut other = sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    for (tampering, expected) in [
        ("UPDATE audit_event SET actor = 'nobody' WHERE seq = 2", 2),
        ("DELETE FROM audit_event WHERE seq = 2", 3),
        ("UPDATE audit_event SET after_document = NULL WHERE seq = 1", 1),
    ] {
        other.execute(tampering).await.unwrap();
        assert_eq!(store.audit_break().await.unwrap(), Some(expected), "{tampering}");
    }
}
