//! Pages for people and programs that look around, the same as on the data plane: files of `docs/api`.

use axum::response::{IntoResponse, Response};
use http::header;

const DOCUMENT: &str = include_str!("../../../../docs/api/openapi.json");
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) async fn landing() -> Response {
    page("text/html; charset=utf-8", include_str!("../../../../docs/api/landing.html"))
}

pub(crate) async fn docs() -> Response {
    page("text/html; charset=utf-8", include_str!("../../../../docs/api/index.html"))
}

pub(crate) async fn style() -> Response {
    page("text/css; charset=utf-8", include_str!("../../../../docs/api/style.css"))
}

pub(crate) async fn openapi() -> Response {
    page("application/json", DOCUMENT)
}

/// JSON is YAML.
pub(crate) async fn openapi_yaml() -> Response {
    page("application/yaml", DOCUMENT)
}

fn page(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, text).into_response()
}
