//! Errors as clients are told them: the body we answer with, and the event that ends a broken stream.

use bytes::{Bytes, BytesMut};
use gateway_ir::failure::Failure;

use crate::writer::{Object, object};

/// The body of an error answer.
pub(crate) fn encode(failure: &Failure, request_id: &str) -> Bytes {
    let mut out = BytesMut::with_capacity(256);
    object(&mut out, |body| {
        body.object("error", |error| write(failure, error));
        body.string("error_kind", failure.code.row().error_kind);
        body.string("request_id", request_id);
    });
    out.freeze()
}

/// The last event of a stream that cannot be finished. No terminal mark follows it.
pub(crate) fn event(failure: &Failure, out: &mut BytesMut) {
    out.extend_from_slice(b"data: ");
    object(out, |body| {
        body.object("error", |error| write(failure, error));
        body.string("error_kind", failure.code.row().error_kind);
    });
    out.extend_from_slice(b"\n\n");
}

/// The members every client of this dialect expects, and on limits what was exceeded and how long to wait.
fn write(failure: &Failure, error: &mut Object<'_>) {
    let row = failure.code.row();
    error.string("message", &failure.message);
    error.string("type", failure.upstream_type.as_deref().unwrap_or(row.kind));
    match &failure.param {
        Some(param) => error.string("param", param),
        None => error.raw("param", "null"),
    }
    error.string("code", failure.upstream_code.as_deref().unwrap_or(row.name));
    if let Some(kind) = failure.limit_kind {
        error.string("kind", kind);
    }
    if let Some(after) = failure.retry_after {
        // Rounded up: a client that waits too little is refused again.
        error.unsigned("retry_after_seconds", after.as_secs() + u64::from(after.subsec_nanos() > 0));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gateway_ir::failure::Code;

    use super::*;

    #[test]
    fn answers_in_the_merged_shape() {
        let mut failure = Failure::new(Code::RateLimited, "key `vk_1` exceeded its 120 requests per minute");
        failure.limit_kind = Some("rpm");
        failure.retry_after = Some(Duration::from_millis(11_200));
        assert_eq!(
            encode(&failure, "r1"),
            r#"{"error":{"message":"key `vk_1` exceeded its 120 requests per minute","type":"rate_limit_exceeded","param":null,"code":"rate_limit_exceeded","kind":"rpm","retry_after_seconds":12},"error_kind":"rate_limited","request_id":"r1"}"#
        );
        let mut out = BytesMut::new();
        event(&Failure::invalid("no").at("messages[0]"), &mut out);
        assert_eq!(
            out,
            "data: {\"error\":{\"message\":\"no\",\"type\":\"invalid_request_error\",\"param\":\"messages[0]\",\"code\":\"invalid_request\"},\"error_kind\":\"invalid_request\"}\n\n"
        );
    }
}
