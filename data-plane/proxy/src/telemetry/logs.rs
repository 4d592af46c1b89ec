//! Log records on their way out: a bounded ring per worker, one thread that empties them all.
//!
//! A record is put into words by whoever pushes it, while its words are still in the processor's caches: reading them again later, on
//! another thread, cost half as much again. All else is the thread's. A sink that is slow or away costs records, never memory or time of a
//! request, and every record that is lost is counted: pushed = written + dropped.

mod draft;
mod piece;
mod files;
mod counts;
mod backlog;
mod line;
mod sink;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use anyhow::Context as _;
use gateway_wire::v1::{LogBody, LogRecord};

use crate::config::LogSink;
use crate::telemetry::identity::Identity;
use draft::Blanks;
use sink::{Sink, Unwritten};

pub(crate) use backlog::Backlog;
pub(crate) use draft::Draft;
pub(crate) use piece::{Batch, Piece};

/// Records per worker between two rounds of the thread.
const RING: usize = 4096;
/// The same of the bytes of their lines; and how much room for them is kept while there are fewer.
const RING_TEXT: usize = 4 * 1024 * 1024;
const KEPT_TEXT: usize = 256 * 1024;
/// Bytes of bodies in all lanes, the same.
const RING_BYTES: usize = 16 * 1024 * 1024;
/// Between two rounds while there is something to do. Idle, the thread sleeps until it is woken.
const ROUND: Duration = Duration::from_millis(20);

