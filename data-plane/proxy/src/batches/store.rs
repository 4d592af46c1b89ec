//! Files and batches of this node, below its state directory: what is known of them in memory, with a copy on disk that is written
//! before anybody is told; their bytes on disk alone. Within bounds; what is old goes.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use gateway_ir::failure::{Code, Failure};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::object::{Batch, File};
use super::progress;
use crate::private_file;

/// What a node keeps in all.
const MAX_FILES: usize = 10_000;
const MAX_BATCHES: usize = 10_000;
const MAX_BYTES: u64 = 8 * 1024 * 1024 * 1024;
/// How long, in seconds; a batch, from when it was made.
pub(super) const KEPT: i64 = 30 * 24 * 60 * 60;
/// Batches that are worked on at once, and requests of all of them.
const MAX_RUNNING: usize = 4;
pub(super) const MAX_REQUESTS: usize = 8;

/// How ids of the gateway's own begin, so that every node knows them.
const FILE: &str = "file-gw-";
const BATCH: &str = "batch_gw_";

/// What a node keeps of batches.
pub(crate) struct Batches {
    folder: PathBuf,
    known: Mutex<Known>,
    /// Of all files and answers.
    n_bytes: AtomicU64,
    /// Copies are written in the order of the changes.
    writing: tokio::sync::Mutex<()>,
    pub(super) running: Semaphore,
    pub(super) requests: Semaphore,
}

#[derive(Default)]
struct Known {
    files: HashMap<String, File>,
    batches: HashMap<String, Batch>,
}

/// Whether an id, of whatever kind, is of the gateway's making.
pub(super) fn is_ours(id: &str) -> bool {
    id.starts_with(FILE) || id.starts_with(BATCH)
}

pub(super) fn new_file_id() -> String {
    format!("{FILE}{}", uuid::Uuid::new_v4().simple())
}

pub(super) fn new_batch_id() -> String {
    format!("{BATCH}{}", uuid::Uuid::new_v4().simple())
}

// === impl Batches ===

