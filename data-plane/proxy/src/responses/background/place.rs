//! How many responses are being made in the background, and whose.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gateway_engine::snapshot::Background;
use gateway_ir::failure::{Code, Failure};

/// The places of one node.
#[derive(Default)]
pub(super) struct Places(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    n_taken: usize,
    n_taken_by: HashMap<Arc<str>, usize>,
}

/// The right to have one response made. Dropped, it is another's.
pub(crate) struct Place {
    places: Arc<Places>,
    owner: Arc<str>,
}

// === impl Places ===

impl Places {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refused where there are too many.
    pub(super) fn take(self: &Arc<Self>, owner: &Arc<str>, bounds: &Background) -> Result<Place, Box<Failure>> {
        let mut taken = self.taken();
        let n_own = taken.n_taken_by.get(owner).copied().unwrap_or_default();
        let (n_most, whose) = match () {
            () if taken.n_taken >= bounds.max_running => (bounds.max_running, "this node"),
            () if n_own >= bounds.max_running_per_caller => (bounds.max_running_per_caller, "this key"),
            () => {
                taken.n_taken += 1;
                taken.n_taken_by.insert(Arc::clone(owner), n_own + 1);
                return Ok(Place { places: Arc::clone(self), owner: Arc::clone(owner) });
            }
        };
        let message =
            format!("{n_most} responses of {whose} are being made in the background, which is the most; try later");
        let mut failure = Failure::new(Code::RateLimited, message).at("background");
        failure.limit_kind = Some("background");
        Err(Box::new(failure))
    }

    pub(super) fn n_taken(&self) -> usize {
        self.taken().n_taken
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.n_taken = taken.n_taken.saturating_sub(1);
        if let Some(n_own) = taken.n_taken_by.get_mut(&self.owner) {
            *n_own -= 1;
            if *n_own == 0 {
                taken.n_taken_by.remove(&self.owner);
            }
        }
    }
}
