//! Records that the control plane does not have yet. While it takes them they pass through memory; while it does not, they are
//! on disk, where a killed process leaves them. Bounded both ways: what goes for want of room is the oldest, and is counted.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::counts::Counts;
use super::files::{self, FileId, Files};
use super::piece::{Batch, Piece};
use crate::telemetry::batch::Collector;

/// Between the log's thread and the uplink.
#[derive(Debug)]
pub(crate) struct Backlog<R> {
    boot: String,
    /// Where earlier boots left theirs.
    dir: Option<PathBuf>,
    counts: Option<Counts>,
    state: Mutex<State<R>>,
    /// There is something to take.
    pub(crate) filled: Notify,
}

#[derive(Debug)]
struct State<R> {
    /// Numbered, oldest first.
    queue: VecDeque<(u64, R)>,
    /// Of the queue.
    n_bytes: usize,
    files: Option<Files<R>>,
    /// Taken and not delivered, oldest first; the first `n_sent` of them on this connection.
    in_flight: VecDeque<Parcel<R>>,
    n_sent: usize,
    is_connected: bool,
    /// Of this boot: numbered, on disk or delivered or dropped, dropped.
    n_entered: u64,
    n_safe: u64,
    n_dropped: u64,
    /// Dropped before they came here.
    n_dropped_before: u64,
}

#[derive(Debug)]
struct Parcel<R> {
    batch: Batch<R>,
    /// `None`: it is in memory only.
    file: Option<FileId>,
}

// === impl Backlog ===

impl<R: Piece> Backlog<R> {
    /// Without a directory, or one that cannot be written to, everything is in memory.
    pub(super) fn open(dir: Option<&Path>, boot: &str, n_lanes: usize) -> Self {
        Self::open_bounded(dir, boot, n_lanes, R::QUOTA)
    }

    pub(super) fn open_bounded(dir: Option<&Path>, boot: &str, n_lanes: usize, quota: u64) -> Self {
        let mut state = State::default();
        let mut counts = None;
        if let Some(dir) = dir {
            let opened = Files::open(dir, boot, quota)
                .and_then(|files| Ok((files, Counts::open(dir, boot, n_lanes, R::COUNTS)?)));
            match opened {
                Ok((files, (opened, n_lost))) => {
                    state.files = Some(files);
                    state.n_dropped = n_lost;
                    counts = Some(opened);
                }
                Err(error) => {
                    let dir = dir.display();
                    tracing::warn!(
                        "{} cannot be kept in `{dir}`, those in memory are lost with the process: {error}",
                        R::WHAT
                    );
                }
            }
        }
        let dir = dir.filter(|_| counts.is_some()).map(Path::to_owned);
        Self { boot: boot.to_owned(), dir, counts, state: Mutex::new(state), filled: Notify::new() }
    }

    /// Finds what earlier boots left behind; blocks in proportion to it.
    pub(crate) fn adopt_earlier(&self) {
        let Some(dir) = &self.dir else { return };
        match files::found::<R>(dir, &self.boot) {
            Ok(found) => {
                if let Some(files) = &mut self.lock().files {
                    files.adopt(found);
                }
            }
            Err(error) => {
                tracing::warn!("{} of earlier starts cannot be read from `{}`: {error}", R::WHAT, dir.display())
            }
        }
    }

    /// So many records were ever pushed to this lane.
    pub(super) fn pushed(&self, lane: usize, n_records: u64) {
        if let Some(counts) = &self.counts {
            counts.pushed(lane, n_records);
        }
    }

    pub(super) fn extend(&self, records: impl IntoIterator<Item = R>, n_dropped_before: u64) {
        let mut state = self.lock();
        state.n_dropped_before = n_dropped_before;
        for record in records {
            state.n_entered += 1;
            let number = state.n_entered;
            state.n_bytes += record.n_bytes();
            state.queue.push_back((number, record));
        }
        let flows = state.is_connected && state.n_bytes <= R::FLOWING;
        if !flows || state.files.as_ref().is_some_and(Files::has_unread) {
            state.spill();
        }
        while state.n_bytes > R::MAX_BYTES && state.pop().is_some() {
            state.n_safe += 1;
            state.n_dropped += 1;
        }
        self.note(&state);
        drop(state);
        self.filled.notify_one();
    }

    /// A stream is open that takes records.
    pub(crate) fn connected(&self) {
        self.lock().is_connected = true;
    }

    /// The stream is gone: what it took and did not acknowledge is to be sent again, and is safe until then.
    pub(crate) fn disconnected(&self) {
        let mut state = self.lock();
        state.is_connected = false;
        state.n_sent = 0;
        state.spill_in_flight();
        state.spill();
        self.note(&state);
    }

