//! With what people sign in: the hashes of their passwords, and invitations to choose one. Who they are is configuration.

use gateway_model::kind::Kind;
use sqlx::Row;

use crate::audit::{self, AuditRow};
use crate::db::{Tx, text};
use crate::error::Error;
use crate::heads::lock_heads;
use crate::item::{ItemKind, StoredItem};
use crate::store::Store;

/// A hash in PHC form, and since when.
#[derive(Clone, PartialEq, Eq)]
pub struct Password {
    pub hash: String,
    pub set_at_ms: i64,
}

/// One that can still be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    pub user: String,
    /// Of its secret, which is not kept.
    pub digest: Vec<u8>,
    pub created_at_ms: i64,
    pub expires_at_ms: i64,
}

/// Users that are looked at for one e-mail address; a pattern in an address matches more than itself.
const MAX_ALIKE: i64 = 100;
/// No digest is empty.
const NO_SESSION: &[u8] = &[];

// === impl Store ===

impl Store {
    /// Users whose documents say this e-mail address, in any case, and maybe some that do not: whoever reads them sees that.
    pub async fn users_by_email(&self, email: &str) -> Result<Vec<StoredItem>, Error> {
        let said = format!("%\"email\":{}%", serde_json::json!(email.to_lowercase()));
        let rows = sqlx::query(
            "SELECT kind, id, name, revision, document, sealed, secret_facts, digest, pepper_version, created_at_ms, updated_at_ms, owner \
             FROM config_item WHERE kind = $1 AND lower(document) LIKE $2 ORDER BY name LIMIT $3",
        )
        .bind(ItemKind::Resource(Kind::User).name())
        .bind(text(&said))
        .bind(MAX_ALIKE)
        .fetch_all(self.db.readers())
        .await?;
        rows.iter().map(StoredItem::read).collect()
    }

    pub async fn password(&self, user: &str) -> Result<Option<Password>, Error> {
        let row = sqlx::query("SELECT hash, set_at_ms FROM person_password WHERE user_name = $1").bind(text(user));
        let Some(row) = row.fetch_optional(self.db.readers()).await? else { return Ok(None) };
        Ok(Some(Password { hash: row.try_get("hash")?, set_at_ms: row.try_get("set_at_ms")? }))
    }

    /// Gives a user a password, ends what was begun with the one before, and takes back an invitation to choose one.
    pub async fn set_password(&self, user: &str, password: &Password, row: AuditRow) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        lock_heads(&mut tx).await?;
        write_password(&mut tx, user, password, NO_SESSION).await?;
        audit::append(&mut tx, &[row]).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The same by the user themselves, in a session that lives on while all their others end.
    pub async fn change_password(
        &self,
        user: &str,
        password: &Password,
        session: &[u8],
        row: AuditRow,
    ) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        lock_heads(&mut tx).await?;
        write_password(&mut tx, user, password, session).await?;
        audit::append(&mut tx, &[row]).await?;
        tx.commit().await?;
        Ok(())
    }

    /// In place of any invitation that the user has.
    pub async fn invite(&self, invitation: &Invitation, row: AuditRow) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        lock_heads(&mut tx).await?;
        sqlx::query(
            "INSERT INTO person_invitation (user_name, digest, created_at_ms, expires_at_ms) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (user_name) DO UPDATE SET digest = excluded.digest, created_at_ms = excluded.created_at_ms, \
             expires_at_ms = excluded.expires_at_ms",
        )
        .bind(text(&invitation.user))
        .bind(invitation.digest.clone())
        .bind(invitation.created_at_ms)
        .bind(invitation.expires_at_ms)
        .execute(&mut *tx)
        .await?;
        audit::append(&mut tx, &[row]).await?;
        tx.commit().await?;
        Ok(())
    }

    pub async fn invitation(&self, digest: &[u8], now_ms: i64) -> Result<Option<Invitation>, Error> {
        let found = sqlx::query(
            "SELECT user_name, created_at_ms, expires_at_ms FROM person_invitation WHERE digest = $1 AND expires_at_ms > $2",
        );
        let found = found.bind(digest.to_vec()).bind(now_ms).fetch_optional(self.db.readers()).await?;
        let Some(row) = found else { return Ok(None) };
        Ok(Some(Invitation {
            user: row.try_get("user_name")?,
            digest: digest.to_vec(),
            created_at_ms: row.try_get("created_at_ms")?,
            expires_at_ms: row.try_get("expires_at_ms")?,
        }))
    }

    /// Uses an invitation. False where somebody else was faster.
    pub async fn accept(&self, invitation: &Invitation, password: &Password, row: AuditRow) -> Result<bool, Error> {
        let mut tx = self.db.begin().await?;
        lock_heads(&mut tx).await?;
        let taken = sqlx::query("DELETE FROM person_invitation WHERE digest = $1").bind(invitation.digest.clone());
        if taken.execute(&mut *tx).await?.rows_affected() == 0 {
            return Ok(false);
        }
        write_password(&mut tx, &invitation.user, password, NO_SESSION).await?;
        audit::append(&mut tx, &[row]).await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// `kept` is the digest of the one session that does not end with it.
async fn write_password(tx: &mut Tx, user: &str, password: &Password, kept: &[u8]) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO person_password (user_name, hash, set_at_ms) VALUES ($1, $2, $3) \
         ON CONFLICT (user_name) DO UPDATE SET hash = excluded.hash, set_at_ms = excluded.set_at_ms",
    )
    .bind(text(user))
    .bind(text(&password.hash))
    .bind(password.set_at_ms)
    .execute(&mut **tx)
    .await?;
    let ended = sqlx::query("DELETE FROM person_session WHERE user_name = $1 AND digest <> $2");
    ended.bind(text(user)).bind(kept.to_vec()).execute(&mut **tx).await?;
    sqlx::query("DELETE FROM person_invitation WHERE user_name = $1").bind(text(user)).execute(&mut **tx).await?;
    Ok(())
}

// === impl Password ===

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Password").field("set_at_ms", &self.set_at_ms).finish_non_exhaustive()
    }
}
