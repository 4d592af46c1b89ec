//! Membership: who belongs to the fleet, who is let in, who is put out. One word for it in every replica: the database's.

mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gateway_model::token;
use gateway_store::audit::AuditRow;
use gateway_store::membership::{Candidate, Enrolled, MemberRow, Revoked};
use gateway_store::{Error, Store};
use gateway_wire::v1::{self, EnrolRequest};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

pub use self::tokens::NewToken;

use crate::authority::{Authority, BadRequest, GRACE_MS, Identity, Issued};
use crate::change::Actor;
use crate::clock;
use crate::fleet::{check_id, check_words};
use crate::vault::Vault;

/// The members, as this replica knows them.
#[derive(Debug)]
pub struct Members {
    store: Store,
    vault: Arc<Vault>,
    authority: Arc<Authority>,
    /// Nodes that were put out. It only grows: a revocation is for good.
    revoked: watch::Sender<BTreeSet<String>>,
    /// Nodes of this process, which are no members and cannot be put out.
    local: Mutex<BTreeSet<String>>,
    refusals: Mutex<Refusals>,
}

/// Why a node is not let in.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The same words for every reason: they are for strangers.
    #[error(
        "the join token is not valid here: it may be mistyped, used up, expired, or another control plane's; \
         make a new one with `gatewayctl node token create`"
    )]
    Token,
    #[error(
        "the node id `{0}` is taken; start the node with another data directory, or leave the id to the control plane"
    )]
    Taken(String),
    #[error("the node `{0}` was revoked; to bring the machine back, enrol it with an empty data directory")]
    Revoked(String),
    #[error(transparent)]
    Malformed(#[from] BadRequest),
    #[error("{0}")]
    Words(String),
    #[error("the control plane cannot use its database; try again later")]
    Store(#[from] Error),
}

/// Why a node is not put out.
#[derive(Debug, thiserror::Error)]
pub enum NotRevoked {
    #[error("there is no node `{0}`")]
    Unknown(String),
    #[error("the node `{0}` runs in the control plane's own process; stop that instead")]
    Local(String),
    #[error(transparent)]
    Store(#[from] Error),
}

/// Strangers may not fill the audit log: what is refused in between is counted.
#[derive(Debug, Default)]
struct Refusals {
    told_at: Option<Instant>,
    n_untold: u64,
}

/// Another replica's revocations are known after so long.
const REFRESH: Duration = Duration::from_secs(1);
const PRUNE: Duration = Duration::from_secs(60 * 60);
const TELL_REFUSALS: Duration = Duration::from_secs(10);
/// A database that is away does not keep a node from its configuration.
const LABELS: Duration = Duration::from_secs(1);

// === impl Members ===

impl Members {
    pub async fn load(store: Store, vault: Arc<Vault>, authority: Arc<Authority>) -> Result<Self, Error> {
        let revoked = store.revoked().await?.into_iter().collect();
        Ok(Self {
            store,
            vault,
            authority,
            revoked: watch::Sender::new(revoked),
            local: Mutex::default(),
            refusals: Mutex::default(),
        })
    }

    /// Follows the database until it is dropped. While that is away, what is known holds.
    pub async fn run(&self) {
        let mut refresh = tokio::time::interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut prune = tokio::time::interval(PRUNE);
        prune.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let done = tokio::select! {
                _ = refresh.tick() => self.refresh().await,
                _ = prune.tick() => self.prune().await,
            };
            if let Err(error) = done {
                tracing::debug!(error = &error as &dyn std::error::Error, "the members cannot be read, trying again");
            }
        }
    }

    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    pub fn is_revoked(&self, node_id: &str) -> bool {
        self.revoked.borrow().contains(node_id)
    }

    /// Returns when the node is put out; at once if it was.
    pub(crate) async fn until_revoked(&self, node_id: &str) {
        let mut revoked = self.revoked.subscribe();
        // `self` holds the sender, so that there is no other end.
        let _ = revoked.wait_for(|revoked| revoked.contains(node_id)).await;
    }

    /// A node of this process has said its name.
    pub(crate) fn note_local(&self, node_id: &str) {
        lock(&self.local).insert(node_id.to_owned());
    }

    /// What a node's token has made of it, beside what it says itself. Empty if the database is away.
    pub(crate) async fn labels(&self, node_id: &str) -> BTreeMap<String, String> {
        match tokio::time::timeout(LABELS, self.store.member(node_id)).await {
            Ok(Ok(Some(member))) => serde_json::from_str(&member.labels).unwrap_or_default(),
            _ => BTreeMap::new(),
        }
    }

    /// Puts a node out: its streams are cut, here at once and in other replicas within seconds, and it does not come back.
    pub async fn revoke(&self, node_id: &str, actor: &Actor) -> Result<(), NotRevoked> {
        if lock(&self.local).contains(node_id) {
            return Err(NotRevoked::Local(node_id.to_owned()));
        }
        let now_ms = clock::unix_ms();
        let audit = audit(actor, "revoke", "node", node_id, &Value::Null, now_ms);
        match self.store.revoke(node_id, now_ms, audit).await? {
            Revoked::Unknown => return Err(NotRevoked::Unknown(node_id.to_owned())),
            Revoked::Now => tracing::warn!(node = node_id, actor = actor.name, "node revoked"),
            Revoked::Before => {}
        }
        self.learn([node_id.to_owned()]);
        Ok(())
    }

    /// Lets a node in that shows a token. Cancelled or refused, nothing has happened.
    pub(crate) async fn enrol(&self, request: EnrolRequest, ip: &str) -> Result<v1::Membership, Refusal> {
        let join = token::decode_join(&request.token).filter(|join| join.pin == *self.authority.pin());
        let join = join.ok_or(Refusal::Token)?;
        let node_id = match request.node_id.is_empty() {
            true => {
                format!("node_{}", ulid::Ulid::from_parts(u64::try_from(clock::unix_ms()).unwrap_or(0), rand::random()))
            }
            false => request.node_id,
        };
        let words = |status: tonic::Status| Refusal::Words(status.message().to_owned());
        check_id(&node_id).map_err(words)?;
        check_words(request.labels.iter().flat_map(|(name, value)| [name, value]).chain([&request.version]))
            .map_err(words)?;
        let now_ms = clock::unix_ms();
        let issued = self.issue(&request.csr, &node_id, now_ms).await?;
        let labels: BTreeMap<String, String> = request.labels.into_iter().collect();
        let candidate = Candidate {
            token_digest: tokens::digest(&join),
            node_id,
            serial: issued.identity.serial.clone(),
            not_after_ms: issued.identity.not_after_ms,
            version: request.version,
            labels: text(&json!(labels)),
            at_ms: now_ms,
            abandoned_before_ms: now_ms - GRACE_MS,
        };
        let actor = Actor { name: format!("node:{}", candidate.node_id), ip: ip.to_owned(), ..Actor::default() };
        let enrolled = self.store.enrol(&candidate, |member| {
            let after = json!({"token": member.token_id, "serial": member.serial, "not_after": clock::rfc3339(member.not_after_ms)});
            audit(&actor, "enrol", "node", &member.node_id, &after, now_ms)
        });
        match enrolled.await? {
            Enrolled::Member(member) => {
                tracing::info!(node = member.node_id, token = member.token_id, ip, "node enrolled");
                Ok(self.membership(issued, now_ms))
            }
            Enrolled::NoToken => Err(Refusal::Token),
            Enrolled::Taken => Err(Refusal::Taken(candidate.node_id)),
        }
    }

    /// A new certificate for a member, who has shown the old one.
    pub(crate) async fn renew(&self, old: &Identity, csr: &[u8], ip: &str) -> Result<v1::Membership, Refusal> {
        if self.is_revoked(&old.node_id) {
            return Err(Refusal::Revoked(old.node_id.clone()));
        }
        let now_ms = clock::unix_ms();
        let issued = self.issue(csr, &old.node_id, now_ms).await?;
        let identity = &issued.identity;
        let member = MemberRow {
            node_id: identity.node_id.clone(),
            serial: identity.serial.clone(),
            not_after_ms: identity.not_after_ms,
            labels: "{}".to_owned(),
            enrolled_at_ms: now_ms,
            ..MemberRow::default()
        };
        let actor = Actor { name: format!("node:{}", old.node_id), ip: ip.to_owned(), ..Actor::default() };
        let after =
            json!({"replaces": old.serial, "serial": member.serial, "not_after": clock::rfc3339(member.not_after_ms)});
        let audit = audit(&actor, "renew", "node", &old.node_id, &after, now_ms);
        if !self.store.renew(&member, audit).await? {
            self.learn([old.node_id.clone()]);
            return Err(Refusal::Revoked(old.node_id.clone()));
        }
        Ok(self.membership(issued, now_ms))
    }

    /// Writes a refusal to the audit log, unless that has just been done; then it is counted in the next row.
    pub(crate) async fn refused(&self, refusal: &Refusal, ip: &str) {
        let now = Instant::now();
        let n_before = {
            let mut refusals = lock(&self.refusals);
            if refusals.told_at.is_some_and(|at| now - at < TELL_REFUSALS) {
                refusals.n_untold += 1;
                return;
            }
            refusals.told_at = Some(now);
            std::mem::take(&mut refusals.n_untold)
        };
        tracing::warn!(ip, n_before, reason = %refusal, "a node was refused");
        let actor = Actor { name: "stranger".to_owned(), ip: ip.to_owned(), ..Actor::default() };
        let after = json!({"reason": refusal.to_string(), "more_before": n_before});
        let row = audit(&actor, "refuse", "node", "", &after, clock::unix_ms());
        if let Err(error) = self.store.record_audit(&[row]).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "a refusal is not in the audit log");
        }
    }

    async fn issue(&self, csr: &[u8], node_id: &str, now_ms: i64) -> Result<Issued, Refusal> {
        let epoch = self.store.heads().await?.epoch;
        Ok(self.authority.issue(csr, node_id, &epoch, now_ms)?)
    }

    fn membership(&self, issued: Issued, now_ms: i64) -> v1::Membership {
        v1::Membership {
            node_id: issued.identity.node_id,
            certificate: issued.certificate,
            ca: self.authority.certificate().to_vec(),
            not_after_unix_ms: issued.identity.not_after_ms,
            unix_ms: now_ms,
        }
    }

    async fn refresh(&self) -> Result<(), Error> {
        self.learn(self.store.revoked().await?);
        Ok(())
    }

    async fn prune(&self) -> Result<(), Error> {
        let now_ms = clock::unix_ms();
        self.store.prune_membership(now_ms, now_ms - GRACE_MS).await?;
        Ok(())
    }

    fn learn(&self, node_ids: impl IntoIterator<Item = String>) {
        self.revoked.send_if_modified(|revoked| {
            let n_before = revoked.len();
            revoked.extend(node_ids);
            revoked.len() > n_before
        });
    }
}

/// A row of the audit log about membership.
pub(crate) fn audit(actor: &Actor, action: &str, kind: &str, name: &str, after: &Value, at_ms: i64) -> AuditRow {
    AuditRow {
        at_ms,
        actor: actor.name.clone(),
        ip: actor.ip.clone(),
        request_id: actor.request_id.clone(),
        action: action.to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        before: None,
        after: (!after.is_null()).then(|| text(after)),
    }
}

fn text(value: &Value) -> String {
    value.to_string()
}

/// Nothing that holds one can panic half-way through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