    /// The oldest records that were not sent on this connection.
    pub(crate) fn take(&self) -> Option<Batch<R>> {
        let mut state = self.lock();
        if state.n_sent == state.in_flight.len() {
            let parcel = state.parcel(&self.boot)?;
            state.in_flight.push_back(parcel);
        }
        let dropped_total = state.n_dropped + state.n_dropped_before;
        let at = state.n_sent;
        state.n_sent += 1;
        let parcel = state.in_flight.get_mut(at)?;
        // Of the boot that counts them.
        parcel.batch.dropped_total = if parcel.batch.boot_id == self.boot { dropped_total } else { 0 };
        Some(parcel.batch.clone())
    }

    /// The oldest batch that was sent is stored.
    pub(crate) fn delivered(&self) {
        let mut state = self.lock();
        let Some(parcel) = state.in_flight.pop_front() else { return };
        state.n_sent = state.n_sent.saturating_sub(1);
        let n_records = parcel.batch.records.len() as u64;
        match (parcel.file, &mut state.files) {
            (Some(file), Some(files)) => files.delivered(file, n_records),
            _ => state.n_safe += n_records,
        }
        if let Some(counts) = &self.counts {
            counts.reported(parcel.batch.dropped_total);
        }
        self.note(&state);
    }

    /// Returns when there is something to deliver, or nobody waits for it any more.
    pub(crate) async fn until_filled(&self, ending: &CancellationToken) {
        while self.len() == 0 && !ending.is_cancelled() {
            tokio::select! {
                () = self.filled.notified() => {}
                () = ending.cancelled() => {}
            }
        }
    }

    /// Records that are not delivered.
    pub(crate) fn len(&self) -> u64 {
        let state = self.lock();
        let in_memory = state.in_flight.iter().filter(|parcel| parcel.file.is_none());
        let n_in_flight: usize = in_memory.map(|parcel| parcel.batch.records.len()).sum();
        (state.queue.len() + n_in_flight) as u64 + state.files.as_ref().map_or(0, Files::n_pending)
    }

    /// Dropped here, and what killed processes lost before.
    pub(super) fn n_dropped(&self) -> u64 {
        self.lock().n_dropped
    }

    fn note(&self, state: &State<R>) {
        if let Some(counts) = &self.counts {
            counts.safe(state.n_safe);
            counts.dropped(state.n_dropped + state.n_dropped_before);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl<R> Default for State<R> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            n_bytes: 0,
            files: None,
            in_flight: VecDeque::new(),
            n_sent: 0,
            is_connected: false,
            n_entered: 0,
            n_safe: 0,
            n_dropped: 0,
            n_dropped_before: 0,
        }
    }
}

impl<R: Piece> State<R> {
    fn pop(&mut self) -> Option<(u64, R)> {
        let popped = self.queue.pop_front();
        self.n_bytes -= popped.as_ref().map_or(0, |(_, record)| record.n_bytes());
        popped
    }

    /// From memory to disk, if there is one that takes it.
    fn spill(&mut self) {
        let Some(files) = &mut self.files else { return };
        if self.queue.is_empty() {
            return;
        }
        match files.append(self.queue.iter().map(|(number, record)| (*number, record))) {
            Ok(n_lost) => {
                self.n_safe += self.queue.len() as u64;
                self.n_dropped += n_lost;
                self.queue.clear();
                self.n_bytes = 0;
            }
            Err(error) => tracing::debug!("{} stay in memory: {error}", R::WHAT),
        }
    }

    fn spill_in_flight(&mut self) {
        let Some(files) = &mut self.files else { return };
        self.in_flight.retain(|parcel| {
            let numbered = (parcel.batch.first_seq..).zip(&parcel.batch.records);
            let spilled = if parcel.file.is_some() { None } else { files.append(numbered).ok() };
            if let Some(n_lost) = spilled {
                self.n_safe += parcel.batch.records.len() as u64;
                self.n_dropped += n_lost;
            }
            spilled.is_none()
        });
    }

    /// What comes next: from the disk, then from memory.
    fn parcel(&mut self, boot: &str) -> Option<Parcel<R>> {
        if let Some(files) = &mut self.files
            && let Some((file, batch)) = files.next(&mut self.n_dropped)
        {
            return Some(Parcel { batch, file: Some(file) });
        }
        let mut collector = Collector::default();
        while let Some((number, record)) = self.pop() {
            if collector.push(number, record) {
                break;
            }
        }
        let (first_seq, records) = collector.take()?;
        // What did not fit goes with the next.
        if let Some((number, records)) = collector.take() {
            for (at, record) in records.into_iter().enumerate().rev() {
                self.n_bytes += record.n_bytes();
                self.queue.push_front((number + at as u64, record));
            }
        }
        let batch = Batch { boot_id: boot.to_owned(), first_seq, records, dropped_total: 0 };
        Some(Parcel { batch, file: None })
    }
}
