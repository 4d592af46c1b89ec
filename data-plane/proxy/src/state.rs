//! What the node currently serves by. Written by `sync::apply` only; read once per request.

pub mod standing;

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use gateway_engine::identity::{KeyTable, Peppers};
use gateway_engine::snapshot::{HeaderFamilies, Snapshot};
use standing::Standing;

/// The live configuration. Topology is swapped whole; keys change one by one, in place.
pub struct Live {
    config: ArcSwap<Config>,
    pub keys: KeyTable,
    pub standing: Standing,
}

/// One revision of everything that is swapped together. A request pins it from its start to its end.
#[derive(Clone)]
pub struct Config {
    pub snapshot: Arc<Snapshot>,
    /// By which presented keys are digested.
    pub peppers: Arc<Peppers>,
    /// False until the first revision has been applied.
    pub ready: bool,
}

// === impl Live ===

impl Live {
    /// Nothing is configured yet: every request is told `no_config`.
    pub fn empty() -> Self {
        let config = Config { snapshot: Arc::default(), peppers: Arc::default(), ready: false };
        Self { config: ArcSwap::from_pointee(config), keys: KeyTable::default(), standing: Standing::default() }
    }

    /// The current revision; a few nanoseconds, never blocks. Do not hold the guard across an await: clone what you pin.
    pub fn load(&self) -> Guard<Arc<Config>> {
        self.config.load()
    }

    /// The current revision, pinned for as long as the caller likes.
    pub fn pin(&self) -> Arc<Config> {
        self.config.load_full()
    }

    pub fn swap(&self, config: Config) {
        self.config.store(Arc::new(config));
    }
}

// === impl Config ===

impl Config {
    pub fn families(&self) -> HeaderFamilies {
        self.snapshot.settings.header_families
    }
}
