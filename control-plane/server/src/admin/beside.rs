//! The part of the admin API that applications' tools look for beside `/v1`: in a process that has both planes, the node's public
//! listener asks here. The same routes with the same key; nothing else of the API is to be reached there.

use std::net::SocketAddr;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::response::IntoResponse as _;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::Peer;
use super::error::ApiError;

/// These, and what is below them.
pub const PATHS: &[&str] = &[
    "/admin/deployments",
    "/admin/keys",
    "/admin/spend",
    "/v1/management",
    "/v1/audit",
    "/api/config",
    "/key",
    "/team",
    "/user",
    "/budget",
    "/model/info",
    "/spend",
];

/// Of what is below them: passwords of people are for the admin listener alone, wherever it stands.
const NOT_HERE: [&str; 2] = ["/v1/management/users/login", "/v1/management/users/register"];

/// Answers a request for one of [`PATHS`].
pub async fn answer<B>(router: Router, request: Request<B>, peer: SocketAddr) -> Response<Bytes>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    if NOT_HERE.contains(&request.uri().path()) {
        let refused = ApiError::not_found("people sign in at the admin API's own address").into_response();
        return whole(refused).await;
    }
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Peer(peer));
    let Ok(response) = router.oneshot(request).await;
    whole(response).await
}

async fn whole(response: Response<Body>) -> Response<Bytes> {
    let (head, body) = response.into_parts();
    match body.collect().await {
        Ok(body) => Response::from_parts(head, body.to_bytes()),
        Err(_) => {
            let mut failed = Response::new(Bytes::new());
            *failed.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            failed
        }
    }
}
