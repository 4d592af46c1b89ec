//! The admin listener: TCP, with TLS or without, to HTTP/1 and HTTP/2, with the limits that keep a slow or greedy client from holding it up.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use gateway_tls::{Door, Stream};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::admin::Peer;
use crate::task;

/// Connections at a time; further ones wait in the kernel.
const MAX_CONNECTIONS: usize = 1024;
/// From a connection's start, or the end of an answer, to the last byte of the next header.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_HEADERS: usize = 100;
const MAX_HEADER_BYTES: usize = 64 << 10;
const MAX_HEADER_LIST: u32 = 64 << 10;
const MAX_STREAMS: u32 = 128;
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Open requests may take this long to end once the listener stops.
const DRAIN: Duration = Duration::from_secs(5);
/// After a failed accept, such as one for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// A running listener.
#[derive(Debug)]
pub(crate) struct Listener {
    address: SocketAddr,
    acceptor: JoinHandle<()>,
    stop: CancellationToken,
}

// === impl Listener ===

impl Listener {
    /// Binds and returns the socket; connections wait until [`Listener::serve`].
    pub(crate) async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
        TcpListener::bind(address).await.map_err(|error| {
            let advice = match error.kind() {
                io::ErrorKind::AddrInUse => {
                    "something else listens there; stop it, or choose another address with --admin-listen"
                }
                io::ErrorKind::PermissionDenied => "this user may not; choose a port above 1023 with --admin-listen",
                _ => "choose another address with --admin-listen",
            };
            anyhow::Error::new(error).context(format!("cannot listen on {address} for the admin API: {advice}"))
        })
    }

    /// With a door, it speaks TLS.
    pub(crate) fn serve(listener: TcpListener, door: Option<Door>, router: Router) -> anyhow::Result<Self> {
        let address = listener.local_addr().context("asking for the listener's address")?;
        let stop = CancellationToken::new();
        let acceptor = task::spawn(accept(listener, door, router, stop.clone()));
        Ok(Self { address, acceptor, stop })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the socket, lets open requests end for a while, then closes their connections.
    pub(crate) async fn shutdown(self) {
        self.stop.cancel();
        if self.acceptor.await.is_err() {
            tracing::error!("the admin listener had ended before it was stopped");
        }
    }
}

async fn accept(listener: TcpListener, door: Option<Door>, router: Router, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let builder = Arc::new(builder());
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = next(&listener, &places) => accepted,
        };
        let Some((stream, peer, place)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // Small answers go out at once; a socket that cannot do that still works.
        let _ = stream.set_nodelay(true);
        let service = router.clone().map_request(move |mut request: http::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            request
        });
        let (door, stop, builder, watcher) = (door.clone(), stop.clone(), Arc::clone(&builder), graceful.watcher());
        task::spawn(async move {
            let stream = tokio::select! {
                stream = Stream::enter(stream, door.as_ref()) => stream,
                () = stop.cancelled() => None,
            };
            let Some(stream) = stream else { return };
            let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
            // A client that breaks off is its own business.
            let _ = watcher.watch(connection.into_owned()).await;
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("closing admin connections whose requests did not end in time");
    }
}

type Accepted = (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

async fn next(listener: &TcpListener, places: &Arc<Semaphore>) -> Option<Accepted> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, place)),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot accept an admin connection");
            None
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}
