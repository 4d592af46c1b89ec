//! Who is at the other end of a connection of the fleet channel, and the connection that tells the services.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;
use tonic::transport::server::Connected;

use crate::authority::Identity;

/// The other end. What each may do is the services' to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A node in this process: it is what it says.
    Local,
    /// A stranger, who has to show a join token.
    Joining,
    /// A node whose certificate our authority has signed. It may have run out, though not for longer than the grace, and the
    /// node may have been revoked.
    Member(Identity),
}

/// A peer and where it calls from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    pub peer: Peer,
    /// Empty for a peer in this process.
    pub ip: String,
}

/// A connection with its peer.
pub struct Link<S> {
    stream: S,
    contact: Contact,
    /// When this is over, so is the connection, whatever the peer does.
    end: Option<End>,
    _place: Option<OwnedSemaphorePermit>,
}

type End = Pin<Box<dyn Future<Output = ()> + Send>>;

// === impl Contact ===

impl Contact {
    /// Of the connection a call came on. One that tells nothing is nobody's.
    pub(crate) fn of<T>(request: &tonic::Request<T>) -> Result<Self, Status> {
        request.extensions().get::<Self>().cloned().ok_or_else(|| Status::unauthenticated("the connection has no peer"))
    }
}

// === impl Link ===

impl<S> Link<S> {
    /// A connection within this process.
    pub fn local(stream: S) -> Self {
        Self { stream, contact: Contact { peer: Peer::Local, ip: String::new() }, end: None, _place: None }
    }

    /// A connection that takes one of a number of places, and lasts until `end` at most.
    pub(crate) fn new(
        stream: S,
        contact: Contact,
        place: OwnedSemaphorePermit,
        end: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self { stream, contact, end: Some(Box::pin(end)), _place: Some(place) }
    }
}

impl<S> std::fmt::Debug for Link<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("contact", &self.contact).finish_non_exhaustive()
    }
}

impl<S> Connected for Link<S> {
    type ConnectInfo = Contact;

    fn connect_info(&self) -> Contact {
        self.contact.clone()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Link<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Pending => {}
            read => return read,
        }
        let Some(end) = &mut this.end else { return Poll::Pending };
        ready!(end.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Link<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_link_that_has_to_end_does_and_gives_its_place_back() {
        let places = Arc::new(Semaphore::new(1));
        let place = Arc::clone(&places).try_acquire_owned().expect("free");
        let (mut theirs, ours) = tokio::io::duplex(64);
        let contact = Contact { peer: Peer::Joining, ip: String::new() };
        let mut link = Link::new(ours, contact.clone(), place, tokio::time::sleep(Duration::from_secs(30)));
        assert_eq!(link.connect_info(), contact);
        theirs.write_all(b"hello").await.expect("open");
        let mut read = [0; 5];
        link.read_exact(&mut read).await.expect("what is there is read");
        assert_eq!(link.read(&mut read).await.expect_err("over").kind(), io::ErrorKind::TimedOut);
        drop(link);
        assert_eq!(places.available_permits(), 1);
    }
}
