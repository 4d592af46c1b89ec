//! A reply whose upstream is read on when its client leaves, within bounds, for the usage that stands at its end.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;

use super::Relay;
use crate::body::{Aborted, Chunk, ReplyStream};
use crate::task;

/// How long, and how much of a reply, is read for nobody.
const MAX_TIME: Duration = Duration::from_secs(60);
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Dropped before its end, it reads on.
pub(super) struct Lingering(Option<Relay>);

// === impl Lingering ===

impl Lingering {
    pub(super) fn new(relay: Relay) -> Self {
        Self(Some(relay))
    }
}

impl ReplyStream for Lingering {
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Chunk, Aborted>>> {
        match &mut self.0 {
            Some(relay) => Pin::new(relay).poll_next(context),
            None => Poll::Ready(None),
        }
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        // A node that stops reads nothing on.
        if let Some(relay) = self.0.take().filter(Relay::is_under_way)
            && Handle::try_current().is_ok()
        {
            task::spawn_job(read_on(relay));
        }
    }
}

async fn read_on(mut relay: Relay) {
    relay.record.client_left();
    let read = async {
        let mut n_bytes = 0;
        while n_bytes <= MAX_BYTES {
            let next = std::future::poll_fn(|context| Pin::new(&mut relay).poll_next(context)).await;
            let Some(Ok(Chunk::Data(bytes))) = next else { return };
            n_bytes += bytes.len();
        }
    };
    // Beyond its bounds the upstream is let go, and charged for by an estimate.
    let _ = timeout(MAX_TIME, read).await;
}
