//! Batches at providers that are not over, kept by the node through which they were made until their cost is counted: whoever asks
//! for them tells it, and where nobody does the node looks by itself, in the beginning often, then ever more rarely.
//!
//! A file for each below the state directory, so that a node that comes back goes on looking. How long to wait follows from a
//! batch's age, which is all that has to be kept.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

use crate::warnings::Warnings;
use crate::{clock, private_file};

/// A batch that was made or that ended longer ago is not settled: records are kept for longer, so that none is ever taken for new
/// again. Vendors keep a batch's answers no longer either.
pub(super) const MAX_AGE_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// Batches of a node. Of more, those are counted that somebody asks for.
const MAX_OPEN: usize = 4096;
/// An old batch is looked at as often as this.
const LONGEST: Duration = Duration::from_secs(60 * 60);
/// The part of its age that a batch is left alone for.
const PART: u32 = 4;
/// How long to wait where there is nothing to look at, or nobody wants it.
pub(super) const IDLE: Duration = Duration::from_secs(60);

/// What a node has to look at.
pub(super) struct Watch {
    /// `None` where the node has no disk, or none that takes it.
    folder: Option<PathBuf>,
    open: Mutex<HashMap<String, Watched>>,
    pub(super) changed: Notify,
}

/// One batch, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Open {
    /// The provider, with the key that made it.
    pub(super) account: String,
    /// The vendor's own.
    pub(super) id: String,
    /// The id of the key that asked for it.
    pub(super) owner: String,
    /// Unix milliseconds, as [`Watched::next_ms`].
    pub(super) made_ms: i64,
}

struct Watched {
    batch: Open,
    next_ms: i64,
}

// === impl Watch ===

impl Watch {
    /// What it goes on looking at; without a disk that takes it, until the node ends.
    pub(super) fn below(data_dir: Option<&Path>, warnings: &Warnings) -> Self {
        let opened = data_dir.map(|dir| Self::open(dir.join("watched"), clock::unix_ms()));
        opened.unwrap_or_else(|| Ok(Self::forgetful())).unwrap_or_else(|error| {
            let text =
                format!("batches at providers are looked at until a restart, their folder cannot be used: {error}");
            tracing::warn!("{text}");
            warnings.set("watched", text);
            Self::forgetful()
        })
    }

