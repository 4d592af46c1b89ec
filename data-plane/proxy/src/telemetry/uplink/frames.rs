//! The `Metrics` stream: a frame every few seconds; one that could not be sent is replaced by the next.

use std::sync::Arc;
use std::time::Duration;

use gateway_wire::v1::MetricFrame;
use gateway_wire::v1::fleet_client::FleetClient;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::{End, Frames, Retry, closed};
use crate::link::Link;
use crate::telemetry::identity::Identity;

const EVERY: Duration = Duration::from_secs(5);

pub(super) async fn deliver(link: Link, identity: Arc<Identity>, frames: Frames, ending: CancellationToken) {
    let mut retry = Retry::new("metrics", &link, &ending);
    while let End::Broken(status) = stream(FleetClient::new(link.channel()), &identity, &frames, &ending).await {
        if !retry.wait(&status).await {
            return;
        }
    }
}

async fn stream(
    mut client: FleetClient<Channel>,
    identity: &Identity,
    frames: &Frames,
    ending: &CancellationToken,
) -> End {
    let (sender, receiver) = mpsc::channel(1);
    let opened = tokio::select! {
        opened = client.metrics(ReceiverStream::new(receiver)) => opened,
        () = ending.cancelled() => return End::Done,
    };
    let mut acks = match opened {
        Ok(response) => response.into_inner(),
        Err(status) => return End::Broken(status),
    };
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                let (node_id, boot_id) = (identity.node_id().to_string(), identity.boot_id.clone());
                // A full channel means that the one before is still on its way.
                let _ = sender.try_send(MetricFrame { node_id, boot_id, ..frames() });
            }
            ack = acks.message() => match ack {
                Ok(Some(_)) => {}
                Ok(None) => return closed(),
                Err(status) => return End::Broken(status),
            },
            () = ending.cancelled() => return End::Done,
        }
    }
}
