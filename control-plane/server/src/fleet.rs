//! The nodes: who is connected, what each of them runs, and what it refused. Those that are offline, or that another replica
//! speaks with, are known from the store.

mod view;
mod node;
mod shared;
mod census;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gateway_model::kind;
use gateway_store::audit::AuditRow;
use gateway_store::revisions::Committed;
use gateway_store::{Error, Store};
use gateway_wire::v1::{Ack, Class, ClassState, Heartbeat, Hello, MetricFrame, Status as AckStatus};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::meters::Meters;
use crate::task;
use node::{Connection, Node, Target, Verdict};
use shared::Stored;

pub(crate) use census::Census;
pub use view::{ClassView, Finding, Lag, NodeView, Rates, Rejection, Rollout, Spool, State};

/// Nodes shown at most.
const MAX_NODES: usize = 10_000;
/// How often what nodes said goes to the store.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// A node that only says that it is alive is written this often: other replicas count it as connected by that.
const SAVE_ALIVE_MS: i64 = 5_000;
/// How often the store is asked about nodes that somebody waits for and another replica speaks with.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A node that has been gone for so long is known from the store only.
const FORGET_MS: i64 = 60 * 60_000;
/// Longest id of a node or of its boot.
const MAX_ID: usize = 128;
/// What a node may say about itself: names and values of labels, features, its version.
const MAX_WORDS: usize = 256;
const MAX_WORD: usize = 256;

/// All nodes that are known.
#[derive(Debug)]
pub struct Fleet {
    store: Store,
    meters: Arc<Meters>,
    nodes: Mutex<HashMap<String, Node>>,
    /// Changes when a node does.
    moved: watch::Sender<u64>,
    started_at_ms: i64,
}

/// A revision that a boot of a node would not take; it is not sent to it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) epoch: String,
    pub(crate) revision: u64,
}

/// A connected node's place; leaving it is disconnecting.
#[derive(Debug)]
pub(crate) struct Seat {
    fleet: Arc<Fleet>,
    node: String,
    number: u64,
    replaced: CancellationToken,
}

/// Ids go into logs, tables and paths; ours are letters, digits and `_`.
pub(crate) fn check_id(id: &str) -> Result<(), tonic::Status> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(fits) {
        let message = format!("ids of nodes and boots must be 1 to {MAX_ID} letters, digits, `_`, `-` or `.`");
        return Err(tonic::Status::invalid_argument(message));
    }
    Ok(())
}

pub(crate) fn check_words<'w>(words: impl Iterator<Item = &'w String>) -> Result<(), tonic::Status> {
    let (n_words, longest) = words.fold((0, 0), |(n_words, longest), word| (n_words + 1, word.len().max(longest)));
    if n_words > MAX_WORDS || longest > MAX_WORD {
        let message = format!("a node may say {MAX_WORDS} labels and features of {MAX_WORD} bytes at most of itself");
        return Err(tonic::Status::invalid_argument(message));
    }
    Ok(())
}

// === impl Fleet ===

impl Fleet {
    pub fn new(store: Store, meters: Arc<Meters>) -> Self {
        Self { store, meters, nodes: Mutex::default(), moved: watch::Sender::new(0), started_at_ms: clock::unix_ms() }
    }

    /// Writes what nodes say to the store, until it is dropped. A database that is away holds nobody up.
    pub async fn run(&self) {
        let mut ticks = tokio::time::interval(SAVE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now_ms = clock::unix_ms();
            if let Err(error) = self.save(now_ms).await {
                self.meters.database_failed("fleet", &error);
                tracing::debug!(error = &error as &dyn std::error::Error, "what nodes said is not stored yet");
            }
        }
    }

    /// Nodes that are connected to this replica.
    pub(crate) fn n_connected(&self, now_ms: i64) -> usize {
        self.lock().values().filter(|node| node.is_connected(now_ms)).count()
    }

