//! The gRPC end of the fleet channel: one service, whatever carries it. What travels is decided in `publish` and `session`;
//! what arrives goes to `fleet` and `ingest`.

mod session;
mod stream;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use gateway_wire::v1::fleet_server::{Fleet as FleetApi, FleetServer};
use gateway_wire::v1::{ControlMsg, IngestAck, LogBatch, MetricFrame, NodeMsg, UsageBatch};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

use crate::fleet::Fleet;
use crate::ingest::Ingest;
use crate::publish::Publisher;
use crate::task;
use stream::Context;

/// The largest message taken; what a node sends is far smaller.
const MAX_MESSAGE: usize = 4 << 20;
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages for one node that wait for the socket. A chunk of a snapshot is half a megabyte.
const OUTBOUND: usize = 4;
/// Snapshots on their way at a time; others wait, their nodes serve by what they have.
const MAX_SNAPSHOTS: usize = 8;

/// All that nodes call.
#[derive(Clone)]
pub struct FleetService {
    context: Context,
    ingest: Arc<Ingest>,
}

// === impl FleetService ===

impl FleetService {
    /// `stop` ends all streams.
    pub fn new(publisher: Arc<Publisher>, fleet: Arc<Fleet>, ingest: Arc<Ingest>, stop: CancellationToken) -> Self {
        let admission = Arc::new(Semaphore::new(MAX_SNAPSHOTS));
        Self { context: Context { publisher, fleet, admission, stop }, ingest }
    }

    /// Serves connections of any kind until `stop`: pipes of this process as well as sockets.
    pub async fn serve<C>(self, incoming: impl Stream<Item = io::Result<C>>) -> Result<(), tonic::transport::Error>
    where
        C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        let stop = self.context.stop.clone();
        let service = FleetServer::new(self).max_decoding_message_size(MAX_MESSAGE);
        Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .add_service(service)
            .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
            .await
    }
}

type Acks = ReceiverStream<Result<IngestAck, Status>>;

#[tonic::async_trait]
impl FleetApi for FleetService {
    type SyncStream = ReceiverStream<Result<ControlMsg, Status>>;
    type UsageStream = Acks;
    type LogsStream = Acks;
    type MetricsStream = Acks;

    async fn sync(&self, request: Request<Streaming<NodeMsg>>) -> Result<Response<Self::SyncStream>, Status> {
        let (outbound, messages) = mpsc::channel(OUTBOUND);
        task::spawn(stream::serve(self.context.clone(), request.into_inner(), outbound));
        Ok(Response::new(ReceiverStream::new(messages)))
    }

    async fn usage(&self, request: Request<Streaming<UsageBatch>>) -> Result<Response<Acks>, Status> {
        let ingest = Arc::clone(&self.ingest);
        Ok(answer(&self.context.stop, request, move |batch| {
            let ingest = Arc::clone(&ingest);
            async move { ingest.usage(batch).await }
        }))
    }

    async fn logs(&self, request: Request<Streaming<LogBatch>>) -> Result<Response<Acks>, Status> {
        let ingest = Arc::clone(&self.ingest);
        Ok(answer(&self.context.stop, request, move |batch| {
            let ingest = Arc::clone(&ingest);
            async move { ingest.logs(batch).await }
        }))
    }

    async fn metrics(&self, request: Request<Streaming<MetricFrame>>) -> Result<Response<Acks>, Status> {
        let fleet = Arc::clone(&self.context.fleet);
        Ok(answer(&self.context.stop, request, move |frame| {
            fleet.frame(frame);
            std::future::ready(Ok(IngestAck::default()))
        }))
    }
}

/// Answers each message of a stream in order; the first that cannot be answered ends it.
fn answer<T, F>(
    stop: &CancellationToken,
    request: Request<Streaming<T>>,
    mut answer: impl FnMut(T) -> F + Send + 'static,
) -> Response<Acks>
where
    T: Send + 'static,
    F: Future<Output = Result<IngestAck, Status>> + Send,
{
    let (outbound, acks) = mpsc::channel(OUTBOUND);
    let (mut inbound, stop) = (request.into_inner(), stop.clone());
    task::spawn(async move {
        loop {
            let received = tokio::select! {
                received = inbound.message() => received,
                () = stop.cancelled() => Err(Status::unavailable("the control plane is stopping")),
            };
            let answered = match received {
                Ok(Some(message)) => answer(message).await,
                Ok(None) => return,
                Err(status) => Err(status),
            };
            let is_last = answered.is_err();
            if outbound.send(answered).await.is_err() || is_last {
                return;
            }
        }
    });
    Response::new(ReceiverStream::new(acks))
}
