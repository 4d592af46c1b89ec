//! Error envelopes, both ways: `{"type":"error","error":{"type":…,"message":…},"request_id":…}`.

use bytes::{Bytes, BytesMut};
use gateway_ir::failure::{Code, Failure};
use serde_json::value::RawValue;

use crate::fields::{self, Fields, Path};
use crate::writer::{self, Object};

/// Anthropic's error types with the status each stands for, <https://docs.anthropic.com/en/api/errors>.
const TYPES: [(u16, &str); 10] = [
    (400, "invalid_request_error"),
    (401, "authentication_error"),
    (402, "billing_error"),
    (403, "permission_error"),
    (404, "not_found_error"),
    (413, "request_too_large"),
    (429, "rate_limit_error"),
    (500, "api_error"),
    (504, "timeout_error"),
    (529, "overloaded_error"),
];

/// How much of a body that is no error envelope is quoted.
const LONGEST_QUOTE: usize = 400;

/// What an upstream's error answer says.
pub(super) fn decode(status: u16, body: &[u8]) -> Failure {
    let told = fields::document(body).ok().and_then(envelope);
    match told {
        Some(told) => told.into_failure(status),
        None => Failure::from_upstream_status(status, quoted(status, body)),
    }
}

/// What an error inside a reply that began as a success says. `raw` is the envelope or the `error` object itself.
pub(super) fn inside_reply(raw: &RawValue) -> Failure {
    let Some(told) = envelope(raw) else {
        return Failure::new(Code::UpstreamError, "the upstream reported an error in its reply without saying which");
    };
    let status = TYPES.iter().find(|(_, kind)| told.kind.as_deref() == Some(*kind)).map_or(502, |(status, _)| *status);
    told.into_failure(status)
}

/// The body of an error answer.
pub(super) fn encode(failure: &Failure, request_id: &str) -> Bytes {
    let mut out = BytesMut::with_capacity(256);
    writer::object(&mut out, |object| {
        write_error(object, failure);
        object.string("request_id", request_id);
    });
    out.freeze()
}

/// One error event of a stream.
pub(super) fn write_event(failure: &Failure, out: &mut BytesMut) {
    out.extend_from_slice(b"event: error\ndata: ");
    writer::object(out, |object| write_error(object, failure));
    out.extend_from_slice(b"\n\n");
}

fn write_error(object: &mut Object<'_>, failure: &Failure) {
    object.string("type", "error");
    object.object("error", |error| {
        error.string("type", kind(failure));
        error.string("message", &failure.message);
    });
}

/// The upstream's own type if it is one of Anthropic's, else by status.
fn kind(failure: &Failure) -> &'static str {
    let said = TYPES.iter().find(|(_, kind)| failure.upstream_type.as_deref() == Some(*kind));
    let by_status = || TYPES.iter().find(|(status, _)| *status == failure.status);
    match (said.or_else(by_status), failure.status) {
        (Some((_, kind)), _) => kind,
        (None, 408) => "timeout_error",
        (None, 400..=499) => "invalid_request_error",
        _ => "api_error",
    }
}

/// What was found in an envelope.
struct Told {
    kind: Option<String>,
    code: Option<String>,
    message: String,
}

// === impl Told ===

impl Told {
    fn into_failure(self, status: u16) -> Failure {
        let mut failure = Failure::from_upstream_status(status, self.message);
        failure.upstream_type = self.kind;
        failure.upstream_code = self.code;
        failure
    }
}

/// Reads Anthropic's envelope and what compatible servers send in its place: OpenAI's, a bare string, a bare `message`.
fn envelope(raw: &RawValue) -> Option<Told> {
    let mut object = Fields::read(raw, &Path::ROOT).ok()?;
    match object.take("error") {
        Some(error) if error.get().starts_with('{') => told(&mut Fields::read(error, &Path::ROOT).ok()?),
        Some(error) => {
            let message = fields::string(error, &Path::ROOT).ok()?.into_owned();
            Some(Told { kind: None, code: None, message })
        }
        None => told(&mut object),
    }
}

fn told(error: &mut Fields<'_, '_>) -> Option<Told> {
    let text = |raw: &RawValue| fields::string(raw, &Path::ROOT).map_or_else(|_| raw.get().to_owned(), Into::into);
    let message = error.take("message").or_else(|| error.take("detail")).map(text)?;
    Some(Told { kind: error.take("type").map(text), code: error.take("code").map(text), message })
}

/// A short text body says more than a status; markup and bytes do not.
fn quoted(status: u16, body: &[u8]) -> String {
    let text = std::str::from_utf8(body).map(str::trim).unwrap_or_default();
    if text.is_empty() || text.starts_with('<') {
        return format!("the upstream answered with status {status} and no error message");
    }
    text.chars().take(LONGEST_QUOTE).collect()
}
