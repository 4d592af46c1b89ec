//! The event that ends a stream that cannot be finished, and errors that upstreams tell inside theirs.

use bytes::BytesMut;
use gateway_ir::failure::{Code, Failure};
use serde_json::Value;

use crate::refused;
use crate::writer::object;

/// `error`, after which nothing comes.
pub(super) fn event(failure: &Failure, sequence: u64, out: &mut BytesMut) {
    out.extend_from_slice(b"event: error\ndata: ");
    object(out, |event| {
        event.string("type", "error");
        event.string("code", failure.upstream_code.as_deref().unwrap_or(failure.code.row().name));
        event.string("message", &failure.message);
        event.string_or_null("param", failure.param.as_deref());
        event.unsigned("sequence_number", sequence);
    });
    out.extend_from_slice(b"\n\n");
}

/// What `error` and `response.failed` say.
pub(super) fn inside(data: &[u8]) -> Box<Failure> {
    let body: Value = serde_json::from_slice(data).unwrap_or_default();
    let nested = body.pointer("/response/error").filter(|error| !error.is_null());
    let told = nested.map(|error| serde_json::json!({ "error": error }).to_string());
    let failure = refused::inside(told.as_deref().map_or(data, str::as_bytes));
    failure.unwrap_or_else(|| {
        let message = body["message"].as_str().unwrap_or("the upstream reported an error inside its reply").to_owned();
        let mut failure = Failure::new(Code::UpstreamError, message);
        failure.upstream_code = body["code"].as_str().map(str::to_owned);
        Box::new(failure)
    })
}
