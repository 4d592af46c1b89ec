//! The one exit for failures: a response in the caller's dialect.

use std::time::Duration;

use gateway_engine::snapshot::HeaderFamilies;
use gateway_ir::dialect::Dialect;
use gateway_ir::failure::{Code, Failure};
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};

use crate::body::ReplyBody;
use crate::headers::Writer;
use crate::ingress;

/// The answer to a request that failed before its reply began.
pub(crate) fn response(
    failure: &Failure,
    dialect: Dialect,
    request_id: &str,
    families: HeaderFamilies,
) -> Response<ReplyBody> {
    let body = ingress::spoken(dialect).encode_error(failure, request_id);
    let mut response = Response::new(ReplyBody::whole(body));
    *response.status_mut() = StatusCode::from_u16(failure.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    match failure.code {
        Code::MissingCredential | Code::InvalidCredential => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"gateway\""));
        }
        _ => {}
    }
    if let Some(after) = failure.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds_rounded_up(after)));
    }
    let mut writer = Writer::new(headers, families);
    writer.request_id(request_id);
    if let Some(kind) = failure.limit_kind {
        writer.limit_kind(kind);
    }
    response
}

fn seconds_rounded_up(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
