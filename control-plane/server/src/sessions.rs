//! Sessions of browsers. The store has them, so that one that was ended is dead on every replica at the next request; what is
//! remembered here only lets a dashboard be read on while the database is away.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gateway_model::kind::Kind;
use gateway_model::kind::tenant::User;
use gateway_model::person::PersonRole;
use gateway_store::sessions::{SessionRow, Whose};
use gateway_store::{Error, ItemKind, Store, StoredItem};

use crate::clock;
use crate::permission::Grant;

/// How long after its last good look-up a session may be read with while the database is away.
const GRACE: Duration = Duration::from_secs(15 * 60);
/// Sessions remembered; beyond it they are forgotten, which is a sign-in during an outage and no more.
const MAX_REMEMBERED: usize = 1000;

/// What was looked up last.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<Vec<u8>, (Signed, Instant)>>);

/// Somebody who is signed in, and what they may do at this moment.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) session: SessionRow,
    pub(crate) grant: Grant,
}

// === impl Sessions ===

impl Sessions {
    /// The session of this digest. While the store fails, one that was good a little while ago is good for reading.
    pub(crate) async fn find(&self, store: &Store, digest: &[u8], only_reads: bool) -> Result<Option<Signed>, Error> {
        let now_ms = clock::unix_ms();
        match look_up(store, digest, now_ms).await {
            Ok(Some(signed)) => {
                let mut remembered = self.lock();
                if remembered.len() >= MAX_REMEMBERED && !remembered.contains_key(digest) {
                    remembered.clear();
                }
                remembered.insert(digest.to_vec(), (signed.clone(), Instant::now()));
                Ok(Some(signed))
            }
            Ok(None) => {
                self.lock().remove(digest);
                Ok(None)
            }
            Err(error) if only_reads => {
                let remembered = self.lock().get(digest).cloned();
                let is_fresh =
                    |(signed, at): &(Signed, Instant)| at.elapsed() < GRACE && signed.session.expires_at_ms > now_ms;
                remembered.filter(is_fresh).map(|(signed, _)| Some(signed)).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// It has been ended.
    pub(crate) fn forget(&self, digest: &[u8]) {
        self.lock().remove(digest);
    }

    /// Nothing that holds it can panic half-way through a change.
    fn lock(&self) -> MutexGuard<'_, HashMap<Vec<u8>, (Signed, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn look_up(store: &Store, digest: &[u8], now_ms: i64) -> Result<Option<Signed>, Error> {
    let Some(session) = store.session(digest, now_ms).await? else { return Ok(None) };
    let grant = match &session.whose {
        Whose::Master => Some(Grant::default()),
        Whose::Claimed { role, teams } => Some(Grant::new(*role, teams)),
        Whose::User(name) => {
            let item = store.item(ItemKind::Resource(Kind::User), name).await?;
            // One who has that name since then is somebody else.
            let item = item.filter(|item| item.name == *name && item.created_at_ms <= session.created_at_ms);
            let found = item.as_ref().and_then(may_sign_in);
            // Who has become more, or less, signs in as that.
            let found = found.filter(|(_, role)| session.role_then.is_none_or(|then| then == *role));
            found.map(|(user, role)| Grant::new(role, &user.leads))
        }
    };
    Ok(grant.map(|grant| Signed { session, grant }))
}

/// The user that this is, where it is one who may sign in, and as what.
pub(crate) fn may_sign_in(item: &StoredItem) -> Option<(User, PersonRole)> {
    let user: User = serde_json::from_str(&item.document).ok()?;
    let role = user.role.filter(|_| user.enabled && !user.service_account)?;
    Some((user, role))
}

#[cfg(test)]
mod tests {
    use gateway_store::audit::AuditRow;

    use super::*;

    #[tokio::test]
    async fn while_the_database_is_away_a_known_session_may_read() {
        let store = Store::open("sqlite::memory:").await.expect("a database");
        let now_ms = clock::unix_ms();
        let session = |digest: &[u8]| SessionRow {
            digest: digest.to_vec(),
            actor: "master".to_owned(),
            whose: Whose::Master,
            role_then: None,
            created_at_ms: now_ms,
            expires_at_ms: now_ms + 60_000,
        };
        for digest in [&b"known"[..], b"unseen"] {
            store.begin_session(&session(digest), AuditRow::default()).await.expect("begun");
        }
        let sessions = Sessions::default();
        assert!(sessions.find(&store, b"known", true).await.expect("there").is_some());
        store.close().await;
        for (digest, only_reads, expected) in
            [(&b"known"[..], true, true), (b"known", false, false), (b"unseen", true, false), (b"nobody", true, false)]
        {
            let found = sessions.find(&store, digest, only_reads).await;
            assert_eq!(matches!(found, Ok(Some(_))), expected, "{digest:?} {only_reads}");
        }
        sessions.forget(b"known");
        assert!(sessions.find(&store, b"known", true).await.is_err(), "one that was ended stays so");
    }
}
