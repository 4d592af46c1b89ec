//! Where finished requests go, per worker.

use std::sync::Arc;

use crate::meters::Meters;
use crate::receipts::Receipts;
use crate::telemetry::{logs, spool};

/// One worker's lanes: nothing in here is shared with another worker except the meters' atomics.
pub(crate) struct Sinks {
    /// Usage, on disk before the upstream is asked; must not be lost.
    pub(crate) spool: spool::Lane,
    /// Log records; may be dropped, always counted.
    pub(crate) logs: logs::Lane,
    pub(crate) meters: Arc<Meters>,
    /// Shared by the workers of a node that has a directory.
    pub(crate) receipts: Option<Arc<Receipts>>,
}
