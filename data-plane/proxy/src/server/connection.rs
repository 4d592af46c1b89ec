//! One client connection: HTTP/1.1 or HTTP/2 with every limit set, slow senders cut, and an orderly end when the node drains.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::Phase;
use crate::pipeline::Gateway;

/// What a worker serves requests with.
pub(crate) type Service = Arc<Gateway>;

/// A connection on its way to a worker. The place in the connection limit is held until it closes.
pub(crate) struct Accepted {
    pub(crate) stream: std::net::TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) place: OwnedSemaphorePermit,
}

/// Bounds on client connections (`settings.server`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// From a request's first byte to the end of its head.
    pub(crate) header_timeout: Duration,
    /// Idle keep-alive connections are closed after this.
    pub(crate) idle_timeout: Duration,
    pub(crate) max_connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { header_timeout: Duration::from_secs(10), idle_timeout: Duration::from_secs(75), max_connections: 10_000 }
    }
}

pub(super) async fn serve(accepted: Accepted, limits: Limits, mut phase: watch::Receiver<Phase>, service: Service) {
    let Accepted { stream, peer, place } = accepted;
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let head = Arc::new(Head::default());
    let io = TokioIo::new(HeadGuard {
        stream,
        head: Arc::clone(&head),
        limit: limits.header_timeout,
        deadline: None,
        h2: false,
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // hyper starts this clock while the connection is still idle, so it is the idle limit; `HeadGuard` has the other.
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
        .max_header_list_size(64 * 1024)
        .max_pending_accept_reset_streams(20)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    let answer = service_fn(move |request| {
        head.whole.store(true, Ordering::Relaxed);
        let (service, head) = (Arc::clone(&service), Arc::clone(&head));
        async move {
            let response = service.answer(request, peer).await;
            head.whole.store(false, Ordering::Relaxed);
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let connection = builder.serve_connection(io, answer);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return drop(place),
        _ = phase.wait_for(|phase| *phase != Phase::Serving) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
    drop(place);
}

/// Whether a request's head has been read: set when the service is called, cleared when the next head may come.
#[derive(Default)]
struct Head {
    whole: AtomicBool,
}

/// Cuts a client that began a request head and does not finish it. A head nearly always comes in one read, so the clock is
/// started only when bytes have come and more are awaited.
struct HeadGuard {
    stream: TcpStream,
    head: Arc<Head>,
    limit: Duration,
    deadline: Option<Pin<Box<tokio::time::Sleep>>>,
    /// HTTP/2 watches its peers by pings instead.
    h2: bool,
}

// === impl HeadGuard ===

impl HeadGuard {
    /// A read that ends a head is followed by the call of the service before the next read, and needs no clock.
    fn saw(&mut self, bytes: &[u8]) {
        self.h2 |= bytes.starts_with(b"PRI * HTTP/2");
        let waiting = !bytes.is_empty() && !self.h2 && !self.head.whole.load(Ordering::Relaxed);
        if waiting && self.deadline.is_none() && memchr::memmem::find(bytes, b"\r\n\r\n").is_none() {
            self.deadline = Some(Box::pin(tokio::time::sleep(self.limit)));
        }
    }
}

impl AsyncRead for HeadGuard {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        if this.deadline.is_some() && this.head.whole.load(Ordering::Relaxed) {
            this.deadline = None;
        }
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(context, buffer) {
            Poll::Ready(read) => {
                this.saw(&buffer.filled()[before..]);
                Poll::Ready(read)
            }
            Poll::Pending => match &mut this.deadline {
                Some(deadline) => match std::future::Future::poll(deadline.as_mut(), context) {
                    Poll::Ready(()) => {
                        let message = "the client did not finish its request head in time";
                        Poll::Ready(Err(std::io::Error::new(std::io::ErrorKind::TimedOut, message)))
                    }
                    Poll::Pending => Poll::Pending,
                },
                None => Poll::Pending,
            },
        }
    }
}

impl AsyncWrite for HeadGuard {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
