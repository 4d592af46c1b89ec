//! The `Logs` and `Bodies` streams: from the backlog, until acknowledged.

use std::sync::Arc;

use gateway_wire::v1::fleet_client::FleetClient;
use gateway_wire::v1::{BodyBatch, IngestAck, LogBatch, LogBody, LogRecord};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

use super::{End, MAX_IN_FLIGHT, Retry, closed};
use crate::link::Link;
use crate::telemetry::identity::Identity;
use crate::telemetry::logs::{Backlog, Batch, Piece};

type Acks = Result<Response<Streaming<IngestAck>>, Status>;

/// What has a stream of its own.
pub(super) trait Reported: Piece {
    type Message: Send + 'static;
    /// Its stream is there also while there is nothing to say.
    const STANDS: bool;

    fn message(batch: Batch<Self>, node_id: String) -> Self::Message;

    fn open(
        client: &mut FleetClient<Channel>,
        batches: ReceiverStream<Self::Message>,
    ) -> impl Future<Output = Acks> + Send;
}

pub(super) async fn deliver<R: Reported>(
    link: Link,
    identity: Arc<Identity>,
    backlog: Arc<Backlog<R>>,
    ending: CancellationToken,
) {
    let earlier = Arc::clone(&backlog);
    // Reads what earlier boots left behind. A panic in it was reported by it.
    let _ = tokio::task::spawn_blocking(move || earlier.adopt_earlier()).await;
    let mut retry = Retry::new(R::WHAT, &link, &ending);
    if !R::STANDS {
        backlog.until_filled(&ending).await;
    }
    while let End::Broken(status) = stream(FleetClient::new(link.channel()), &identity, &backlog, &ending).await {
        backlog.disconnected();
        if !retry.wait(&status).await {
            return;
        }
    }
}

async fn stream<R: Reported>(
    mut client: FleetClient<Channel>,
    identity: &Identity,
    backlog: &Backlog<R>,
    ending: &CancellationToken,
) -> End {
    let (sender, batches) = mpsc::channel(MAX_IN_FLIGHT);
    let opened = tokio::select! {
        opened = R::open(&mut client, ReceiverStream::new(batches)) => opened,
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
            if sender.send(R::message(batch, identity.node_id().to_string())).await.is_err() {
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

// === impl LogRecord ===

impl Reported for LogRecord {
    type Message = LogBatch;
    const STANDS: bool = true;

    fn message(batch: Batch<Self>, node_id: String) -> LogBatch {
        let Batch { boot_id, first_seq, records, dropped_total } = batch;
        LogBatch { node_id, boot_id, first_seq, records, dropped_total }
    }

    async fn open(client: &mut FleetClient<Channel>, batches: ReceiverStream<LogBatch>) -> Acks {
        client.logs(batches).await
    }
}

// === impl LogBody ===

impl Reported for LogBody {
    type Message = BodyBatch;
    /// Few nodes keep any, and a control plane of an older version takes none.
    const STANDS: bool = false;

    fn message(batch: Batch<Self>, node_id: String) -> BodyBatch {
        let Batch { boot_id, first_seq, records: bodies, dropped_total } = batch;
        BodyBatch { node_id, boot_id, first_seq, bodies, dropped_total }
    }

    async fn open(client: &mut FleetClient<Channel>, batches: ReceiverStream<BodyBatch>) -> Acks {
        client.bodies(batches).await
    }
}
