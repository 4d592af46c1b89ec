//! One class as it is published, and how it follows the source: by its log where that is whole, else by reading everything.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use gateway_model::kind::Class;
use gateway_store::revisions::{Change, Op};
use gateway_store::{Error, Heads};
use gateway_wire::seal::Part;
use gateway_wire::v1::{Bookmark, Delta, Repair};

use super::line::{Edit, Key, Line};
use super::{Head, Snapshot, Source, item};
use crate::vault::Vault;

/// Revisions read from the source at a time.
const PAGE: u64 = 1000;
/// Items of a revision that are compared with those of the log.
const MAX_COMPARED: usize = 1000;
/// Encoding up to this many items takes less than handing it to another thread is worth.
const FEW_ITEMS: usize = 256;

pub(super) struct Published {
    class: Class,
    vault: Arc<Vault>,
    line: Mutex<Line>,
    /// Times that there was something new.
    n_times: AtomicU64,
    /// As last heard; only told.
    min_resumable: AtomicU64,
    /// The newest snapshot that anybody asked for. The lock makes others wait for the one who encodes it.
    snapshot: tokio::sync::Mutex<Option<Arc<Snapshot>>>,
}

/// Whether what is new may wait for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pace {
    Unmoved,
    Gathering,
    Urgent,
}

// === impl Published ===

impl Published {
    pub(super) async fn load(source: &dyn Source, vault: Arc<Vault>, class: Class) -> anyhow::Result<Self> {
        let line = Mutex::new(load(source, &vault, class).await?);
        let min_resumable = AtomicU64::new(source.min_resumable(class).await?);
        Ok(Self {
            class,
            vault,
            line,
            n_times: AtomicU64::new(0),
            min_resumable,
            snapshot: tokio::sync::Mutex::default(),
        })
    }

    /// All of it and its epoch, as the source has it now, whatever memory has.
    pub(super) async fn read(&self, source: &dyn Source) -> anyhow::Result<(String, Part)> {
        let snapshot = source.snapshot(self.class).await?;
        let items = snapshot.items.iter().filter(|stored| item::is_for_nodes(stored.kind));
        let items = items.map(|stored| item::item(stored, &self.vault)).collect::<Result<_, _>>()?;
        Ok((snapshot.epoch, Part { revision: snapshot.revision, items }))
    }

    pub(super) fn head(&self) -> Head {
        let line = self.line();
        let kinds = line.kinds().map(str::to_owned).collect();
        Head { epoch: line.epoch.clone(), revision: line.revision, kinds }
    }

    /// The newest revision here, and how often there was one since the start.
    pub(super) fn told(&self) -> (u64, u64) {
        (self.line().revision, self.n_times.load(Ordering::Relaxed))
    }

