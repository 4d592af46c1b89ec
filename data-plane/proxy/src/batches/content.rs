//! `GET /v1/files/{id}/content` of the gateway's own: from the disk, piece by piece.

use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use gateway_ir::failure::Failure;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response};
use tokio::fs::File;
use tokio::io::{AsyncRead as _, ReadBuf};

use super::store::lost;
use crate::body::{Aborted, Chunk, ReplyBody, ReplyStream};

const PIECE: usize = 64 * 1024;

struct Content {
    file: File,
    buffer: Box<[u8]>,
}

/// The whole file; what is removed meanwhile is read to its end.
pub(super) async fn reply(path: &Path, n_bytes: u64) -> Result<Response<ReplyBody>, Box<Failure>> {
    let file = File::open(path).await.map_err(|error| lost(&error))?;
    let content = Content { file, buffer: vec![0; PIECE].into() };
    let mut response = Response::new(ReplyBody::Stream(Box::pin(content)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(n_bytes));
    Ok(response)
}

impl ReplyStream for Content {
    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Chunk, Aborted>>> {
        let this = self.get_mut();
        let mut buffer = ReadBuf::new(&mut this.buffer);
        let read = ready!(Pin::new(&mut this.file).poll_read(context, &mut buffer));
        Poll::Ready(match (read, buffer.filled()) {
            (Err(_), _) => Some(Err(Aborted)),
            (Ok(()), []) => None,
            (Ok(()), bytes) => Some(Ok(Chunk::Data(Bytes::copy_from_slice(bytes)))),
        })
    }
}
