//! The events of a response, from any of them on: what has been said, then what is being said.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream;
use serde_json::json;

use super::run::{Next, Run};
use crate::body::{Aborted, Chunk, ReplyBody, ReplyStream};

/// A reply that ends when the response has. Dropped before, it ends nothing.
pub(super) fn events(run: Arc<Run>, n_told: usize) -> ReplyBody {
    let told = stream::unfold(Some((run, n_told)), |standing| async move {
        let (run, mut n_told) = standing?;
        let mut changes = run.changes();
        loop {
            match run.after(&mut n_told) {
                Next::Events(events) => return Some((events, Some((run, n_told)))),
                Next::Wait => changes.changed().await.ok()?,
                Next::End => return None,
                Next::Gone => return Some((gone(n_told), None)),
            }
        }
    });
    ReplyBody::Stream(Box::pin(Following(Box::pin(told))))
}

/// The last words to whoever was too slow.
fn gone(n_told: usize) -> Bytes {
    let message = "the events of this response are not kept any longer; ask for the response itself, without `stream`";
    let event =
        json!({"type": "error", "code": "events_gone", "message": message, "param": null, "sequence_number": n_told});
    format!("event: error\ndata: {event}\n\n").into()
}

struct Following(Pin<Box<dyn Stream<Item = Bytes> + Send>>);

// === impl Following ===

impl ReplyStream for Following {
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Chunk, Aborted>>> {
        self.0.as_mut().poll_next(context).map(|next| next.map(|bytes| Ok(Chunk::Data(bytes))))
    }
}
