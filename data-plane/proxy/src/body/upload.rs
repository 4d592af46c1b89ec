//! A body on its way through: its beginning is here, of a form with the model that the target knows; the rest passes as it comes
//! from the client, and no more of it is in memory than one piece.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use gateway_ir::failure::{Code, Failure};
use gateway_ir::multipart::Reader;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::Pieces;

/// No body is longer, in bytes.
pub(crate) const MAX_FORM: u64 = 512 * 1024 * 1024;

/// What the client has not sent yet.
pub(crate) struct Rest {
    body: Incoming,
    /// Of a form: reads on for another `model`, which the upstream might take for the one that counts.
    reader: Option<Reader>,
    /// How long the rest is, where the client said so.
    n_bytes: Option<u64>,
    n_passed: u64,
}

pub(crate) struct Upload {
    first: Pieces,
    rest: Rest,
}

// === impl Rest ===

impl Rest {
    pub(crate) fn new(body: Incoming, reader: Option<Reader>, n_bytes: Option<u64>) -> Self {
        Self { body, reader, n_bytes, n_passed: 0 }
    }

    fn check(&mut self, piece: &[u8]) -> Result<(), Box<Failure>> {
        self.n_passed += piece.len() as u64;
        if self.n_passed > MAX_FORM {
            let message = format!("the body is larger than the {MAX_FORM} bytes allowed");
            return Err(Box::new(Failure::new(Code::BodyTooLarge, message)));
        }
        let Some(reader) = &mut self.reader else { return Ok(()) };
        let is_named = reader.model().is_some();
        reader.push(piece)?;
        if is_named || reader.model().is_none() {
            return Ok(());
        }
        Err(Box::new(Failure::invalid("in a form that is not held, `model` must stand before the files").at("model")))
    }

    fn finish(&self) -> Result<(), Box<Failure>> {
        self.reader.as_ref().map_or(Ok(()), Reader::finish)
    }
}

// === impl Upload ===

impl Upload {
    pub(crate) fn new(first: Pieces, rest: Rest) -> Self {
        Self { first, rest }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Box<Failure>;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Box<Failure>>>> {
        let this = self.get_mut();
        if !this.first.is_empty() {
            return Pin::new(&mut this.first).poll_frame(context).map_err(|never| match never {});
        }
        loop {
            let piece = match ready!(Pin::new(&mut this.rest.body).poll_frame(context)) {
                None => return Poll::Ready(this.rest.finish().err().map(Err)),
                Some(Ok(frame)) => frame.into_data(),
                Some(Err(error)) => {
                    let message = format!("the request body broke off: {error}");
                    return Poll::Ready(Some(Err(Box::new(Failure::new(Code::ClientGone, message)))));
                }
            };
            // Trailers of a client concern nobody behind us.
            if let Ok(piece) = piece {
                return Poll::Ready(Some(this.rest.check(&piece).map(|()| Frame::data(piece))));
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.n_bytes.map(|n_bytes| n_bytes.saturating_sub(self.rest.n_passed));
        rest.map(|rest| SizeHint::with_exact(self.first.len() + rest)).unwrap_or_default()
    }
}
