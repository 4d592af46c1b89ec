//! A lane on disk: one worker appends, each record with one `write`. Nothing here waits for the disk; the keeper does.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ahash::AHashMap;
use gateway_wire::v1::UsageEvent;
use prost::Message as _;

use super::event::Event;
use crate::telemetry::frame::{self, Kind};
use crate::telemetry::segment::{Name, SEGMENT_BYTES, USAGE};
use crate::warnings::Warnings;

/// After the disk refused, it is asked again this much later.
const RETRY: Duration = Duration::from_secs(1);
/// What settles in between is held in memory, per lane up to this many events; beyond them it is dropped and counted.
const MAX_HELD: usize = 16 * 1024;
/// Subject of the warning that the disk does not take what it should.
const WARNING: &str = "usage-spool";

/// What all lanes of a spool share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) dir: PathBuf,
    pub(super) boot: String,
    /// Bytes in all files, earlier boots' included. Over the quota nothing new is written.
    pub(super) n_bytes: AtomicU64,
    pub(super) quota: u64,
    /// Settled events that are not in the spool.
    pub(super) n_dropped: AtomicU64,
    /// Nobody collects: a closed file may go as soon as its open requests are written again.
    pub(super) uncollected: AtomicBool,
    /// Earlier boots with usage that is not delivered.
    pub(super) owed: Mutex<BTreeSet<String>>,
    /// A file was made since the directory was last synchronised.
    pub(super) directory_dirty: AtomicBool,
    /// Makes what was written to a file outlive the power; tests know thereby what does.
    pub(super) synchronise: fn(&File) -> io::Result<()>,
    pub(super) warnings: Arc<Warnings>,
}

/// One lane. Its lock is held by its worker for the time of one `write`, and by the keeper for less.
#[derive(Debug)]
pub(super) struct DiskLane {
    pub(super) index: u32,
    pub(super) shared: Arc<Shared>,
    /// Number of the newest settled event; 0 before the first.
    pub(super) last_seq: AtomicU64,
    /// Everything up to here is stored elsewhere.
    pub(super) acked_seq: AtomicU64,
    pub(super) state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) current: Option<Current>,
    /// Closed files that are still there, oldest first.
    pub(super) sealed: VecDeque<Sealed>,
    /// Closed since the last round, with something in them that no power cut may take.
    closed_dirty: Vec<Arc<File>>,
    n_segments: u64,
    /// Requests that have started and not settled, with the number of the file that says so.
    pub(super) open: AHashMap<Box<str>, u64>,
    /// Settled while the disk refused, oldest first. They have no number yet.
    held: VecDeque<UsageEvent>,
    buffer: Vec<u8>,
    retry_at: Option<Instant>,
    /// The last record could not be written, which has been said.
    is_troubled: bool,
}

/// The file that is written now.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) file: Arc<File>,
    pub(super) number: u64,
    n_bytes: u64,
    /// Written to since it was last synchronised.
    dirty: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed {
    pub(super) number: u64,
    pub(super) n_bytes: u64,
    /// Number of the newest settled event in it or before it.
    pub(super) last_seq: u64,
}

// === impl DiskLane ===

impl DiskLane {
    pub(super) fn new(index: u32, shared: Arc<Shared>) -> Self {
        Self { index, shared, last_seq: AtomicU64::new(0), acked_seq: AtomicU64::new(0), state: Mutex::default() }
    }

    /// A panic elsewhere cannot leave the state half changed: it is consistent after every statement that can panic.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Settled events that are not known to be stored elsewhere.
    pub(super) fn n_pending(&self) -> u64 {
        if self.shared.uncollected.load(Ordering::Relaxed) {
            return 0;
        }
        // Under the lock nothing moves from what is held to what has a number.
        let state = self.lock();
        let acked = self.acked_seq.load(Ordering::Acquire);
        self.last_seq.load(Ordering::Acquire).saturating_sub(acked) + state.held.len() as u64
    }

    pub(super) fn started(&self, event: &Event<'_>) {
        let mut state = self.lock();
        let wrote = self.append(&mut state, Kind::Started, |buffer| event.encode(buffer));
        if wrote && let Some(current) = &state.current {
            let number = current.number;
            state.open.insert((*event.id).into(), number);
        }
    }

    pub(super) fn settled(&self, event: &Event<'_>) {
        let mut state = self.lock();
        if self.write_held(&mut state) && self.write_settled(&mut state, event) {
            return;
        }
        // What no record can hold would be in the way of all others for good.
        let event = event.owned();
        if state.held.len() < MAX_HELD && event.encoded_len() <= frame::MAX_PAYLOAD / 2 {
            state.held.push_back(event);
        } else {
            self.shared.n_dropped.fetch_add(1, Ordering::Relaxed);
            state.open.remove(event.id.as_str());
        }
    }

    /// Writes what was held while the disk refused; true when nothing is held any more.
    pub(super) fn write_held(&self, state: &mut State) -> bool {
        while let Some(event) = state.held.pop_front() {
            if !self.write_settled(state, &Event::from(&event)) {
                state.held.push_front(event);
                return false;
            }
        }
        true
    }

    /// Nothing more can be written: what is held is lost, and counted. Returns how many events that is.
    pub(super) fn drop_held(&self, state: &mut State) -> usize {
        let n_lost = state.held.len();
        state.held.clear();
        self.shared.n_dropped.fetch_add(n_lost as u64, Ordering::Relaxed);
        n_lost
    }

