//! Sessions of browsers.

use gateway_store::Store;
use gateway_store::audit::AuditRow;
use gateway_store::sessions::{SessionRow, Whose};

fn session(name: &str, from_ms: i64) -> SessionRow {
    let digest = name.as_bytes().to_vec();
    SessionRow {
        digest,
        actor: "master".to_owned(),
        whose: Whose::Master,
        role_then: None,
        created_at_ms: from_ms,
        expires_at_ms: from_ms + 100,
    }
}

fn row(action: &str) -> AuditRow {
    AuditRow { action: action.to_owned(), kind: "session".to_owned(), ..AuditRow::default() }
}

pub(crate) async fn a_session_lasts_until_its_end(store: &Store) {
    let (one, two) = (session("one", 1000), session("two", 1050));
    store.begin_session(&one, row("sign_in")).await.unwrap();
    store.begin_session(&two, row("sign_in")).await.unwrap();
    assert_eq!(store.session(b"one", 1099).await.unwrap(), Some(one.clone()));
    assert_eq!(store.session(b"one", 1100).await.unwrap(), None, "its time is over");
    assert_eq!(store.session(b"on", 1000).await.unwrap(), None);
    assert!(store.end_session(b"two", row("sign_out")).await.unwrap());
    assert!(!store.end_session(b"two", row("sign_out")).await.unwrap(), "it ends once");
    assert_eq!(store.session(b"two", 1060).await.unwrap(), None);
    store.begin_session(&session("three", 2000), row("sign_in")).await.unwrap();
    assert_eq!(store.session(b"one", 1000).await.unwrap(), None, "what has run out is forgotten");
    let actions: Vec<String> = store.audit(None, 10).await.unwrap().into_iter().map(|entry| entry.row.action).collect();
    assert_eq!(actions, ["sign_in", "sign_out", "sign_in", "sign_in"]);
    assert_eq!(store.audit_break().await.unwrap(), None);
}
