//! The `Usage` stream: from the spool, until acknowledged.

use std::sync::Arc;
use std::time::Duration;

use gateway_wire::v1::UsageBatch;
use gateway_wire::v1::fleet_client::FleetClient;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::{End, MAX_IN_FLIGHT, Retry, closed};
use crate::link::Link;
use crate::telemetry::identity::Identity;
use crate::telemetry::spool::Outbox;

/// What comes in within this time goes in one message.
const EVERY: Duration = Duration::from_millis(250);

pub(super) async fn deliver(
    link: Link,
    identity: Arc<Identity>,
    outbox: impl FnOnce() -> Outbox + Send + 'static,
    ending: CancellationToken,
) {
    // Reads what earlier boots left behind.
    let Ok(mut outbox) = tokio::task::spawn_blocking(outbox).await else { return };
    let mut retry = Retry::new("usage", &link, &ending);
    while let End::Broken(status) = stream(FleetClient::new(link.channel()), &identity, &mut outbox, &ending).await {
        if !retry.wait(&status).await {
            return;
        }
    }
}

async fn stream(
    mut client: FleetClient<Channel>,
    identity: &Identity,
    outbox: &mut Outbox,
    ending: &CancellationToken,
) -> End {
    outbox.rewind();
    let (sender, batches) = mpsc::channel(MAX_IN_FLIGHT);
    let opened = tokio::select! {
        opened = client.usage(ReceiverStream::new(batches)) => opened,
        () = ending.cancelled(), if outbox.is_clear() => return End::Done,
    };
    let mut acks = match opened {
        Ok(response) => response.into_inner(),
        Err(status) => return End::Broken(status),
    };
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut n_in_flight = 0;
    loop {
        while n_in_flight < MAX_IN_FLIGHT
            && let Some(batch) = outbox.next()
        {
            // There is room: the channel holds as many as may be in flight.
            if sender.send(UsageBatch { node_id: identity.node_id().to_string(), ..batch }).await.is_err() {
                return closed();
            }
            n_in_flight += 1;
        }
        if ending.is_cancelled() && outbox.is_clear() {
            return End::Done;
        }
        tokio::select! {
            ack = acks.message() => match ack {
                Ok(Some(ack)) => {
                    outbox.acknowledged(&ack);
                    n_in_flight -= 1;
                }
                Ok(None) => return closed(),
                Err(status) => return End::Broken(status),
            },
            _ = tick.tick() => {}
            () = ending.cancelled(), if !ending.is_cancelled() => {}
        }
    }
}
