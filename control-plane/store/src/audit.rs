//! Who changed what: append-only rows, chained by hashes, so that a row that was altered or taken out shows.

use aws_lc_rs::digest::{Context, SHA256};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::db::{signed, text, unsigned};
use crate::error::Error;
use crate::heads::lock_heads;
use crate::store::Store;

/// One thing somebody did. Documents are without secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditRow {
    pub at_ms: i64,
    /// `master`, `startup`, `file:gateway.yaml` …
    pub actor: String,
    /// Empty where the change did not come over the network.
    pub ip: String,
    pub request_id: String,
    /// `create`, `update`, `delete`, `rollback` …
    pub action: String,
    pub kind: String,
    pub name: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// A row with its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Counts up from 1 without gaps.
    pub seq: u64,
    pub row: AuditRow,
    pub hash: Vec<u8>,
}

// === impl Store ===

impl Store {
    /// Records what was not a change of the configuration.
    pub async fn record_audit(&self, rows: &[AuditRow]) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        // The chain has one writer at a time, the same lock as for changes.
        lock_heads(&mut tx).await?;
        append(&mut tx, rows).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Up to `limit` entries, newest first, from before `before`.
    pub async fn audit(&self, before: Option<u64>, limit: usize) -> Result<Vec<AuditEntry>, Error> {
        let rows = sqlx::query(
            "SELECT seq, at_ms, actor, ip, request_id, action, kind, name, before_document, after_document, hash \
             FROM audit_event WHERE seq < $1 ORDER BY seq DESC LIMIT $2",
        )
        .bind(before.map_or(i64::MAX, signed))
        .bind(signed(limit as u64))
        .fetch_all(self.db.readers())
        .await?;
        rows.iter().map(AuditEntry::read).collect()
    }

    /// Walks the chain from its oldest row that is kept; `Some` is the first row that does not follow from the one before.
    pub async fn audit_break(&self) -> Result<Option<u64>, Error> {
        const PAGE: i64 = 1000;
        let mut last: Option<AuditEntry> = None;
        loop {
            let rows = sqlx::query(
                "SELECT seq, at_ms, actor, ip, request_id, action, kind, name, before_document, after_document, hash \
                 FROM audit_event WHERE seq > $1 ORDER BY seq LIMIT $2",
            )
            .bind(last.as_ref().map_or(0, |entry| signed(entry.seq)))
            .bind(PAGE)
            .fetch_all(self.db.readers())
            .await?;
            if rows.is_empty() {
                return Ok(None);
            }
            for row in &rows {
                let entry = AuditEntry::read(row)?;
                // Nothing can be said about the oldest row's past once older ones have been deleted.
                let previous = match &last {
                    Some(last) => Some(last.hash.as_slice()),
                    None if entry.seq == 1 => Some(&[][..]),
                    None => None,
                };
                let follows = last.as_ref().is_none_or(|last| last.seq + 1 == entry.seq);
                if !follows || previous.is_some_and(|previous| chain(previous, entry.seq, &entry.row) != entry.hash) {
                    return Ok(Some(entry.seq));
                }
                last = Some(entry);
            }
        }
    }

    /// Deletes what is older, except the newest row, which the chain goes on from. Returns how many.
    pub async fn prune_audit(&self, older_than_ms: i64) -> Result<u64, Error> {
        let mut tx = self.db.begin().await?;
        let deleted =
            sqlx::query("DELETE FROM audit_event WHERE at_ms < $1 AND seq < (SELECT MAX(seq) FROM audit_event)");
        let deleted = deleted.bind(older_than_ms).execute(&mut *tx).await?.rows_affected();
        tx.commit().await?;
        Ok(deleted)
    }
}

// === impl AuditRow ===

impl AuditRow {
    /// As it comes back, which is what the chain is about.
    fn storable(&self) -> Self {
        Self {
            at_ms: self.at_ms,
            actor: text(&self.actor),
            ip: text(&self.ip),
            request_id: text(&self.request_id),
            action: text(&self.action),
            kind: text(&self.kind),
            name: text(&self.name),
            before: self.before.as_deref().map(text),
            after: self.after.as_deref().map(text),
        }
    }
}

// === impl AuditEntry ===

impl AuditEntry {
    fn read(row: &AnyRow) -> Result<Self, Error> {
        Ok(Self {
            seq: unsigned(row, "seq")?,
            row: AuditRow {
                at_ms: row.try_get("at_ms")?,
                actor: row.try_get("actor")?,
                ip: row.try_get("ip")?,
                request_id: row.try_get("request_id")?,
                action: row.try_get("action")?,
                kind: row.try_get("kind")?,
                name: row.try_get("name")?,
                before: row.try_get("before_document")?,
                after: row.try_get("after_document")?,
            },
            hash: row.try_get("hash")?,
        })
    }
}

/// Adds rows at the end of the chain. The caller holds the lock of the heads.
pub(crate) async fn append(connection: &mut AnyConnection, rows: &[AuditRow]) -> Result<(), Error> {
    let newest = sqlx::query("SELECT seq, hash FROM audit_event ORDER BY seq DESC LIMIT 1")
        .fetch_optional(&mut *connection)
        .await?;
    let (mut seq, mut hash) = match newest {
        Some(row) => (unsigned(&row, "seq")?, row.try_get("hash")?),
        None => (0, Vec::new()),
    };
    for row in rows {
        let row = row.storable();
        seq += 1;
        hash = chain(&hash, seq, &row);
        sqlx::query(
            "INSERT INTO audit_event (seq, at_ms, actor, ip, request_id, action, kind, name, before_document, after_document, hash) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(signed(seq))
        .bind(row.at_ms)
        .bind(row.actor.as_str())
        .bind(row.ip.as_str())
        .bind(row.request_id.as_str())
        .bind(row.action.as_str())
        .bind(row.kind.as_str())
        .bind(row.name.as_str())
        .bind(row.before.clone())
        .bind(row.after.clone())
        .bind(hash.clone())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

fn chain(previous: &[u8], seq: u64, row: &AuditRow) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    context.update(previous);
    context.update(&seq.to_be_bytes());
    context.update(&row.at_ms.to_be_bytes());
    let texts = [&row.actor, &row.ip, &row.request_id, &row.action, &row.kind, &row.name];
    for text in texts.into_iter().map(|text| Some(text.as_str())).chain([row.before.as_deref(), row.after.as_deref()]) {
        // Lengths keep fields apart, a byte keeps an absent text apart from an empty one.
        context.update(&[u8::from(text.is_some())]);
        let text = text.unwrap_or_default();
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text.as_bytes());
    }
    context.finish().as_ref().to_vec()
}
