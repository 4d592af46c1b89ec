//! A node that does what a test tells it to, over the same pipe and messages as a real one.

use std::time::Duration;

use gateway_server::ControlPlane;
use gateway_wire::FEATURES;
use gateway_wire::tree::Tree;
use gateway_wire::v1::control_msg::Msg;
use gateway_wire::v1::fleet_client::FleetClient;
use gateway_wire::v1::node_msg::Msg as Says;
use gateway_wire::v1::{
    Ack, Bookmark, Class, ClassState, ConfigError, ControlMsg, Hello, Item, ItemList, NodeMsg, Status as AckStatus,
};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Node {
    outbound: mpsc::Sender<NodeMsg>,
    inbound: Streaming<ControlMsg>,
}

/// A whole class as it came.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) nonce: u64,
    pub(crate) class: Class,
    pub(crate) epoch: String,
    pub(crate) revision: u64,
    pub(crate) items: Vec<Item>,
}

/// A channel like that of a node in this process.
pub(crate) async fn channel(control: &ControlPlane) -> Channel {
    let pipe = control.pipe();
    let connector = tower::service_fn(move |_| {
        let pipe = pipe.clone();
        async move {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            pipe.send(theirs).await.map_err(|_| std::io::ErrorKind::ConnectionRefused)?;
            Ok::<_, std::io::Error>(TokioIo::new(ours))
        }
    });
    Endpoint::from_static("http://control-plane").connect_with_connector(connector).await.unwrap()
}

pub(crate) fn hello(boot_id: &str) -> Hello {
    Hello {
        node_id: "node_1".to_owned(),
        boot_id: boot_id.to_owned(),
        version: "1.2.3".to_owned(),
        schema: gateway_wire::SCHEMA,
        features: FEATURES.iter().map(|feature| (*feature).to_owned()).collect(),
        ..Hello::default()
    }
}

/// What a node holds of a class.
pub(crate) fn have(class: Class, epoch: &str, revision: u64, items: &[Item]) -> ClassState {
    let root_hash = Tree::of(items).root().to_vec();
    ClassState { class: class.into(), epoch: epoch.to_owned(), revision, root_hash, persisted: 0 }
}

// === impl Node ===

impl Node {
    pub(crate) async fn connect(control: &ControlPlane, hello: Hello) -> Self {
        Self::over(channel(control).await, hello).await.unwrap()
    }

    pub(crate) async fn over(channel: Channel, hello: Hello) -> Result<Self, Status> {
        let (outbound, messages) = mpsc::channel(64);
        outbound.send(NodeMsg { msg: Some(Says::Hello(hello)) }).await.unwrap();
        let inbound = FleetClient::new(channel).sync(ReceiverStream::new(messages)).await?.into_inner();
        Ok(Self { outbound, inbound })
    }

    /// Connects, takes and acknowledges everything that is there. Returns identity and topology as they are then.
    pub(crate) async fn synced(control: &ControlPlane) -> (Self, Snapshot, Snapshot) {
        let heads = control.app().store.heads().await.unwrap();
        let mut node = Self::connect(control, hello("boot1")).await;
        let (mut identity, mut topology) = (node.snapshot().await, node.snapshot().await);
        assert_eq!((identity.class, topology.class), (Class::Identity, Class::Topology));
        for class in [&identity, &topology] {
            node.applied(class.class, class.nonce, class.revision).await;
        }
        // The publisher may have been a moment behind the store.
        while identity.revision < heads.identity || topology.revision < heads.topology {
            let Msg::Delta(delta) = node.next().await else { panic!("no change") };
            let class = if delta.class() == Class::Identity { &mut identity } else { &mut topology };
            node.applied(class.class, delta.nonce, delta.to_revision).await;
            class.revision = delta.to_revision;
            class.items.extend(delta.upsert);
        }
        (node, identity, topology)
    }

    pub(crate) async fn say(&self, message: Says) {
        self.outbound.send(NodeMsg { msg: Some(message) }).await.unwrap();
    }

    pub(crate) async fn applied(&self, class: Class, nonce: u64, revision: u64) {
        let status = AckStatus::Applied.into();
        self.say(Says::Ack(Ack { nonce, class: class.into(), revision, status, ..Ack::default() })).await;
    }

    pub(crate) async fn refuses(&self, class: Class, nonce: u64, revision: u64, field_path: &str) {
        let error = ConfigError {
            kind: "provider".to_owned(),
            name: "up".to_owned(),
            field_path: field_path.to_owned(),
            code: "unknown_field".to_owned(),
            message: "there is no such field".to_owned(),
        };
        let status = AckStatus::Rejected.into();
        let errors = vec![error];
        self.say(Says::Ack(Ack { nonce, class: class.into(), revision, status, errors, ..Ack::default() })).await;
    }

    /// The next message that is no bookmark. Bookmarks alone do not count as an answer.
    pub(crate) async fn next(&mut self) -> Msg {
        let next = async {
            loop {
                match self.any().await.unwrap() {
                    Msg::Bookmark(_) => {}
                    message => return message,
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("the control plane says more than where it is")
    }

    /// The next bookmark of a class, whatever else comes before it.
    pub(crate) async fn bookmark(&mut self, class: Class) -> Bookmark {
        let next = async {
            loop {
                match self.any().await.unwrap() {
                    Msg::Bookmark(bookmark) if bookmark.class() == class => return bookmark,
                    _ => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("the control plane says where it is")
    }

    /// The next message of any kind, or why there is none.
    pub(crate) async fn any(&mut self) -> Result<Msg, Status> {
        let received =
            tokio::time::timeout(PATIENCE, self.inbound.message()).await.expect("the control plane says something")?;
        received.and_then(|message| message.msg).ok_or_else(|| Status::cancelled("the end"))
    }

    pub(crate) async fn snapshot(&mut self) -> Snapshot {
        let Msg::Begin(begin) = self.next().await else { panic!("no snapshot") };
        let mut compressed = Vec::new();
        for index in 0..begin.chunks {
            let Msg::Chunk(chunk) = self.next().await else { panic!("no chunk") };
            assert_eq!((chunk.nonce, chunk.index), (begin.nonce, index));
            assert!(chunk.data.len() <= gateway_wire::CHUNK);
            compressed.extend_from_slice(&chunk.data);
        }
        let Msg::End(end) = self.next().await else { panic!("no end") };
        let encoded = zstd::decode_all(compressed.as_slice()).unwrap();
        assert_eq!(encoded.len() as u64, begin.bytes);
        let items = ItemList::decode(encoded.as_slice()).unwrap().items;
        assert_eq!(end.root_hash, Tree::of(&items).root());
        let class = begin.class();
        Snapshot { nonce: begin.nonce, class, epoch: begin.epoch, revision: begin.revision, items }
    }
}