    /// Reads what is there, and makes the folder where it is not. What cannot be read is left out.
    fn open(folder: PathBuf, now_ms: i64) -> io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let mut open = HashMap::new();
        for entry in std::fs::read_dir(&folder)?.take(2 * MAX_OPEN) {
            let path = entry?.path();
            let read = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Open>(&text).ok());
            match read.filter(|batch| now_ms.saturating_sub(batch.made_ms) <= MAX_AGE_MS && open.len() < MAX_OPEN) {
                // Long enough away for it to be over, maybe.
                Some(batch) => drop(open.insert(batch.name(), Watched { batch, next_ms: now_ms })),
                None => std::fs::remove_file(&path)?,
            }
        }
        Ok(Self { folder: Some(folder), open: Mutex::new(open), changed: Notify::new() })
    }

    /// In memory alone.
    fn forgetful() -> Self {
        Self { folder: None, open: Mutex::default(), changed: Notify::new() }
    }

    /// From now on it is looked at. Returns once the disk has it, where there is one.
    pub(super) async fn add(&self, batch: Open, first: Duration) {
        let (name, next_ms) = (batch.name(), after(batch.made_ms, clock::unix_ms(), first));
        {
            let mut open = self.lock();
            if open.len() >= MAX_OPEN && !open.contains_key(&name) {
                tracing::warn!(
                    "more than {MAX_OPEN} batches are open; what `{name}` costs is counted when somebody asks for it"
                );
                return;
            }
            open.insert(name.clone(), Watched { batch: batch.clone(), next_ms });
        }
        self.changed.notify_one();
        let Some(path) = self.path(&name) else { return };
        let text = serde_json::to_vec(&batch).expect("texts and a number are JSON");
        match spawn_blocking(move || private_file::write(&path, &text)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("the batch `{name}` is forgotten with the next restart: {error}"),
            Err(_) => {}
        }
    }

    /// Nobody need look at it again.
    pub(super) fn over(&self, account: &str, id: &str) {
        let name = name(account, id);
        let known = self.lock().remove(&name);
        if let Some(path) = known.and_then(|_| self.path(&name))
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::warn!("the batch `{name}` is looked at again after a restart: {error}");
        }
    }

    /// Those whose time has come, each of which is left alone for a while then; and when there is another.
    pub(super) fn due(&self, now_ms: i64, first: Duration) -> (Vec<Open>, Duration) {
        let mut open = self.lock();
        let mut due = Vec::new();
        for watched in open.values_mut().filter(|watched| watched.next_ms <= now_ms) {
            watched.next_ms = after(watched.batch.made_ms, now_ms, first);
            due.push(watched.batch.clone());
        }
        let next_ms = open.values().map(|watched| watched.next_ms).min();
        let left = next_ms.map_or(IDLE, |next_ms| millis(next_ms.saturating_sub(now_ms)));
        (due, left.min(IDLE))
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        let hash = digest(&SHA256, name.as_bytes());
        let hash: String = hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        self.folder.as_deref().map(|folder: &Path| folder.join(hash))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Watched>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Open ===

impl Open {
    pub(super) fn name(&self) -> String {
        name(&self.account, &self.id)
    }
}

fn name(account: &str, id: &str) -> String {
    format!("{account}/{id}")
}

/// When to look next at what was made then.
fn after(made_ms: i64, now_ms: i64, first: Duration) -> i64 {
    let pause = (millis(now_ms.saturating_sub(made_ms)) / PART).min(LONGEST).max(first);
    now_ms.saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX))
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(60);
    const MINUTE: i64 = 60_000;

    fn open(id: &str) -> Open {
        Open { account: "up".to_owned(), id: id.to_owned(), owner: "vk_1".to_owned(), made_ms: 0 }
    }

    #[test]
    fn the_older_the_rarer() {
        for (age, pause) in [(0, 1), (2, 1), (4, 1), (8, 2), (60, 15), (240, 60), (1440, 60)] {
            assert_eq!(after(0, age * MINUTE, FIRST), (age + pause) * MINUTE, "{age}");
        }
    }

    #[tokio::test]
    async fn what_is_open_is_looked_at_in_its_time_and_after_a_restart() {
        let dir = tempfile::tempdir().expect("a directory");
        let folder = dir.path().join("watched");
        let watch = Watch::open(folder.clone(), 0).expect("a folder");
        let now_ms = clock::unix_ms();
        let batch = |id: &str| Open { made_ms: now_ms, ..open(id) };
        for id in ["a", "b", "a"] {
            watch.add(batch(id), FIRST).await;
        }
        assert_eq!(watch.due(now_ms, FIRST).0, []);
        let (due, left) = watch.due(now_ms + 2 * MINUTE, FIRST);
        assert_eq!((due.len(), left), (2, FIRST));
        assert_eq!(watch.due(now_ms + 2 * MINUTE, FIRST).0, [], "each once");
        watch.over("up", "a");
        watch.over("up", "unknown");
        std::fs::write(folder.join("other"), "{").expect("written");
        let again = Watch::open(folder.clone(), now_ms + 1).expect("a folder");
        assert_eq!(again.due(now_ms + 1, FIRST).0, [batch("b")]);
        assert_eq!(std::fs::read_dir(&folder).expect("a folder").count(), 1, "what is none is removed");
        let late = Watch::open(folder, now_ms + 2 * MAX_AGE_MS).expect("a folder");
        assert_eq!(late.due(now_ms + 3 * MAX_AGE_MS, FIRST).0, []);
    }

    #[tokio::test]
    async fn a_node_minds_so_many_and_no_more() {
        let watch = Watch::forgetful();
        for n in 0..MAX_OPEN + 3 {
            watch.add(open(&n.to_string()), FIRST).await;
        }
        assert_eq!(watch.lock().len(), MAX_OPEN);
    }
}