    /// There was something new.
    pub(super) fn moved(&self) {
        self.n_times.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes over what the source has. `pace` says how far that is news, also where only a part of it could be taken.
    pub(super) async fn advance(&self, source: &dyn Source, heads: &Heads, pace: &mut Pace) -> anyhow::Result<()> {
        let (epoch, mut revision) = self.at();
        let target = heads.of(self.class);
        if heads.epoch == epoch && target == revision {
            return Ok(());
        }
        if heads.epoch != epoch || target < revision {
            if heads.epoch == epoch {
                tracing::error!(
                    "the database is at revision {target} of {}, this process has seen {revision}: it was restored from an \
                     older copy",
                    self.class.name()
                );
            }
            return self.reload(source, pace).await;
        }
        while revision < target {
            let Some(changes) = self.page(source, heads, revision).await? else {
                return self.reload(source, pace).await;
            };
            revision = self.take_over(&changes, pace)?;
        }
        Ok(())
    }

    /// The next changes after `revision`, which is where the line is. `None` where the log does not lead on from there: it is
    /// cut off, or it tells of another past than ours.
    async fn page(&self, source: &dyn Source, heads: &Heads, revision: u64) -> anyhow::Result<Option<Vec<Change>>> {
        // One more than is needed: the revision that we are at must be the one that the log means. Not where that was a whole
        // import: what comes next, perhaps a revocation, would wait until all of it was read again.
        let n_before = u64::from(self.line().n_touched() <= MAX_COMPARED);
        let mut changes = source.changes(self.class, revision.saturating_sub(n_before), PAGE).await?;
        if !self.is_whole(source, &heads.epoch, revision, heads.of(self.class)).await? {
            return Ok(None);
        }
        let later = changes.split_off(changes.partition_point(|change| change.revision <= revision));
        let ours = changes.iter().map(|change| self.edit(change)).collect::<Result<Vec<_>, _>>()?;
        if !self.line().agrees(&ours) {
            tracing::error!(
                "the database has another revision {revision} of {} than this process has seen: it was restored from an older \
                 copy and went another way; start a new epoch",
                self.class.name()
            );
            return Ok(None);
        }
        // Revisions have no gaps, so there are some.
        Ok((!later.is_empty()).then_some(later))
    }

    /// Whether what was just read of the log, after `from` and up to `to`, is all there was: neither was it cut meanwhile, nor
    /// has the database become another one.
    async fn is_whole(&self, source: &dyn Source, epoch: &str, from: u64, to: u64) -> Result<bool, Error> {
        let min_resumable = source.min_resumable(self.class).await?;
        self.min_resumable.store(min_resumable, Ordering::Relaxed);
        let heads = source.heads().await?;
        Ok(min_resumable <= from && heads.epoch == epoch && heads.of(self.class) >= to)
    }

    /// Revision by revision, because that is how the log is cut. Returns where the line is then.
    fn take_over(&self, changes: &[Change], pace: &mut Pace) -> anyhow::Result<u64> {
        let mut edits = changes.iter().map(|change| self.edit(change)).collect::<Result<Vec<_>, _>>()?.into_iter();
        let mut line = self.line();
        for of_revision in changes.chunk_by(|one, other| one.revision == other.revision) {
            let is_urgent = line.advance(of_revision[0].revision, edits.by_ref().take(of_revision.len()));
            *pace = (*pace).max(if is_urgent { Pace::Urgent } else { Pace::Gathering });
        }
        Ok(line.revision)
    }

    async fn reload(&self, source: &dyn Source, pace: &mut Pace) -> anyhow::Result<()> {
        let line = load(source, &self.vault, self.class).await?;
        *self.line() = line;
        *pace = Pace::Urgent;
        Ok(())
    }

    fn edit(&self, change: &Change) -> Result<Edit, item::Unsendable> {
        Ok(match change.op {
            Op::Upsert if item::is_for_nodes(change.item.kind) => {
                Edit::Upsert(Arc::new(item::item(&change.item, &self.vault)?))
            }
            // What is not for nodes is not there for them.
            Op::Upsert | Op::Delete => Edit::Delete((change.item.kind.name().to_owned(), change.item.id.clone())),
        })
    }

    /// The epoch, and the revision from which on memory knows what changed.
    pub(super) fn remembers(&self) -> (String, u64) {
        let line = self.line();
        (line.epoch.clone(), line.log_from())
    }

    /// What changed after `from`, up to `to`, by the source's log; `None` if that is more than `max` items or not known any more.
    pub(super) async fn changed_between(
        &self,
        source: &dyn Source,
        epoch: &str,
        from: u64,
        to: u64,
        max: usize,
    ) -> Result<Option<BTreeSet<Key>>, Error> {
        let (mut keys, mut after) = (BTreeSet::new(), from);
        while after < to && keys.len() <= max {
            for change in source.changes(self.class, after, PAGE.min(to - after)).await? {
                keys.insert((change.item.kind.name().to_owned(), change.item.id));
            }
            after += PAGE.min(to - after);
        }
        Ok((keys.len() <= max && self.is_whole(source, epoch, from, to).await?).then_some(keys))
    }

    /// From `from` to the newest revision, if memory still begins at `log_from` of `epoch`.
    pub(super) fn delta(&self, epoch: &str, from: u64, log_from: u64, earlier: BTreeSet<Key>) -> Option<Delta> {
        let line = self.line();
        let moved = line.epoch != epoch || (from < log_from && line.log_from() != log_from);
        // Without earlier changes it is enough that memory reaches back to `from`.
        let reaches = from >= line.log_from() || from < log_from;
        (!moved && reaches && from < line.revision).then(|| line.delta(from, earlier))
    }

    pub(super) async fn snapshot(&self) -> anyhow::Result<Arc<Snapshot>> {
        let mut cached = self.snapshot.lock().await;
        let frozen = {
            let line = self.line();
            if let Some(snapshot) = &*cached
                && snapshot.is_of(&line)
            {
                return Ok(Arc::clone(snapshot));
            }
            line.freeze()
        };
        let encoded = if frozen.items.len() <= FEW_ITEMS {
            Snapshot::encode(frozen)
        } else {
            tokio::task::spawn_blocking(move || Snapshot::encode(frozen)).await.context("encoding a snapshot")?
        };
        let snapshot = Arc::new(encoded.context("encoding a snapshot")?);
        *cached = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }

    pub(super) fn bookmark(&self) -> Bookmark {
        self.line().bookmark(self.min_resumable.load(Ordering::Relaxed))
    }

    pub(super) fn repair(&self, revision: u64, bucket_hashes: &[u8]) -> Option<Repair> {
        self.line().repair(revision, bucket_hashes)
    }

    fn at(&self) -> (String, u64) {
        let line = self.line();
        (line.epoch.clone(), line.revision)
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn load(source: &dyn Source, vault: &Vault, class: Class) -> anyhow::Result<Line> {
    let snapshot = source.snapshot(class).await?;
    let mut items = Vec::with_capacity(snapshot.items.len());
    for stored in snapshot.items.iter().filter(|stored| item::is_for_nodes(stored.kind)) {
        items.push(item::item(stored, vault)?);
    }
    Ok(Line::new(item::class(class), snapshot.epoch, snapshot.revision, items))
}
