//! The bytes of a client connection under its clocks: a client that says nothing, does not finish a head, or keeps an HTTP/2
//! connection that it does not use is cut; one that is refused while it sends is let finish, so that it reads why.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::progress::Progress;
use super::seat::Seat;

/// Bounds on client connections (`settings.server`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// From a connection's start, or a request's first byte, to the end of the request's head.
    pub(crate) header_timeout: Duration,
    /// Idle keep-alive connections are closed after this.
    pub(crate) idle_timeout: Duration,
    pub(crate) max_connections: usize,
}

/// A stream of bytes with the clocks of its connection. A head nearly always comes in one read, so clocks are started only
/// when more is awaited.
pub(super) struct Guarded<S> {
    stream: S,
    _seat: Seat,
    progress: Arc<Progress>,
    limits: Limits,
    clock: Option<Pin<Box<Sleep>>>,
    /// The connection's first bytes are still to come.
    is_new: bool,
    closing: Option<Closing>,
}

/// After our last word: what the client was sending is read and thrown away. Closed with bytes unread, the connection would be
/// reset, and the answer lost with it.
struct Closing {
    until: Instant,
    n_left: usize,
    clock: Pin<Box<Sleep>>,
}

/// What the client of a refused request may still send.
const MAX_UNREAD: usize = 32 * 1024 * 1024;
/// Within this time in all …
const LINGER: Duration = Duration::from_secs(5);
/// … and without a longer pause.
const PAUSE: Duration = Duration::from_millis(500);

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self { header_timeout: Duration::from_secs(10), idle_timeout: Duration::from_secs(75), max_connections: 10_000 }
    }
}

// === impl Guarded ===

impl<S> Guarded<S> {
    pub(super) fn new(stream: S, seat: Seat, progress: Arc<Progress>, limits: Limits) -> Self {
        Self { stream, _seat: seat, progress, limits, clock: None, is_new: true, closing: None }
    }

    /// A read that ends a head is followed by the call of the service before the next read, and needs no clock.
    fn saw(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.is_new {
            self.is_new = false;
            self.clock = bytes.starts_with(b"PRI * HTTP/2").then(|| alarm(self.limits.idle_timeout));
            if self.clock.is_some() {
                self.progress.speaks_h2();
            }
        }
        let waiting = !self.progress.is_h2() && !self.progress.head_is_whole();
        if waiting && self.clock.is_none() && memchr::memmem::find(bytes, b"\r\n\r\n").is_none() {
            self.clock = Some(alarm(self.limits.header_timeout));
        }
    }

    /// Nothing has come: has it been too long?
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_new && self.clock.is_none() {
            self.clock = Some(alarm(self.limits.header_timeout));
        }
        let Some(clock) = &mut self.clock else { return Poll::Pending };
        loop {
            ready!(clock.as_mut().poll(context));
            if !self.progress.is_h2() {
                let message = "the client did not finish its request head in time";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)));
            }
            if self.progress.was_idle() {
                // Nothing more comes from this client: without an open stream this is an end in good order.
                return Poll::Ready(Ok(()));
            }
            clock.as_mut().reset(Instant::now() + self.limits.idle_timeout);
        }
    }
}

fn alarm(after: Duration) -> Pin<Box<Sleep>> {
    Box::pin(tokio::time::sleep(after))
}

impl<S: AsyncRead + Unpin> Guarded<S> {
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let begin = || Closing { until: Instant::now() + LINGER, n_left: MAX_UNREAD, clock: alarm(PAUSE) };
        let closing = self.closing.get_or_insert_with(begin);
        let mut space = [0; 8192];
        loop {
            let mut buffer = ReadBuf::new(&mut space);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() && closing.n_left > buffer.filled().len() => {
                    closing.n_left -= buffer.filled().len();
                    closing.clock.as_mut().reset((Instant::now() + PAUSE).min(closing.until));
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return closing.clock.as_mut().poll(context),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.clock.is_some() && this.progress.head_is_whole() {
            this.clock = None;
        }
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(context, buffer) {
            Poll::Ready(read) => {
                this.saw(&buffer.filled()[before..]);
                Poll::Ready(read)
            }
            Poll::Pending => this.poll_patience(context),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.closing.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
        }
        if this.progress.is_unread() {
            ready!(this.poll_linger(context));
        }
        Poll::Ready(Ok(()))
    }
}