    /// The nodes of this replica, held against the newest revisions that it sends.
    pub(crate) fn census(&self, heads: Committed) -> Census {
        Census::of(self.lock().values(), clock::unix_ms(), heads)
    }

    /// A part wanted something of the database and did not get it.
    pub(crate) fn database_failed(&self, part: &'static str, error: &Error) {
        self.meters.database_failed(part, error);
    }

    /// All nodes, by id.
    pub async fn nodes(&self) -> Result<Vec<NodeView>, Error> {
        let heads = self.store.heads().await?;
        let heads = Committed { topology: heads.topology, identity: heads.identity };
        let stored = self.stored().await?;
        let now_ms = clock::unix_ms();
        let live = self.lock();
        let is_elsewhere = |id: &str| stored.get(id).is_some_and(Stored::is_connected);
        let here = live.iter().filter(|(id, node)| node.is_connected(now_ms) || !is_elsewhere(id));
        let mut nodes: BTreeMap<String, NodeView> =
            here.map(|(id, node)| (id.clone(), node.view(id, now_ms, heads))).collect();
        for (id, other) in stored {
            nodes.entry(id).or_insert_with(|| other.view(heads));
        }
        Ok(nodes.into_values().collect())
    }

    /// What all replicas have written down, by id.
    async fn stored(&self) -> Result<BTreeMap<String, Stored>, Error> {
        let rows = self.store.nodes("", MAX_NODES).await?;
        let now_ms = clock::unix_ms();
        let stored = rows.into_iter().map(|row| Stored::new(row, now_ms, self.started_at_ms));
        Ok(stored.map(|stored| (stored.id().to_owned(), stored)).collect())
    }

    /// Waits until every connected node has applied or refused these revisions of these classes, or the time is over. Without
    /// connected nodes there is nothing to wait for.
    pub async fn wait_applied(&self, revision: Committed, classes: &[kind::Class], timeout: Duration) -> Rollout {
        let deadline = Instant::now() + timeout;
        let target = Target::new(revision, classes);
        let mut moved = self.moved.subscribe();
        loop {
            moved.borrow_and_update();
            if !self.is_awaited(target) {
                let rollout = self.rollout(target).await;
                if rollout.pending.is_empty() || Instant::now() >= deadline {
                    return rollout;
                }
                // Those that are left speak with other replicas, and nothing tells when they do.
                tokio::time::sleep_until(deadline.min(Instant::now() + LOOK_EVERY)).await;
            // `self` holds the sender, so an error here is that the time is over.
            } else if tokio::time::timeout_at(deadline, moved.changed()).await.is_err() {
                return self.rollout(target).await;
            }
        }
    }

    /// The node is here. `head_epoch` tells whether what it holds can be compared with what there is.
    pub(crate) fn connect(self: &Arc<Self>, hello: &Hello, head_epoch: impl Fn(kind::Class) -> String) -> Seat {
        let now_ms = clock::unix_ms();
        let replaced = CancellationToken::new();
        let mut nodes = self.lock();
        let node = nodes.entry(hello.node_id.clone()).or_insert_with(|| Node::new(now_ms));
        if node.boot_id != hello.boot_id {
            // Another process may take what the last one would not.
            node.refused = [None, None];
            node.state = State::default();
        }
        node.version.clone_from(&hello.version);
        node.boot_id.clone_from(&hello.boot_id);
        node.labels = hello.labels.clone().into_iter().collect();
        for have in &hello.have {
            let epoch = match have.class() {
                Class::Unspecified => continue,
                Class::Topology => head_epoch(kind::Class::Topology),
                Class::Identity => head_epoch(kind::Class::Identity),
            };
            let view = node.class_mut(have.class());
            (view.revision, view.persisted) =
                if have.epoch == epoch { (have.revision, have.persisted) } else { (0, 0) };
        }
        let number = node.session.as_ref().map_or(0, |session| session.number) + 1;
        if let Some(other) = node.session.replace(Connection { number, replaced: replaced.clone(), sent: [None, None] })
        {
            other.replaced.cancel();
        }
        node.heard(now_ms);
        node.is_unsaved = true;
        drop(nodes);
        self.moved();
        Seat { fleet: Arc::clone(self), node: hello.node_id.clone(), number, replaced }
    }

