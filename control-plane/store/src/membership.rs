//! Which nodes belong to the fleet: its authority, the tokens with which nodes join, and the members. Keys arrive sealed, tokens
//! as digests; what a certificate says is the caller's business.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::audit::{self, AuditRow};
use crate::db::{Announcement, signed, text, unsigned};
use crate::error::Error;
use crate::heads::{Heads, lock_heads};
use crate::store::Store;

/// The authority of this database.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthorityRow {
    /// X.509, DER.
    pub certificate: Vec<u8>,
    pub sealed: Vec<u8>,
    pub created_at_ms: i64,
}

/// A join token. Its secret is not in it, unless sealed.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenRow {
    pub id: String,
    pub digest: Vec<u8>,
    /// Of the token that stands in ready files.
    pub sealed: Option<Vec<u8>>,
    /// JSON map of texts.
    pub labels: String,
    /// How often it may be used in all; 0: any number.
    pub uses: u64,
    pub uses_left: u64,
    pub created_by: String,
    pub created_at_ms: i64,
    pub expires_at_ms: i64,
}

/// A node with a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberRow {
    pub node_id: String,
    /// Of its newest certificate.
    pub serial: String,
    pub not_after_ms: i64,
    /// JSON map of texts: what its token gave it.
    pub labels: String,
    /// Empty where the database does not know, because it is older than the node.
    pub token_id: String,
    pub enrolled_at_ms: i64,
    pub revoked_at_ms: Option<i64>,
}

/// A node that asks to become a member.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub token_digest: Vec<u8>,
    pub node_id: String,
    pub serial: String,
    pub not_after_ms: i64,
    pub version: String,
    /// JSON map of texts: what it says of itself.
    pub labels: String,
    pub at_ms: i64,
    /// The id of a member whose newest certificate had run out by then may be taken over.
    pub abandoned_before_ms: i64,
}

/// What became of a candidate. Nothing is written unless it is a member now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enrolled {
    Member(MemberRow),
    /// The token is unknown, used up or over.
    NoToken,
    /// Another node has this id, or had it and was revoked. The token is as it was.
    Taken,
}

/// What became of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    Now,
    Before,
    /// Nobody has this id.
    Unknown,
}

const THE_AUTHORITY: i64 = 1;

// === impl Store: the authority ===

impl Store {
    pub async fn authority(&self) -> Result<Option<AuthorityRow>, Error> {
        let row = sqlx::query("SELECT certificate, sealed, created_at_ms FROM authority WHERE id = $1");
        let row = row.bind(THE_AUTHORITY).fetch_optional(self.db.readers()).await?;
        row.as_ref().map(AuthorityRow::read).transpose()
    }

    /// Keeps the authority unless there is one. Returns the one that is kept, so that processes that start at once agree.
    pub async fn keep_authority(&self, authority: &AuthorityRow) -> Result<AuthorityRow, Error> {
        let mut tx = self.db.begin().await?;
        sqlx::query(
            "INSERT INTO authority (id, certificate, sealed, created_at_ms) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING",
        )
        .bind(THE_AUTHORITY)
        .bind(authority.certificate.clone())
        .bind(authority.sealed.clone())
        .bind(authority.created_at_ms)
        .execute(&mut *tx)
        .await?;
        let kept = sqlx::query("SELECT certificate, sealed, created_at_ms FROM authority WHERE id = $1");
        let kept = kept.bind(THE_AUTHORITY).fetch_one(&mut *tx).await?;
        tx.commit().await?;
        AuthorityRow::read(&kept)
    }

    /// Begins a new lineage: revisions from before are not comparable with those from now on.
    pub async fn new_epoch(&self, audit: impl FnOnce(&Heads) -> AuditRow) -> Result<Heads, Error> {
        let mut tx = self.db.begin().await?;
        let mut heads = lock_heads(&mut tx).await?;
        heads.epoch = uuid::Uuid::new_v4().to_string();
        sqlx::query("UPDATE config_head SET epoch = $1").bind(heads.epoch.as_str()).execute(&mut *tx).await?;
        audit::append(&mut tx, &[audit(&heads)]).await?;
        self.db.announce(&mut tx, Announcement::Other).await?;
        tx.commit().await?;
        self.watch.send_if_modified(|seen| seen.advance(&heads));
        Ok(heads)
    }
}

