//! `/admin/status`, and what is open to everybody: health, readiness, metrics.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use gateway_model::kind::Class;
use gateway_store::revisions::Committed;
use http::header;
use serde_json::{Value, json};

use super::error::ApiError;
use crate::app::App;
use crate::clock::{rfc3339, unix_ms};

pub(crate) async fn get(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    let heads = app.store.heads().await?;
    let nodes = app.fleet.nodes().await?;
    let logs = app.store.logs_place();
    let n_connected = nodes.iter().filter(|node| node.connected).count();
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "epoch": heads.epoch,
        "revision": {"topology": heads.topology, "identity": heads.identity},
        "nodes": {"connected": n_connected, "known": nodes.len()},
        "logs": {"engine": logs.engine, "trouble": logs.trouble},
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

/// What counts itself, and what is looked at now. The database is not asked: this answers while it is away.
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let [(topology, n_topology), (identity, n_identity)] =
        [Class::Topology, Class::Identity].map(|class| app.publisher.told(class));
    let census = app.fleet.census(Committed { topology, identity });
    let meters = &app.meters;
    meters.published(Class::Topology.name(), topology, n_topology, census.lag.topology);
    meters.published(Class::Identity.name(), identity, n_identity, census.lag.identity);
    meters.nodes_connected(census.n_connected());
    meters.nodes("current", census.n_current);
    meters.nodes("behind", census.n_behind);
    meters.nodes("refusing", census.n_refusing);
    meters.nodes("away", census.n_away);
    for pool in app.store.pools() {
        meters.pool(pool.name, pool.n_used, pool.n_idle, pool.max);
    }
    let duplicates = app.store.duplicates();
    meters.duplicates("usage", duplicates.usage);
    meters.duplicates("logs", duplicates.logs);
    meters.log_followers(app.tail.n_followers());
    meters.process(unix_ms() - app.started_at_ms);
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, app.meters.render()).into_response()
}
