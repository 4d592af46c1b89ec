//! A simulated node: the real code that takes over configuration, on the real channel, carried by simulated TCP.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use gateway_engine::identity::identify;
use gateway_model::kind::Class;
use gateway_proxy::link::Link;
use gateway_proxy::state::Live;
use gateway_proxy::sync::{Feed, Keep, Sync};
use gateway_proxy::telemetry::Reporter;
use gateway_proxy::telemetry::identity::Identity;
use gateway_wire::v1::{self, ClassState};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;

use crate::record::{Journal, Record, Seen};
use crate::replica;
use crate::thing;

/// Bytes that a reader takes at a time; a slow one waits after each.
const PIECE: usize = 16 * 1024;
/// One that reads nothing looks this often whether it may.
const LOOK: Duration = Duration::from_millis(50);
/// Dials that may wait for the simulated network.
const DIALS: usize = 4;

/// What the simulation knows of a node and does to it. Cloning shares.
#[derive(Clone)]
pub struct Handle(Arc<State>);

struct State {
    number: usize,
    node_id: String,
    boots: AtomicU32,
    /// Milliseconds to wait after each piece that was read.
    slowness_ms: AtomicU64,
    reads_nothing: AtomicBool,
    /// Which replica is dialled next.
    turn: AtomicUsize,
    connected_at: Mutex<Duration>,
    disk: Option<TempDir>,
    /// Connections per replica, of all nodes.
    connected: Arc<[AtomicUsize]>,
    journal: Journal,
    /// Keys that are tried after each change.
    keys: Arc<Mutex<BTreeSet<u32>>>,
}

/// Counts a connection for as long as it lasts.
struct Counted<'a>(&'a AtomicUsize);

// === impl Handle ===

impl Handle {
    /// `node_id` may be that of another: then the two contend for one place. Without a disk it starts empty each time.
    pub fn new(
        number: usize,
        node_id: String,
        connected: Arc<[AtomicUsize]>,
        journal: Journal,
        keys: Arc<Mutex<BTreeSet<u32>>>,
        disk: Option<TempDir>,
    ) -> Self {
        Self(Arc::new(State {
            number,
            node_id,
            boots: AtomicU32::new(0),
            slowness_ms: AtomicU64::new(0),
            reads_nothing: AtomicBool::new(false),
            turn: AtomicUsize::new(number),
            connected_at: Mutex::default(),
            disk,
            connected,
            journal,
            keys,
        }))
    }

    pub fn number(&self) -> usize {
        self.0.number
    }

    /// The start that runs, or ran last; 0 before the first.
    pub fn boot(&self) -> u32 {
        self.0.boots.load(Ordering::Relaxed)
    }

    pub fn slow_down(&self, wait_per_piece: Duration) {
        let slowness_ms = u64::try_from(wait_per_piece.as_millis()).unwrap_or(u64::MAX);
        self.0.slowness_ms.store(slowness_ms, Ordering::Relaxed);
    }

    pub fn read_nothing(&self, reads_nothing: bool) {
        self.0.reads_nothing.store(reads_nothing, Ordering::Relaxed);
    }

    /// When it last reached a replica.
    pub fn connected_at(&self) -> Duration {
        *self.0.connected_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One life of the node's process.
    pub async fn run(self) -> turmoil::Result {
        let boot = self.0.boots.fetch_add(1, Ordering::Relaxed) + 1;
        let (pipe, dials) = mpsc::channel(DIALS);
        let live = Arc::new(Live::empty());
        let boot_id = format!("{}-{boot}", self.0.number);
        let link = Link::pipe(pipe);
        let identity = Arc::new(Identity::of(&self.0.node_id, boot_id));
        let applied = Some(self.clone().observer(Arc::clone(&live), boot));
        let reporter = Reporter { applied, ..Reporter::idle(identity, link.clone()) };
        let keep = self.0.disk.as_ref().map(|disk| Keep { dir: disk.path().to_owned(), state_key: None, seed: None });
        let feed = Feed::Fleet { channel: link.channel(), reporter: Box::new(reporter), keep };
        let (carried, synced) = tokio::join!(self.carry(dials), Sync::start(feed, live));
        let _: () = carried;
        drop(synced?);
        Ok(())
    }

    fn observer(self, live: Arc<Live>, boot: u32) -> gateway_proxy::telemetry::Applied {
        Box::new(move |have: &ClassState| {
            let class = if have.class() == v1::Class::Topology { Class::Topology } else { Class::Identity };
            let seen = match class {
                Class::Topology => topology(&live),
                Class::Identity => self.keys(&live),
            };
            let at = turmoil::sim_elapsed().unwrap_or_default();
            tracing::info!(?at, class = class.name(), epoch = have.epoch, revision = have.revision, "serves");
            self.0.journal.add(Record {
                at,
                node: self.0.number,
                boot,
                class,
                epoch: have.epoch.clone(),
                revision: have.revision,
                root: have.root_hash.clone(),
                persisted: have.persisted,
                seen,
            });
        })
    }

    fn keys(&self, live: &Live) -> Seen {
        let tried = self.0.keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let config = live.pin();
        let is_let_in = |key: &&u32| identify(&thing::secret(**key), &live.keys, &config.peppers, 1).is_ok();
        let let_in = tried.iter().filter(is_let_in).copied().collect();
        Seen::Keys { tried, let_in }
    }

    /// Takes the node's dials to one replica after the other.
    async fn carry(&self, mut dials: mpsc::Receiver<DuplexStream>) {
        let mut connections = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                Some(()) = connections.next() => {}
                dialled = dials.recv() => match dialled {
                    Some(node) => connections.push(self.connection(node)),
                    None => return,
                },
            }
        }
    }

    async fn connection(&self, node: DuplexStream) {
        let replica = self.0.turn.fetch_add(1, Ordering::Relaxed) % self.0.connected.len();
        // The node sees the pipe break, as it would see a refused connection.
        let Ok(stream) = turmoil::net::TcpStream::connect((replica::name(replica), replica::PORT)).await else {
            return;
        };
        let now = turmoil::sim_elapsed().unwrap_or_default();
        *self.0.connected_at.lock().unwrap_or_else(PoisonError::into_inner) = now;
        let _counted = Counted::new(&self.0.connected[replica]);
        let (from_replica, to_replica) = stream.into_split();
        let (from_node, to_node) = tokio::io::split(node);
        tokio::select! {
            biased;
            () = pump(from_node, to_replica, || Duration::ZERO, || false) => {}
            () = pump(from_replica, to_node, || self.slowness(), || self.0.reads_nothing.load(Ordering::Relaxed)) => {}
        }
    }

    fn slowness(&self) -> Duration {
        Duration::from_millis(self.0.slowness_ms.load(Ordering::Relaxed))
    }
}

fn topology(live: &Live) -> Seen {
    let snapshot = Arc::clone(&live.pin().snapshot);
    let providers = snapshot.providers.iter().map(|provider| provider.name.to_string()).collect();
    Seen::Topology { revision: snapshot.revision, providers }
}

/// Ends with the first side that ends.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    wait: impl Fn() -> Duration,
    is_stuck: impl Fn() -> bool,
) {
    let mut piece = vec![0; PIECE];
    loop {
        while is_stuck() {
            tokio::time::sleep(LOOK).await;
        }
        let Ok(n_read @ 1..) = from.read(&mut piece).await else { return };
        tokio::time::sleep(wait()).await;
        if to.write_all(&piece[..n_read]).await.is_err() {
            return;
        }
    }
}

// === impl Counted ===

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
