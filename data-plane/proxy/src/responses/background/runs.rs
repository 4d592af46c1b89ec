//! Responses that are being made, and those that can still be streamed again: found by their names, within bounds.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gateway_engine::snapshot::Background;
use gateway_ir::failure::Failure;

use super::place::{Place, Places};
use super::run::Run;
use crate::conversations::Key;

/// Those that are over and could be streamed again, at most.
const MAX_OVER: usize = 1024;

/// All of one node.
#[derive(Default)]
pub(crate) struct Runs {
    places: Arc<Places>,
    table: Mutex<Table>,
    /// Of all events.
    n_bytes: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Table {
    runs: HashMap<Key, Arc<Run>>,
    /// Those that are over, in the order in which they ended.
    over: VecDeque<Key>,
}

// === impl Runs ===

impl Runs {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refused where too many are being made.
    pub(crate) fn place(&self, owner: &Arc<str>, bounds: &Background) -> Result<Place, Box<Failure>> {
        self.places.take(owner, bounds)
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
        self.places.n_taken()
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
