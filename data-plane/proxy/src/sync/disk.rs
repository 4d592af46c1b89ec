//! Last known good: what the node needs to serve by when it starts and nobody is there. Two generations per class and a
//! journal of what changed since, all sealed. Nothing here decides what serves.
//!
//! The seal defends copies and backups of the volume; whoever can read the live node's directory has the key too, unless a
//! state key that is kept elsewhere goes into it.

mod folder;
mod queue;
mod names;
mod read;
mod files;
mod writer;
mod seed;

#[cfg(test)]
pub(crate) mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use gateway_model::secret::Secret;
use gateway_wire::seal::{Key, Purpose};
use gateway_wire::v1::{Class, Item};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::task;
use files::Files;
use folder::{Directory, Folder};
use names::Names;
use queue::Queue;
use read::Source;
use writer::Writer;

pub(crate) use queue::{Record, Whole};
pub(crate) use seed::seed;

/// What a node is to keep, and where.
pub struct Keep {
    /// The node's data directory.
    pub dir: PathBuf,
    /// Goes into the key beside the one in the data directory; needed for a seed.
    pub state_key: Option<Secret>,
    /// A sealed configuration, for the first start only.
    pub seed: Option<PathBuf>,
}

/// What is safe of one class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) epoch: String,
    pub(crate) revision: u64,
    /// The number of the last record that is safe, or that the disk did not take.
    pub(crate) up_to: u64,
    /// A [`Record::Whole`] is asked for.
    pub(crate) wants_whole: bool,
    pub(crate) failure: Option<String>,
}

/// What was on disk of one class.
pub(crate) struct Found {
    pub(crate) class: Class,
    pub(crate) epoch: String,
    pub(crate) revision: u64,
    pub(crate) items: Vec<Item>,
    /// When a control plane had last confirmed it, in Unix milliseconds.
    pub(crate) confirmed_unix_ms: Option<i64>,
}

/// Everything that was found at a start.
#[derive(Default)]
pub(crate) struct Shelf {
    pub(crate) found: Vec<Found>,
    /// One sentence for each file that could not be used.
    pub(crate) damage: Vec<String>,
}

/// Takes what is to be kept and tells what is safe. Never waits for the disk.
pub(crate) struct Keeper {
    queues: [Arc<Queue>; 2],
    kept: watch::Receiver<[Kept; 2]>,
    writers: Vec<JoinHandle<()>>,
}

pub(crate) const CLASSES: [Class; 2] = [Class::Topology, Class::Identity];

// === impl Keeper ===

impl Keeper {
    /// Reads what is on disk, both classes at the same time, and goes on from there. A disk that cannot be used is no error:
    /// it is told by [`Kept::failure`] with the first thing to keep.
    pub(crate) async fn open(keep: &Keep) -> (Self, Shelf) {
        let directory = Directory::open(&keep.dir);
        let state_key = keep.state_key.as_ref().map(|secret| secret.expose().as_bytes());
        let parts: Vec<&[u8]> = std::iter::once(&directory.key()[..]).chain(state_key).collect();
        let key = Key::derive(&parts, Purpose::NodeState);
        Self::over(Arc::new(directory), key, None).await
    }

    /// `compact_at`: bytes of a journal; `None` is what is usual.
    pub(crate) async fn over(folder: Arc<dyn Folder>, key: Key, compact_at: Option<usize>) -> (Self, Shelf) {
        let key = Arc::new(key);
        let kept = watch::Sender::new(<[Kept; 2]>::default());
        let opening = CLASSES.map(|class| {
            let source = Source { folder: Arc::clone(&folder), key: Arc::clone(&key), class };
            tokio::task::spawn_blocking(move || {
                let confirmed_unix_ms = source.folder.touched(&Names::of(class).journals[0]);
                (Files::open(source), confirmed_unix_ms)
            })
        });
        let (mut shelf, mut writers) = (Shelf::default(), Vec::new());
        let queues = <[Arc<Queue>; 2]>::default();
        for (class, opening) in CLASSES.into_iter().zip(opening) {
            let ((files, content, damage), confirmed_unix_ms) = opening.await.expect("reading files does not panic");
            kept.send_modify(|kept| kept[index(class)] = Kept::of(&files, content.is_some()));
            if content.as_ref().is_some_and(|content| content.is_torn) {
                tracing::info!("the journal of {} ended within a record, which is cut off", class.word());
            }
            shelf.damage.extend(damage);
            shelf.found.extend(content.map(|content| Found {
                class,
                epoch: content.epoch,
                revision: content.revision,
                items: content.items,
                confirmed_unix_ms,
            }));
            let writer = Writer::new(class, Arc::clone(&queues[index(class)]), kept.clone(), compact_at);
            writers.push(task::spawn_job(writer.run(files)));
        }
        (Self { queues, kept: kept.subscribe(), writers }, shelf)
    }

    /// To be kept, after all that was given before. Returns the number under which [`Kept::up_to`] will reach it.
    pub(crate) fn keep(&self, class: Class, record: Record) -> u64 {
        self.queues[index(class)].put(record)
    }

    /// A control plane has said that what is kept is the newest.
    pub(crate) fn confirmed(&self, unix_ms: i64) {
        self.queues.iter().for_each(|queue| queue.touch(unix_ms));
    }

    pub(crate) fn kept(&self, class: Class) -> Kept {
        self.kept.borrow()[index(class)].clone()
    }

    /// Changes with everything that becomes safe or does not.
    pub(crate) fn watch(&self) -> watch::Receiver<[Kept; 2]> {
        self.kept.clone()
    }

    /// Returns when everything is on disk that the disk takes.
    pub(crate) async fn close(mut self) {
        self.queues.iter().for_each(|queue| queue.close());
        for writer in std::mem::take(&mut self.writers) {
            // A panic in the job was reported by it.
            let _ = writer.await;
        }
    }
}

impl Drop for Keeper {
    /// The writers end when they have written what waits.
    fn drop(&mut self) {
        self.queues.iter().for_each(|queue| queue.close());
    }
}

// === impl Kept ===

impl Kept {
    fn of(files: &Files, was_found: bool) -> Self {
        match files.kept() {
            Some((epoch, revision)) => Self { epoch: epoch.to_owned(), revision, ..Self::default() },
            None => Self { wants_whole: was_found, ..Self::default() },
        }
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.failure.is_some()
    }

    /// Highest revision of this epoch that is safe.
    pub(crate) fn revision_in(&self, epoch: &str) -> u64 {
        if self.epoch == epoch { self.revision } else { 0 }
    }
}

pub(crate) fn index(class: Class) -> usize {
    usize::from(class != Class::Topology)
}
