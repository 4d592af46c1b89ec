//! A listener of its own for health and metrics (`--ops-listen`), so that the public one need not show them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use gateway_tls::{Door, Stream};
use http::{Method, Request, Response, StatusCode};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

use crate::body::ReplyBody;
use crate::ingress::{self, Operation};
use crate::ops::{Ops, json_response};
use crate::task;

/// Connections at a time; operators need few.
const MAX_CONNECTIONS: usize = 64;
/// For a request's head, for a peer to answer a ping.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct OpsListener {
    acceptor: tokio::task::JoinHandle<()>,
}

// === impl OpsListener ===

impl OpsListener {
    /// With a door, it speaks TLS.
    pub(crate) async fn start(address: SocketAddr, door: Option<Door>, ops: Arc<Ops>) -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind(address).await.with_context(|| format!("listening on `{address}` (--ops-listen)"))?;
        Ok(Self { acceptor: task::spawn_job(accept(listener, door, ops)) })
    }

    pub(crate) async fn shutdown(self) {
        self.acceptor.abort();
        let _ = self.acceptor.await;
    }
}

async fn accept(listener: TcpListener, door: Option<Door>, ops: Arc<Ops>) {
    let places = Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (ops, door) = (Arc::clone(&ops), door.clone());
        task::spawn_connection(async move {
            let Some(stream) = Stream::enter(stream, door.as_ref()).await else { return };
            let answer = service_fn(move |request| {
                let ops = Arc::clone(&ops);
                async move { Ok::<_, Infallible>(answer(&ops, &request).await) }
            });
            // Cut off or finished: either way it is over.
            let _ = builder().serve_connection(TokioIo::new(stream), answer).await;
            drop(place);
        });
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(8).keep_alive_interval(PATIENCE);
    builder
}

async fn answer<B>(ops: &Ops, request: &Request<B>) -> Response<ReplyBody> {
    let operation = match request.method() {
        &Method::GET | &Method::HEAD => ingress::operation(request.method(), request.uri().path()).ok(),
        _ => None,
    };
    match &operation {
        Some(Operation::Page(page)) => return page.response(),
        Some(operation) => {
            if let Some(response) = ops.get(operation, request).await {
                return response;
            }
        }
        None => {}
    }
    let body = serde_json::json!({"error": {"message": "here are /health, /ready, /metrics, /statsz and /docs only"}});
    json_response(StatusCode::NOT_FOUND, &body)
}
