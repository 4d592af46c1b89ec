//! One replica's way to the history: slow, cut off, without hints, and, where a test wants to see it noticed, lying.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gateway_model::kind::Class;
use gateway_server::publish::{Read, Source};
use gateway_store::resources::Snapshot;
use gateway_store::revisions::{Change, Op};
use gateway_store::{Error, Heads};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;

use crate::history::History;

/// A cut-off replica looks this often whether it is connected again, and fails a call this long after it was made.
const LOOK: Duration = Duration::from_millis(50);

/// The state of the way, set from outside. Cloning shares.
#[derive(Clone)]
pub struct Line {
    state: Arc<State>,
}

struct State {
    /// Calls fail.
    is_cut: AtomicBool,
    /// Calls do not return.
    hangs: AtomicBool,
    /// Hints do not arrive.
    is_quiet: AtomicBool,
    /// Milliseconds that a call takes at most, each way.
    latency_ms: AtomicU64,
    hint: watch::Sender<Heads>,
}

/// What a lying database does, so that it can be seen that the nodes' records give it away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Leaves a change out of the log.
    SkipsChange,
    /// Leaves deletions out of the log.
    LosesDeletions,
    /// Has one change of a revision and not the others.
    TearsRevision,
    /// Says that disabled keys are enabled.
    EnablesKeys,
}

/// The history as a replica reads it.
pub struct Access {
    history: History,
    line: Line,
    chance: Mutex<StdRng>,
    lie: Option<Lie>,
}

// === impl Line ===

impl Line {
    pub fn new(heads: Heads) -> Self {
        let state = State {
            is_cut: AtomicBool::new(false),
            hangs: AtomicBool::new(false),
            is_quiet: AtomicBool::new(false),
            latency_ms: AtomicU64::new(5),
            hint: watch::Sender::new(heads),
        };
        Self { state: Arc::new(state) }
    }

    pub fn cut(&self, is_cut: bool) {
        self.state.is_cut.store(is_cut, Ordering::Relaxed);
    }

    pub fn hang(&self, hangs: bool) {
        self.state.hangs.store(hangs, Ordering::Relaxed);
    }

    pub fn hush(&self, is_quiet: bool) {
        self.state.is_quiet.store(is_quiet, Ordering::Relaxed);
    }

    pub fn slow(&self, latency: Duration) {
        let latency_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        self.state.latency_ms.store(latency_ms, Ordering::Relaxed);
    }

    /// To be called after each commit.
    pub fn hint(&self, heads: Heads) {
        if !self.state.is_quiet.load(Ordering::Relaxed) && !self.state.is_cut.load(Ordering::Relaxed) {
            self.state.hint.send_replace(heads);
        }
    }
}

// === impl Access ===

impl Access {
    pub fn new(history: History, line: Line, seed: u64, lie: Option<Lie>) -> Self {
        Self { history, line, chance: Mutex::new(StdRng::seed_from_u64(seed)), lie }
    }

    /// Each call takes its time before and after it reads, so that other calls and edits fall in between.
    async fn call<T>(&self, read: impl FnOnce(&History) -> T) -> Result<T, Error> {
        self.way().await?;
        let read = read(&self.history);
        self.way().await?;
        Ok(read)
    }

    async fn way(&self) -> Result<(), Error> {
        let state = &self.line.state;
        while state.hangs.load(Ordering::Relaxed) {
            tokio::time::sleep(LOOK).await;
        }
        if state.is_cut.load(Ordering::Relaxed) {
            tokio::time::sleep(LOOK).await;
            return Err(Error::Database("the replica is cut off".into()));
        }
        let latency_ms = {
            let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
            chance.random_range(0..=state.latency_ms.load(Ordering::Relaxed))
        };
        tokio::time::sleep(Duration::from_millis(latency_ms)).await;
        Ok(())
    }

    fn lied(&self, mut changes: Vec<Change>) -> Vec<Change> {
        let is_key = |change: &Change| change.item.kind.name() == gateway_wire::KEY_KIND;
        match self.lie {
            None => {}
            Some(Lie::SkipsChange) => changes.retain(|change| change.revision % 3 != 0 || !is_key(change)),
            Some(Lie::LosesDeletions) => changes.retain(|change| change.op != Op::Delete),
            Some(Lie::TearsRevision) => changes.dedup_by_key(|change| change.revision),
            Some(Lie::EnablesKeys) => {
                for change in changes.iter_mut().filter(|change| is_key(change)) {
                    change.item.document = change.item.document.replace("\"enabled\":false", "\"enabled\":true");
                }
            }
        }
        changes
    }
}

impl Source for Access {
    fn heads(&self) -> Read<'_, Heads> {
        Box::pin(self.call(History::heads))
    }

    fn watch(&self) -> watch::Receiver<Heads> {
        self.line.state.hint.subscribe()
    }

    fn snapshot(&self, class: Class) -> Read<'_, Snapshot> {
        Box::pin(self.call(move |history| history.snapshot(class)))
    }

    fn changes(&self, class: Class, after: u64, limit: u64) -> Read<'_, Vec<Change>> {
        Box::pin(self.call(move |history| self.lied(history.changes(class, after, limit))))
    }

    fn min_resumable(&self, class: Class) -> Read<'_, u64> {
        Box::pin(self.call(move |history| history.min_resumable(class)))
    }
}
