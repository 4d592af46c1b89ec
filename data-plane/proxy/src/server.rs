//! The public listener: accepts, bounds, and hands each connection to the worker thread with the fewest of them.
//!
//! Every worker is one thread with its own single-threaded runtime, its own upstream pool and its own telemetry lane: a
//! request is born, served and settled on one core, without a lock or a wake-up that crosses to another.

mod seat;
mod progress;
mod guard;
mod connection;
mod worker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use gateway_tls::Door;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use connection::{Rules, Service};
pub(crate) use guard::Limits;
use worker::Handle;

/// The running listener with its workers.
pub(crate) struct Server {
    addr: SocketAddr,
    workers: Vec<Handle>,
    phase: watch::Sender<Phase>,
    acceptor: tokio::task::JoinHandle<()>,
}

/// What connections do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Serving,
    /// Requests in flight end; idle connections close.
    Draining,
    /// The drain's time is over: what is still open is told so and closed.
    Ending,
}

// === impl Server ===

impl Server {
    /// Binds and starts. `make_door` makes a door per worker where the listener speaks TLS, `make_service` one service per
    /// worker, on the worker's own thread.
    pub(crate) async fn start(
        listen: SocketAddr,
        limits: Limits,
        make_door: impl Fn() -> Option<Door>,
        workers: usize,
        make_service: impl Fn(usize, watch::Receiver<Phase>) -> Service + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let listener = bind(listen).await?;
        let addr = listener.local_addr().context("reading the listener's address")?;
        let (phase, phase_seen) = watch::channel(Phase::Serving);
        let make_service = Arc::new(make_service);
        let workers = (0..workers)
            .map(|index| {
                let rules = Rules { limits, door: make_door(), phase: phase_seen.clone() };
                worker::spawn(index, rules, Arc::clone(&make_service))
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let dispatch = Dispatch { inboxes: workers.iter().map(Handle::inbox).collect() };
        let acceptor = crate::task::spawn_job(accept(listener, limits, dispatch, phase_seen));
        Ok(Self { addr, workers, phase, acceptor })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops accepting, lets requests in flight, and whatever else `is_busy`, end for `timeout`, then ends them; returns when all
    /// workers are gone.
    pub(crate) async fn shutdown(
        self,
        timeout: Duration,
        is_busy: impl Fn() -> bool,
        time_is_over: impl Future<Output = ()>,
    ) {
        self.phase.send_replace(Phase::Draining);
        self.acceptor.abort();
        let _ = self.acceptor.await;
        let deadline = tokio::time::Instant::now() + timeout;
        let is_open = || self.workers.iter().any(|worker| worker.n_open() > 0);
        while (is_open() || is_busy()) && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        time_is_over.await;
        self.phase.send_replace(Phase::Ending);
        for worker in self.workers {
            worker.join().await;
        }
    }
}

async fn bind(listen: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(listen).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("`{listen}` is in use by another process: stop it, or choose another address with --listen")
        }
        std::io::ErrorKind::PermissionDenied => {
            anyhow::anyhow!("`{listen}` may not be opened by this user: choose a port above 1023 with --listen")
        }
        _ => anyhow::Error::new(error).context(format!("listening on `{listen}`")),
    })
}

struct Dispatch {
    inboxes: Vec<worker::Inbox>,
}

// === impl Dispatch ===

impl Dispatch {
    fn give(&self, stream: std::net::TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        let quietest = self.inboxes.iter().min_by_key(|inbox| inbox.n_open());
        if let Some(inbox) = quietest {
            inbox.give(stream, peer, place);
        }
    }
}

async fn accept(listener: TcpListener, limits: Limits, dispatch: Dispatch, mut phase: watch::Receiver<Phase>) {
    let places = Arc::new(Semaphore::new(limits.max_connections));
    loop {
        // Without a free place the kernel's backlog waits; nobody is turned away half-way.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = phase.wait_for(|phase| *phase != Phase::Serving) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                if let Ok(stream) = stream.into_std() {
                    dispatch.give(stream, peer, place);
                }
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                // Out of descriptors or memory: accepting again at once would spin.
                tracing::warn!(%error, "could not accept a connection; trying again in 100 ms");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn is_about_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
