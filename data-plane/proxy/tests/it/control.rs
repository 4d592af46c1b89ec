//! A control plane that says what a test tells it to, over the same pipe or TLS and messages as the real one.

use std::io;
use std::net::SocketAddr;

use gateway_engine::identity::Peppers;
use gateway_proxy::config::Endpoint;
use gateway_wire::tree::Tree;
use gateway_wire::v1::control_msg::Msg;
use gateway_wire::v1::enrolment_server::EnrolmentServer;
use gateway_wire::v1::fleet_server::{Fleet, FleetServer};
use gateway_wire::v1::item::Body;
use gateway_wire::v1::node_msg::Msg as NodeSays;
use gateway_wire::v1::{
    Ack, BodyBatch, Bookmark, Class, Codec, ControlMsg, Delta, Hello, IngestAck, Item, ItemList, Key, LeaseAsk,
    LeaseGrant, LogBatch, LogRecord, MetricFrame, NodeMsg, Pepper, SnapshotBegin, SnapshotChunk, SnapshotEnd,
    UsageBatch,
};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

use crate::fleet::Fleet as Authority;

const EPOCH: &str = "epoch";
const PEPPER: [u8; 32] = [7; 32];

pub(crate) struct Control {
    /// `None` where it is reached over the network.
    pipe: Option<mpsc::Sender<DuplexStream>>,
    streams: mpsc::Receiver<Stream>,
    /// Batches of usage, each with the way to acknowledge it; dropped, it ends the stream.
    pub(crate) usage: mpsc::Receiver<(UsageBatch, mpsc::Sender<Result<IngestAck, Status>>)>,
    pub(crate) records: mpsc::Receiver<LogRecord>,
    /// As `usage`, of bodies.
    pub(crate) bodies: mpsc::Receiver<(BodyBatch, mpsc::Sender<Result<IngestAck, Status>>)>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Control {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// One `Sync` stream.
pub(crate) struct Stream {
    inbound: Streaming<NodeMsg>,
    outbound: mpsc::Sender<Result<ControlMsg, Status>>,
}

#[derive(Clone)]
struct Service {
    streams: mpsc::Sender<Stream>,
    usage: mpsc::Sender<(UsageBatch, mpsc::Sender<Result<IngestAck, Status>>)>,
    records: mpsc::Sender<LogRecord>,
    bodies: mpsc::Sender<(BodyBatch, mpsc::Sender<Result<IngestAck, Status>>)>,
}

type Acks = ReceiverStream<Result<IngestAck, Status>>;

#[tonic::async_trait]
impl Fleet for Service {
    type SyncStream = ReceiverStream<Result<ControlMsg, Status>>;
    type UsageStream = Acks;
    type LogsStream = Acks;
    type BodiesStream = Acks;
    type MetricsStream = Acks;
    type LeaseStream = ReceiverStream<Result<LeaseGrant, Status>>;

    async fn sync(&self, request: Request<Streaming<NodeMsg>>) -> Result<Response<Self::SyncStream>, Status> {
        let (outbound, messages) = mpsc::channel(64);
        let stream = Stream { inbound: request.into_inner(), outbound };
        self.streams.send(stream).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(messages)))
    }

    async fn usage(&self, request: Request<Streaming<UsageBatch>>) -> Result<Response<Acks>, Status> {
        let (outbound, acks) = mpsc::channel(64);
        let (mut inbound, usage) = (request.into_inner(), self.usage.clone());
        tokio::spawn(async move {
            loop {
                let received = tokio::select! {
                    received = inbound.message() => received,
                    () = usage.closed() => return,
                };
                let Ok(Some(batch)) = received else { return };
                let _ = usage.send((batch, outbound.clone())).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(acks)))
    }

    async fn logs(&self, request: Request<Streaming<LogBatch>>) -> Result<Response<Acks>, Status> {
        let (outbound, acks) = mpsc::channel(64);
        let (mut inbound, records) = (request.into_inner(), self.records.clone());
        tokio::spawn(async move {
            while let Ok(Some(batch)) = inbound.message().await {
                let up_to_seq = batch.first_seq + batch.records.len() as u64 - 1;
                for record in batch.records {
                    let _ = records.send(record).await;
                }
                let _ = outbound.send(Ok(IngestAck { up_to_seq, lane: 0, boot_id: batch.boot_id })).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(acks)))
    }

    async fn bodies(&self, request: Request<Streaming<BodyBatch>>) -> Result<Response<Acks>, Status> {
        let (outbound, acks) = mpsc::channel(64);
        let (mut inbound, bodies) = (request.into_inner(), self.bodies.clone());
        tokio::spawn(async move {
            while let Ok(Some(batch)) = inbound.message().await {
                let _ = bodies.send((batch, outbound.clone())).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(acks)))
    }

    async fn metrics(&self, request: Request<Streaming<MetricFrame>>) -> Result<Response<Acks>, Status> {
        let (outbound, acks) = mpsc::channel(1);
        let mut inbound = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(_)) = inbound.message().await {
                let _ = outbound.send(Ok(IngestAck::default())).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(acks)))
    }

    /// As one of an older version.
    async fn lease(&self, _: Request<Streaming<LeaseAsk>>) -> Result<Response<Self::LeaseStream>, Status> {
        Err(Status::unimplemented("no leases"))
    }
}

// === impl Control ===

impl Control {
    pub(crate) fn start() -> Self {
        let (pipe, incoming) = mpsc::channel(4);
        let mut control = Self::serve(&Authority::new(), incoming);
        control.pipe = Some(pipe);
        control
    }