// === impl Store: join tokens ===

impl Store {
    pub async fn add_token(&self, token: &TokenRow, audit: AuditRow) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        sqlx::query(
            "INSERT INTO join_token (id, digest, sealed, labels, uses, uses_left, created_by, created_at_ms, expires_at_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(token.id.as_str())
        .bind(token.digest.clone())
        .bind(token.sealed.clone())
        .bind(token.labels.as_str())
        .bind(signed(token.uses))
        .bind(signed(token.uses_left))
        .bind(token.created_by.as_str())
        .bind(token.created_at_ms)
        .bind(token.expires_at_ms)
        .execute(&mut *tx)
        .await?;
        record(&mut tx, audit).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The tokens that can be used now, by id, after the id `after`.
    pub async fn tokens(&self, after: &str, now_ms: i64, limit: usize) -> Result<Vec<TokenRow>, Error> {
        let rows = sqlx::query(
            "SELECT id, digest, sealed, labels, uses, uses_left, created_by, created_at_ms, expires_at_ms FROM join_token \
             WHERE id > $1 AND expires_at_ms > $2 AND (uses = 0 OR uses_left > 0) ORDER BY id LIMIT $3",
        );
        let rows = rows.bind(text(after)).bind(now_ms).bind(signed(limit as u64)).fetch_all(self.db.readers()).await?;
        rows.iter().map(TokenRow::read).collect()
    }

    /// The token of ready files that is good for longest, if there is one that is good after `after_ms`.
    pub async fn standing_token(&self, after_ms: i64) -> Result<Option<TokenRow>, Error> {
        let row = sqlx::query(
            "SELECT id, digest, sealed, labels, uses, uses_left, created_by, created_at_ms, expires_at_ms FROM join_token \
             WHERE sealed IS NOT NULL AND expires_at_ms > $1 ORDER BY expires_at_ms DESC, id LIMIT 1",
        );
        let row = row.bind(after_ms).fetch_optional(self.db.readers()).await?;
        row.as_ref().map(TokenRow::read).transpose()
    }

    /// Nobody joins with it any more; who has, stays. Whether it was there.
    pub async fn delete_token(&self, id: &str, audit: AuditRow) -> Result<bool, Error> {
        let mut tx = self.db.begin().await?;
        let deleted = sqlx::query("DELETE FROM join_token WHERE id = $1").bind(text(id)).execute(&mut *tx).await?;
        if deleted.rows_affected() == 0 {
            return Ok(false);
        }
        record(&mut tx, audit).await?;
        tx.commit().await?;
        Ok(true)
    }
}

// === impl Store: members ===

impl Store {
    /// Makes a node a member and uses its token once, or does neither. However many replicas are asked at once, a token is
    /// never used more often than it may be.
    pub async fn enrol(
        &self,
        candidate: &Candidate,
        audit: impl FnOnce(&MemberRow) -> AuditRow + Send,
    ) -> Result<Enrolled, Error> {
        let mut tx = self.db.begin().await?;
        let token = sqlx::query(
            "UPDATE join_token SET uses_left = uses_left - CASE WHEN uses > 0 THEN 1 ELSE 0 END \
             WHERE digest = $1 AND expires_at_ms > $2 AND (uses = 0 OR uses_left > 0) RETURNING id, labels",
        )
        .bind(candidate.token_digest.clone())
        .bind(candidate.at_ms)
        .fetch_optional(&mut *tx)
        .await?;
        // From here on a return without a commit gives the use back.
        let Some(token) = token else { return Ok(Enrolled::NoToken) };
        let member = MemberRow {
            node_id: candidate.node_id.clone(),
            serial: candidate.serial.clone(),
            not_after_ms: candidate.not_after_ms,
            labels: token.try_get("labels")?,
            token_id: token.try_get("id")?,
            enrolled_at_ms: candidate.at_ms,
            revoked_at_ms: None,
        };
        if is_seated(&mut tx, &member.node_id).await? || !seat(&mut tx, &member, candidate).await? {
            return Ok(Enrolled::Taken);
        }
        record(&mut tx, audit(&member)).await?;
        tx.commit().await?;
        Ok(Enrolled::Member(member))
    }

