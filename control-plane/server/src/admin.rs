//! The admin API: one table of routes, each with the permission it takes. A path that is not in the table does not exist.

mod error;
mod access;
mod extract;
mod write;
mod resources;
mod config;
mod nodes;
mod rollout;
mod tokens;
mod epoch;
mod snapshot;
mod logs;
mod usage;
mod audit;
mod status;
mod pages;
mod openapi;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, patch, post, put};
use http::{HeaderValue, Method, header};
use tower_http::catch_panic::CatchPanicLayer;

pub(crate) use self::access::Peer;
pub use self::openapi::fragment as openapi;

use self::error::ApiError;
use crate::app::App;

/// What a caller must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Nothing: health, readiness, metrics, the reference of the API.
    Open,
    /// The master key.
    Master,
}

/// One method of one path.
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub permission: Permission,
    handler: fn() -> MethodRouter<Arc<App>>,
}

const fn row(
    method: Method,
    path: &'static str,
    permission: Permission,
    handler: fn() -> MethodRouter<Arc<App>>,
) -> Route {
    Route { method, path, permission, handler }
}

/// The whole API. `{kind}` is a plural: providers, models, routes, prices, keys.
pub const ROUTES: &[Route] = {
    use Permission::{Master, Open};
    &[
        row(Method::GET, "/", Open, || get(pages::landing)),
        row(Method::GET, "/docs", Open, || get(pages::docs)),
        row(Method::GET, "/docs/style.css", Open, || get(pages::style)),
        row(Method::GET, "/docs/openapi.yaml", Open, || get(pages::openapi_yaml)),
        row(Method::GET, "/openapi.json", Open, || get(pages::openapi)),
        row(Method::GET, "/health", Open, || get(status::health)),
        row(Method::GET, "/ready", Open, || get(status::ready)),
        row(Method::GET, "/metrics", Open, || get(status::metrics)),
        row(Method::GET, "/admin/status", Master, || get(status::get)),
        row(Method::POST, "/admin/apply", Master, || post(config::apply)),
        row(Method::GET, "/admin/config/revisions", Master, || get(config::revisions)),
        row(Method::GET, "/admin/config/diff", Master, || get(config::difference)),
        row(Method::POST, "/admin/config/rollback", Master, || post(config::rollback)),
        row(Method::GET, "/admin/nodes", Master, || get(nodes::list)),
        row(Method::GET, "/admin/nodes/{id}", Master, || get(nodes::get)),
        row(Method::GET, "/admin/rollout", Master, || get(rollout::get)),
        row(Method::POST, "/admin/nodes/{id}/revoke", Master, || post(nodes::revoke)),
        row(Method::GET, "/admin/nodes/tokens", Master, || get(tokens::list)),
        row(Method::POST, "/admin/nodes/tokens", Master, || post(tokens::create)),
        row(Method::DELETE, "/admin/nodes/tokens/{id}", Master, || delete(tokens::delete)),
        row(Method::POST, "/admin/epoch", Master, || post(epoch::create)),
        row(Method::POST, "/admin/snapshot", Master, || post(snapshot::create)),
        row(Method::GET, "/admin/logs", Master, || get(logs::list)),
        row(Method::GET, "/admin/logs/follow", Master, || get(logs::follow)),
        row(Method::GET, "/admin/logs/{id}", Master, || get(logs::get)),
        row(Method::GET, "/admin/usage", Master, || get(usage::list)),
        row(Method::GET, "/admin/usage/summary", Master, || get(usage::summary)),
        row(Method::GET, "/admin/audit", Master, || get(audit::list)),
        row(Method::GET, "/admin/settings", Master, || get(resources::get_settings)),
        row(Method::PUT, "/admin/settings", Master, || put(resources::put_settings)),
        row(Method::PATCH, "/admin/settings", Master, || patch(resources::patch_settings)),
        row(Method::GET, "/admin/{kind}", Master, || get(resources::list)),
        row(Method::POST, "/admin/{kind}", Master, || post(resources::create)),
        row(Method::GET, "/admin/{kind}/{name}", Master, || get(resources::get)),
        row(Method::PUT, "/admin/{kind}/{name}", Master, || put(resources::put)),
        row(Method::PATCH, "/admin/{kind}/{name}", Master, || patch(resources::patch)),
        row(Method::DELETE, "/admin/{kind}/{name}", Master, || delete(resources::delete)),
    ]
};

/// The table as a service.
pub fn router(app: Arc<App>) -> Router {
    let mut open = Router::new();
    let mut guarded = Router::new();
    for route in ROUTES {
        let side = match route.permission {
            Permission::Open => &mut open,
            Permission::Master => &mut guarded,
        };
        *side = std::mem::take(side).route(route.path, (route.handler)());
    }
    // What is not in the table takes the key as well, so that strangers learn nothing about what there is.
    let guarded = guarded
        .fallback(|| async { ApiError::not_found("there is nothing at this path; the admin API is under /admin") })
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        .layer(from_fn_with_state(Arc::clone(&app), access::require_master));
    open.merge(guarded)
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| -> Response {
            ApiError::internal().into_response()
        }))
        .layer(from_fn(harmless))
        .layer(from_fn_with_state(Arc::clone(&app), access::observe))
        .with_state(app)
}

/// Answers are data for programs: never stored by a cache, never guessed to be something else by a browser.
async fn harmless(request: axum::extract::Request, next: axum::middleware::Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
