//! The `Logs` stream: from the backlog, until acknowledged.

use std::collections::VecDeque;
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
    // Taken from the backlog and not acknowledged; survives a broken stream.
    let mut in_flight = VecDeque::new();
    let mut retry = Retry::new("log records", &link, &ending);
    while let End::Broken(status) =
        stream(FleetClient::new(link.channel()), &identity, &backlog, &mut in_flight, &ending).await
    {
        if !retry.wait(&status).await {
            return;
        }
    }
}

async fn stream(
    mut client: FleetClient<Channel>,
    identity: &Identity,
    backlog: &Backlog,
    in_flight: &mut VecDeque<LogBatch>,
    ending: &CancellationToken,
) -> End {
    let (sender, batches) = mpsc::channel(MAX_IN_FLIGHT);
    let mut acks = match client.logs(ReceiverStream::new(batches)).await {
        Ok(response) => response.into_inner(),
        Err(status) => return End::Broken(status),
    };
    for batch in in_flight.iter() {
        if sender.send(batch.clone()).await.is_err() {
            return closed();
        }
    }
    loop {
        while in_flight.len() < MAX_IN_FLIGHT
            && let Some(batch) = backlog.take()
        {
            let (node_id, boot_id) = (identity.node_id().to_string(), identity.boot_id.clone());
            let batch = LogBatch { node_id, boot_id, ..batch };
            in_flight.push_back(batch.clone());
            if sender.send(batch).await.is_err() {
                return closed();
            }
        }
        if ending.is_cancelled() && in_flight.is_empty() && backlog.len() == 0 {
            return End::Done;
        }
        tokio::select! {
            ack = acks.message() => match ack {
                // One for each batch, in order.
                Ok(Some(_)) => drop(in_flight.pop_front()),
                Ok(None) => return closed(),
                Err(status) => return End::Broken(status),
            },
            () = backlog.filled.notified(), if in_flight.len() < MAX_IN_FLIGHT => {}
            () = ending.cancelled(), if !ending.is_cancelled() => {}
        }
    }
}
