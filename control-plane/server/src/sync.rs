//! The gRPC end of the fleet channel: one service, whatever carries it. What travels is decided in `publish` and `session`;
//! what arrives goes to `fleet` and `ingest`.

mod balance;
mod session;
mod speaker;
mod stream;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_wire::v1::fleet_server::{Fleet as FleetApi, FleetServer};
use gateway_wire::v1::{
    BodyBatch, ControlMsg, IngestAck, LeaseAsk, LeaseGrant, LogBatch, MetricFrame, NodeMsg, UsageBatch,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use crate::clock;
use crate::enrolment::EnrolmentService;
use crate::fleet::Fleet;
use crate::ingest::Ingest;
use crate::leases::Leases;
use crate::members::Members;
use crate::peer::Link;
use crate::publish::Publisher;
use crate::task;
use balance::Balance;
use speaker::{Report, Speaker};
use stream::Context;

/// The largest message taken; what a node sends is far smaller.
const MAX_MESSAGE: usize = 4 << 20;
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages for one node that wait for the socket. A chunk of a snapshot is half a megabyte.
const OUTBOUND: usize = 4;
/// Snapshots on their way at a time; others wait, their nodes serve by what they have.
const MAX_SNAPSHOTS: usize = 8;
/// Calls of one connection at a time; a node needs seven.
const MAX_CALLS: u32 = 32;
const MAX_HEADERS: u32 = 16 << 10;

/// All that nodes call.
#[derive(Clone)]
pub struct FleetService {
    context: Context,
    ingest: Arc<Ingest>,
    leases: Arc<Leases>,
    members: Option<Arc<Members>>,
}

// === impl FleetService ===

impl FleetService {
    /// For nodes of this process. `stop` ends all streams.
    pub fn new(
        publisher: Arc<Publisher>,
        fleet: Arc<Fleet>,
        (ingest, leases): (Arc<Ingest>, Arc<Leases>),
        stop: CancellationToken,
    ) -> Self {
        let (admission, balance) = (Arc::new(Semaphore::new(MAX_SNAPSHOTS)), Arc::new(Balance::new()));
        Self { context: Context { publisher, fleet, admission, balance, stop }, ingest, leases, members: None }
    }

    /// To be told whenever it is known anew: nodes connected to all replicas together, and how many replicas there are, this
    /// one included. A replica that holds more than its share and a fifth sends its newest nodes on.
    pub fn share(&self, n_nodes: usize, n_replicas: usize) {
        self.context.balance.share(n_nodes, n_replicas);
    }

    /// For members as well.
    pub fn with_members(self, members: Arc<Members>) -> Self {
        Self { members: Some(members), ..self }
    }

    /// Serves connections within this process until `stop`. Whoever is at their other end is taken for who it says.
    pub async fn serve<C>(self, incoming: impl Stream<Item = io::Result<C>>) -> Result<(), tonic::transport::Error>
    where
        C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stop = self.context.stop.clone();
        let links = incoming.map(|stream| stream.map(Link::local));
        server().add_service(self.into_server()).serve_with_incoming_shutdown(links, stop.cancelled_owned()).await
    }

    /// Serves connections whose peers were found out, until `stop`.
    pub(crate) async fn serve_members<C>(
        self,
        enrolment: EnrolmentService,
        incoming: impl Stream<Item = io::Result<Link<C>>>,
    ) -> Result<(), tonic::transport::Error>
    where
        C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stop = self.context.stop.clone();
        let mut server = server().max_concurrent_streams(MAX_CALLS).http2_max_header_list_size(MAX_HEADERS);
        let server = server.add_service(self.into_server()).add_service(enrolment.into_server());
        server.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()).await
    }

    fn into_server(self) -> FleetServer<Self> {
        FleetServer::new(self).max_decoding_message_size(MAX_MESSAGE)
    }

    fn speaker<T>(&self, request: &Request<T>) -> Result<Speaker, Status> {
        Speaker::of(request, self.members.as_ref())
    }
}

fn server() -> Server {
    Server::builder().http2_keepalive_interval(Some(KEEPALIVE)).http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
}

