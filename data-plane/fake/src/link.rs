//! A TCP link that fails on command: put between two parties, it forwards bytes with latency, at a bandwidth, not at all, or
//! cuts. Conditions change at run time and hold for open connections too.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

/// How the link behaves, both ways. The default is a perfect link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Added to every piece of data, one way.
    pub latency: Duration,
    /// Per connection and direction. `None` is unlimited.
    pub bytes_per_second: Option<u32>,
    /// Connections stay open and nothing passes, ends included; what was underway passes when it is lifted.
    pub blackhole: bool,
    /// New connections are accepted and reset at once.
    pub refuse: bool,
    /// An end (FIN) is passed on this much later than the data before it.
    pub slow_close: Duration,
}

/// A running link. Dropping it closes the port and cuts every connection.
#[derive(Debug)]
pub struct Link {
    addr: SocketAddr,
    conditions: watch::Sender<Conditions>,
    resets: watch::Sender<u64>,
    n_open: Arc<AtomicUsize>,
    accepting: AbortHandle,
}

#[derive(Clone)]
struct Control {
    conditions: watch::Receiver<Conditions>,
    resets: watch::Receiver<u64>,
}

/// In one read; also what a piece of data is for latency and bandwidth.
const PIECE: usize = 16 * 1024;
/// Pieces on their way in one direction: beyond them the sender feels backpressure.
const UNDERWAY: usize = 64;

// === impl Link ===

impl Link {
    /// Listens on a free loopback port and connects each client to `target`.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
        let addr = listener.local_addr().expect("a bound listener has an address");
        let conditions = watch::Sender::new(Conditions::default());
        let resets = watch::Sender::new(0);
        let n_open = Arc::new(AtomicUsize::new(0));
        let control = Control { conditions: conditions.subscribe(), resets: resets.subscribe() };
        let accepting = tokio::spawn(accept(listener, target, control, n_open.clone())).abort_handle();
        Self { addr, conditions, resets, n_open, accepting }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:PORT`, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Takes effect at once, also for data underway.
    pub fn set(&self, conditions: Conditions) {
        self.conditions.send_replace(conditions);
    }

    /// Resets (RST) every open connection on both sides; new ones are welcome.
    pub fn reset_all(&self) {
        self.resets.send_modify(|count| *count += 1);
    }

    pub fn open_connections(&self) -> usize {
        self.n_open.load(Ordering::Relaxed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, control: Control, n_open: Arc<AtomicUsize>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        if control.conditions.borrow().refuse {
            let _ = client.set_zero_linger();
            continue;
        }
        let (control, n_open) = (control.clone(), n_open.clone());
        connections.spawn(async move {
            n_open.fetch_add(1, Ordering::Relaxed);
            connect(client, target, control).await;
            n_open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn connect(mut client: TcpStream, target: SocketAddr, control: Control) {
    let Ok(mut server) = TcpStream::connect(target).await else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let mut resets = control.resets.clone();
    resets.mark_unchanged();
    let forwarded = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = forward(from_client, to_server, control.conditions.clone());
        let down = forward(from_server, to_client, control.conditions);
        tokio::select! {
            both = async { tokio::try_join!(up, down) } => both.map(|_| ()),
            _ = resets.changed() => Err(std::io::ErrorKind::ConnectionReset.into()),
        }
    };
    // An error on one side is an error on the other: a reset stays a reset.
    if forwarded.is_err() {
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

/// One direction until its end. Reading and writing are two loops, so that latency delays data without thinning it out.
async fn forward(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    conditions: watch::Receiver<Conditions>,
) -> std::io::Result<()> {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Bytes)>(UNDERWAY);
    let read = async {
        loop {
            let mut piece = BytesMut::with_capacity(PIECE);
            let n_read = from.read_buf(&mut piece).await?;
            // An empty piece is the end; it travels like data.
            if sender.send((Instant::now(), piece.freeze())).await.is_err() || n_read == 0 {
                return Ok(());
            }
        }
    };
    let mut until = conditions.clone();
    let write = async {
        while let Some((read_at, piece)) = receiver.recv().await {
            let _ = until.wait_for(|now| !now.blackhole).await;
            let now = conditions.borrow().clone();
            sleep_until(read_at + now.latency).await;
            if piece.is_empty() {
                sleep(now.slow_close).await;
                return to.shutdown().await;
            }
            if let Some(rate) = now.bytes_per_second {
                sleep(Duration::from_secs_f64(piece.len() as f64 / f64::from(rate.max(1)))).await;
            }
            // The link may have turned into a black hole while this piece was underway.
            let _ = until.wait_for(|now| !now.blackhole).await;
            to.write_all(&piece).await?;
        }
        Ok(())
    };
    tokio::try_join!(read, write).map(|_| ())
}
