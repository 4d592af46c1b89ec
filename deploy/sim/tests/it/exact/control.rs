//! The control plane as nodes see it: its real ledger and lender on a real database, whose times are given.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use gateway_model::kind::Kind;
use gateway_server::fleet::Fleet;
use gateway_server::ingest::{Ingest, Tail};
use gateway_server::leases::Leases;
use gateway_server::meters::Meters;
use gateway_store::audit::AuditRow;
use gateway_store::membership::{Candidate, TokenRow};
use gateway_store::revisions::{Commit, Edit, Op};
use gateway_store::{ItemKind, Store, StoredItem};
use gateway_wire::v1::{LeaseAsk, LeaseGrant, UsageBatch};
use serde_json::Value;

/// Times of what does not matter here.
const LONG_AGO: i64 = 1;

pub(super) struct Control {
    pub(super) store: Store,
    leases: Leases,
    ingest: Ingest,
    /// Of each event that was taken, what it adds to each budget.
    pub(super) events: BTreeMap<String, Vec<(String, i64)>>,
}

// === impl Control ===

impl Control {
    pub(super) fn new(store: &Store) -> Self {
        let meters = Arc::new(Meters::new());
        let fleet = Arc::new(Fleet::new(store.clone(), Arc::clone(&meters)));
        let leases = Leases::new(store.clone(), fleet);
        let ingest = Ingest::new(store.clone(), Tail::new(), meters);
        Self { store: store.clone(), leases, ingest, events: BTreeMap::new() }
    }

    /// The process is another one; what is stored is the same.
    pub(super) fn restart(&mut self) {
        let events = std::mem::take(&mut self.events);
        *self = Self { events, ..Self::new(&self.store) };
    }

    pub(super) async fn lease(&self, ask: LeaseAsk, now_ms: i64, now: Instant) -> LeaseGrant {
        self.leases.answer(ask, now_ms, now).await.expect("the ledger answers")
    }

    /// Of a connection that its node has given up; nobody hears the answer.
    pub(super) async fn late(&self, ask: LeaseAsk, now_ms: i64, now: Instant) {
        match self.leases.answer(ask, now_ms, now).await {
            Ok(_) => {}
            Err(status) => assert!(status.message().contains("a later message"), "{status}"),
        }
    }

    /// Returns up to which number the lane is stored.
    pub(super) async fn usage(&mut self, batch: UsageBatch) -> u64 {
        for event in &batch.events {
            let charges = event.charges.iter().map(|charge| (charge.budget.clone(), charge.nano_usd));
            self.events.entry(event.id.clone()).or_insert_with(|| charges.collect());
        }
        self.ingest.usage(batch).await.expect("usage is stored").up_to_seq
    }

    /// Puts a document where there is none, or another one; `None` deletes it.
    pub(super) async fn write(&self, kind: Kind, name: &str, document: Option<&Value>) {
        let item = StoredItem {
            kind: ItemKind::Resource(kind),
            id: format!("id-{name}"),
            name: name.to_owned(),
            revision: 0,
            document: document.map(Value::to_string).unwrap_or_default(),
            sealed: None,
            secret_facts: "{}".to_owned(),
            digest: None,
            pepper_version: 0,
            created_at_ms: LONG_AGO,
            updated_at_ms: LONG_AGO,
            owner: None,
        };
        let op = if document.is_some() { Op::Upsert } else { Op::Delete };
        let commit = Commit {
            expected: None,
            edits: vec![Edit { op, item }],
            actor: "test".to_owned(),
            summary: "a change".to_owned(),
            audit: Vec::new(),
            at_ms: LONG_AGO,
        };
        self.store.commit(commit).await.expect("a change is stored");
    }

    /// The node is one of the fleet. Ids of nodes begin with their number among all.
    pub(super) async fn admit(&self, node_id: &str, number: u32) {
        let digest = number.to_be_bytes().repeat(8);
        let token = TokenRow {
            id: format!("join_{number}"),
            digest: digest.clone(),
            sealed: None,
            labels: "{}".to_owned(),
            uses: 1,
            uses_left: 1,
            created_by: "test".to_owned(),
            created_at_ms: LONG_AGO,
            expires_at_ms: i64::MAX,
        };
        self.store.add_token(&token, audit("token")).await.expect("a token is stored");
        let candidate = Candidate {
            token_digest: digest,
            node_id: node_id.to_owned(),
            serial: format!("serial-{number}"),
            not_after_ms: i64::MAX,
            version: "1".to_owned(),
            labels: "{}".to_owned(),
            at_ms: LONG_AGO,
            abandoned_before_ms: 0,
        };
        self.store.enrol(&candidate, |_| audit("enrol")).await.expect("a member is stored");
    }

    pub(super) async fn expel(&self, node_id: &str, now_ms: i64) {
        self.store.revoke(node_id, now_ms, audit("revoke")).await.expect("a member is revoked");
    }
}

fn audit(action: &str) -> AuditRow {
    AuditRow { at_ms: LONG_AGO, actor: "test".to_owned(), action: action.to_owned(), ..AuditRow::default() }
}