    /// Figures of a node that has said `Hello`; of others they would have no place.
    pub(crate) fn frame(&self, frame: MetricFrame) {
        if let Some(node) = self.lock().get_mut(&frame.node_id) {
            node.frame(frame);
        }
    }

    /// Whether a node that is connected to this replica has yet to say what it makes of the target. Asked at each move of any node.
    fn is_awaited(&self, target: Target) -> bool {
        let now_ms = clock::unix_ms();
        self.lock().values().any(|node| node.is_connected(now_ms) && node.verdict(target) == Verdict::Pending)
    }

    async fn rollout(&self, target: Target) -> Rollout {
        // A database that is away does not change what the connected ones do.
        let stored = self.stored().await.unwrap_or_default();
        let now_ms = clock::unix_ms();
        let nodes = self.lock();
        let mut rollout = Rollout::default();
        let ids: BTreeSet<&String> = nodes.keys().chain(stored.keys()).collect();
        for id in ids {
            let here = nodes.get(id).filter(|node| node.is_connected(now_ms));
            let elsewhere = stored.get(id).filter(|other| other.is_connected());
            let (verdict, state) = match (here, elsewhere) {
                (Some(node), _) => (node.verdict(target), &node.state),
                (None, Some(other)) => (other.verdict(target), other.state()),
                (None, None) => {
                    rollout.offline.push(id.clone());
                    continue;
                }
            };
            match verdict {
                Verdict::Applied => rollout.applied.push(id.clone()),
                Verdict::Pending => rollout.pending.push(id.clone()),
                Verdict::Rejected => {
                    rollout.rejected.push(Rejection { node: id.clone(), errors: state.errors.clone() });
                }
            }
        }
        rollout
    }

    async fn save(&self, now_ms: i64) -> Result<(), Error> {
        let unsaved: Vec<_> = {
            let mut nodes = self.lock();
            let is_due =
                |node: &Node| node.is_unsaved || (node.session.is_some() && now_ms - node.saved_at_ms >= SAVE_ALIVE_MS);
            let due = nodes.iter_mut().filter(|(_, node)| is_due(node));
            due.map(|(id, node)| {
                node.is_unsaved = false;
                node.saved_at_ms = now_ms;
                shared::row(node, id)
            })
            .collect()
        };
        self.lock()
            .retain(|_, node| node.session.is_some() || node.is_unsaved || now_ms - node.last_seen_ms < FORGET_MS);
        if let Err(error) = self.store.upsert_nodes(&unsaved).await {
            let mut nodes = self.lock();
            for row in &unsaved {
                if let Some(node) = nodes.get_mut(&row.id) {
                    node.is_unsaved = true;
                }
            }
            return Err(error);
        }
        Ok(())
    }

    fn moved(&self) {
        self.moved.send_modify(|n_moves| *n_moves = n_moves.wrapping_add(1));
    }

    /// Nothing that holds it can panic half-way through a change.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Seat ===

impl Seat {
    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// Something goes to the node, whole or as a change: `delta` or `snapshot`.
    pub(crate) fn sends(&self, class: Class, form: &'static str) {
        self.fleet.meters.config_sent(class.word(), form);
        self.update(|node| {
            node.sent_mut(class).map(|sent| sent.get_or_insert_with(Instant::now));
        });
    }

    /// Cancelled when another stream speaks for the node.
    pub(crate) fn replaced(&self) -> CancellationToken {
        self.replaced.clone()
    }

    /// What this boot of the node would not take before.
    pub(crate) fn refused(&self, class: Class) -> Option<Refused> {
        self.fleet.lock().get_mut(&self.node).and_then(|node| node.refused_mut(class).clone())
    }