/// All log records of a node.
#[derive(Debug)]
pub struct Logs {
    lanes: Vec<Lane>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Where one worker leaves its records. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lane {
    index: usize,
    ring: Arc<Mutex<Ring>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Ring {
    /// For the log of the node's own.
    lines: Vec<u8>,
    node_id: Option<(u64, Arc<str>)>,
    blanks: Blanks,
    /// For the control plane.
    records: VecDeque<Box<LogRecord>>,
    /// Ever.
    n_pushed: u64,
    bodies: VecDeque<LogBody>,
    n_body_bytes: usize,
    n_bodies_pushed: u64,
}

/// How many records wait or were lost, for whoever reports it.
#[derive(Clone, Debug)]
pub(crate) struct Losses(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    identity: Arc<Identity>,
    /// Somebody wants lines.
    writes: bool,
    n_dropped: AtomicU64,
    n_bodies_dropped: AtomicU64,
    n_lanes: usize,
    thread: OnceLock<Thread>,
    /// The thread sleeps, or is about to.
    asleep: AtomicBool,
    ended: AtomicBool,
    /// For the control plane, once there is one.
    backlog: OnceLock<Arc<Backlog<LogRecord>>>,
    bodies: OnceLock<Arc<Backlog<LogBody>>>,
}

// === impl Logs ===

impl Logs {
    /// Opens the sink; a file that cannot be opened is an error.
    pub fn start(sink: &LogSink, identity: Arc<Identity>, n_lanes: usize) -> anyhow::Result<Self> {
        let sink = Sink::open(sink).context("opening the log")?;
        let shared = Arc::new(Shared {
            identity,
            writes: sink.takes(),
            n_dropped: AtomicU64::new(0),
            n_bodies_dropped: AtomicU64::new(0),
            n_lanes,
            thread: OnceLock::new(),
            asleep: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            backlog: OnceLock::new(),
            bodies: OnceLock::new(),
        });
        let lanes: Vec<Lane> =
            (0..n_lanes).map(|index| Lane { index, ring: Arc::default(), shared: Arc::clone(&shared) }).collect();
        let emptier = Emptier {
            lanes: lanes.clone(),
            shared: Arc::clone(&shared),
            sink,
            empty: (Vec::new(), VecDeque::new()),
            n_unwritten: 0,
        };
        let thread = std::thread::Builder::new().name("gateway-logs".to_owned()).spawn(move || emptier.run());
        let thread = thread.context("starting the log's thread")?;
        // Only this function sets it, once.
        let _ = shared.thread.set(thread.thread().clone());
        Ok(Self { lanes, shared, thread: Some(thread) })
    }

    pub fn lane(&self, index: usize) -> Lane {
        self.lanes[index].clone()
    }

    /// From now on records go to the control plane too; whoever delivers them takes them from here. In the directory they
    /// outlive the process.
    pub(crate) fn backlog(&self, dir: Option<&Path>, boot: &str) -> Arc<Backlog<LogRecord>> {
        let open = || Arc::new(Backlog::open(dir, boot, self.lanes.len()));
        Arc::clone(self.shared.backlog.get_or_init(open))
    }

    /// The same of bodies, which go to the control plane only.
    pub(crate) fn bodies(&self, dir: Option<&Path>, boot: &str) -> Arc<Backlog<LogBody>> {
        let open = || Arc::new(Backlog::open(dir, boot, self.lanes.len()));
        Arc::clone(self.shared.bodies.get_or_init(open))
    }

    /// To be called when nobody delivers any more: what is left goes to the disk.
    pub(crate) fn put_away(&self) {
        if let Some(backlog) = self.shared.backlog.get() {
            backlog.disconnected();
        }
        if let Some(bodies) = self.shared.bodies.get() {
            bodies.disconnected();
        }
    }

    pub(crate) fn losses(&self) -> Losses {
        Losses(Arc::clone(&self.shared))
    }

    /// Writes what is left and ends the thread; blocks until both are done.
    pub(crate) fn close(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        self.shared.wake();
        if let Some(thread) = self.thread.take() {
            // A panic in the thread was reported by it.
            let _ = thread.join();
        }
    }
}

// === impl Lane ===

impl Lane {
    /// Of a request that begins.
    pub(crate) fn draft(&self) -> Draft {
        Draft::new(self.lock().blanks.take())
    }

    /// Never waits for a sink.
    pub fn push(&self, record: impl Into<Box<LogRecord>>) {
        let record = record.into();
        let mut ring = self.lock();
        if ring.records.len() < RING && ring.lines.len() < RING_TEXT {
            self.put(&mut ring, record);
        } else {
            self.shared.n_dropped.fetch_add(1, Ordering::Relaxed);
        }
        let has_work = !ring.is_empty();
        drop(ring);
        // Where nobody wants records, nobody is woken for them.
        if has_work && self.shared.asleep.load(Ordering::Acquire) {
            self.shared.wake();
        }
    }

    fn put(&self, ring: &mut Ring, mut record: Box<LogRecord>) {
        (*self.shared.identity.refresh(&mut ring.node_id)).clone_into(&mut record.node_id);
        if self.shared.writes {
            line::write(&record, &mut ring.lines);
        }
        match self.shared.backlog.get() {
            Some(backlog) => {
                ring.records.push_back(record);
                ring.n_pushed += 1;
                backlog.pushed(self.index, ring.n_pushed);
            }
            None => ring.blanks.put(record),
        }
    }

    /// Never waits, as [`Lane::push`]. Bounded in bytes: one that finds no room is dropped, and counted.
    pub(crate) fn push_body(&self, body: LogBody) {
        let n_bytes = body.n_bytes();
        let mut ring = self.lock();
        if ring.bodies.is_empty() || ring.n_body_bytes + n_bytes <= self.shared.ring_bytes() {
            ring.bodies.push_back(body);
            ring.n_body_bytes += n_bytes;
            ring.n_bodies_pushed += 1;
            if let Some(bodies) = self.shared.bodies.get() {
                bodies.pushed(self.index, ring.n_bodies_pushed);
            }
            drop(ring);
        } else {
            drop(ring);
            self.shared.n_bodies_dropped.fetch_add(1, Ordering::Relaxed);
        }
        if self.shared.asleep.load(Ordering::Acquire) {
            self.shared.wake();
        }
    }

    /// A record that nobody is to have; it is counted with those that were dropped.
    pub(crate) fn leave_out(&self) {
        self.shared.n_dropped.fetch_add(1, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Ring ===

impl Ring {
    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.records.is_empty() && self.bodies.is_empty()
    }

    /// In exchange for what is empty, whose room is used again.
    fn take(&mut self, (lines, records): (Vec<u8>, VecDeque<Box<LogRecord>>)) -> Taken {
        self.n_body_bytes = 0;
        Taken {
            lines: std::mem::replace(&mut self.lines, lines),
            records: std::mem::replace(&mut self.records, records),
            bodies: std::mem::take(&mut self.bodies),
        }
    }
}

// === impl Shared ===

impl Shared {
    fn n_dropped(&self) -> u64 {
        self.n_dropped.load(Ordering::Relaxed)
    }

    /// Of one lane.
    fn ring_bytes(&self) -> usize {
        RING_BYTES / self.n_lanes.max(1)
    }

    fn wake(&self) {
        self.asleep.store(false, Ordering::Release);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

// === impl Losses ===

impl Losses {
    /// Records that reached no sink, in all.
    pub(crate) fn n_dropped(&self) -> u64 {
        self.0.n_dropped() + self.0.backlog.get().map_or(0, |backlog| backlog.n_dropped())
    }

    /// The same of bodies.
    pub(crate) fn n_bodies_dropped(&self) -> u64 {
        let before = self.0.n_bodies_dropped.load(Ordering::Relaxed);
        before + self.0.bodies.get().map_or(0, |bodies| bodies.n_dropped())
    }

    /// Bodies that wait for the control plane.
    pub(crate) fn n_bodies_pending(&self) -> u64 {
        self.0.bodies.get().map_or(0, |bodies| bodies.len())
    }

    /// Records that wait for the control plane.
    pub(crate) fn n_pending(&self) -> u64 {
        self.0.backlog.get().map_or(0, |backlog| backlog.len())
    }
}

/// What was in a ring.
struct Taken {
    lines: Vec<u8>,
    records: VecDeque<Box<LogRecord>>,
    bodies: VecDeque<LogBody>,
}

/// The thread's side.
struct Emptier {
    lanes: Vec<Lane>,
    shared: Arc<Shared>,
    sink: Sink,
    /// For the next ring.
    empty: (Vec<u8>, VecDeque<Box<LogRecord>>),
    /// Records that the sink did not take.
    n_unwritten: u64,
}

// === impl Emptier ===

impl Emptier {
    fn run(mut self) {
        loop {
            let ended = self.shared.ended.load(Ordering::Acquire);
            if self.round() {
                if !ended {
                    std::thread::park_timeout(ROUND);
                }
                continue;
            }
            if ended {
                return;
            }
            self.shared.asleep.store(true, Ordering::Release);
            // A record that came before this was set woke nobody; one that comes after will. The lock orders the two.
            let is_empty = self.lanes.iter().all(|lane| lane.lock().is_empty());
            if is_empty && !self.shared.ended.load(Ordering::Acquire) {
                std::thread::park();
            }
            self.shared.asleep.store(false, Ordering::Release);
        }
    }

    /// Empties every ring once; whether there was anything.
    fn round(&mut self) -> bool {
        let mut had_any = false;
        for index in 0..self.lanes.len() {
            let empty = std::mem::take(&mut self.empty);
            let mut taken = self.lanes[index].lock().take(empty);
            had_any |= !(taken.lines.is_empty() && taken.records.is_empty() && taken.bodies.is_empty());
            self.keep(taken.bodies);
            if let Err(unwritten) = self.sink.write(&taken.lines) {
                self.lost(&unwritten);
            }
            if let Some(backlog) = self.shared.backlog.get() {
                backlog.extend(taken.records.drain(..).map(|record| *record), self.shared.n_dropped());
            }
            taken.lines.clear();
            taken.lines.shrink_to(KEPT_TEXT);
            self.empty = (taken.lines, taken.records);
        }
        had_any
    }

    /// Bodies are for the control plane; a node without one keeps none.
    fn keep(&self, bodies: VecDeque<LogBody>) {
        if bodies.is_empty() {
            return;
        }
        let n_dropped = self.shared.n_bodies_dropped.load(Ordering::Relaxed);
        match self.shared.bodies.get() {
            Some(backlog) => backlog.extend(bodies, n_dropped),
            None => {
                self.shared.n_bodies_dropped.fetch_add(bodies.len() as u64, Ordering::Relaxed);
            }
        }
    }

    /// With a control plane the log's file is a copy; without one, what is not in it is nowhere.
    fn lost(&mut self, unwritten: &Unwritten) {
        let n_before = self.n_unwritten;
        self.n_unwritten += unwritten.n_lines;
        if self.shared.backlog.get().is_none() {
            self.shared.n_dropped.fetch_add(unwritten.n_lines, Ordering::Relaxed);
        }
        // One line per power of two keeps a full disk from filling the next one.
        if self.n_unwritten.checked_ilog2() != n_before.checked_ilog2() {
            tracing::warn!("{} log records could not be written: {}", self.n_unwritten, unwritten.error);
        }
    }
}
