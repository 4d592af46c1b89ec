//! One worker: a thread, a single-threaded runtime, the connections it was given.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use super::Phase;
use super::connection::{self, Accepted, Rules, Service};
use super::seat::{Load, Seat};

/// Its number; also the number of its telemetry lane.
pub(crate) type Worker = usize;

pub(crate) struct Handle {
    inbox: Inbox,
    thread: std::thread::JoinHandle<()>,
}

#[derive(Clone)]
pub(crate) struct Inbox {
    // Bounded by the semaphore whose permits travel inside.
    sender: mpsc::UnboundedSender<Accepted>,
    load: Arc<Load>,
}

pub(super) fn spawn<M>(index: Worker, rules: Rules, make_service: Arc<M>) -> anyhow::Result<Handle>
where
    M: Fn(Worker, watch::Receiver<Phase>) -> Service + Send + Sync + 'static,
{
    let (sender, inbox) = mpsc::unbounded_channel();
    let load = Arc::new(Load::default());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a worker's runtime")?;
    let thread = std::thread::Builder::new()
        .name(format!("gateway-{index}"))
        .spawn(move || {
            runtime.block_on(async {
                let service = make_service(index, rules.phase.clone());
                run(inbox, rules, service).await;
            });
        })
        .context("starting a worker thread")?;
    Ok(Handle { inbox: Inbox { sender, load }, thread })
}

/// Serves until the phase says `Ending` and every connection has closed.
async fn run(mut inbox: mpsc::UnboundedReceiver<Accepted>, rules: Rules, service: Service) {
    let mut connections = tokio::task::JoinSet::new();
    let mut phase = rules.phase.clone();
    loop {
        tokio::select! {
            accepted = inbox.recv() => {
                let Some(accepted) = accepted else { break };
                connections.spawn(connection::serve(accepted, rules.clone(), Arc::clone(&service)));
            }
            _ = connections.join_next(), if !connections.is_empty() => {}
            _ = phase.wait_for(|phase| *phase == Phase::Ending) => break,
        }
    }
    // Each open reply has seen `Ending` and writes its last words now; a client that does not read them is not waited for.
    let last_words = std::time::Duration::from_millis(500);
    let _ = tokio::time::timeout(last_words, async { while connections.join_next().await.is_some() {} }).await;
    connections.shutdown().await;
}

// === impl Handle ===

impl Handle {
    pub(super) fn inbox(&self) -> Inbox {
        self.inbox.clone()
    }

    pub(super) fn n_open(&self) -> usize {
        self.inbox.n_open()
    }

    pub(super) async fn join(self) {
        let thread = self.thread;
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    }
}

// === impl Inbox ===

impl Inbox {
    pub(super) fn n_open(&self) -> usize {
        self.load.n_open()
    }

    /// A worker that is gone closes it.
    pub(super) fn give(&self, stream: std::net::TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        let _ = self.sender.send(Accepted { stream, peer, seat: Seat::take(place, &self.load) });
    }
}
