//! The wait for a place at a provider that takes only so many requests at once.

use std::task::{Context, Poll};
use std::time::Duration;

use gateway_engine::gate::{Entry, Slot, Ticket};
use gateway_engine::health::Skip;
use gateway_engine::snapshot::Provider;
use gateway_ir::failure::{Code, Failure};
use tokio::time::{Instant, timeout_at};

use crate::record::Record;

/// A place, where the provider has only so many of them. Waits for `patience` at most; `Err` says why the provider is to be
/// passed over.
pub(crate) async fn place(
    provider: &Provider,
    patience: Duration,
    deadline: Instant,
    record: &mut Record,
) -> Result<Option<Slot>, Skip> {
    let Some(gate) = &provider.gate else { return Ok(None) };
    match gate.enter(std::time::Instant::now()) {
        Entry::Place(slot) => Ok(Some(slot)),
        Entry::Full => Err(Skip::Busy),
        Entry::Queued(ticket) => {
            record.waits_for_upstream();
            // On the heap: few wait, and nobody else should carry it.
            let waited = Box::pin(timeout_at(deadline.min(Instant::now() + patience), turn(ticket))).await;
            record.heard_from_upstream();
            waited.map(Some).map_err(|_| Skip::Queued)
        }
    }
}

async fn turn(mut ticket: Ticket) -> Slot {
    std::future::poll_fn(|context: &mut Context<'_>| -> Poll<Slot> {
        ticket.poll(context.waker(), std::time::Instant::now())
    })
    .await
}

/// What a caller is told where a provider without a free place was the last that could be asked.
pub(crate) fn no_place(who: &str, skip: Skip, provider: &Provider, patience: Duration) -> Box<Failure> {
    let limit = provider.gate.as_ref().map_or(0, |gate| gate.standing().limit);
    let (code, message) = match skip {
        Skip::Queued => {
            let message = format!("none of the {limit} places at `{who}` became free within {patience:?}");
            (Code::QueueTimeout, message)
        }
        _ => (Code::NoTarget, format!("`{who}` has {limit} requests under way, and as many wait for a place as may")),
    };
    Box::new(Failure::new(code, message).with_retry_after(Some(Duration::from_secs(1))))
}
