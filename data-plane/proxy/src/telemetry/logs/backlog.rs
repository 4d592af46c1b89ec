//! Records that the control plane does not have yet. Bounded: the oldest unsent one goes when there is no room, and is counted.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gateway_wire::v1::{LogBatch, LogRecord};
use prost::Message as _;
use tokio::sync::Notify;

/// A record is about a kilobyte.
const MAX_RECORDS: usize = 16 * 1024;
/// Of one message.
const BATCH_RECORDS: usize = 1000;
const BATCH_BYTES: usize = 256 * 1024;

/// Between the log's thread and the uplink.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    queue: Mutex<Queue>,
    /// There is something to take.
    pub(crate) filled: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    records: VecDeque<LogRecord>,
    /// Records that have left the front, sent or dropped.
    n_gone: u64,
    n_dropped: u64,
    /// Dropped before they came here.
    n_dropped_before: u64,
}

// === impl Backlog ===

impl Backlog {
    pub(super) fn extend(&self, records: VecDeque<LogRecord>, n_dropped_before: u64) {
        let mut queue = self.lock();
        queue.n_dropped_before = n_dropped_before;
        queue.records.extend(records);
        let n_surplus = queue.records.len().saturating_sub(MAX_RECORDS);
        queue.records.drain(..n_surplus);
        queue.n_gone += n_surplus as u64;
        queue.n_dropped += n_surplus as u64;
        drop(queue);
        self.filled.notify_one();
    }

    /// The oldest records, which from now on are the caller's to deliver: they are dropped no more.
    pub(crate) fn take(&self) -> Option<LogBatch> {
        let mut queue = self.lock();
        let mut n_bytes = 0;
        let fits = |record: &&LogRecord| {
            n_bytes += record.encoded_len();
            n_bytes <= BATCH_BYTES
        };
        let n_records = queue.records.iter().take(BATCH_RECORDS).take_while(fits).count();
        // One that is larger than a batch goes alone.
        let n_records = n_records.max(1).min(queue.records.len());
        let first_seq = queue.n_gone + 1;
        let records: Vec<LogRecord> = queue.records.drain(..n_records).collect();
        queue.n_gone += records.len() as u64;
        let dropped_total = queue.n_dropped + queue.n_dropped_before;
        let filled = !records.is_empty();
        filled.then(|| LogBatch { first_seq, records, dropped_total, ..LogBatch::default() })
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().records.len()
    }

    /// Dropped here.
    pub(super) fn n_dropped(&self) -> u64 {
        self.lock().n_dropped
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
