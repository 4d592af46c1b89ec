//! What the nodes are to run, in memory: the newest revision of each class, ready to be sent as changes or as a whole.
//!
//! It follows the store, told by a hint and in any case every second, and waits for nobody: a node takes what it needs when it
//! can, and what came in between is merged into one change.

mod item;
mod line;
mod snapshot;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use gateway_model::kind::Class;
use gateway_store::revisions::{Change, Op};
use gateway_store::{Heads, Store};
use gateway_wire::v1::item::Body;
use gateway_wire::v1::{self, Bookmark, Delta, Repair};
use prost::Message as _;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use crate::vault::Vault;
use line::{Edit, Key, Line};

pub(crate) use snapshot::Snapshot;

/// The store is asked this often, whether it gave a hint or not.
const POLL: Duration = Duration::from_secs(1);
/// Edits that come within this time go out as one. Revocations do not wait.
const COALESCE: Duration = Duration::from_millis(25);
/// Revisions read from the store at a time.
const PAGE: u64 = 1000;
/// More than this is sent as a snapshot, which is compressed and cut into pieces.
const MAX_DELTA_ITEMS: usize = 10_000;
const MAX_DELTA_BYTES: usize = 2 << 20;

/// Both classes, and who wants to know when they move.
pub struct Publisher {
    store: Store,
    vault: Arc<Vault>,
    topology: Published,
    identity: Published,
    announced: watch::Sender<Heads>,
}

/// One class.
struct Published {
    class: Class,
    line: Mutex<Line>,
    /// The newest snapshot that anybody asked for. The lock makes others wait for the one who encodes it.
    snapshot: tokio::sync::Mutex<Option<Arc<Snapshot>>>,
}

/// Where a class is, as a session needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) epoch: String,
    pub(crate) revision: u64,
    /// Kinds of items in it.
    pub(crate) kinds: Vec<String>,
}

/// Whether a change may wait for others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    Unmoved,
    Gathering,
    Urgent,
}

// === impl Publisher ===

impl Publisher {
    /// Reads everything. Fails if the database does, or if its secrets cannot be opened.
    pub async fn start(store: Store, vault: Arc<Vault>) -> anyhow::Result<Self> {
        let topology = Published::load(&store, &vault, Class::Topology).await?;
        let identity = Published::load(&store, &vault, Class::Identity).await?;
        let heads = heads(&topology, &identity);
        Ok(Self { store, vault, topology, identity, announced: watch::Sender::new(heads) })
    }

    /// Follows the store until it is dropped. A database that is away is asked again; what is in memory is served meanwhile.
    pub async fn run(&self) {
        let mut hint = self.store.watch();
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut announce_at: Option<Instant> = None;
        let mut is_behind = false;
        loop {
            let due = announce_at.unwrap_or_else(Instant::now);
            tokio::select! {
                // The store that gives hints is our own, so it is never gone.
                Ok(()) = hint.changed() => drop(hint.borrow_and_update()),
                _ = poll.tick() => {}
                () = tokio::time::sleep_until(due), if announce_at.is_some() => {}
            }
            let advanced = self.advance().await;
            if let Err(error) = &advanced
                && !is_behind
            {
                tracing::error!("nodes do not get what is new until this is mended: {error:#}");
            }
            is_behind = advanced.is_err();
            let pace = advanced.unwrap_or(Pace::Unmoved);
            if pace == Pace::Gathering {
                announce_at.get_or_insert_with(|| Instant::now() + COALESCE);
            }
            if pace == Pace::Urgent || announce_at.is_some_and(|at| at <= Instant::now()) {
                announce_at = None;
                self.announced.send_replace(heads(&self.topology, &self.identity));
            }
        }
    }

    /// Changes whenever there is something new to send. The values are a hint; [`Publisher::head`] is the truth.
    pub(crate) fn announced(&self) -> watch::Receiver<Heads> {
        self.announced.subscribe()
    }

    pub(crate) fn head(&self, class: Class) -> Head {
        let line = self.class(class).line();
        let kinds = line.kinds().map(str::to_owned).collect();
        Head { epoch: line.epoch.clone(), revision: line.revision, kinds }
    }

    /// Everything from `from` to the newest revision in one change. `None` where a snapshot is the better way, or the only one.
    pub(crate) async fn delta(&self, class: Class, from: u64) -> anyhow::Result<Option<Delta>> {
        let published = self.class(class);
        let log_from = published.line().log_from();
        let earlier = if from < log_from {
            match self.changed_between(class, from, log_from).await? {
                Some(earlier) => earlier,
                None => return Ok(None),
            }
        } else {
            BTreeSet::new()
        };
        let line = published.line();
        if from >= line.revision || (from < line.log_from() && line.log_from() != log_from) {
            // It moved while the store was asked.
            return Ok(None);
        }
        let delta = line.delta(from, earlier);
        let n_items = delta.upsert.len() + delta.removed.len();
        Ok((n_items <= MAX_DELTA_ITEMS && delta.encoded_len() <= MAX_DELTA_BYTES).then_some(delta))
    }

    /// The whole class at its newest revision; encoded once per revision, whoever asks.
    pub(crate) async fn snapshot(&self, class: Class) -> anyhow::Result<Arc<Snapshot>> {
        let published = self.class(class);
        let mut cached = published.snapshot.lock().await;
        let frozen = {
            let line = published.line();
            if let Some(snapshot) = &*cached
                && snapshot.revision == line.revision
                && snapshot.epoch == line.epoch
            {
                return Ok(Arc::clone(snapshot));
            }
            line.freeze()
        };
        let encoded = tokio::task::spawn_blocking(move || Snapshot::encode(frozen)).await;
        let snapshot = Arc::new(encoded.context("encoding a snapshot")?.context("encoding a snapshot")?);
        *cached = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }

