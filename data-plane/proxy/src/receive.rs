//! The client's body, whole, under its bounds.

use std::time::Duration;

use bytes::Bytes;
use gateway_ir::failure::{Code, Failure};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

/// A client has this long for any body, and then must keep up [`MIN_RATE`].
const GRACE: Duration = Duration::from_secs(10);
/// Bytes per second.
const MIN_RATE: u64 = 1024;

/// Reads a JSON body of at most `limit` bytes. A body that came in one piece is not copied.
pub(crate) async fn body(headers: &HeaderMap, mut body: Incoming, limit: u64) -> Result<Bytes, Box<Failure>> {
    check(headers, limit)?;
    let began = Instant::now();
    let Some(first) = next(&mut body, began, 0).await? else { return Ok(Bytes::new()) };
    if first.len() as u64 > limit {
        return Err(too_large(limit));
    }
    let Some(second) = next(&mut body, began, first.len()).await? else { return Ok(first) };
    let announced = announced(headers).unwrap_or_default().min(limit);
    let capacity = usize::try_from(announced).unwrap_or_default().max(first.len() + second.len());
    let mut whole = Vec::with_capacity(capacity);
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&second);
    while let Some(piece) = next(&mut body, began, whole.len()).await? {
        whole.extend_from_slice(&piece);
        if whole.len() as u64 > limit {
            return Err(too_large(limit));
        }
    }
    if whole.len() as u64 > limit { Err(too_large(limit)) } else { Ok(whole.into()) }
}

/// What the head alone says against the body.
fn check(headers: &HeaderMap, limit: u64) -> Result<(), Box<Failure>> {
    if announced(headers).is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    if let Some(encoding) = headers.get(CONTENT_ENCODING).filter(|encoding| *encoding != "identity") {
        let message = format!("request bodies may not be compressed (content-encoding {encoding:?}); send them plain");
        return Err(Box::new(Failure::new(Code::UnsupportedMediaType, message)));
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("application/json");
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") || kind.eq_ignore_ascii_case("text/plain") || kind.is_empty() {
        return Ok(());
    }
    let message = format!("the body must be application/json, not `{kind}`");
    Err(Box::new(Failure::new(Code::UnsupportedMediaType, message)))
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn next(body: &mut Incoming, began: Instant, n_read: usize) -> Result<Option<Bytes>, Box<Failure>> {
    let bound = began + GRACE + Duration::from_secs(n_read as u64 / MIN_RATE);
    loop {
        match timeout_at(bound, body.frame()).await {
            Ok(None) => return Ok(None),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) if !data.is_empty() => return Ok(Some(data)),
                _ => {}
            },
            Ok(Some(Err(error))) => {
                let message = format!("the request body broke off: {error}");
                return Err(Box::new(Failure::new(Code::ClientGone, message)));
            }
            Err(_) => {
                let message = "the request body came too slowly; at least 1 KiB/s is expected after 10 s";
                return Err(Box::new(Failure::new(Code::RequestTimeout, message)));
            }
        }
    }
}

fn too_large(limit: u64) -> Box<Failure> {
    let message = format!("the request body is larger than the {limit} bytes allowed (settings.server.max_body)");
    Box::new(Failure::new(Code::BodyTooLarge, message))
}
