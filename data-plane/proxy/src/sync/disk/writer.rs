//! The task that keeps one class: takes what waits, writes it as one batch, makes it safe, and says so. Where the disk does
//! not take it, the node serves on without, and this tries again until a whole snapshot is on disk.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use gateway_wire::seal::Error;
use gateway_wire::v1::Class;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Kept;
use super::files::{Files, Merged};
use super::queue::{Batch, Queue, Record};

pub(super) struct Writer {
    pub(super) class: Class,
    pub(super) queue: Arc<Queue>,
    pub(super) kept: watch::Sender<[Kept; 2]>,
    pub(super) compact_at: Option<usize>,
    /// When to try again; `None` while all is well.
    failing: Option<Retry>,
    compaction: Option<JoinHandle<Result<Merged, Error>>>,
}

struct Retry {
    at: Instant,
    wait: Duration,
}

/// What a batch has come to.
struct Written {
    files: Files,
    kept: io::Result<()>,
}

/// Batches are this far apart, so that many changes share one wait for the disk.
const SPACING: Duration = Duration::from_millis(20);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

// === impl Writer ===

impl Writer {
    pub(super) fn new(
        class: Class,
        queue: Arc<Queue>,
        kept: watch::Sender<[Kept; 2]>,
        compact_at: Option<usize>,
    ) -> Self {
        Self { class, queue, kept, compact_at, failing: None, compaction: None }
    }

    /// Runs until the queue is closed and written.
    pub(super) async fn run(mut self, mut files: Files) {
        loop {
            let retry_at = self.failing.as_ref().map_or_else(Instant::now, |retry| retry.at);
            let next = tokio::select! {
                batch = self.queue.take() => Next::Batch(batch),
                merged = joined(&mut self.compaction) => Next::Adopt(merged),
                () = tokio::time::sleep_until(retry_at), if self.failing.is_some() => Next::Retry,
            };
            let (is_last, up_to) = match &next {
                Next::Batch(batch) => (batch.is_last, Some(batch.up_to)),
                _ => (false, None),
            };
            let is_probe = matches!(next, Next::Retry);
            let written = tokio::task::spawn_blocking(move || next.write(files)).await;
            // Nothing in there panics but by a fault of the machine; without files the class is not kept any more.
            let Ok(written) = written else { return self.lost() };
            files = written.files;
            self.note(written.kept, &files, up_to, is_probe);
            if is_last {
                return;
            }
            self.compact(&mut files);
            tokio::time::sleep(SPACING).await;
        }
    }

    /// Tells what is safe now.
    fn note(&mut self, done: io::Result<()>, files: &Files, up_to: Option<u64>, is_probe: bool) {
        let class = self.class.word();
        match (&done, files.kept()) {
            (Err(error), _) => {
                let wait = self.failing.take().map_or(FIRST_RETRY, |retry| (retry.wait * 2).min(LONGEST_RETRY));
                self.failing = Some(Retry { at: Instant::now() + wait, wait });
                let failure = error.to_string();
                let is_new = !self.kept.borrow()[super::index(self.class)].is_failing();
                if is_new {
                    tracing::error!("{class} is not kept on disk, it is served from memory: {failure}");
                }
                self.tell(|kept| {
                    kept.failure = Some(failure);
                    kept.wants_whole = false;
                });
            }
            // The disk takes something; whether it takes everything is known when it has been tried.
            (Ok(()), None) if is_probe || self.failing.is_none() => {
                if let Some(retry) = &mut self.failing {
                    retry.at = Instant::now() + retry.wait;
                }
                self.tell(|kept| kept.wants_whole = true);
            }
            // Dropped: changes have nothing to follow.
            (Ok(()), None) => {}
            (Ok(()), Some((epoch, revision))) if !is_probe => {
                if self.failing.take().is_some() {
                    tracing::info!("{class} is kept on disk again, at revision {revision}");
                }
                self.tell(|kept| {
                    epoch.clone_into(&mut kept.epoch);
                    kept.revision = revision;
                    kept.failure = None;
                    kept.wants_whole = false;
                });
            }
            (Ok(()), Some(_)) => {}
        }
        if let Some(up_to) = up_to {
            self.tell(|kept| kept.up_to = up_to);
        }
    }

    fn compact(&mut self, files: &mut Files) {
        if let Some(work) = files.compaction(self.compact_at) {
            self.compaction = Some(tokio::task::spawn_blocking(work));
        }
    }

    fn lost(&self) {
        tracing::error!("{} is not kept on disk any more: the task that writes it has failed", self.class.word());
        self.tell(|kept| {
            kept.failure = Some("writing has failed".to_owned());
            // Nobody waits for what will not happen.
            kept.up_to = u64::MAX;
        });
    }

    fn tell(&self, change: impl FnOnce(&mut Kept)) {
        self.kept.send_modify(|kept| change(&mut kept[super::index(self.class)]));
    }
}

/// What to do next, on a thread that may block.
enum Next {
    Batch(Batch),
    Adopt(Result<Merged, Error>),
    Retry,
}

// === impl Next ===

impl Next {
    fn write(self, mut files: Files) -> Written {
        let kept = match self {
            Self::Batch(batch) => batch.write(&mut files),
            Self::Adopt(merged) => files.sync().and_then(|()| files.adopt(merged)),
            Self::Retry => files.probe(),
        };
        Written { files, kept }
    }
}

// === impl Batch ===

impl Batch {
    fn write(self, files: &mut Files) -> io::Result<()> {
        if let Some(unix_ms) = self.touch {
            files.touch(unix_ms);
        }
        if self.overflowed {
            return Err(io::Error::other("the disk is too slow to take all changes"));
        }
        let mut n_appended = 0;
        for record in self.records {
            match record {
                Record::Whole(whole) => files.replace(&whole.epoch, whole.revision, &whole.items)?,
                // It has nothing to follow. What it changes is in the whole that is asked for.
                Record::Change(_) if files.kept().is_none() => {}
                Record::Change(delta) => {
                    files.append(&delta)?;
                    n_appended += 1;
                }
            }
        }
        if n_appended > 0 { files.sync() } else { Ok(()) }
    }
}

/// What a compaction has come to; never, where there is none.
async fn joined(compaction: &mut Option<JoinHandle<Result<Merged, Error>>>) -> Result<Merged, Error> {
    let Some(running) = compaction else { return std::future::pending().await };
    let merged = running.await;
    *compaction = None;
    merged.unwrap_or_else(|failed| Err(Error::Unreadable(io::Error::other(failed))))
}
