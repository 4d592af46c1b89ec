//! The way to the control plane: one channel that all streams of a node share. It connects when it is first used, and again
//! after it broke.

mod dial;
mod transport;
mod remote;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::config::FleetUrl;
pub(crate) use dial::{Failure, Reason, dial};
pub(crate) use remote::Access;
use remote::Route;
use transport::Transport;

const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const PIPE: usize = 256 * 1024;

/// The channel, and what can be said to the road under it. Cheap to clone.
#[derive(Clone)]
pub struct Link {
    channel: Channel,
    road: Road,
}

#[derive(Clone)]
enum Road {
    /// Within one process, where nobody refuses; with what closes the connection in use.
    Pipe(Arc<Mutex<Option<CancellationToken>>>),
    Remote(Arc<Route>),
}

// === impl Link ===

impl Link {
    /// To a control plane in this process: each connection is one end of a pipe.
    pub fn pipe(pipe: mpsc::Sender<DuplexStream>) -> Self {
        let open = Arc::new(Mutex::new(None));
        let in_use = Arc::clone(&open);
        let connector = tower::service_fn(move |_| {
            let (pipe, in_use) = (pipe.clone(), Arc::clone(&in_use));
            async move {
                let (ours, theirs) = tokio::io::duplex(PIPE);
                let gone = |_| std::io::Error::other("the control plane of this process has stopped");
                pipe.send(theirs).await.map_err(gone)?;
                let close = CancellationToken::new();
                *in_use.lock().unwrap_or_else(PoisonError::into_inner) = Some(close.clone());
                let nobody_refuses = Arc::new(|_: &str| {});
                Ok::<_, std::io::Error>(TokioIo::new(Transport::new(ours, close, nobody_refuses)))
            }
        });
        let channel = endpoint().connect_timeout(CONNECT_TIMEOUT).connect_with_connector_lazy(connector);
        Self { channel, road: Road::Pipe(open) }
    }

    /// Over the network. Each dial takes the next address, and the access of that moment; without any it waits for one.
    pub(crate) fn remote(urls: Vec<FleetUrl>, access: watch::Receiver<Option<Access>>) -> Self {
        let route = Arc::new(Route::new(urls, access));
        let connector = {
            let route = Arc::clone(&route);
            tower::service_fn(move |_| {
                let route = Arc::clone(&route);
                async move { route.connect().await.map(TokioIo::new) }
            })
        };
        // No timeout around the whole: a node may wait long for its membership. Each dial has its own.
        Self { channel: endpoint().connect_with_connector_lazy(connector), road: Road::Remote(route) }
    }

    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Closes the connection; what is on it comes again over a new one, at the next address.
    pub fn leave(&self) {
        match &self.road {
            Road::Remote(route) => route.leave(),
            Road::Pipe(open) => {
                if let Some(close) = open.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    close.cancel();
                }
            }
        }
    }

    /// To be told how streams end: that the other side does not want this node is for its membership to know.
    pub(crate) fn notice(&self, status: &Status) {
        if let (Road::Remote(route), Code::Unauthenticated | Code::PermissionDenied) = (&self.road, status.code()) {
            route.refused(status.message());
        }
    }

    /// Returns when the next connection is there: what waits to try again need not wait any longer.
    pub(crate) async fn opened(&self) {
        match &self.road {
            // The sender is in the route, which is here.
            Road::Remote(route) => drop(route.opened().changed().await),
            Road::Pipe(_) => std::future::pending().await,
        }
    }

    /// Changes with each refusal, and says how it was put.
    pub(crate) fn refusals(&self) -> Option<watch::Receiver<String>> {
        match &self.road {
            Road::Pipe(_) => None,
            Road::Remote(route) => Some(route.refusals()),
        }
    }
}

/// A channel over one connection; broken, it stays so.
pub(crate) async fn over<S>(stream: S) -> Result<Channel, tonic::transport::Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut stream = Some(stream);
    let connector = tower::service_fn(move |_| {
        let stream = stream.take().map(TokioIo::new);
        std::future::ready(stream.ok_or_else(|| std::io::Error::other("the connection broke")))
    });
    endpoint().connect_timeout(CONNECT_TIMEOUT).connect_with_connector(connector).await
}

fn endpoint() -> Endpoint {
    // The name is not looked up: the connector knows the way.
    Endpoint::from_static("http://control-plane")
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
}