impl Batches {
    /// Looks into the folder, and makes it where it is not there yet. `now` in Unix seconds.
    pub(crate) fn open(folder: PathBuf, now: i64) -> io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let mut known = Known::default();
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if let Some(file) = read::<File>(&path, "file") {
                known.files.insert(file.id.clone(), file);
            } else if let Some(batch) = read::<Batch>(&path, "batch") {
                known.batches.insert(batch.id.clone(), batch);
            }
        }
        let this = Self {
            folder,
            known: Mutex::new(known),
            n_bytes: AtomicU64::new(0),
            writing: tokio::sync::Mutex::default(),
            running: Semaphore::new(MAX_RUNNING),
            requests: Semaphore::new(MAX_REQUESTS),
        };
        this.sweep(now);
        this.clear()?;
        for id in this.open_batches() {
            let (completed, failed) = progress::counts(&this.parts(&id)[0]);
            this.count(&id, completed, failed);
        }
        Ok(this)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, id: &str, suffix: &str) -> PathBuf {
        self.folder.join(format!("{id}.{suffix}"))
    }

    /// A file's bytes.
    pub(super) fn content(&self, id: &str) -> PathBuf {
        self.path(id, "bytes")
    }

    /// What is written while a batch is worked on: notes of what is done, answers, errors.
    pub(super) fn parts(&self, batch: &str) -> [PathBuf; 3] {
        ["notes", "answers", "errors"].map(|suffix| self.path(batch, suffix))
    }

    /// What one owner has of them; another's are not there.
    pub(super) fn file(&self, owner: &str, id: &str) -> Option<File> {
        self.known().files.get(id).filter(|file| file.owner == owner).cloned()
    }

    pub(super) fn batch(&self, owner: &str, id: &str) -> Option<Batch> {
        self.known().batches.get(id).filter(|batch| batch.owner == owner).cloned()
    }

    /// Newest first.
    pub(super) fn files(&self, owner: &str) -> Vec<File> {
        let mut files: Vec<File> = self.known().files.values().filter(|file| file.owner == owner).cloned().collect();
        files.sort_by(|one, other| (other.created_at, &other.id).cmp(&(one.created_at, &one.id)));
        files
    }

    pub(super) fn batches(&self, owner: &str) -> Vec<Batch> {
        let known = self.known();
        let mut batches: Vec<Batch> = known.batches.values().filter(|batch| batch.owner == owner).cloned().collect();
        batches.sort_by(|one, other| (other.created_at, &other.id).cmp(&(one.created_at, &one.id)));
        batches
    }

    /// Whoever's, for who works on it.
    pub(super) fn any_batch(&self, id: &str) -> Option<Batch> {
        self.known().batches.get(id).cloned()
    }

    /// Those that are not over.
    pub(super) fn open_batches(&self) -> Vec<String> {
        let known = self.known();
        known.batches.values().filter(|batch| !batch.status.is_over()).map(|batch| batch.id.clone()).collect()
    }

    /// Room for so many more bytes; given back by [`Batches::free`].
    pub(super) fn take(&self, n_bytes: u64) -> Result<(), Box<Failure>> {
        let before = self.n_bytes.fetch_add(n_bytes, Ordering::Relaxed);
        if before.saturating_add(n_bytes) <= MAX_BYTES {
            return Ok(());
        }
        self.free(n_bytes);
        Err(full("bytes"))
    }

    pub(super) fn free(&self, n_bytes: u64) {
        self.n_bytes.fetch_sub(n_bytes, Ordering::Relaxed);
    }

    /// Takes over a file whose bytes are in place. Returns when the disk knows of it.
    pub(super) async fn add_file(&self, file: File) -> Result<(), Box<Failure>> {
        self.sweep(file.created_at);
        if self.known().files.len() >= MAX_FILES {
            return Err(full("files"));
        }
        let _writing = self.writing.lock().await;
        write(self.path(&file.id, "file"), &file).await.map_err(|error| lost(&error))?;
        self.known().files.insert(file.id.clone(), file);
        Ok(())
    }

    pub(super) async fn add_batch(&self, batch: Batch) -> Result<(), Box<Failure>> {
        self.sweep(batch.created_at);
        if self.known().batches.len() >= MAX_BATCHES {
            return Err(full("batches"));
        }
        let _writing = self.writing.lock().await;
        write(self.path(&batch.id, "batch"), &batch).await.map_err(|error| lost(&error))?;
        self.known().batches.insert(batch.id.clone(), batch);
        Ok(())
    }

    /// Changes a batch; `None` where it is gone. Returns what it is then, when the disk knows.
    pub(super) async fn change(&self, id: &str, change: impl FnOnce(&mut Batch)) -> io::Result<Option<Batch>> {
        let _writing = self.writing.lock().await;
        let Some(mut batch) = self.any_batch(id) else { return Ok(None) };
        change(&mut batch);
        write(self.path(id, "batch"), &batch).await?;
        self.known().batches.insert(id.to_owned(), batch.clone());
        Ok(Some(batch))
    }

    /// How far it has come, for who asks; the disk knows it in another way.
    pub(super) fn count(&self, id: &str, completed: usize, failed: usize) {
        if let Some(batch) = self.known().batches.get_mut(id) {
            (batch.counts.completed, batch.counts.failed) = (completed, failed);
        }
    }

    /// When this returns, the file is gone for good.
    pub(super) fn remove_file(&self, id: &str) {
        let removed = self.known().files.remove(id);
        if let Some(file) = removed {
            let _ = std::fs::remove_file(self.path(id, "file"));
            let _ = std::fs::remove_file(self.content(id));
            self.free(file.bytes);
        }
    }

    /// What is too old goes; a batch that is still worked on does not.
    fn sweep(&self, now: i64) {
        let old_files = |known: &Known| {
            let old = known.files.values().filter(|file| file.expires_at <= now);
            old.map(|file| file.id.clone()).collect::<Vec<_>>()
        };
        let old = old_files(&self.known());
        old.iter().for_each(|id| self.remove_file(id));
        let mut known = self.known();
        let is_old = |batch: &Batch| batch.status.is_over() && batch.created_at.saturating_add(KEPT) <= now;
        let old: Vec<String> = known.batches.values().filter(|batch| is_old(batch)).map(|b| b.id.clone()).collect();
        for id in old {
            known.batches.remove(&id);
            let _ = std::fs::remove_file(self.path(&id, "batch"));
        }
    }

    /// At the start: counts what is there, and removes what belongs to nothing, such as half an upload.
    fn clear(&self) -> io::Result<()> {
        let known = self.known();
        let mut n_bytes = 0;
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some((id, suffix)) = name.to_str().and_then(|name| name.rsplit_once('.')) else { continue };
            let is_known = match suffix {
                "bytes" => known.files.contains_key(id),
                "notes" | "answers" | "errors" => known.batches.get(id).is_some_and(|batch| !batch.status.is_over()),
                "file" | "batch" => true,
                "tmp" => false,
                _ => continue,
            };
            if !is_known {
                let _ = std::fs::remove_file(entry.path());
            } else if matches!(suffix, "bytes" | "answers" | "errors") {
                n_bytes += entry.metadata()?.len();
            }
        }
        self.n_bytes.store(n_bytes, Ordering::Relaxed);
        Ok(())
    }
}

/// `None`: it is not of this kind, or no whole copy of ours.
fn read<T: DeserializeOwned>(path: &Path, suffix: &str) -> Option<T> {
    if path.extension()?.to_str()? != suffix {
        return None;
    }
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

async fn write<T: Serialize>(path: PathBuf, value: &T) -> io::Result<()> {
    let content = serde_json::to_vec(value)?;
    spawn_blocking(move || private_file::write(&path, &content)).await.map_err(io::Error::other)?
}

/// The disk did not do what it should.
pub(super) fn lost(error: &io::Error) -> Box<Failure> {
    tracing::warn!(%error, "what belongs to a batch cannot be kept on disk");
    Box::new(Failure::new(Code::Internal, "the node's disk does not take or give what belongs to a batch"))
}

fn full(what: &str) -> Box<Failure> {
    let message = format!("this node keeps no more {what} of batches; delete files that are not needed any more");
    Box::new(Failure::new(Code::RateLimited, message))
}
