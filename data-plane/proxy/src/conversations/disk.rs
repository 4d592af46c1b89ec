//! Responses in memory and, behind it, one file each below the node's state directory, so that they survive a restart. Files are
//! written behind the requests, and read only where memory has let go. What is no whole file of ours is as if it were not there.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::owners::{self, Owners};
use super::{Bounds, Entry, Found, Kept, Key, Memory, Store, Turn};
use crate::private_file;

/// What the folder may hold.
const MAX_FILES: usize = 100_000;
const MAX_BYTES: u64 = 1024 * 1024 * 1024;
/// Changes that wait for the disk. What comes while there are as many stays in memory only.
const MAX_WAITING: usize = 64;
const N_SHARDS: usize = 8;
const SUFFIX: &str = ".response";

pub(crate) struct Disk {
    memory: Memory,
    files: Arc<Files>,
    changes: mpsc::Sender<Change>,
    owners: Owners,
}

/// What writes the files: one at a time, beside the requests. Ends when the [`Disk`] is gone and everything is written.
pub(crate) struct Keeping {
    files: Arc<Files>,
    changes: mpsc::Receiver<Change>,
    owners: owners::Writing,
}

enum Change {
    Put(Key, Arc<Entry>),
    Remove(Key, oneshot::Sender<()>),
}

struct Files {
    folder: PathBuf,
    index: Mutex<Index>,
}

/// What is there, by the names of the files alone.
#[derive(Default)]
struct Index {
    by_digest: HashMap<String, File>,
    /// The next to go first.
    by_end: BTreeSet<(i64, String)>,
    n_bytes: u64,
}

#[derive(Clone, Copy)]
struct File {
    until_ms: i64,
    n_bytes: u64,
}

/// The first line of a file; behind it, the response and its input.
#[derive(Serialize, Deserialize)]
struct Heading {
    version: u32,
    owner: String,
    id: String,
    until_ms: i64,
    n_response: usize,
    n_input: usize,
    /// It was still being made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    running: bool,
    crc32: u32,
}

const VERSION: u32 = 1;

// === impl Disk ===

impl Disk {
    /// Looks into the folder, and makes it where it is not there yet. Reads names only.
    pub(crate) fn open(folder: PathBuf, now_ms: i64) -> io::Result<(Self, Keeping)> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let files = Arc::new(Files { index: Mutex::new(Index::read(&folder)?), folder });
        files.shrink(now_ms);
        let (changes, receiver) = mpsc::channel(MAX_WAITING);
        let memory = Memory::new(N_SHARDS, Bounds::NODE);
        let (owners, writing) = Owners::open(files.folder.join("owners"), now_ms);
        let keeping = Keeping { files: Arc::clone(&files), changes: receiver, owners: writing };
        Ok((Self { memory, files, changes, owners }, keeping))
    }
}

impl Store for Disk {
    fn put(&self, key: Key, entry: Entry) {
        // Whose provider keeps them are too many for a file each.
        if matches!(entry.kept, Kept::At { .. }) {
            return self.owners.put(key, entry);
        }
        if self.changes.try_send(Change::Put(key.clone(), Arc::new(entry.clone()))).is_err() {
            tracing::debug!("the disk is slower than responses come: one stays in memory only");
        }
        self.memory.put(key, entry);
    }

    fn get<'a>(&'a self, key: &'a Key, now_ms: i64) -> BoxFuture<'a, Found> {
        Box::pin(async move {
            if let Some(entry) = self.memory.find(key, now_ms).or_else(|| self.owners.find(key, now_ms)) {
                return Ok(Some(entry));
            }
            let digest = digested(key);
            let file = self.files.index().by_digest.get(&digest).copied();
            let Some(file) = file.filter(|file| file.until_ms > now_ms) else { return Ok(None) };
            let (path, key) = (self.files.path(file.until_ms, &digest), key.clone());
            let read = spawn_blocking(move || std::fs::read(path).ok().and_then(|bytes| decoded(bytes, &key)));
            Ok(read.await.ok().flatten().map(Arc::new))
        })
    }

    fn remove<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.memory.forget(key);
            self.owners.remove(key).await;
            let (done, gone) = oneshot::channel();
            if self.changes.send(Change::Remove(key.clone(), done)).await.is_ok() {
                let _ = gone.await;
            }
        })
    }
}

