//! What a configuration says of replies that are given again, and what tells one model's replies from another's.

use std::time::Duration;

use super::{Index, Snapshot};

/// Of a digest (SHA-256) of everything about something that shows in its answers.
pub(crate) type Identity = [u8; 32];

/// Only where anything is given again at all.
#[derive(Debug)]
pub(crate) struct Recall {
    pub(crate) bounds: Bounds,
    /// As the settings say.
    pub(crate) everywhere: Said,
    /// By a provider's place in the snapshot.
    pub(crate) providers: Vec<Identity>,
    pub(crate) models: Index<OfModel>,
    /// Those that say something.
    pub(crate) routes: Index<Said>,
}

#[derive(Debug)]
pub(crate) struct OfModel {
    /// Of what is written of it and of those behind it.
    pub(crate) identity: Identity,
    pub(crate) said: Option<Said>,
}

/// What one level says; `None` leaves it to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) on: bool,
    pub(crate) ttl: Option<Duration>,
    pub(crate) coalesce: Option<bool>,
}

/// How much a node keeps, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    pub whole: usize,
    /// One reply.
    pub entry: usize,
}

// === impl Snapshot ===

impl Snapshot {
    /// What a node may keep of replies; nothing where no level switches the cache on.
    pub fn cache_bounds(&self) -> Bounds {
        self.recall.as_ref().map(|recall| recall.bounds).unwrap_or_default()
    }
}