    /// A replica of this fleet's control plane, and where it is reached.
    pub(crate) async fn join(authority: &Authority) -> (Self, SocketAddr) {
        let (addr, incoming) = authority.listen().await;
        (Self::serve(authority, incoming), addr)
    }

    fn serve<S>(authority: &Authority, incoming: mpsc::Receiver<S>) -> Self
    where
        S: AsyncRead + AsyncWrite + Connected + Send + Unpin + 'static,
    {
        let ((streams, streams_in), (usage, usage_in)) = (mpsc::channel(4), mpsc::channel(64));
        let (records, records_in) = mpsc::channel(1024);
        let (bodies, bodies_in) = mpsc::channel(1);
        let admission = authority.clone();
        let admit = move |request| admission.admit(request);
        let service = FleetServer::with_interceptor(Service { streams, usage, records, bodies }, admit);
        let mut server = tonic::transport::Server::builder();
        let server = server.add_service(service).add_service(EnrolmentServer::new(authority.clone()));
        let connections = ReceiverStream::new(incoming).map(Ok::<_, io::Error>);
        let server =
            tokio::spawn(async move { server.serve_with_incoming(connections).await.expect("the channel works") });
        Self { pipe: None, streams: streams_in, usage: usage_in, records: records_in, bodies: bodies_in, server }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::Pipe(self.pipe.clone().expect("it is in this process"))
    }

    /// Takes all usage from now on.
    pub(crate) fn take_usage(&mut self) {
        let mut usage = std::mem::replace(&mut self.usage, mpsc::channel(1).1);
        tokio::spawn(async move {
            while let Some((batch, acks)) = usage.recv().await {
                let up_to_seq = batch.first_seq + batch.events.len() as u64 - 1;
                let _ = acks.send(Ok(IngestAck { up_to_seq, lane: batch.lane, boot_id: batch.boot_id })).await;
            }
        });
    }

    /// The next `Sync` stream, with what the node says first.
    pub(crate) async fn stream(&mut self) -> (Stream, Hello) {
        let wait = tokio::time::timeout(gateway_fake::PATIENCE, self.streams.recv());
        let mut stream = wait.await.expect("the node connects").expect("the server runs");
        let Some(NodeSays::Hello(hello)) = stream.next().await else { panic!("no `Hello` first") };
        (stream, hello)
    }
}

// === impl Stream ===

impl Stream {
    pub(crate) async fn send(&self, message: Msg) {
        self.outbound.send(Ok(ControlMsg { msg: Some(message) })).await.expect("the node is there");
    }

    pub(crate) async fn snapshot(&self, class: Class, revision: u64, items: &[Item]) {
        let encoded = ItemList { items: items.to_vec() }.encode_to_vec();
        let data = zstd::encode_all(encoded.as_slice(), 1).expect("compression");
        let chunks = data.chunks(gateway_wire::CHUNK);
        let n_chunks = chunks.len() as u32;
        let (nonce, bytes) = (revision * 2 + u64::from(class == Class::Identity), encoded.len() as u64);
        let (epoch, codec) = (EPOCH.to_owned(), Codec::Zstd.into());
        let begin = SnapshotBegin { nonce, class: class.into(), epoch, revision, bytes, chunks: n_chunks, codec };
        self.send(Msg::Begin(begin)).await;
        for (index, data) in (0..).zip(chunks) {
            self.send(Msg::Chunk(SnapshotChunk { nonce, index, data: data.to_vec().into() })).await;
        }
        self.send(Msg::End(SnapshotEnd { nonce, root_hash: Tree::of(items).root().to_vec() })).await;
    }

