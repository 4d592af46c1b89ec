//! The client's body under its bounds: JSON whole; a form whole where it is small, else up to the model that it names.

mod inflate;

use std::time::Duration;

use bytes::Bytes;
use gateway_engine::snapshot::Settings;
use gateway_ir::failure::{Code, Failure};
use gateway_ir::multipart::{Field, Reader, boundary};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use crate::body::{MAX_FORM, Rest};
use inflate::Inflate;

/// A client has this long for any body, and then must keep up [`MIN_RATE`].
const GRACE: Duration = Duration::from_secs(10);
/// Bytes per second.
const MIN_RATE: u64 = 1024;

/// No larger form is held, whatever may be sent: an upload costs no memory.
const MAX_HELD_FORM: u64 = 32 * 1024 * 1024;
/// A form larger than what is held begins with its fields: so much of it is looked at for the model.
const MAX_FIELDS: u64 = 1024 * 1024;

/// What a client may send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Bytes of a body that is held, once it is plain.
    pub(crate) max_body: u64,
    /// It may come compressed.
    pub(crate) compressed: bool,
}

/// What a form's body needs beside its bytes.
pub(crate) struct Multipart {
    /// Its `content-type`, which names the boundary.
    pub(crate) kind: String,
    /// Taken by the call that sends it.
    pub(crate) rest: Option<Rest>,
}

/// A body of any sort.
pub(crate) enum Content {
    /// JSON, or none at all.
    Held(Bytes),
    /// A form, or the beginning of one, with the model if it names one.
    Form { first: Bytes, model: Option<Field>, rest: Option<Rest> },
    /// Anything else: it has not been looked at.
    Coming(Rest),
}

// === impl Bounds ===

impl Bounds {
    pub(crate) fn of(settings: &Settings) -> Self {
        Self { max_body: settings.max_body, compressed: settings.compressed_bodies }
    }

    /// Bytes of a form up to which it is held, and can be sent again.
    fn held_form(self) -> u64 {
        self.max_body.min(MAX_HELD_FORM)
    }
}

