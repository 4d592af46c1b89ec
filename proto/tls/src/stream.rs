//! A client's connection, with TLS or without, for listeners on which the difference costs nothing that counts.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;

use crate::door::Door;

/// Cuts a peer that does not say what it speaks; after that it is up to who speaks with it.
pub struct Stream {
    io: Io,
    /// Until [`ENOUGH`] bytes have come.
    clock: Option<Pin<Box<Sleep>>>,
    n_read: usize,
}

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The length of HTTP/2's preface (RFC 9113, section 3.4): with it, every version of HTTP is known.
const ENOUGH: usize = 24;
const PATIENCE: Duration = Duration::from_secs(10);

// === impl Stream ===

impl Stream {
    /// Through the door, where there is one; `None` for a peer that it does not let in.
    pub async fn enter(stream: TcpStream, door: Option<&Door>) -> Option<Self> {
        let io = match door {
            None => Io::Plain(stream),
            Some(door) => Io::Tls(Box::new(door.let_in(stream).await?)),
        };
        Some(Self { io, clock: Some(Box::pin(tokio::time::sleep(PATIENCE))), n_read: 0 })
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = match &mut this.io {
            Io::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
        };
        let Some(clock) = &mut this.clock else { return read };
        if read.is_pending() && clock.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the client did not say anything in time",
            )));
        }
        this.n_read += buffer.filled().len() - before;
        if this.n_read >= ENOUGH {
            this.clock = None;
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().io {
            Io::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Plain(stream) => Pin::new(stream).poll_flush(context),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}
