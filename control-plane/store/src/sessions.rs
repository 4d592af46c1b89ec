//! Browsers that are signed in. A session is looked up at each request, so that one that was ended is ended on every replica at once.

use gateway_model::person::PersonRole;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _, SqlSafeStr as _};

use crate::audit::{self, AuditRow};
use crate::db::{signed, text};
use crate::error::Error;
use crate::heads::lock_heads;
use crate::store::Store;

/// A session that was begun and not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// Of its secret, which is not kept.
    pub digest: Vec<u8>,
    /// Whom it acts for, as the audit log calls them.
    pub actor: String,
    pub whose: Whose,
    /// What a user was when it began. `None`: it is no user's, or from before that was written down.
    pub role_then: Option<PersonRole>,
    pub created_at_ms: i64,
    pub expires_at_ms: i64,
}

/// Who has signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Whoever had the master key.
    Master,
    /// A user, by name. What they may do stands with them, and may change while the session lasts.
    User(String),
    /// Somebody whom an identity provider spoke for: what it said then.
    Claimed { role: PersonRole, teams: Vec<String> },
}

/// Both kinds of sessions as one table.
const EVERY: &str = "SELECT digest, actor, user_name, role, teams, role_then, is_person, created_at_ms, expires_at_ms FROM (\
     SELECT digest, actor, '' AS user_name, '' AS role, '[]' AS teams, '' AS role_then, CAST(0 AS BIGINT) AS is_person, \
     created_at_ms, expires_at_ms FROM admin_session UNION ALL \
     SELECT digest, actor, user_name, role, teams, role_then, CAST(1 AS BIGINT) AS is_person, created_at_ms, expires_at_ms \
     FROM person_session) AS every_session WHERE expires_at_ms > $1";

// === impl Store ===

impl Store {
    /// Begins a session and writes that down; forgets those that have run out by then.
    pub async fn begin_session(&self, session: &SessionRow, row: AuditRow) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        // The audit's chain has one writer at a time.
        lock_heads(&mut tx).await?;
        for gone in [
            "DELETE FROM admin_session WHERE expires_at_ms <= $1",
            "DELETE FROM person_session WHERE expires_at_ms <= $1",
        ] {
            sqlx::query(gone).bind(session.created_at_ms).execute(&mut *tx).await?;
        }
        let (user, role, teams) = match &session.whose {
            Whose::Master => (None, "", String::new()),
            Whose::User(name) => (Some(name.as_str()), "", "[]".to_owned()),
            Whose::Claimed { role, teams } => (Some(""), role.name(), serde_json::json!(teams).to_string()),
        };
        let begun = match user {
            None => sqlx::query(
                "INSERT INTO admin_session (digest, actor, created_at_ms, expires_at_ms) VALUES ($1, $2, $3, $4)",
            ),
            Some(_) => sqlx::query(
                "INSERT INTO person_session (digest, actor, created_at_ms, expires_at_ms, user_name, role, teams, role_then) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            ),
        };
        let mut begun = begun
            .bind(session.digest.clone())
            .bind(text(&session.actor))
            .bind(session.created_at_ms)
            .bind(session.expires_at_ms);
        if let Some(user) = user {
            let then = session.role_then.map(PersonRole::name).unwrap_or_default();
            begun = begun.bind(text(user)).bind(role).bind(text(&teams)).bind(then);
        }
        begun.execute(&mut *tx).await?;
        audit::append(&mut tx, &[row]).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The session of this digest, unless it has run out.
    pub async fn session(&self, digest: &[u8], now_ms: i64) -> Result<Option<SessionRow>, Error> {
        let statement = AssertSqlSafe(format!("{EVERY} AND digest = $2")).into_sql_str();
        let found = sqlx::query(statement).bind(now_ms).bind(digest.to_vec());
        let found = found.fetch_optional(self.db.readers()).await?;
        found.as_ref().map(SessionRow::read).transpose()
    }

    /// Up to `limit` that have not run out, the newest first.
    pub async fn sessions(&self, now_ms: i64, limit: usize) -> Result<Vec<SessionRow>, Error> {
        let statement = AssertSqlSafe(format!("{EVERY} ORDER BY created_at_ms DESC, digest LIMIT $2")).into_sql_str();
        let rows = sqlx::query(statement).bind(now_ms).bind(signed(limit as u64));
        rows.fetch_all(self.db.readers()).await?.iter().map(SessionRow::read).collect()
    }

    /// As [`Store::sessions`], of one who acts.
    pub async fn sessions_of(&self, actor: &str, now_ms: i64, limit: usize) -> Result<Vec<SessionRow>, Error> {
        let statement = format!("{EVERY} AND actor = $2 ORDER BY created_at_ms DESC, digest LIMIT $3");
        let rows = sqlx::query(AssertSqlSafe(statement)).bind(now_ms).bind(text(actor)).bind(signed(limit as u64));
        rows.fetch_all(self.db.readers()).await?.iter().map(SessionRow::read).collect()
    }

    /// Ends a session and writes that down. False where it had ended already.
    pub async fn end_session(&self, digest: &[u8], row: AuditRow) -> Result<bool, Error> {
        let mut tx = self.db.begin().await?;
        lock_heads(&mut tx).await?;
        let mut n_ended = 0;
        for ended in ["DELETE FROM admin_session WHERE digest = $1", "DELETE FROM person_session WHERE digest = $1"] {
            n_ended += sqlx::query(ended).bind(digest.to_vec()).execute(&mut *tx).await?.rows_affected();
        }
        if n_ended > 0 {
            audit::append(&mut tx, &[row]).await?;
        }
        tx.commit().await?;
        Ok(n_ended > 0)
    }
}

// === impl SessionRow ===

impl SessionRow {
    /// A role that this version does not know is no session of anybody: the least that it can be.
    fn read(row: &AnyRow) -> Result<Self, Error> {
        let user: String = row.try_get("user_name")?;
        let role: String = row.try_get("role")?;
        let teams: String = row.try_get("teams")?;
        let then: String = row.try_get("role_then")?;
        let whose = match (row.try_get::<i64, _>("is_person")?, PersonRole::parse(&role)) {
            (0, _) => Whose::Master,
            (_, Some(role)) => Whose::Claimed { role, teams: serde_json::from_str(&teams).unwrap_or_default() },
            (_, None) => Whose::User(user),
        };
        Ok(Self {
            digest: row.try_get("digest")?,
            actor: row.try_get("actor")?,
            whose,
            role_then: PersonRole::parse(&then),
            created_at_ms: row.try_get("created_at_ms")?,
            expires_at_ms: row.try_get("expires_at_ms")?,
        })
    }
}