    pub(crate) async fn bookmark(&self, class: Class) -> Bookmark {
        // Only told; a database that is away need not keep the hash from the nodes.
        let min_resumable = self.store.min_resumable(class).await.unwrap_or_default();
        self.class(class).line().bookmark(min_resumable)
    }

    /// `None` where the node is not at the newest revision, or differs in too much for one message.
    pub(crate) fn repair(&self, class: Class, revision: u64, bucket_hashes: &[u8]) -> Option<Repair> {
        let repair = self.class(class).line().repair(revision, bucket_hashes)?;
        (repair.encoded_len() <= MAX_DELTA_BYTES).then_some(repair)
    }

    fn class(&self, class: Class) -> &Published {
        match class {
            Class::Topology => &self.topology,
            Class::Identity => &self.identity,
        }
    }

    /// Takes over what the store has.
    async fn advance(&self) -> anyhow::Result<Pace> {
        let heads = self.store.heads().await?;
        let mut pace = Pace::Unmoved;
        for published in [&self.topology, &self.identity] {
            let moved = published.advance(&self.store, &self.vault, &heads).await?;
            if pace != Pace::Urgent && moved != Pace::Unmoved {
                pace = moved;
            }
        }
        Ok(pace)
    }

    /// What changed after `from`, up to `to`, by the store's log; `None` if that is too much or not known any more.
    async fn changed_between(&self, class: Class, from: u64, to: u64) -> anyhow::Result<Option<BTreeSet<Key>>> {
        if from < self.store.min_resumable(class).await? {
            return Ok(None);
        }
        let (mut keys, mut after) = (BTreeSet::new(), from);
        while after < to && keys.len() <= MAX_DELTA_ITEMS {
            for change in self.store.changes(class, after, PAGE.min(to - after)).await? {
                keys.insert((change.item.kind.name().to_owned(), change.item.id));
            }
            after += PAGE.min(to - after);
        }
        Ok((keys.len() <= MAX_DELTA_ITEMS).then_some(keys))
    }
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").field("heads", &*self.announced.borrow()).finish_non_exhaustive()
    }
}

// === impl Published ===

impl Published {
    async fn load(store: &Store, vault: &Vault, class: Class) -> anyhow::Result<Self> {
        let line = Mutex::new(load(store, vault, class).await?);
        Ok(Self { class, line, snapshot: tokio::sync::Mutex::default() })
    }

    async fn advance(&self, store: &Store, vault: &Vault, heads: &Heads) -> anyhow::Result<Pace> {
        let (epoch, mut revision) = {
            let line = self.line();
            (line.epoch.clone(), line.revision)
        };
        let target = heads.of(self.class);
        if heads.epoch == epoch && target == revision {
            return Ok(Pace::Unmoved);
        }
        if heads.epoch != epoch || target < revision || revision < store.min_resumable(self.class).await? {
            if heads.epoch == epoch && target < revision {
                tracing::error!(
                    "the database is at revision {target} of {}, this process has seen {revision}: it was restored from an \
                     older copy",
                    self.class.name()
                );
            }
            let line = load(store, vault, self.class).await?;
            *self.line() = line;
            return Ok(Pace::Urgent);
        }
        let mut pace = Pace::Gathering;
        while revision < target {
            let changes = store.changes(self.class, revision, PAGE).await?;
            let newest = changes.last().map_or(target, |change| change.revision);
            let mut edits = Vec::with_capacity(changes.len());
            for change in &changes {
                edits.push(edit(change, vault)?);
            }
            if edits.iter().any(is_urgent) {
                pace = Pace::Urgent;
            }
            self.take_over(&changes, edits, newest);
            revision = newest;
        }
        Ok(pace)
    }

    /// Revision by revision, because that is how the log is cut.
    fn take_over(&self, changes: &[Change], edits: Vec<Edit>, newest: u64) {
        let mut line = self.line();
        let mut edits = edits.into_iter();
        for of_revision in changes.chunk_by(|one, other| one.revision == other.revision) {
            line.advance(of_revision[0].revision, edits.by_ref().take(of_revision.len()));
        }
        line.revision = newest;
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn load(store: &Store, vault: &Vault, class: Class) -> anyhow::Result<Line> {
    let snapshot = store.snapshot(class).await?;
    let mut items = Vec::with_capacity(snapshot.items.len());
    for stored in &snapshot.items {
        items.push(item::item(stored, vault)?);
    }
    Ok(Line::new(item::class(class), snapshot.epoch, snapshot.revision, items))
}

fn edit(change: &Change, vault: &Vault) -> anyhow::Result<Edit> {
    Ok(match change.op {
        Op::Upsert => Edit::Upsert(Arc::new(item::item(&change.item, vault)?)),
        Op::Delete => Edit::Delete((change.item.kind.name().to_owned(), change.item.id.clone())),
    })
}

/// Takes something away from somebody.
fn is_urgent(edit: &Edit) -> bool {
    match edit {
        Edit::Delete((kind, _)) => kind == gateway_wire::KEY_KIND,
        Edit::Upsert(item) => matches!(&item.body, Some(Body::Key(v1::Key { enabled: false, .. }))),
    }
}

fn heads(topology: &Published, identity: &Published) -> Heads {
    let epoch = topology.line().epoch.clone();
    let (topology, identity) = (topology.line().revision, identity.line().revision);
    Heads { epoch, topology, identity }
}
