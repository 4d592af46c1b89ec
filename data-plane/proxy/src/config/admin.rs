//! The way to a control plane in the same process, for the admin paths that clients look for beside `/v1`. The node knows which
//! paths those are and nothing else of them: whoever answers judges what a caller must show.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;

type Answering = Pin<Box<dyn Future<Output = Response<Bytes>> + Send>>;

/// Answers requests for these paths and what is below them.
#[derive(Clone)]
pub struct Admin {
    paths: &'static [&'static str],
    answer: Arc<dyn Fn(Request<Incoming>, SocketAddr) -> Answering + Send + Sync>,
}

// === impl Admin ===

impl Admin {
    /// `answer` is given the request as it came, and the other end of its connection.
    pub fn new<F: Future<Output = Response<Bytes>> + Send + 'static>(
        paths: &'static [&'static str],
        answer: impl Fn(Request<Incoming>, SocketAddr) -> F + Send + Sync + 'static,
    ) -> Self {
        Self { paths, answer: Arc::new(move |request, peer| Box::pin(answer(request, peer))) }
    }

    pub(crate) fn takes(&self, path: &str) -> bool {
        let is_below = |rest: &str| rest.is_empty() || rest.starts_with('/');
        self.paths.iter().any(|prefix| path.strip_prefix(prefix).is_some_and(is_below))
    }

    pub(crate) async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Bytes> {
        (self.answer)(request, peer).await
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("paths", &self.paths).finish_non_exhaustive()
    }
}
