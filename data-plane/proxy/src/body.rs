//! The bodies that cross this process: what we send upstream, what we send to clients.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use gateway_ir::failure::Failure;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

mod upload;

pub(crate) use upload::{MAX_FORM, Rest, Upload};

/// A body that is already here, in pieces: slices of the client's body with changed members between them. Its length is
/// known, so it goes out with `content-length` and one vectored write.
#[derive(Clone, Debug, Default)]
pub struct Pieces {
    pieces: VecDeque<Bytes>,
    n_bytes: u64,
}

/// What an upstream receives.
pub(crate) enum RequestBody {
    Whole(Pieces),
    /// A form whose files are still with the client. Boxed: rare, and larger than the rest.
    Upload(Box<Upload>),
}

/// What a client receives.
pub enum ReplyBody {
    Whole(Pieces),
    /// Boxed: a stream's state is large and rare among small replies.
    Stream(Pin<Box<dyn ReplyStream>>),
}

/// A reply that is still being made. `poll_next` gives the next bytes, `None` at the end.
///
/// An error ends the connection without the dialect's end and without the last chunk: the client sees a cut.
pub trait ReplyStream: Send {
    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Chunk, Aborted>>>;
}

pub enum Chunk {
    Data(Bytes),
    Trailers(HeaderMap),
}

/// The reply ended early in a way that its own syntax cannot say.
#[derive(Debug, thiserror::Error)]
#[error("the reply was cut")]
pub struct Aborted;

// === impl Pieces ===

impl Pieces {
    pub fn new(pieces: Vec<Bytes>) -> Self {
        let n_bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { pieces: pieces.into_iter().filter(|piece| !piece.is_empty()).collect(), n_bytes }
    }

    /// Below this size one copy is cheaper than several slices.
    pub fn joined_if_small(pieces: Vec<Bytes>) -> Self {
        const SMALL: usize = 16 * 1024;
        let n_bytes: usize = pieces.iter().map(Bytes::len).sum();
        if pieces.len() > 1 && n_bytes <= SMALL { Self::from(Bytes::from(pieces.concat())) } else { Self::new(pieces) }
    }

    /// What has not been sent yet.
    pub fn as_slices(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().map(AsRef::as_ref)
    }

    pub fn len(&self) -> u64 {
        self.n_bytes
    }

    pub fn is_empty(&self) -> bool {
        self.n_bytes == 0
    }
}

impl From<Bytes> for Pieces {
    fn from(bytes: Bytes) -> Self {
        Self::new(vec![bytes])
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let piece = this.pieces.pop_front();
        Poll::Ready(piece.map(|piece| {
            this.n_bytes -= piece.len() as u64;
            Ok(Frame::data(piece))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.n_bytes)
    }
}

// === impl RequestBody ===

impl RequestBody {
    /// What is already here, for signatures: operations that are signed take no forms.
    pub(crate) fn as_slices(&self) -> impl Iterator<Item = &[u8]> {
        let pieces = match self {
            Self::Whole(pieces) => Some(pieces),
            Self::Upload(_) => None,
        };
        pieces.into_iter().flat_map(Pieces::as_slices)
    }
}

impl From<Pieces> for RequestBody {
    fn from(pieces: Pieces) -> Self {
        Self::Whole(pieces)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Box<Failure>;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Box<Failure>>>> {
        match self.get_mut() {
            Self::Whole(pieces) => Pin::new(pieces).poll_frame(context).map_err(|never| match never {}),
            Self::Upload(upload) => Pin::new(upload.as_mut()).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(pieces) if pieces.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(pieces) => pieces.size_hint(),
            Self::Upload(upload) => upload.size_hint(),
        }
    }
}

// === impl ReplyBody ===

impl ReplyBody {
    /// What is here of it: all, or nothing of a stream.
    pub(crate) fn as_slices(&self) -> impl Iterator<Item = &[u8]> {
        let pieces = match self {
            Self::Whole(pieces) => Some(pieces),
            Self::Stream(_) => None,
        };
        pieces.into_iter().flat_map(Pieces::as_slices)
    }

    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Pieces::from(bytes.into()))
    }

    pub fn empty() -> Self {
        Self::Whole(Pieces::default())
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        match self.get_mut() {
            Self::Whole(pieces) => Pin::new(pieces).poll_frame(context).map_err(|never| match never {}),
            Self::Stream(stream) => stream.as_mut().poll_next(context).map_ok(|chunk| match chunk {
                Chunk::Data(bytes) => Frame::data(bytes),
                Chunk::Trailers(trailers) => Frame::trailers(trailers),
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(pieces) if pieces.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(pieces) => pieces.size_hint(),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}
