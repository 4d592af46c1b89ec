//! The `Logs` stream: from the backlog, until acknowledged.

use std::sync::Arc;

use gateway_wire::v1::LogBatch;
use gateway_wire::v1::fleet_client::FleetClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::{End, MAX_IN_FLIGHT, Retry, closed};
use crate::link::Link;
use crate::telemetry::identity::Identity;
use crate::telemetry::logs::Backlog;

pub(super) async fn deliver(link: Link, identity: Arc<Identity>, backlog: Arc<Backlog>, ending: CancellationToken) {
    let earlier = Arc::clone(&backlog);
    // Reads what earlier boots left behind. A panic in it was reported by it.
    let _ = tokio::task::spawn_blocking(move || earlier.adopt_earlier()).await;
    let mut retry = Retry::new("log records", &link, &ending);
    while let End::Broken(status) = stream(FleetClient::new(link.channel()), &identity, &backlog, &ending).await {
        backlog.disconnected();
        if !retry.wait(&status).await {
            return;
        }
    }
}

async fn stream(
    mut client: FleetClient<Channel>,
    identity: &Identity,
    backlog: &Backlog,
    ending: &CancellationToken,
) -> End {
    let (sender, batches) = mpsc::channel(MAX_IN_FLIGHT);
    let opened = tokio::select! {
        opened = client.logs(ReceiverStream::new(batches)) => opened,
        () = ending.cancelled(), if backlog.len() == 0 => return End::Done,
    };
    let mut acks = match opened {
        Ok(response) => response.into_inner(),
        Err(status) => return End::Broken(status),
    };
    backlog.connected();
    let mut n_in_flight = 0;
    loop {
        while n_in_flight < MAX_IN_FLIGHT
            && let Some(batch) = backlog.take()
        {
            n_in_flight += 1;
            if sender.send(LogBatch { node_id: identity.node_id().to_string(), ..batch }).await.is_err() {
                return closed();
            }
        }
        if ending.is_cancelled() && n_in_flight == 0 && backlog.len() == 0 {
            return End::Done;
        }
        tokio::select! {
            ack = acks.message() => match ack {
                // One for each batch, in order.
                Ok(Some(_)) => {
                    backlog.delivered();
                    n_in_flight -= 1;
                }
                Ok(None) => return closed(),
                Err(status) => return End::Broken(status),
            },
            () = backlog.filled.notified(), if n_in_flight < MAX_IN_FLIGHT => {}
            () = ending.cancelled(), if !ending.is_cancelled() => {}
        }
    }
}
