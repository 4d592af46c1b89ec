//! What is to go to disk, in order. Whoever puts something in never waits: a disk that hangs must not hold back a revocation.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gateway_wire::v1::{Delta, Item};
use prost::Message as _;
use tokio::sync::Notify;

/// Something to keep of one class.
pub(crate) enum Record {
    Change(Delta),
    Whole(Whole),
}

/// Everything of one class, at a revision.
pub(crate) struct Whole {
    pub(crate) epoch: String,
    pub(crate) revision: u64,
    pub(crate) items: Vec<Item>,
}

/// Bounded by bytes: what a disk cannot take in time is dropped, and a whole snapshot is due.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Default)]
struct Waiting {
    records: VecDeque<Record>,
    n_bytes: usize,
    /// Records put in so far.
    n_put: u64,
    overflowed: bool,
    touch: Option<i64>,
    is_closed: bool,
}

/// Everything that has waited.
pub(super) struct Batch {
    pub(super) records: VecDeque<Record>,
    /// The number of its last record; everything up to it is in here or was dropped.
    pub(super) up_to: u64,
    /// Something was dropped.
    pub(super) overflowed: bool,
    pub(super) touch: Option<i64>,
    pub(super) is_last: bool,
}

const MAX_BYTES: usize = 32 << 20;

// === impl Queue ===

impl Queue {
    /// Returns the record's number.
    pub(super) fn put(&self, record: Record) -> u64 {
        let mut waiting = self.lock();
        match &record {
            Record::Change(delta) => waiting.n_bytes += delta.encoded_len(),
            Record::Whole(_) => {
                // It holds all that was to be kept before it.
                waiting.records.clear();
                (waiting.n_bytes, waiting.overflowed) = (0, false);
            }
        }
        if waiting.n_bytes > MAX_BYTES {
            waiting.records.clear();
            (waiting.n_bytes, waiting.overflowed) = (0, true);
        }
        if !waiting.overflowed {
            waiting.records.push_back(record);
        }
        waiting.n_put += 1;
        self.changed.notify_one();
        waiting.n_put
    }

    pub(super) fn touch(&self, unix_ms: i64) {
        self.lock().touch = Some(unix_ms);
        self.changed.notify_one();
    }

    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Everything that waits, at once or when there is something.
    pub(super) async fn take(&self) -> Batch {
        loop {
            let changed = self.changed.notified();
            if let Some(batch) = self.take_now() {
                return batch;
            }
            changed.await;
        }
    }

    fn take_now(&self) -> Option<Batch> {
        let mut waiting = self.lock();
        let is_idle = waiting.records.is_empty() && !waiting.overflowed && waiting.touch.is_none();
        if is_idle && !waiting.is_closed {
            return None;
        }
        waiting.n_bytes = 0;
        Some(Batch {
            records: std::mem::take(&mut waiting.records),
            up_to: waiting.n_put,
            overflowed: std::mem::take(&mut waiting.overflowed),
            touch: waiting.touch.take(),
            is_last: waiting.is_closed,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
