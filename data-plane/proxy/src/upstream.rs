//! The HTTP client of the request path: one small interface, `Client::send`, over pooled HTTP/1.1 and HTTP/2 connections.
//!
//! One client per worker thread; nothing here is shared between workers. Why not a general client: the guard must sit in the
//! connector, the timers must name themselves, and a pooled checkout must cost nanoseconds (figures in ARCHITECTURE.md).

mod connect;
mod pool;
mod demo;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gateway_ir::failure::{Code, Failure};
use gateway_providers::endpoint::Endpoint;
use http::{Request, Response};
use hyper::body::Incoming;

use crate::body::RequestBody;
pub(crate) use connect::tls_client_config;
pub(crate) use demo::answer as demo_answer;
use pool::{Lease, Pool};

/// Where a connection goes. Connections are shared by everything that has the same origin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) tls: bool,
    pub(crate) host: Arc<str>,
    /// `host` or `host:port`, as the `Host` header has it.
    pub(crate) authority: Bytes,
    pub(crate) port: u16,
    /// May resolve to private and loopback addresses, and be called without TLS there.
    pub(crate) allow_private: bool,
    /// Speaks HTTP/1.1, where a connection can become a WebSocket.
    pub(crate) only_h1: bool,
    /// Google's metadata server, asked for a token; it is called for nothing else, and nothing else is called as it.
    pub(crate) is_metadata_server: bool,
}

// === impl Origin ===

impl Origin {
    /// Where a provider's requests go.
    pub(crate) fn of(endpoint: &Endpoint) -> Self {
        Self {
            tls: endpoint.tls(),
            host: Arc::clone(endpoint.host()),
            authority: endpoint.authority().clone(),
            port: endpoint.port(),
            allow_private: endpoint.allow_private_networks(),
            only_h1: false,
            is_metadata_server: false,
        }
    }
}

/// The reply's body together with its connection, which goes back to the pool when the body was read to its end, and is
/// closed when it was not: a vanished client aborts the upstream.
pub(crate) struct UpstreamBody {
    /// Put back; comes first.
    unread: VecDeque<Bytes>,
    inner: Inner,
}

enum Inner {
    Network {
        body: Incoming,
        lease: Option<Lease>,
    },
    /// A reply made in this process (the `demo` provider).
    Local(demo::Script),
}

/// Per worker.
pub(crate) struct Client {
    pool: Pool,
    tls: Arc<rustls::ClientConfig>,
}

// === impl Client ===

impl Client {
    pub(crate) fn new(tls: Arc<rustls::ClientConfig>) -> Self {
        Self { pool: Pool::default(), tls }
    }

    /// Sends a request and returns the reply's head; the body follows. `connect` bounds dialling and handshakes only; the
    /// wait for the head is bounded by the caller.
    ///
    /// A pooled connection that turns out to be closed before anything was written is replaced, silently. Dropping the
    /// future closes the connection.
    pub(crate) async fn send(
        &self,
        origin: &Origin,
        mut request: Box<Request<RequestBody>>,
        connect: Duration,
    ) -> Result<Response<UpstreamBody>, Box<Failure>> {
        loop {
            let Some(mut lease) = self.pool.checkout(origin) else { break };
            match lease.send(request).await {
                Ok(response) => return Ok(with_lease(response, lease)),
                Err(pool::SendError::NotSent(unsent)) => request = unsent,
                Err(pool::SendError::Client(failure)) => return Err(failure),
                Err(pool::SendError::Broken(reason)) => return Err(broken(origin, &reason)),
            }
        }
        let mut lease = match tokio::time::timeout(connect, Box::pin(self.dial(origin))).await {
            Ok(lease) => lease?,
            Err(_) => {
                let message = format!("could not connect to the upstream within {connect:?}");
                return Err(connect::failed(origin, Code::ConnectTimeout, message));
            }
        };
        match lease.send(request).await {
            Ok(response) => Ok(with_lease(response, lease)),
            Err(pool::SendError::NotSent(_)) => Err(broken(origin, "the connection closed at once")),
            Err(pool::SendError::Client(failure)) => Err(failure),
            Err(pool::SendError::Broken(reason)) => Err(broken(origin, &reason)),
        }
    }

    async fn dial(&self, origin: &Origin) -> Result<Lease, Box<Failure>> {
        let transport = connect::connect(origin, &self.tls).await?;
        self.pool.adopt(origin, transport).await.map_err(|error| connect::unreachable(origin, &error.to_string()))
    }
}

fn with_lease(response: Response<Incoming>, lease: Lease) -> Response<UpstreamBody> {
    response.map(|body| UpstreamBody { unread: VecDeque::new(), inner: Inner::Network { body, lease: Some(lease) } })
}

fn broken(origin: &Origin, reason: &str) -> Box<Failure> {
    connect::failed(origin, Code::UpstreamUnreachable, format!("the connection to the upstream broke: {reason}"))
}

// === impl UpstreamBody ===

impl UpstreamBody {
    fn local(script: demo::Script) -> Self {
        Self { unread: VecDeque::new(), inner: Inner::Local(script) }
    }

    /// The next bytes; `None` at a clean end; an error says that the upstream cut the reply.
    pub(crate) fn poll_data(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Bytes, String>>> {
        use std::task::Poll;
        if let Some(bytes) = self.unread.pop_front() {
            return Poll::Ready(Some(Ok(bytes)));
        }
        match &mut self.inner {
            Inner::Local(script) => script.poll_data(context).map(|data| data.map(Ok)),
            Inner::Network { body, lease } => loop {
                let frame = std::task::ready!(http_body::Body::poll_frame(std::pin::Pin::new(body), context));
                match frame {
                    // Trailers carry nothing for us.
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) if data.is_empty() => {}
                        Ok(data) => return Poll::Ready(Some(Ok(data))),
                        Err(_) => {}
                    },
                    Some(Err(error)) => {
                        *lease = None;
                        return Poll::Ready(Some(Err(error_chain(&error))));
                    }
                    None => {
                        if let Some(lease) = lease.take() {
                            lease.give_back();
                        }
                        return Poll::Ready(None);
                    }
                }
            },
        }
    }

    /// Whether all of a reply whose length was announced has been read. Its connection is then free.
    pub(crate) fn is_over(&mut self) -> bool {
        if !self.unread.is_empty() {
            return false;
        }
        let Inner::Network { body, lease } = &mut self.inner else { return false };
        let is_over = http_body::Body::is_end_stream(body);
        if is_over && let Some(lease) = lease.take() {
            lease.give_back();
        }
        is_over
    }

    /// Puts back what was read first.
    pub(crate) fn unread(&mut self, held: Vec<Bytes>) {
        debug_assert!(self.unread.is_empty());
        self.unread = held.into();
    }

    pub(crate) async fn data(&mut self) -> Option<Result<Bytes, String>> {
        std::future::poll_fn(|context| self.poll_data(context)).await
    }
}

/// An error with its causes: hyper's own texts are too short alone.
fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