    pub(crate) fn applied(&self, ack: &Ack, revision: u64) {
        self.change(|node| {
            if let Some(sent) = node.sent_mut(ack.class()).and_then(Option::take) {
                self.fleet.meters.config_applied(ack.class().word(), sent.elapsed().as_secs_f64());
            }
            node.answered(ack, ack.status().word(), None);
            node.class_mut(ack.class()).revision = revision;
            *node.refused_mut(ack.class()) = None;
        });
    }

    pub(crate) fn refuses(&self, ack: &Ack, refused: Refused) {
        self.change(|node| {
            node.sent_mut(ack.class()).map(Option::take);
            node.answered(ack, ack.status().word(), Some(refused.revision));
            *node.refused_mut(ack.class()) = Some(refused);
        });
        let class = ack.class().word();
        tracing::error!(
            node = self.node,
            class,
            revision = ack.revision,
            "node refuses a revision, its old one serves on"
        );
        self.fleet.meters.config_nack(class);
        self.audit(ack);
    }

    /// Said without being asked: it is ahead of this database, or what had drifted is mended.
    pub(crate) fn told(&self, ack: &Ack) {
        self.change(|node| match ack.status() {
            AckStatus::Rejected => node.answered(ack, node::REGRESSED, Some(ack.revision)),
            _ => node.answered(ack, ack.status().word(), None),
        });
    }

    pub(crate) fn incompatible(&self, class: Class, revision: u64, missing: &[String]) {
        let error = gateway_wire::v1::ConfigError {
            code: "unsupported_yet".to_owned(),
            message: format!("the node's version does not know {}; upgrade it", missing.join(", ")),
            ..gateway_wire::v1::ConfigError::default()
        };
        let ack = Ack { class: class.into(), revision, errors: vec![error], ..Ack::default() };
        self.change(|node| node.answered(&ack, "incompatible", Some(revision)));
    }

    /// What it has of a class, of the epoch that is current here.
    pub(crate) fn holds(&self, state: &ClassState, is_ahead: bool) {
        self.update(|node| node.is_unsaved |= node.holds(state, is_ahead));
    }

    pub(crate) fn heartbeat(&self, heartbeat: Heartbeat) {
        self.update(|node| {
            let now_ms = clock::unix_ms();
            node.heard(now_ms);
            node.state.inflight = heartbeat.inflight;
            node.state.clock_offset_ms = heartbeat.clock_unix_ms.saturating_sub(now_ms);
            node.state.warnings = view::warnings(heartbeat.warnings);
            node.state.spool = heartbeat.spool.map(Spool::from).unwrap_or_default();
        });
    }

    fn change(&self, change: impl FnOnce(&mut Node)) {
        self.update(|node| {
            change(node);
            node.heard(clock::unix_ms());
            node.is_unsaved = true;
        });
        self.fleet.moved();
    }

    /// Only the newest stream of a node speaks for it.
    fn update(&self, update: impl FnOnce(&mut Node)) {
        if let Some(node) = self.fleet.lock().get_mut(&self.node)
            && node.session.as_ref().is_some_and(|session| session.number == self.number)
        {
            update(node);
        }
    }

    /// A refusal is part of the history of changes. It waits for nobody.
    fn audit(&self, ack: &Ack) {
        let findings: Vec<Finding> = ack.errors.iter().map(|error| Finding::new(ack.class().word(), error)).collect();
        let row = AuditRow {
            at_ms: clock::unix_ms(),
            actor: format!("node:{}", self.node),
            action: "reject".to_owned(),
            kind: ack.class().word().to_owned(),
            name: ack.revision.to_string(),
            after: serde_json::to_string(&findings).ok(),
            ..AuditRow::default()
        };
        let store = self.fleet.store.clone();
        task::spawn(async move {
            if let Err(error) = store.record_audit(&[row]).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "a node's refusal is not in the audit log");
            }
        });
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.update(|node| {
            node.session = None;
            node.is_unsaved = true;
        });
        self.fleet.moved();
    }
}

#[cfg(test)]
mod tests;
