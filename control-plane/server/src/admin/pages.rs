//! Pages for people and programs that look around: the dashboard, and files of `docs/api` as on the data plane.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};

use super::access::authority;
use super::error::ApiError;
use super::extract::Path;
use crate::app::App;
use crate::dashboard;

const DOCUMENT: &str = include_str!("../../../../docs/api/openapi.json");
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) async fn dashboard(State(app): State<Arc<App>>, request: Request) -> Response {
    let authority = authority(request.headers(), request.uri());
    // It goes into the policy: a name of ours, or none.
    let host = authority.as_ref().map(|authority| authority.host()).filter(|host| app.hosts.allow(host));
    dashboard::page(app.public_url.get().map(String::as_str), host, request.headers())
}

pub(crate) async fn asset(
    Path((version, folder, file)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    let asset = dashboard::asset(&version, &folder, &file, &headers);
    asset.unwrap_or_else(|| ApiError::not_found("the dashboard has no such file; load it anew").into_response())
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
