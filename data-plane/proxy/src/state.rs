//! What the node currently serves by. Written by `sync::apply`, and by `discovery` as far as providers' lists go; read once per
//! request.

pub mod standing;
mod shape;
mod listing;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use gateway_engine::compile::with_discovered;
use gateway_engine::identity::{KeyTable, Peppers};
use gateway_engine::known::Discovered;
use gateway_engine::snapshot::{HeaderFamilies, Snapshot};
use standing::Standing;

pub use listing::Listing;
pub(crate) use listing::{Page, Wanted};
pub(crate) use shape::Shape;

/// The live configuration. Topology is swapped whole; keys change one by one, in place.
pub struct Live {
    config: ArcSwap<Config>,
    /// Held while another configuration is made of the one that serves. Never by a request.
    changing: Mutex<()>,
    pub keys: KeyTable,
    pub standing: Standing,
}

/// One revision of everything that is swapped together. A request pins it from its start to its end.
#[derive(Clone)]
pub struct Config {
    pub snapshot: Arc<Snapshot>,
    /// The snapshot's models, as clients are told of them.
    pub listing: Arc<Listing>,
    /// By which presented keys are digested.
    pub peppers: Arc<Peppers>,
    /// False until the first revision has been applied.
    pub ready: bool,
}

// === impl Live ===

impl Live {
    /// Nothing is configured yet: every request is told `no_config`.
    pub fn empty() -> Self {
        let (snapshot, listing) = (Arc::<Snapshot>::default(), Listing::empty());
        let keys = KeyTable::spending_from(Arc::clone(&snapshot.purses));
        let config = Config { snapshot, listing, peppers: Arc::default(), ready: false };
        Self { config: ArcSwap::from_pointee(config), changing: Mutex::default(), keys, standing: Standing::default() }
    }

    /// The current revision; a few nanoseconds, never blocks. Do not hold the guard across an await: clone what you pin.
    pub fn load(&self) -> Guard<Arc<Config>> {
        self.config.load()
    }

    /// The current revision, pinned for as long as the caller likes.
    pub fn pin(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// Another configuration; what providers list is kept. Takes time linear in the models where the snapshot is another one.
    pub fn swap(&self, snapshot: Arc<Snapshot>, peppers: Arc<Peppers>, ready: bool) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let served = self.config.load_full();
        let (snapshot, listing) = match Arc::ptr_eq(&snapshot, &served.snapshot) {
            true => (snapshot, Arc::clone(&served.listing)),
            false => listed(snapshot, &served.snapshot.discovered),
        };
        self.config.store(Arc::new(Config { snapshot, listing, peppers, ready }));
    }

    /// The same configuration with what providers list now.
    pub(crate) fn discovered(&self, discovered: &Arc<Discovered>) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let served = self.config.load_full();
        let (snapshot, listing) = listed(Arc::clone(&served.snapshot), discovered);
        self.config.store(Arc::new(Config { snapshot, listing, ..Config::clone(&served) }));
    }
}

// === impl Config ===

impl Config {
    pub fn families(&self) -> HeaderFamilies {
        self.snapshot.settings.header_families
    }
}

fn listed(mut snapshot: Arc<Snapshot>, discovered: &Arc<Discovered>) -> (Arc<Snapshot>, Arc<Listing>) {
    if snapshot.discovered != *discovered {
        snapshot = Arc::new(with_discovered(&snapshot, Arc::clone(discovered)));
    }
    let listing = Arc::new(Listing::new(&snapshot));
    (snapshot, listing)
}