// === impl Keeping ===

impl Keeping {
    pub(crate) async fn run(mut self) {
        let responses = async {
            while let Some(change) = self.changes.recv().await {
                let files = Arc::clone(&self.files);
                let _ = spawn_blocking(move || files.change(change)).await;
            }
        };
        tokio::join!(responses, self.owners.run());
    }
}

// === impl Files ===

impl Files {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, until_ms: i64, digest: &str) -> PathBuf {
        self.folder.join(format!("{until_ms}-{digest}{SUFFIX}"))
    }

    fn change(&self, change: Change) {
        match change {
            Change::Put(key, entry) => {
                if let Err(error) = self.put(&key, &entry) {
                    tracing::warn!(folder = %self.folder.display(), %error, "a response could not be kept on disk");
                }
            }
            Change::Remove(key, done) => {
                self.remove(&digested(&key));
                let _ = done.send(());
            }
        }
    }

    fn put(&self, key: &Key, entry: &Entry) -> io::Result<()> {
        let Some(content) = encoded(key, entry)? else { return Ok(()) };
        let (digest, until_ms) = (digested(key), entry.until_ms);
        self.remove(&digest);
        private_file::write(&self.path(until_ms, &digest), &content)?;
        self.index().insert(digest, File { until_ms, n_bytes: content.len() as u64 });
        self.shrink(crate::clock::unix_ms());
        Ok(())
    }

    fn remove(&self, digest: &str) {
        let removed = self.index().remove(digest);
        if let Some(file) = removed {
            let _ = std::fs::remove_file(self.path(file.until_ms, digest));
        }
    }

    /// Those whose time is over go, and the oldest of too many.
    fn shrink(&self, now_ms: i64) {
        loop {
            let next = self.index().next_to_go(now_ms);
            let Some(digest) = next else { return };
            self.remove(&digest);
        }
    }
}

// === impl Index ===

impl Index {
    fn read(folder: &Path) -> io::Result<Self> {
        let mut index = Self::default();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some((until_ms, digest)) = name.to_str().and_then(named) else { continue };
            let Ok(metadata) = entry.metadata() else { continue };
            index.insert(digest.to_owned(), File { until_ms, n_bytes: metadata.len() });
        }
        Ok(index)
    }

    fn insert(&mut self, digest: String, file: File) {
        self.remove(&digest);
        self.n_bytes += file.n_bytes;
        self.by_end.insert((file.until_ms, digest.clone()));
        self.by_digest.insert(digest, file);
    }

    fn remove(&mut self, digest: &str) -> Option<File> {
        let file = self.by_digest.remove(digest)?;
        self.by_end.remove(&(file.until_ms, digest.to_owned()));
        self.n_bytes -= file.n_bytes;
        Some(file)
    }

    fn next_to_go(&self, now_ms: i64) -> Option<String> {
        let (until_ms, digest) = self.by_end.first()?;
        let must_go = *until_ms <= now_ms || self.by_digest.len() > MAX_FILES || self.n_bytes > MAX_BYTES;
        must_go.then(|| digest.clone())
    }
}

/// The parts of a name that [`Files::path`] makes.
fn named(name: &str) -> Option<(i64, &str)> {
    let (until_ms, digest) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    until_ms.parse().ok().filter(|_| is_digest).map(|until_ms| (until_ms, digest))
}