    /// A member has a newer certificate. `false` for one that was revoked. One that this database does not know, because it
    /// was restored from an older copy, is known from now on.
    pub async fn renew(&self, member: &MemberRow, audit: AuditRow) -> Result<bool, Error> {
        let mut tx = self.db.begin().await?;
        let renewed = sqlx::query(
            "INSERT INTO member (node_id, serial, not_after_ms, labels, token_id, enrolled_at_ms, revoked_at_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, 0) \
             ON CONFLICT (node_id) DO UPDATE SET serial = excluded.serial, not_after_ms = excluded.not_after_ms \
             WHERE member.revoked_at_ms = 0",
        );
        if bind_member(renewed, member).execute(&mut *tx).await?.rows_affected() == 0 {
            return Ok(false);
        }
        record(&mut tx, audit).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// From now on the node is none, for good: its id is not given again.
    pub async fn revoke(&self, node_id: &str, at_ms: i64, audit: AuditRow) -> Result<Revoked, Error> {
        let mut tx = self.db.begin().await?;
        // A node that has connected and is no member joined after the copy that this database was restored from.
        sqlx::query(
            "INSERT INTO member (node_id, serial, not_after_ms, labels, token_id, enrolled_at_ms, revoked_at_ms) \
             SELECT id, '', 0, '{}', '', first_seen_ms, 0 FROM node WHERE id = $1 ON CONFLICT (node_id) DO NOTHING",
        )
        .bind(text(node_id))
        .execute(&mut *tx)
        .await?;
        let revoked = sqlx::query("UPDATE member SET revoked_at_ms = $2 WHERE node_id = $1 AND revoked_at_ms = 0");
        if revoked.bind(text(node_id)).bind(at_ms).execute(&mut *tx).await?.rows_affected() == 0 {
            let known = sqlx::query("SELECT node_id FROM member WHERE node_id = $1");
            let known = known.bind(text(node_id)).fetch_optional(&mut *tx).await?;
            return Ok(if known.is_some() { Revoked::Before } else { Revoked::Unknown });
        }
        record(&mut tx, audit).await?;
        tx.commit().await?;
        Ok(Revoked::Now)
    }

    /// The ids of all nodes that were revoked.
    pub async fn revoked(&self) -> Result<Vec<String>, Error> {
        let rows =
            sqlx::query("SELECT node_id FROM member WHERE revoked_at_ms > 0").fetch_all(self.db.readers()).await?;
        rows.iter().map(|row| Ok(row.try_get("node_id")?)).collect()
    }

    pub async fn member(&self, node_id: &str) -> Result<Option<MemberRow>, Error> {
        let row = sqlx::query(
            "SELECT node_id, serial, not_after_ms, labels, token_id, enrolled_at_ms, revoked_at_ms FROM member WHERE node_id = $1",
        );
        let row = row.bind(text(node_id)).fetch_optional(self.db.readers()).await?;
        row.as_ref().map(MemberRow::read).transpose()
    }

    /// Up to `limit` members, the ones enrolled last first, revoked ones among them.
    pub async fn members(&self, limit: usize) -> Result<Vec<MemberRow>, Error> {
        let rows = sqlx::query(
            "SELECT node_id, serial, not_after_ms, labels, token_id, enrolled_at_ms, revoked_at_ms FROM member \
             ORDER BY enrolled_at_ms DESC, node_id LIMIT $1",
        );
        let rows = rows.bind(signed(limit as u64)).fetch_all(self.db.readers()).await?;
        rows.iter().map(MemberRow::read).collect()
    }

    /// Forgets tokens that were over by then, and members whose newest certificate had run out by `members_before_ms`.
    /// Revoked ones stay known. Returns how many rows went.
    pub async fn prune_membership(&self, tokens_before_ms: i64, members_before_ms: i64) -> Result<u64, Error> {
        let mut tx = self.db.begin().await?;
        let tokens = sqlx::query("DELETE FROM join_token WHERE expires_at_ms < $1").bind(tokens_before_ms);
        let n_tokens = tokens.execute(&mut *tx).await?.rows_affected();
        let members = sqlx::query("DELETE FROM member WHERE revoked_at_ms = 0 AND not_after_ms < $1");
        let n_members = members.bind(members_before_ms).execute(&mut *tx).await?.rows_affected();
        tx.commit().await?;
        Ok(n_tokens + n_members)
    }
}

/// Whether a node that never enrolled has this id: one in the control plane's own process.
async fn is_seated(connection: &mut AnyConnection, node_id: &str) -> Result<bool, Error> {
    let seated = sqlx::query(
        "SELECT id FROM node WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM member WHERE member.node_id = node.id)",
    );
    Ok(seated.bind(node_id).fetch_optional(connection).await?.is_some())
}

/// Writes the member and what is known of its node; `false` where the id is taken.
async fn seat(connection: &mut AnyConnection, member: &MemberRow, candidate: &Candidate) -> Result<bool, Error> {
    let seated = sqlx::query(
        "INSERT INTO member (node_id, serial, not_after_ms, labels, token_id, enrolled_at_ms, revoked_at_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, 0) \
         ON CONFLICT (node_id) DO UPDATE SET serial = excluded.serial, not_after_ms = excluded.not_after_ms, \
         labels = excluded.labels, token_id = excluded.token_id, enrolled_at_ms = excluded.enrolled_at_ms \
         WHERE member.revoked_at_ms = 0 AND member.not_after_ms < $7",
    );
    let seated = bind_member(seated, member).bind(candidate.abandoned_before_ms);
    if seated.execute(&mut *connection).await?.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(
        "INSERT INTO node (id, version, boot_id, labels, first_seen_ms, last_seen_ms, state) \
         VALUES ($1, $2, '', $3, $4, $4, '{}') ON CONFLICT (id) DO NOTHING",
    )
    .bind(member.node_id.as_str())
    .bind(text(&candidate.version))
    .bind(candidate.labels.as_str())
    .bind(candidate.at_ms)
    .execute(connection)
    .await?;
    Ok(true)
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Any, sqlx::any::AnyArguments>;

fn bind_member<'q>(query: Query<'q>, member: &'q MemberRow) -> Query<'q> {
    query
        .bind(member.node_id.as_str())
        .bind(member.serial.as_str())
        .bind(member.not_after_ms)
        .bind(member.labels.as_str())
        .bind(member.token_id.as_str())
        .bind(member.enrolled_at_ms)
}

async fn record(connection: &mut AnyConnection, audit: AuditRow) -> Result<(), Error> {
    lock_heads(&mut *connection).await?;
    audit::append(connection, &[audit]).await
}

// === impl AuthorityRow ===

impl AuthorityRow {
    fn read(row: &AnyRow) -> Result<Self, Error> {
        Ok(Self {
            certificate: row.try_get("certificate")?,
            sealed: row.try_get("sealed")?,
            created_at_ms: row.try_get("created_at_ms")?,
        })
    }
}

// === impl TokenRow ===

impl TokenRow {
    fn read(row: &AnyRow) -> Result<Self, Error> {
        Ok(Self {
            id: row.try_get("id")?,
            digest: row.try_get("digest")?,
            sealed: row.try_get("sealed")?,
            labels: row.try_get("labels")?,
            uses: unsigned(row, "uses")?,
            uses_left: unsigned(row, "uses_left")?,
            created_by: row.try_get("created_by")?,
            created_at_ms: row.try_get("created_at_ms")?,
            expires_at_ms: row.try_get("expires_at_ms")?,
        })
    }
}

// === impl MemberRow ===

impl MemberRow {
    fn read(row: &AnyRow) -> Result<Self, Error> {
        let revoked_at_ms: i64 = row.try_get("revoked_at_ms")?;
        Ok(Self {
            node_id: row.try_get("node_id")?,
            serial: row.try_get("serial")?,
            not_after_ms: row.try_get("not_after_ms")?,
            labels: row.try_get("labels")?,
            token_id: row.try_get("token_id")?,
            enrolled_at_ms: row.try_get("enrolled_at_ms")?,
            revoked_at_ms: (revoked_at_ms > 0).then_some(revoked_at_ms),
        })
    }
}