type Answers<A> = ReceiverStream<Result<A, Status>>;
type Acks = Answers<IngestAck>;

#[tonic::async_trait]
impl FleetApi for FleetService {
    type SyncStream = ReceiverStream<Result<ControlMsg, Status>>;
    type UsageStream = Acks;
    type LogsStream = Acks;
    type BodiesStream = Acks;
    type MetricsStream = Acks;
    type LeaseStream = Answers<LeaseGrant>;

    async fn sync(&self, request: Request<Streaming<NodeMsg>>) -> Result<Response<Self::SyncStream>, Status> {
        let speaker = self.speaker(&request)?;
        let (outbound, messages) = mpsc::channel(OUTBOUND);
        task::spawn(stream::serve(self.context.clone(), speaker, request.into_inner(), outbound));
        Ok(Response::new(ReceiverStream::new(messages)))
    }

    async fn usage(&self, request: Request<Streaming<UsageBatch>>) -> Result<Response<Acks>, Status> {
        let ingest = Arc::clone(&self.ingest);
        Ok(answer(&self.context.stop, self.speaker(&request)?, request, move |batch| {
            let ingest = Arc::clone(&ingest);
            async move { ingest.usage(batch).await }
        }))
    }

    async fn logs(&self, request: Request<Streaming<LogBatch>>) -> Result<Response<Acks>, Status> {
        let ingest = Arc::clone(&self.ingest);
        Ok(answer(&self.context.stop, self.speaker(&request)?, request, move |batch| {
            let ingest = Arc::clone(&ingest);
            async move { ingest.logs(batch).await }
        }))
    }

    async fn bodies(&self, request: Request<Streaming<BodyBatch>>) -> Result<Response<Acks>, Status> {
        let ingest = Arc::clone(&self.ingest);
        Ok(answer(&self.context.stop, self.speaker(&request)?, request, move |batch| {
            let ingest = Arc::clone(&ingest);
            async move { ingest.bodies(batch).await }
        }))
    }

    async fn metrics(&self, request: Request<Streaming<MetricFrame>>) -> Result<Response<Acks>, Status> {
        let fleet = Arc::clone(&self.context.fleet);
        Ok(answer(&self.context.stop, self.speaker(&request)?, request, move |frame| {
            fleet.frame(frame);
            std::future::ready(Ok(IngestAck::default()))
        }))
    }

    async fn lease(&self, request: Request<Streaming<LeaseAsk>>) -> Result<Response<Self::LeaseStream>, Status> {
        let leases = Arc::clone(&self.leases);
        Ok(answer(&self.context.stop, self.speaker(&request)?, request, move |ask| {
            let leases = Arc::clone(&leases);
            async move { leases.answer(ask, clock::unix_ms(), Instant::now()).await }
        }))
    }
}

/// Answers each message of a stream in order; the first that cannot be answered ends it.
fn answer<T, A, F>(
    stop: &CancellationToken,
    speaker: Speaker,
    request: Request<Streaming<T>>,
    mut answer: impl FnMut(T) -> F + Send + 'static,
) -> Response<Answers<A>>
where
    T: Report + Send + 'static,
    A: Send + 'static,
    F: Future<Output = Result<A, Status>> + Send,
{
    let (outbound, answers) = mpsc::channel(OUTBOUND);
    let (mut inbound, stop) = (request.into_inner(), stop.clone());
    task::spawn(async move {
        let mut cut = std::pin::pin!(speaker.cut());
        loop {
            let received = tokio::select! {
                // What a node that was put out still says does not count.
                biased;
                cut = &mut cut => Err(cut),
                received = inbound.message() => received,
                () = stop.cancelled() => Err(Status::unavailable("the control plane is stopping")),
            };
            let answered = match received {
                Ok(Some(message)) => match speaker.check(&message) {
                    Ok(()) => answer(message).await,
                    Err(refused) => Err(refused),
                },
                Ok(None) => return,
                Err(status) => Err(status),
            };
            let is_last = answered.is_err();
            if outbound.send(answered).await.is_err() || is_last {
                return;
            }
        }
    });
    Response::new(ReceiverStream::new(answers))
}
