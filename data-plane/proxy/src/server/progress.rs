//! How far a connection's requests have come, as far as the bytes beneath them must know: written where requests are answered,
//! read where bytes are.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::body::{Aborted, ReplyBody};

/// Of one connection. All of it runs on one thread; the atomics are there because hyper wants `Send`.
#[derive(Default)]
pub(super) struct Progress {
    /// HTTP/1: a request's head has been read, and the next one may not come yet.
    head_is_whole: AtomicBool,
    is_h2: AtomicBool,
    /// HTTP/2: streams that are open, and whether one has begun since that was last asked.
    n_streams: AtomicU32,
    has_begun: AtomicBool,
    /// The last request was refused, and its client may still be sending it.
    is_unread: AtomicBool,
}

/// A request that is being answered.
pub(super) struct Asked {
    progress: Arc<Progress>,
    stream: Option<Stream>,
    body: Sending,
}

/// What a client sends beside its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    Nothing,
    /// It has come with the head, or comes soon after.
    Little,
    /// It may still be under way when the answer is there.
    Much,
}

/// Bytes of a body that comes with its head.
const LITTLE: u64 = 4096;

/// An open stream of HTTP/2; closed when this is dropped.
struct Stream(Arc<Progress>);

/// A reply on its way, with the stream that it goes out on.
pub(super) struct Tracked {
    body: ReplyBody,
    _stream: Option<Stream>,
}

// === impl Progress ===

impl Progress {
    pub(super) fn begin(self: &Arc<Self>, request: &Request<Incoming>) -> Asked {
        let is_h2 = request.version() == Version::HTTP_2;
        let stream = is_h2.then(|| Stream::open(self));
        if !is_h2 {
            self.head_is_whole.store(true, Ordering::Relaxed);
            self.is_unread.store(false, Ordering::Relaxed);
        }
        let body = match request.body().size_hint().exact() {
            Some(0) => Sending::Nothing,
            Some(n_bytes) if n_bytes <= LITTLE => Sending::Little,
            _ => Sending::Much,
        };
        Asked { progress: Arc::clone(self), stream, body }
    }

    pub(super) fn head_is_whole(&self) -> bool {
        self.head_is_whole.load(Ordering::Relaxed)
    }

    pub(super) fn speaks_h2(&self) {
        self.is_h2.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_h2(&self) -> bool {
        self.is_h2.load(Ordering::Relaxed)
    }

    /// Whether a client is likely to be sending what nobody reads any more.
    pub(super) fn is_unread(&self) -> bool {
        self.is_unread.load(Ordering::Relaxed)
    }

    /// Whether no stream is open and none was since the last call.
    pub(super) fn was_idle(&self) -> bool {
        !self.has_begun.swap(false, Ordering::Relaxed) && self.n_streams.load(Ordering::Relaxed) == 0
    }
}

// === impl Asked ===

impl Asked {
    pub(super) fn answered(self, mut response: Response<ReplyBody>) -> Response<Tracked> {
        // The bytes of an upgraded connection are no heads.
        if self.stream.is_none() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let is_refused = !response.status().is_success();
            self.progress.is_unread.store(is_refused && self.body != Sending::Nothing, Ordering::Relaxed);
            let may_be_unread = match self.body {
                Sending::Nothing => false,
                // Statuses of refusals that come before the body is looked at.
                Sending::Little => matches!(response.status().as_u16(), 401 | 404 | 405 | 413 | 415 | 503),
                Sending::Much => is_refused,
            };
            if may_be_unread {
                // Perhaps nobody has read it, and then the connection ends here: the client must not send its next request on it.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            self.progress.head_is_whole.store(false, Ordering::Relaxed);
        }
        let stream = self.stream;
        response.map(|body| Tracked { body, _stream: stream })
    }
}

// === impl Stream ===

impl Stream {
    fn open(progress: &Arc<Progress>) -> Self {
        // Known already, unless the preface came in pieces.
        progress.speaks_h2();
        progress.has_begun.store(true, Ordering::Relaxed);
        progress.n_streams.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(progress))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.n_streams.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Tracked ===

impl Body for Tracked {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
