//! Whose are the responses that providers keep: in memory, and a line each in one file, so that a restart does not forget them. Lines
//! are added behind the requests; where most of them say nothing any more, the file is written anew.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::{Bounds, Entry, Kept, Key, Memory, Store as _};
use crate::private_file;

/// How many are known; the oldest give way.
const MAX_OWNERS: usize = 100_000;
/// What a restart reads of the file, from its end.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Lines that wait for the disk. What comes while there are as many stays in memory only.
const MAX_WAITING: usize = 4096;
/// Lines of one write.
const MAX_BATCH: usize = 256;
const N_SHARDS: usize = 8;

pub(super) struct Owners {
    memory: Memory,
    changes: mpsc::Sender<Change>,
}

/// What writes the file. Ends when the [`Owners`] are gone and everything is written.
pub(super) struct Writing {
    path: PathBuf,
    changes: mpsc::Receiver<Change>,
    /// In the file.
    n_lines: usize,
}

struct Change {
    line: Line,
    /// Told when it is written.
    done: Option<oneshot::Sender<()>>,
}

/// One line: where a response is, or, without a provider, that it is gone.
#[derive(Serialize, Deserialize)]
struct Line {
    until_ms: i64,
    owner: String,
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
}

// === impl Owners ===

impl Owners {
    /// Reads the file, as far as it can be read: what is lost here, its provider still has.
    pub(super) fn open(path: PathBuf, now_ms: i64) -> (Self, Writing) {
        let memory = Memory::new(N_SHARDS, Bounds { n_entries: MAX_OWNERS, n_bytes: MAX_BYTES });
        let lines = std::fs::read(&path).map(|bytes| read(&bytes, now_ms)).unwrap_or_default();
        for line in &lines {
            let provider = line.provider.as_deref().unwrap_or_default().into();
            let entry = Entry { kept: Kept::At { provider }, until_ms: line.until_ms };
            memory.put(Key::new(&line.owner.as_str().into(), &line.id), entry);
        }
        let (changes, receiver) = mpsc::channel(MAX_WAITING);
        (Self { memory, changes }, Writing { path, changes: receiver, n_lines: lines.len() })
    }

    pub(super) fn put(&self, key: Key, entry: Entry) {
        if let Kept::At { provider } = &entry.kept {
            let change = Change { line: Line::new(&key, entry.until_ms, Some(provider)), done: None };
            if self.changes.try_send(change).is_err() {
                tracing::debug!("the disk is slower than responses come: whose one is stays in memory only");
            }
        }
        self.memory.put(key, entry);
    }

    pub(super) fn find(&self, key: &Key, now_ms: i64) -> Option<Arc<Entry>> {
        self.memory.find(key, now_ms)
    }

    /// When this returns, the file knows.
    pub(super) async fn remove(&self, key: &Key) {
        if self.memory.find(key, i64::MIN).is_none() {
            return;
        }
        self.memory.forget(key);
        let (done, written) = oneshot::channel();
        let change = Change { line: Line::new(key, 0, None), done: Some(done) };
        if self.changes.send(change).await.is_ok() {
            let _ = written.await;
        }
    }
}

// === impl Writing ===

impl Writing {
    pub(super) async fn run(mut self) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        while self.changes.recv_many(&mut batch, MAX_BATCH).await > 0 {
            // Ends a line that a crash tore.
            let mut text = vec![b'\n'];
            for change in &batch {
                text.extend_from_slice(&change.line.written());
            }
            self.n_lines += batch.len();
            let (path, is_long) = (self.path.clone(), self.n_lines > 2 * MAX_OWNERS);
            let now_ms = crate::clock::unix_ms();
            let written = spawn_blocking(move || {
                append(&path, &text)?;
                if is_long { shorten(&path, now_ms).map(Some) } else { Ok(None) }
            });
            match written.await {
                Ok(Ok(n_lines)) => self.n_lines = n_lines.unwrap_or(self.n_lines),
                Ok(Err(error)) => {
                    tracing::warn!(file = %self.path.display(), %error, "whose responses are could not be written down");
                }
                Err(_) => {}
            }
            for change in batch.drain(..) {
                if let Some(done) = change.done {
                    let _ = done.send(());
                }
            }
        }
    }
}

fn append(path: &Path, text: &[u8]) -> io::Result<()> {
    File::options().append(true).create(true).mode(0o600).open(path)?.write_all(text)
}

/// Leaves what still says something; how many lines that is.
fn shorten(path: &Path, now_ms: i64) -> io::Result<usize> {
    let lines = read(&std::fs::read(path)?, now_ms);
    let text: Vec<u8> = lines.iter().flat_map(Line::written).collect();
    private_file::write(path, &text)?;
    Ok(lines.len())
}

/// The latest about each response, in the order in which they came; a line that is torn says nothing.
fn read(bytes: &[u8], now_ms: i64) -> Vec<Line> {
    let bytes = &bytes[bytes.len().saturating_sub(MAX_BYTES)..];
    let mut seen = std::collections::HashSet::new();
    let mut lines: Vec<Line> = Vec::new();
    for text in bytes.rsplit(|byte| *byte == b'\n') {
        let Ok(line) = serde_json::from_slice::<Line>(text) else { continue };
        let is_latest = seen.insert((line.owner.clone(), line.id.clone()));
        if is_latest && line.provider.is_some() && line.until_ms > now_ms {
            lines.push(line);
        }
        if lines.len() == MAX_OWNERS {
            break;
        }
    }
    lines.reverse();
    lines
}

// === impl Line ===

impl Line {
    fn new(key: &Key, until_ms: i64, provider: Option<&str>) -> Self {
        let (owner, id) = (key.owner.as_ref().to_owned(), key.id.as_ref().to_owned());
        Self { until_ms, owner, id, provider: provider.map(str::to_owned) }
    }

    fn written(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec(self).expect("strings and a number are JSON");
        text.push(b'\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(provider: &str, until_ms: i64) -> Entry {
        Entry { kept: Kept::At { provider: provider.into() }, until_ms }
    }

    #[tokio::test]
    async fn owners_are_known_after_a_restart() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("owners");
        let key = |owner: &str, id: &str| Key::new(&owner.into(), id);
        let (owners, writing) = Owners::open(path.clone(), 0);
        let running = tokio::spawn(writing.run());
        owners.put(key("a", "1"), at("openai", 100));
        owners.put(key("a", "2\n"), at("azure", 100));
        owners.put(key("b", "1"), at("openai", 50));
        owners.put(key("a", "3"), at("openai", 100));
        owners.put(key("a", "1"), at("azure", 100));
        owners.remove(&key("a", "3")).await;
        owners.remove(&key("a", "none")).await;
        drop(owners);
        running.await.expect("everything is written");
        append(&path, b"{\"until_ms\":100,\"owner\":\"a\",\"id\":\"torn").expect("written");

        let (owners, _writing) = Owners::open(path.clone(), 60);
        for (owner, id, expected) in [
            ("a", "1", Some(at("azure", 100))),
            ("a", "2\n", Some(at("azure", 100))),
            ("b", "1", None),
            ("a", "3", None),
            ("c", "1", None),
        ] {
            assert_eq!(owners.find(&key(owner, id), 60).as_deref(), expected.as_ref(), "{owner} {id}");
        }
        assert_eq!(shorten(&path, 60).expect("written"), 2);
        assert_eq!(read(&std::fs::read(&path).expect("there"), 0).len(), 2, "what says nothing is gone");
    }
}