    /// The lock makes this lane's numbers gap-free; a number is taken only once its record is written.
    fn write_settled(&self, state: &mut State, event: &Event<'_>) -> bool {
        let seq = self.last_seq.load(Ordering::Relaxed) + 1;
        let wrote = self.append(state, Kind::Settled, |buffer| {
            buffer.extend_from_slice(&seq.to_le_bytes());
            event.encode(buffer);
        });
        if wrote {
            self.last_seq.store(seq, Ordering::Release);
            state.open.remove(&*event.id);
        }
        wrote
    }

    /// Says again that a request is open, because the file that said it will be deleted. Not subject to the quota: it
    /// makes room. False if the disk refused.
    pub(super) fn carry_over(&self, state: &mut State, id: &str, payload: &[u8]) -> bool {
        let wrote = self.write(state, Kind::Started, |buffer| buffer.extend_from_slice(payload));
        if wrote && let (Some(current), Some(number)) = (&state.current, state.open.get_mut(id)) {
            *number = current.number;
        }
        wrote
    }

    fn append(&self, state: &mut State, kind: Kind, payload: impl FnOnce(&mut Vec<u8>)) -> bool {
        if self.shared.n_bytes.load(Ordering::Relaxed) >= self.shared.quota {
            self.warn(state, &format!("it holds {} bytes that no control plane has taken yet", self.shared.quota));
            return false;
        }
        let wrote = self.write(state, kind, payload);
        if wrote && std::mem::take(&mut state.is_troubled) {
            self.shared.warnings.clear(WARNING);
        }
        wrote
    }

    fn warn(&self, state: &mut State, what: &str) {
        if std::mem::replace(&mut state.is_troubled, true) {
            return;
        }
        let dir = self.shared.dir.display();
        let text = format!(
            "the usage spool `{dir}` on this node's disk takes nothing more, usage is lost and counted soon: {what}"
        );
        tracing::warn!("{text}");
        self.shared.warnings.set(WARNING, text);
    }

    /// One record into the current file; false if it is not there afterwards.
    fn write(&self, state: &mut State, kind: Kind, payload: impl FnOnce(&mut Vec<u8>)) -> bool {
        if state.retry_at.is_some_and(|at| Instant::now() < at) {
            return false;
        }
        let mut buffer = std::mem::take(&mut state.buffer);
        // What does not fit a record is refused before a file is made for it.
        let fits = frame::write(&mut buffer, kind, payload);
        let result =
            if fits { self.current(state).and_then(|current| current.put(&buffer, &self.shared)) } else { Ok(()) };
        state.buffer = buffer;
        match result {
            Ok(()) => {
                state.retry_at = None;
                if state.current.as_ref().is_some_and(|current| current.n_bytes >= SEGMENT_BYTES) {
                    self.seal(state);
                }
                fits
            }
            Err(error) => {
                // A record may be there in part; a reader stops at it, so nothing may follow it in this file.
                self.seal(state);
                state.retry_at = Some(Instant::now() + RETRY);
                self.warn(state, &error.to_string());
                false
            }
        }
    }

    /// The file to write to, made if there is none.
    fn current<'a>(&self, state: &'a mut State) -> io::Result<&'a mut Current> {
        if state.current.is_none() {
            let number = state.n_segments + 1;
            let name = Name { boot: self.shared.boot.clone(), lane: self.index, number };
            let mut options = OpenOptions::new();
            let file = options.append(true).create_new(true).mode(0o600).open(name.path(&self.shared.dir, USAGE))?;
            state.n_segments = number;
            self.shared.directory_dirty.store(true, Ordering::Relaxed);
            state.current = Some(Current { file: Arc::new(file), number, n_bytes: 0, dirty: false });
        }
        Ok(state.current.as_mut().expect("it was made above"))
    }

    /// The first file from `number` on that is still there, and whether it is closed.
    pub(super) fn segment_from(&self, number: u64) -> Option<(u64, bool)> {
        let state = self.lock();
        let sealed = state.sealed.iter().find(|sealed| sealed.number >= number).map(|sealed| (sealed.number, true));
        sealed.or_else(|| {
            state.current.as_ref().filter(|current| current.number >= number).map(|current| (current.number, false))
        })
    }

    pub(super) fn seal(&self, state: &mut State) {
        if let Some(current) = state.current.take() {
            let last_seq = self.last_seq.load(Ordering::Relaxed);
            if current.dirty {
                state.closed_dirty.push(current.file);
            }
            state.sealed.push_back(Sealed { number: current.number, n_bytes: current.n_bytes, last_seq });
        }
    }
}

// === impl State ===

impl State {
    /// Files that were written to since this was last asked, the oldest first.
    pub(super) fn take_dirty(&mut self) -> Vec<Arc<File>> {
        let mut files = std::mem::take(&mut self.closed_dirty);
        if let Some(current) = self.current.as_mut().filter(|current| current.dirty) {
            current.dirty = false;
            files.push(Arc::clone(&current.file));
        }
        files
    }

    #[cfg(test)]
    pub(super) fn held_is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

// === impl Current ===

impl Current {
    fn put(&mut self, bytes: &[u8], shared: &Shared) -> io::Result<()> {
        self.dirty = true;
        // Counted before it is known to be there: what was written in part takes room too.
        self.n_bytes += bytes.len() as u64;
        shared.n_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        (&*self.file).write_all(bytes)
    }
}
