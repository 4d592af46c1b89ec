//! Idle connections of one worker, by origin. HTTP/1.1 connections are lent to one request at a time, most recently used
//! first; an HTTP/2 connection is shared.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use gateway_ir::failure::Failure;
use http::header::{HOST, HeaderValue};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connect::Transport;
use super::{Origin, error_chain};
use crate::body::RequestBody;
use crate::task;

/// Idle longer than this: closed instead of used. Below the 60 s at which common balancers close.
const MAX_IDLE: Duration = Duration::from_secs(50);
/// Connections are replaced after this, so that a change in DNS is seen.
const MAX_AGE: Duration = Duration::from_secs(600);
const MAX_IDLE_PER_ORIGIN: usize = 1024;

/// Cheap handle; a lease finds its way home through a weak one.
#[derive(Default)]
pub(super) struct Pool {
    // One worker thread owns the pool, so the lock is never contended; it is there because futures must be `Send`.
    idle: Arc<Mutex<Origins>>,
}

type Origins = HashMap<Origin, Connections, ahash::RandomState>;

#[derive(Default)]
struct Connections {
    h1: Vec<H1>,
    h2: Option<H2>,
}

struct H1 {
    sender: http1::SendRequest<RequestBody>,
    born: Instant,
    idle_since: Instant,
}

#[derive(Clone)]
struct H2 {
    sender: http2::SendRequest<RequestBody>,
    born: Instant,
}

/// The right to send one request.
pub(super) struct Lease {
    home: Weak<Mutex<Origins>>,
    origin: Origin,
    connection: Connection,
}

enum Connection {
    H1(H1),
    H2(H2),
}

pub(super) enum SendError {
    /// Nothing was written: the request may go over another connection.
    NotSent(Box<Request<RequestBody>>),
    /// The client's own body was at fault.
    Client(Box<Failure>),
    Broken(String),
}

// === impl Pool ===

impl Pool {
    pub(super) fn checkout(&self, origin: &Origin) -> Option<Lease> {
        let mut origins = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = origins.get_mut(origin)?;
        let now = Instant::now();
        if let Some(h2) = &connections.h2 {
            if h2.sender.is_closed() || now.duration_since(h2.born) > MAX_AGE {
                connections.h2 = None;
            } else {
                return Some(self.lease(origin, Connection::H2(h2.clone())));
            }
        }
        while let Some(h1) = connections.h1.pop() {
            if now.duration_since(h1.idle_since) > MAX_IDLE {
                // Those below were idle even longer.
                connections.h1.clear();
                return None;
            }
            if !h1.sender.is_closed() && now.duration_since(h1.born) <= MAX_AGE {
                return Some(self.lease(origin, Connection::H1(h1)));
            }
        }
        None
    }

    /// Speaks HTTP over a fresh transport.
    pub(super) async fn adopt(&self, origin: &Origin, transport: Transport) -> hyper::Result<Lease> {
        let born = Instant::now();
        if transport.is_h2() {
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .initial_stream_window_size(256 * 1024)
                .initial_connection_window_size(1024 * 1024)
                .keep_alive_interval(Duration::from_secs(20))
                .handshake(transport.into_io())
                .await?;
            task::spawn_connection(connection);
            let h2 = H2 { sender, born };
            let mut origins = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            origins.entry(origin.clone()).or_default().h2 = Some(h2.clone());
            return Ok(self.lease(origin, Connection::H2(h2)));
        }
        let (sender, connection) =
            http1::Builder::new().max_headers(100).max_buf_size(64 * 1024).handshake(transport.into_io()).await?;
        task::spawn_connection(connection.with_upgrades());
        Ok(self.lease(origin, Connection::H1(H1 { sender, born, idle_since: born })))
    }

    fn lease(&self, origin: &Origin, connection: Connection) -> Lease {
        Lease { home: Arc::downgrade(&self.idle), origin: origin.clone(), connection }
    }
}

// === impl Lease ===

impl Lease {
    pub(super) async fn send(
        &mut self,
        mut request: Box<Request<RequestBody>>,
    ) -> Result<Response<Incoming>, SendError> {
        let sent = match &mut self.connection {
            Connection::H1(h1) => {
                to_origin_form(&mut request, &self.origin);
                if h1.sender.ready().await.is_err() {
                    return Err(SendError::NotSent(request));
                }
                h1.sender.try_send_request(*request).await
            }
            Connection::H2(h2) => {
                if h2.sender.ready().await.is_err() {
                    return Err(SendError::NotSent(request));
                }
                h2.sender.try_send_request(*request).await
            }
        };
        sent.map_err(|mut error| match error.take_message() {
            Some(request) => SendError::NotSent(Box::new(request)),
            None => match fault_of_client(error.error()) {
                Some(failure) => SendError::Client(failure),
                None => SendError::Broken(error_chain(error.error())),
            },
        })
    }

    /// The reply was read to its end: the connection may serve again.
    pub(super) fn give_back(self) {
        let Connection::H1(mut h1) = self.connection else { return };
        let Some(home) = self.home.upgrade() else { return };
        if h1.sender.is_closed() {
            return;
        }
        h1.idle_since = Instant::now();
        let mut origins = home.lock().unwrap_or_else(PoisonError::into_inner);
        match origins.get_mut(&self.origin) {
            Some(connections) if connections.h1.len() >= MAX_IDLE_PER_ORIGIN => {}
            Some(connections) => connections.h1.push(h1),
            None => {
                origins.insert(self.origin, Connections { h1: vec![h1], h2: None });
            }
        }
    }
}

/// What was wrong with a body that was read while it was sent.
fn fault_of_client(error: &hyper::Error) -> Option<Box<Failure>> {
    std::error::Error::source(error)?.downcast_ref::<Box<Failure>>().cloned()
}

/// HTTP/1.1 wants the path alone and names the host in a header; HTTP/2 takes both from the whole URI.
fn to_origin_form(request: &mut Request<RequestBody>, origin: &Origin) {
    let Some(path) = request.uri().path_and_query().cloned() else { return };
    if let Ok(host) = HeaderValue::from_maybe_shared(origin.authority.clone()) {
        request.headers_mut().insert(HOST, host);
    }
    *request.uri_mut() = Uri::from(path);
}
