//! Responses that are being made, and those that can still be streamed again: how many, whose, how much of them.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gateway_engine::snapshot::Background;
use gateway_ir::failure::{Code, Failure};

use super::run::Run;
use crate::conversations::Key;

/// Those that are over and could be streamed again, at most.
const MAX_OVER: usize = 1024;

/// All of one node.
#[derive(Default)]
pub(crate) struct Runs {
    table: Mutex<Table>,
    /// Of all events.
    n_bytes: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Table {
    runs: HashMap<Key, Arc<Run>>,
    /// Those that are over, in the order in which they ended.
    over: VecDeque<Key>,
    n_running: usize,
    n_running_of: HashMap<Arc<str>, usize>,
}

/// The right to make one response. Dropped, it is another's.
pub(crate) struct Place {
    runs: Arc<Runs>,
    owner: Arc<str>,
}

// === impl Runs ===

impl Runs {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refused where too many are being made.
    pub(crate) fn place(self: &Arc<Self>, owner: &Arc<str>, bounds: &Background) -> Result<Place, Box<Failure>> {
        let mut table = self.table();
        let n_own = table.n_running_of.get(owner).copied().unwrap_or_default();
        let (n_most, whose) = match () {
            () if table.n_running >= bounds.max_running => (bounds.max_running, "this node"),
            () if n_own >= bounds.max_running_per_caller => (bounds.max_running_per_caller, "this key"),
            () => {
                table.n_running += 1;
                table.n_running_of.insert(Arc::clone(owner), n_own + 1);
                return Ok(Place { runs: Arc::clone(self), owner: Arc::clone(owner) });
            }
        };
        let message =
            format!("{n_most} responses of {whose} are being made in the background, which is the most; try later");
        let mut failure = Failure::new(Code::RateLimited, message).at("background");
        failure.limit_kind = Some("background");
        Err(Box::new(failure))
    }

    pub(super) fn add(&self, run: &Arc<Run>) {
        self.table().runs.insert(run.key.clone(), Arc::clone(run));
    }

    pub(crate) fn find(&self, key: &Key) -> Option<Arc<Run>> {
        self.table().runs.get(key).cloned()
    }

    pub(crate) fn forget(&self, key: &Key) {
        let mut table = self.table();
        table.runs.remove(key);
        table.over.retain(|over| over != key);
    }

    /// From now on it is kept only as long as there is room.
    pub(super) fn ended(&self, key: &Key) {
        let mut table = self.table();
        if table.runs.contains_key(key) {
            table.over.push_back(key.clone());
        }
        while table.over.len() > MAX_OVER {
            table.drop_oldest();
        }
    }

    /// Keeps the events of all within `n_at_most` bytes: those of responses that are over go first, the oldest of them first, then
    /// those of `run`, which has just said more.
    pub(super) fn shrink(&self, run: &Run, n_at_most: usize) {
        while self.n_bytes.load(Ordering::Relaxed) > n_at_most {
            if !self.table().drop_oldest() {
                run.forget_events();
                return;
            }
        }
    }

    /// Bytes of all events.
    pub(super) fn n_bytes(&self) -> &Arc<AtomicUsize> {
        &self.n_bytes
    }

    pub(crate) fn n_running(&self) -> usize {
        self.table().n_running
    }

    /// Waits until none is being made, at most so long.
    pub(crate) async fn all_over(&self, at_most: Duration) {
        let over = async {
            while self.n_running() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = tokio::time::timeout(at_most, over).await;
    }
}

// === impl Table ===

impl Table {
    /// Whether there was one.
    fn drop_oldest(&mut self) -> bool {
        let oldest = self.over.pop_front().and_then(|key| self.runs.remove(&key));
        oldest.inspect(|run| run.forget_events()).is_some()
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.runs.table();
        table.n_running = table.n_running.saturating_sub(1);
        if let Some(n_own) = table.n_running_of.get_mut(&self.owner) {
            *n_own -= 1;
            if *n_own == 0 {
                table.n_running_of.remove(&self.owner);
            }
        }
    }
}
