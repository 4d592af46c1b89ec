//! One client connection: HTTP/1.1 or HTTP/2, with TLS or without, every limit set, and an orderly end when the node drains.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gateway_tls::Door;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::Phase;
use super::guard::{Guarded, Limits};
use super::progress::{Progress, Tracked};
use super::seat::Seat;
use crate::pipeline::Gateway;

/// What a worker serves requests with.
pub(crate) type Service = Arc<Gateway>;

/// A connection on its way to a worker.
pub(super) struct Accepted {
    pub(super) stream: std::net::TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) seat: Seat,
}

/// What holds for each of a worker's connections.
#[derive(Clone)]
pub(super) struct Rules {
    pub(super) limits: Limits,
    /// Where connections become TLS ones. `None`: they do not.
    pub(super) door: Option<Door>,
    pub(super) phase: watch::Receiver<Phase>,
}

/// Serves until the connection closes or becomes another protocol's. With a door, the handshake comes first, on this worker.
pub(super) async fn serve(accepted: Accepted, rules: Rules, service: Service) {
    let Accepted { stream, peer, seat } = accepted;
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let Some(door) = &rules.door else { return speak(stream, seat, peer, &rules, service).await };
    let mut phase = rules.phase.clone();
    let stream = tokio::select! {
        stream = door.let_in(stream) => stream,
        _ = phase.wait_for(|phase| *phase != Phase::Serving) => None,
    };
    if let Some(stream) = stream {
        // On the heap, so that connections without TLS do not carry its size.
        Box::pin(speak(stream, seat, peer, &rules, service)).await;
    }
}

async fn speak<S>(stream: S, seat: Seat, peer: SocketAddr, rules: &Rules, service: Service)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut phase = rules.phase.clone();
    let progress = Arc::new(Progress::default());
    let io = TokioIo::new(Guarded::new(stream, seat, Arc::clone(&progress), rules.limits));
    let builder = builder(rules.limits);
    let answer = service_fn(move |request| answer(Arc::clone(&service), Arc::clone(&progress), request, peer));
    let connection = builder.serve_connection_with_upgrades(io, answer);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = phase.wait_for(|phase| *phase != Phase::Serving) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

async fn answer(
    service: Service,
    progress: Arc<Progress>,
    request: Request<Incoming>,
    peer: SocketAddr,
) -> Result<Response<Tracked>, Infallible> {
    let tracked = progress.begin(&request);
    let response = service.serve(request, peer).await;
    Ok(tracked.answered(response))
}

fn builder(limits: Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // hyper starts this clock while the connection is still idle, so it is the idle limit; `Guarded` has the others.
        .header_read_timeout(limits.idle_timeout)
        .max_headers(100)
        // Grows from 8 KiB only where reads fill it: a large body then comes in few pieces, or in one that is not copied.
        .max_buf_size(512 * 1024)
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(128)
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(1024 * 1024)
        // What 128 readers that stop reading can make us hold.
        .max_send_buf_size(64 * 1024)
        .max_header_list_size(64 * 1024)
        // Streams that are opened and reset at once (CVE-2023-44487), and ones that are made to be reset by us: past these
        // the connection ends.
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(128)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}
