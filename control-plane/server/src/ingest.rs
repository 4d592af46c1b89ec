//! What nodes report: log records as they arrive, for those who follow them.

use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use gateway_store::logs::LogRow;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

/// Records that a follower may lag behind before it misses some.
const BACKLOG: usize = 1024;

/// Log records as they arrive.
#[derive(Clone, Debug)]
pub struct Tail(broadcast::Sender<Arc<LogRow>>);

// === impl Tail ===

impl Tail {
    pub fn new() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }

    /// Records from now on. One that is too slow misses some; they are in the store.
    pub fn subscribe(&self) -> impl Stream<Item = Arc<LogRow>> + Send + use<> {
        BroadcastStream::new(self.0.subscribe()).filter_map(|row| std::future::ready(row.ok()))
    }

    pub fn send(&self, row: Arc<LogRow>) {
        // Nobody following is no error.
        let _ = self.0.send(row);
    }
}

impl Default for Tail {
    fn default() -> Self {
        Self::new()
    }
}
