//! What the nodes are to run, in memory: the newest revision of each class, ready to be sent as changes or as a whole.
//!
//! It follows its source, told by a hint and in any case every second, and waits for nobody: a node takes what it needs when
//! it can, and what came in between is merged into one change. Neither class waits for the other.

mod item;
mod line;
mod snapshot;
mod source;
mod published;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gateway_model::kind::Class;
use gateway_store::Heads;
use gateway_wire::seal::Configuration;
use gateway_wire::v1::{Bookmark, Delta, Repair};
use prost::Message as _;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, MissedTickBehavior};

use crate::vault::Vault;
use published::{Pace, Published};

pub(crate) use snapshot::Snapshot;
pub use source::{Read, Source};

/// The source is asked this often, whether it gave a hint or not.
const POLL: Duration = Duration::from_secs(1);
/// Edits that come within this time go out as one. Revocations do not wait.
const COALESCE: Duration = Duration::from_millis(25);
/// A node that needs older changes than memory has waits this long for the source; then it gets a snapshot.
const PATIENCE: Duration = Duration::from_secs(2);
/// More than this is sent as a snapshot, which is compressed and cut into pieces. What waits for a node that takes nothing is
/// a few of these (see `sync::OUTBOUND`).
const MAX_DELTA_ITEMS: usize = 10_000;
const MAX_DELTA_BYTES: usize = 1 << 20;

/// Both classes, and who wants to know when they move.
pub struct Publisher {
    source: Arc<dyn Source>,
    topology: Published,
    identity: Published,
    /// Wakes in the order in which they came, so that a simulation can repeat itself.
    news: Notify,
}

/// Where a class is, as a session needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) epoch: String,
    pub(crate) revision: u64,
    /// Kinds of items in it.
    pub(crate) kinds: Vec<String>,
}

// === impl Publisher ===

impl Publisher {
    /// Reads everything. Fails if the source does, or if the secrets of the topology cannot be opened.
    pub async fn start(source: impl Source, vault: Arc<Vault>) -> anyhow::Result<Self> {
        let topology = Published::load(&source, Arc::clone(&vault), Class::Topology).await?;
        let identity = Published::load(&source, vault, Class::Identity).await?;
        Ok(Self { source: Arc::new(source), topology, identity, news: Notify::new() })
    }

    /// Follows the source until it is dropped. One that is away is asked again; what is in memory is served meanwhile.
    pub async fn run(&self) {
        let mut hint = self.source.watch();
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut announce_at: Option<Instant> = None;
        let mut is_behind = false;
        loop {
            let due = announce_at.unwrap_or_else(Instant::now);
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(due), if announce_at.is_some() => {
                    announce_at = None;
                    self.news.notify_waiters();
                    continue;
                }
                // The source that gives hints is our own, so it is never gone.
                Ok(()) = hint.changed() => drop(hint.borrow_and_update()),
                _ = poll.tick() => {}
            }
            let mut gathers = false;
            let advanced = self.advance(&mut gathers).await;
            if let Err(error) = &advanced
                && !is_behind
            {
                tracing::error!("nodes do not get what is new until this is mended: {error:#}");
            }
            is_behind = advanced.is_err();
            if gathers {
                announce_at.get_or_insert_with(|| Instant::now() + COALESCE);
            }
        }
    }

    /// Returns at the next news after it was first polled or enabled. [`Publisher::head`] says what there is.
    pub(crate) fn news(&self) -> Notified<'_> {
        self.news.notified()
    }

    pub(crate) fn head(&self, class: Class) -> Head {
        self.class(class).head()
    }

    /// The newest revision of a class here, and how often there was a new one since the start.
    pub(crate) fn told(&self, class: Class) -> (u64, u64) {
        self.class(class).told()
    }

    /// Everything from `from` to the newest revision in one change. `None` where a snapshot is the better way, or the only one.
    pub(crate) async fn delta(&self, class: Class, from: u64) -> Option<Delta> {
        let published = self.class(class);
        let (epoch, log_from) = published.remembers();
        let earlier = if from < log_from {
            let asked = published.changed_between(&*self.source, &epoch, from, log_from, MAX_DELTA_ITEMS);
            match tokio::time::timeout(PATIENCE, asked).await {
                Ok(Ok(Some(earlier))) => earlier,
                Ok(Ok(None)) => return None,
                // A database that is away must not keep from the nodes what is in memory.
                Ok(Err(error)) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "a node gets a snapshot instead of a change"
                    );
                    return None;
                }
                Err(_) => return None,
            }
        } else {
            BTreeSet::new()
        };
        let delta = published.delta(&epoch, from, log_from, earlier)?;
        let n_items = delta.upsert.len() + delta.removed.len();
        (n_items <= MAX_DELTA_ITEMS && delta.encoded_len() <= MAX_DELTA_BYTES).then_some(delta)
    }

    /// The whole class at its newest revision; encoded once per revision, whoever asks.
    pub(crate) async fn snapshot(&self, class: Class) -> anyhow::Result<Arc<Snapshot>> {
        self.class(class).snapshot().await
    }

    pub(crate) fn bookmark(&self, class: Class) -> Bookmark {
        self.class(class).bookmark()
    }

    /// Where the source itself is, and not only what is in memory here; `None` if it does not say. What a node has and this
    /// replica does not know may come from a replica that is faster.
    pub(crate) async fn newest(&self) -> Option<Heads> {
        let heads = tokio::time::timeout(PATIENCE, self.source.heads()).await;
        heads.ok().and_then(Result::ok)
    }

    /// `None` where the node is not at the newest revision, or differs in too much for one message.
    pub(crate) fn repair(&self, class: Class, revision: u64, bucket_hashes: &[u8]) -> Option<Repair> {
        let repair = self.class(class).repair(revision, bucket_hashes)?;
        (repair.encoded_len() <= MAX_DELTA_BYTES).then_some(repair)
    }

    /// Everything that nodes serve by, as the source has it now. Secrets are in it: whoever calls this seals it.
    pub(crate) async fn configuration(&self) -> anyhow::Result<Configuration> {
        let (mut epoch, mut topology) = self.topology.read(&*self.source).await?;
        loop {
            let (epoch_now, identity) = self.identity.read(&*self.source).await?;
            if epoch_now == epoch {
                return Ok(Configuration { epoch, topology, identity });
            }
            // A new epoch has begun in between, which people do once in a while.
            (epoch, topology) = self.topology.read(&*self.source).await?;
        }
    }

    fn class(&self, class: Class) -> &Published {
        match class {
            Class::Topology => &self.topology,
            Class::Identity => &self.identity,
        }
    }

    /// Takes over what the source has. What is urgent is announced at once; `gathers` becomes true where something else is new.
    /// Identity goes first, and neither class holds back the other: the first error is returned at the end.
    async fn advance(&self, gathers: &mut bool) -> anyhow::Result<()> {
        let heads = self.source.heads().await?;
        let mut outcome = Ok(());
        for published in [&self.identity, &self.topology] {
            let mut pace = Pace::Unmoved;
            let advanced = published.advance(&*self.source, &heads, &mut pace).await;
            if pace != Pace::Unmoved {
                published.moved();
            }
            match pace {
                Pace::Unmoved => {}
                Pace::Gathering => *gathers = true,
                Pace::Urgent => self.news.notify_waiters(),
            }
            outcome = outcome.and(advanced);
        }
        outcome
    }
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (topology, identity) = (self.topology.head(), self.identity.head());
        f.debug_struct("Publisher").field("topology", &topology).field("identity", &identity).finish_non_exhaustive()
    }
}
