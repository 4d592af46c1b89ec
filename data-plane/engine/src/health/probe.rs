//! Asking an upstream whether it is well, beside the requests that it gets: what is asked, how often, and what came of it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use gateway_model::kind::provider::Probe as Document;

/// As the configuration has it, with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub question: Question,
    pub interval: Duration,
    /// For the head of the answer.
    pub timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// A path with its query on the provider's host.
    Path(Box<str>),
    /// One token of this model.
    Model(Arc<str>),
}

/// What came of the probes of one provider.
#[derive(Debug, Default)]
pub struct Probed {
    n_well: AtomicU64,
    n_failed: AtomicU64,
    /// Failed ones since the last that went well.
    n_in_a_row: AtomicU64,
}

// === impl Probe ===

impl Probe {
    const INTERVAL: Duration = Duration::from_secs(30);
    const TIMEOUT: Duration = Duration::from_secs(5);

    pub(crate) fn compile(document: &Document) -> Option<Self> {
        let question = match (&document.path, &document.model) {
            (Some(path), _) => Question::Path(path.as_str().into()),
            (None, Some(model)) => Question::Model(model.as_str().into()),
            (None, None) => return None,
        };
        Some(Self {
            question,
            interval: document.interval.map_or(Self::INTERVAL, |span| span.0),
            timeout: document.timeout.map_or(Self::TIMEOUT, |span| span.0),
        })
    }

    /// The time to the next one: a tenth more or less, so that many nodes do not ask together. `random` is from 0 to 1.
    pub fn pause(&self, random: f64) -> Duration {
        self.interval.mul_f64(0.9 + 0.2 * random.clamp(0.0, 1.0))
    }
}

// === impl Probed ===

impl Probed {
    pub(crate) fn count(&self, is_well: bool) {
        if is_well {
            self.n_well.fetch_add(1, Relaxed);
            self.n_in_a_row.store(0, Relaxed);
        } else {
            self.n_failed.fetch_add(1, Relaxed);
            self.n_in_a_row.fetch_add(1, Relaxed);
        }
    }

    /// By the last one; `None` before the first.
    pub fn is_well(&self) -> Option<bool> {
        let n_asked = self.n_well() + self.n_failed();
        (n_asked > 0).then(|| self.n_in_a_row.load(Relaxed) == 0)
    }

    pub fn n_well(&self) -> u64 {
        self.n_well.load(Relaxed)
    }

    pub fn n_failed(&self) -> u64 {
        self.n_failed.load(Relaxed)
    }
}