/// Ids may hold anything, names of files may not.
fn digested(key: &Key) -> String {
    let text = format!("{}\0{}", key.owner, key.id);
    digest(&SHA256, text.as_bytes()).as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// `None` for what has no file.
fn encoded(key: &Key, entry: &Entry) -> io::Result<Option<Vec<u8>>> {
    let (turn, running) = match &entry.kept {
        Kept::Here(turn) => (turn, false),
        Kept::Running(turn) => (turn, true),
        Kept::At { .. } => return Ok(None),
    };
    let mut crc = crc32fast::Hasher::new();
    crc.update(&turn.response);
    crc.update(&turn.input);
    let heading = Heading {
        version: VERSION,
        owner: key.owner.as_ref().to_owned(),
        id: key.id.as_ref().to_owned(),
        until_ms: entry.until_ms,
        n_response: turn.response.len(),
        n_input: turn.input.len(),
        running,
        crc32: crc.finalize(),
    };
    let mut content = serde_json::to_vec(&heading)?;
    content.push(b'\n');
    content.extend_from_slice(&turn.response);
    content.extend_from_slice(&turn.input);
    Ok(Some(content))
}

fn decoded(bytes: Vec<u8>, key: &Key) -> Option<Entry> {
    let bytes = Bytes::from(bytes);
    let end = memchr::memchr(b'\n', &bytes)?;
    let heading: Heading = serde_json::from_slice(&bytes[..end]).ok()?;
    let content = bytes.slice(end + 1..);
    let is_whole = heading.version == VERSION
        && heading.n_response.checked_add(heading.n_input) == Some(content.len())
        && crc32fast::hash(&content) == heading.crc32;
    if !is_whole || heading.owner != *key.owner || heading.id != *key.id {
        return None;
    }
    let turn = Turn { response: content.slice(..heading.n_response), input: content.slice(heading.n_response..) };
    let kept = if heading.running { Kept::Running(turn) } else { Kept::Here(turn) };
    Some(Entry { kept, until_ms: heading.until_ms })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn turn(text: &'static str) -> Entry {
        let turn = Turn { response: Bytes::from_static(text.as_bytes()), input: Bytes::from_static(b"[1]") };
        Entry { kept: Kept::Here(turn), until_ms: 1000 }
    }

    async fn found(disk: &Disk, key: &Key, now_ms: i64) -> Option<Arc<Entry>> {
        disk.get(key, now_ms).await.expect("a disk always says")
    }

    /// A process that ends, and the next one.
    async fn restarted(disk: Disk, keeping: Keeping, folder: &Path) -> (Disk, Keeping) {
        drop(disk);
        keeping.run().await;
        Disk::open(folder.to_owned(), 0).expect("the folder")
    }

    #[tokio::test]
    async fn what_was_kept_is_there_after_a_restart_and_what_is_torn_or_foreign_is_not() {
        let folder = tempfile::tempdir().expect("a directory");
        let folder = folder.path().join("responses");
        let (disk, keeping) = Disk::open(folder.clone(), 0).expect("the folder");
        let key = |owner: &str, id: &str| Key::new(&owner.into(), id);
        // Past what is its own time by the clock, so that the files are written by hand here.
        for (owner, id, text) in [("a", "1", "{}"), ("a", "2", "{\"torn\":1}"), ("b", "1", "{\"b\":1}")] {
            let content = encoded(&key(owner, id), &turn(text)).expect("JSON").expect("it has a file");
            let whole = if id == "2" { content.len() - 1 } else { content.len() };
            let path = disk.files.path(1000, &digested(&key(owner, id)));
            private_file::write(&path, &content[..whole]).expect("written");
            assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        }
        std::fs::write(folder.join("README"), "not ours").expect("written");
        let misplaced = disk.files.path(1000, &digested(&key("c", "1")));
        std::fs::copy(disk.files.path(1000, &digested(&key("a", "1"))), misplaced).expect("copied");
        let (disk, keeping) = restarted(disk, keeping, &folder).await;
        assert_eq!(found(&disk, &key("a", "1"), 999).await.as_deref(), Some(&turn("{}")));
        assert_eq!(found(&disk, &key("b", "1"), 999).await.as_deref(), Some(&turn("{\"b\":1}")));
        for (owner, id, now_ms) in [("a", "2", 0), ("c", "1", 0), ("b", "2", 0), ("a", "1", 1000)] {
            assert_eq!(found(&disk, &key(owner, id), now_ms).await, None, "{owner} {id} at {now_ms}");
        }
        let gone = key("a", "1");
        let (_, disk) = tokio::join!(
            async {
                let (disk, keeping) = (disk, keeping);
                let running = keeping.run();
                tokio::pin!(running);
                tokio::select! {
                    () = &mut running => unreachable!("the disk is there"),
                    () = disk.remove(&gone) => {}
                }
            },
            async { Disk::open(folder.clone(), 0).expect("the folder") }
        );
        drop(disk);
        let (disk, _keeping) = Disk::open(folder.clone(), 0).expect("the folder");
        assert_eq!(found(&disk, &gone, 0).await, None, "removed for good");
        let (disk, _keeping) = Disk::open(folder.clone(), 1000).expect("the folder");
        assert_eq!(disk.files.index().by_digest.len(), 0, "what has run out goes");
        assert!(folder.join("README").exists());
    }
}