    pub(crate) async fn bookmark(&self, class: Class, revision: u64, items: &[Item]) {
        self.lives(class, revision, items, 0).await;
    }

    /// The same, and so many nodes share the limits.
    pub(crate) async fn lives(&self, class: Class, revision: u64, items: &[Item], live_nodes: u32) {
        let (epoch, root_hash) = (EPOCH.to_owned(), Tree::of(items).root().to_vec());
        let bookmark = Bookmark { class: class.into(), epoch, revision, root_hash, min_resumable: 0, live_nodes };
        self.send(Msg::Bookmark(bookmark)).await;
    }

    /// `items` are all there are afterwards, `changed` those of them that are new.
    pub(crate) async fn delta(&self, class: Class, from: u64, to: u64, changed: Vec<Item>, items: &[Item]) {
        let delta = Delta {
            nonce: 1000 + to,
            class: class.into(),
            epoch: EPOCH.to_owned(),
            from_revision: from,
            to_revision: to,
            upsert: changed,
            root_hash: Tree::of(items).root().to_vec(),
            ..Delta::default()
        };
        self.send(Msg::Delta(delta)).await;
    }

    /// The node's next answer about a revision.
    pub(crate) async fn ack(&mut self) -> Ack {
        loop {
            match self.next().await {
                Some(NodeSays::Ack(ack)) => return ack,
                Some(NodeSays::Heartbeat(_)) => {}
                other => panic!("no answer: {other:?}"),
            }
        }
    }

    /// The warnings of the node's next heartbeat.
    pub(crate) async fn warnings(&mut self) -> Vec<String> {
        loop {
            if let Some(NodeSays::Heartbeat(heartbeat)) = self.next().await {
                return heartbeat.warnings;
            }
        }
    }

    /// The node's next answer, in words.
    pub(crate) async fn answer(&mut self) -> String {
        loop {
            match self.next().await {
                Some(NodeSays::Ack(ack)) => return format!("ack {}", ack.revision),
                Some(NodeSays::Resync(resync)) => return format!("resync {}", resync.reason),
                Some(NodeSays::Heartbeat(_)) => {}
                other => panic!("no answer: {other:?}"),
            }
        }
    }

    async fn next(&mut self) -> Option<NodeSays> {
        let wait = tokio::time::timeout(gateway_fake::PATIENCE, self.inbound.message());
        wait.await.expect("the node says something").expect("a message")?.msg
    }
}

pub(crate) fn document(kind: &str, id: &str, value: &Value) -> Item {
    let body = Some(Body::Document(value.to_string().into_bytes().into()));
    Item { kind: kind.to_owned(), id: id.to_owned(), body, ..Item::default() }
}

/// A provider `up` at this address, and a model `m` on it.
pub(crate) fn topology(upstream: SocketAddr) -> Vec<Item> {
    let base_url = format!("http://{upstream}/v1");
    let provider = json!({
        "name": "up", "kind": "openai-compatible", "base_url": base_url, "allow_private_networks": true,
        "retry": {"max_attempts": 1},
    });
    let mut provider = document("provider", "p1", &provider);
    provider.secrets.insert("api_key".to_owned(), crate::gateway::UPSTREAM_KEY.as_bytes().to_vec());
    let model = json!({"name": "m", "targets": [{"provider": "up", "model": "own-name"}]});
    vec![provider, document("model", "m1", &model)]
}

/// The pepper, and a key for everything with this secret.
pub(crate) fn identity(secret: &str) -> Vec<Item> {
    let pepper = Pepper { version: 1, value: PEPPER.to_vec() };
    let pepper =
        Item { kind: "pepper".to_owned(), id: "1".to_owned(), body: Some(Body::Pepper(pepper)), ..Item::default() };
    let (pepper_version, digest) = Peppers::new([(1, PEPPER)]).expect("a pepper").digest(secret).expect("a pepper");
    let key = Key {
        name: "test".to_owned(),
        pepper_version,
        digest: digest.to_vec(),
        enabled: true,
        models: vec!["*".to_owned()],
        ..Key::default()
    };
    vec![pepper, Item { kind: "key".to_owned(), id: "vk_1".to_owned(), body: Some(Body::Key(key)), ..Item::default() }]
}
