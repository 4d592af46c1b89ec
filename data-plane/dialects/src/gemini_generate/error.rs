//! Google's error object: `{"error": {"code", "message", "status", "details": […]}}`, alone or as the only element of a list.

use bytes::{BufMut, Bytes, BytesMut};
use gateway_ir::failure::{Code, Failure, Retry};
use serde_json::Value;

use crate::refused;
use crate::writer::{Object, object};

/// Google's words with the status each stands for, <https://cloud.google.com/apis/design/errors#error_codes>.
const STATUSES: [(u16, &str); 17] = [
    (400, "INVALID_ARGUMENT"),
    (400, "FAILED_PRECONDITION"),
    (400, "OUT_OF_RANGE"),
    (401, "UNAUTHENTICATED"),
    (403, "PERMISSION_DENIED"),
    (404, "NOT_FOUND"),
    (408, "DEADLINE_EXCEEDED"),
    (409, "ABORTED"),
    (409, "ALREADY_EXISTS"),
    (429, "RESOURCE_EXHAUSTED"),
    (499, "CANCELLED"),
    (500, "INTERNAL"),
    (500, "UNKNOWN"),
    (500, "DATA_LOSS"),
    (501, "UNIMPLEMENTED"),
    (503, "UNAVAILABLE"),
    (504, "DEADLINE_EXCEEDED"),
];

pub(super) fn decode(status: u16, body: &[u8]) -> Failure {
    let mut failure = refused::decode(status, body);
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return failure };
    let details = details(&body);
    // A wrong key is a bad request for Google; for us it is a credential that another target may not share.
    if details.iter().any(|detail| detail["reason"] == "API_KEY_INVALID") {
        failure.code = Code::UpstreamCredential;
        failure.retry = Retry::OnlyElsewhere;
    }
    failure
}

fn details(body: &Value) -> Vec<&Value> {
    let error = body.get("error").or_else(|| body.get(0)?.get("error"));
    error.and_then(|error| error.get("details")?.as_array()).into_iter().flatten().collect()
}

/// The body of an error answer.
pub(super) fn encode(failure: &Failure, request_id: Option<&str>) -> Bytes {
    let mut out = BytesMut::with_capacity(512);
    write(failure, request_id, &mut out);
    out.freeze()
}

/// One error event of a stream.
pub(super) fn event(failure: &Failure, out: &mut BytesMut) {
    out.put_slice(b"data: ");
    write(failure, None, out);
    out.put_slice(b"\r\n\r\n");
}

/// `google.rpc.Status`, with the details of `google/rpc/error_details.proto` that we have something to say in.
fn write(failure: &Failure, request_id: Option<&str>, out: &mut BytesMut) {
    object(out, |body| {
        body.object("error", |error| {
            error.unsigned("code", failure.status.into());
            error.string("message", &failure.message);
            error.string("status", word(failure));
            error.array("details", |details| {
                let mut detail = |kind: &str, members: &dyn Fn(&mut Object<'_>)| {
                    details.object(|detail| {
                        detail.string("@type", &format!("type.googleapis.com/google.rpc.{kind}"));
                        members(detail);
                    });
                };
                detail("ErrorInfo", &|info| {
                    info.string("reason", &failure.code.name().to_ascii_uppercase());
                    info.string("domain", "gateway");
                });
                if let Some(param) = &failure.param {
                    detail("BadRequest", &|request| {
                        request.array("fieldViolations", |violations| {
                            violations.object(|violation| {
                                violation.string("field", param);
                                violation.string("description", &failure.message);
                            });
                        });
                    });
                }
                if let Some(after) = failure.retry_after {
                    detail("RetryInfo", &|retry| retry.string("retryDelay", &format!("{}s", after.as_secs_f64())));
                }
                if let Some(id) = request_id {
                    detail("RequestInfo", &|request| request.string("requestId", id));
                }
            });
        });
    });
}

/// The upstream's own word if it is one of Google's, else by status.
fn word(failure: &Failure) -> &'static str {
    let said = STATUSES.iter().find(|(_, word)| failure.upstream_type.as_deref() == Some(*word));
    let by_status = || STATUSES.iter().find(|(status, _)| *status == failure.status);
    match (said.or_else(by_status), failure.status) {
        (Some((_, word)), _) => word,
        (None, 400..=499) => "INVALID_ARGUMENT",
        (None, 502..=599) => "UNAVAILABLE",
        (None, _) => "INTERNAL",
    }
}