/// Reads JSON whole, of a form what [`form`] reads, and of anything else nothing.
pub(crate) async fn any(headers: &HeaderMap, body: Incoming, bounds: Bounds) -> Result<Content, Box<Failure>> {
    if body.is_end_stream() {
        return Ok(Content::Held(Bytes::new()));
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if let Some(boundary) = boundary(kind) {
        let (first, model, rest) = fields(headers, boundary?, body, bounds).await?;
        return Ok(Content::Form { first, model, rest });
    }
    if is_json(kind) {
        return self::body(headers, body, bounds).await.map(Content::Held);
    }
    let announced = announced(headers);
    match announced.is_some_and(|length| length > MAX_FORM) {
        true => Err(too_large(MAX_FORM)),
        false => Ok(Content::Coming(Rest::new(body, None, announced))),
    }
}

/// Reads a form: all of it where it is small, so that a call can be repeated. Of a larger one the beginning is read, up to the
/// value of `model`, which must stand before the files; they follow while they are sent.
pub(crate) async fn form(
    headers: &HeaderMap,
    boundary: &str,
    body: Incoming,
    bounds: Bounds,
) -> Result<(Bytes, Field, Option<Rest>), Box<Failure>> {
    match fields(headers, boundary, body, bounds).await? {
        (read, Some(model), rest) => Ok((read, model, rest)),
        (_, None, None) => Err(Box::new(Failure::invalid("`model` is missing").at("model"))),
        (_, None, Some(_)) => {
            let limit = bounds.held_form();
            let message = format!("in a form of more than {limit} bytes, `model` must stand before the files");
            Err(Box::new(Failure::invalid(message).at("model")))
        }
    }
}

/// The same of a form that need not name a model.
async fn fields(
    headers: &HeaderMap,
    boundary: &str,
    mut body: Incoming,
    bounds: Bounds,
) -> Result<(Bytes, Option<Field>, Option<Rest>), Box<Failure>> {
    let (announced, limit) = (announced(headers), bounds.held_form());
    if announced.is_some_and(|length| length > MAX_FORM) {
        return Err(too_large(MAX_FORM));
    }
    if let Some(inflate) = compressed(headers, bounds)? {
        // Held whole, however large: a form that passes as it comes would be read and written again.
        let (plain, mut reader) = (inflated(body, inflate).await?, Reader::new(boundary));
        reader.push(&plain)?;
        reader.finish()?;
        return Ok((plain, reader.model().cloned(), None));
    }
    let is_small = announced.is_some_and(|length| length <= limit);
    // Without a length it may turn out to be small.
    let (at_least, at_most) = match announced {
        Some(_) if is_small => (u64::MAX, limit),
        Some(_) => (0, MAX_FIELDS),
        None => (MAX_FIELDS, limit),
    };
    let began = Instant::now();
    let mut reader = Reader::new(boundary);
    let mut read = Vec::new();
    while let Some(piece) = next(&mut body, began, read.len()).await? {
        reader.push(&piece)?;
        read.extend_from_slice(&piece);
        let n_read = read.len() as u64;
        let model = reader.model().cloned();
        if model.is_some() && n_read > at_least || n_read > at_most {
            let rest = Rest::new(body, Some(reader), announced.map(|length| length.saturating_sub(n_read)));
            return Ok((read.into(), model, Some(rest)));
        }
    }
    reader.finish()?;
    Ok((read.into(), reader.model().cloned(), None))
}

/// Reads a JSON body of at most `limit` bytes. A body that came in one piece is not copied.
pub(crate) async fn body(headers: &HeaderMap, mut body: Incoming, bounds: Bounds) -> Result<Bytes, Box<Failure>> {
    let limit = bounds.max_body;
    if let Some(inflate) = check(headers, bounds)? {
        return inflated(body, inflate).await;
    }
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

/// Reads a compressed body whole; the inflater has its bounds.
async fn inflated(mut body: Incoming, mut inflate: Inflate) -> Result<Bytes, Box<Failure>> {
    let (began, mut n_read) = (Instant::now(), 0);
    while let Some(piece) = next(&mut body, began, n_read).await? {
        n_read += piece.len();
        inflate.push(&piece)?;
    }
    inflate.finish()
}

/// What the head alone says against the body, and how it is made plain where it is not.
fn check(headers: &HeaderMap, bounds: Bounds) -> Result<Option<Inflate>, Box<Failure>> {
    if announced(headers).is_some_and(|length| length > bounds.max_body) {
        return Err(too_large(bounds.max_body));
    }
    let inflate = compressed(headers, bounds)?;
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("application/json");
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") || kind.eq_ignore_ascii_case("text/plain") || kind.is_empty() {
        return Ok(inflate);
    }
    let message = format!("the body must be application/json, not `{kind}`");
    Err(Box::new(Failure::new(Code::UnsupportedMediaType, message)))
}

fn compressed(headers: &HeaderMap, bounds: Bounds) -> Result<Option<Inflate>, Box<Failure>> {
    let Some(coding) = headers.get(CONTENT_ENCODING).filter(|coding| *coding != "identity") else { return Ok(None) };
    let known = coding.to_str().ok().and_then(|coding| Inflate::new(coding, bounds.max_body));
    let message = match (bounds.compressed, known) {
        (true, Some(inflate)) => return Ok(Some(inflate)),
        (true, None) => format!("content-encoding {coding:?} is not known here; send gzip, zstd or a plain body"),
        (false, _) => format!(
            "request bodies may not be compressed (content-encoding {coding:?}); send them plain, or let the operator set \
             settings.server.compressed_bodies"
        ),
    };
    Err(Box::new(Failure::new(Code::UnsupportedMediaType, message)))
}

/// Whether a body of these headers is read here: JSON, or a form. Anything else passes as it comes.
pub(crate) fn is_read(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    is_json(kind) || boundary(kind).is_some()
}

fn is_json(kind: &str) -> bool {
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

pub(crate) fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

pub(crate) async fn next(body: &mut Incoming, began: Instant, n_read: usize) -> Result<Option<Bytes>, Box<Failure>> {
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

pub(crate) fn too_large(limit: u64) -> Box<Failure> {
    let message = format!("the request body is larger than the {limit} bytes allowed (settings.server.max_body)");
    Box::new(Failure::new(Code::BodyTooLarge, message))
}
