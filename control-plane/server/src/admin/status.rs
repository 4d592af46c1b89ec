//! `/admin/status`, and what is open to everybody: health, readiness, metrics.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use serde_json::{Value, json};

use super::error::ApiError;
use crate::app::App;
use crate::clock::rfc3339;

pub(crate) async fn get(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    let heads = app.store.heads().await?;
    let nodes = app.fleet.nodes().await?;
    let n_connected = nodes.iter().filter(|node| node.connected).count();
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "epoch": heads.epoch,
        "revision": {"topology": heads.topology, "identity": heads.identity},
        "nodes": {"connected": n_connected, "known": nodes.len()},
        "started_at": rfc3339(app.started_at_ms),
    })))
}

/// The process answers.
pub(crate) async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// The process can do its work: the database answers.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    app.store.ping().await?;
    Ok(Json(json!({"status": "ready"})))
}

pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, app.meters.render()).into_response()
}
