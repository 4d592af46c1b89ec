//! `/admin/nodes`: the data-plane nodes, connected or not, and what they run or refused.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::extract::{Params, limit, page};
use crate::app::App;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeParams {
    limit: Option<usize>,
    after: Option<String>,
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Params(params): Params<NodeParams>,
) -> Result<Json<Value>, ApiError> {
    let limit = limit(params.limit)?;
    let after = params.after.unwrap_or_default();
    let mut nodes = app.fleet.nodes().await?;
    nodes.sort_by(|a, b| a.id.cmp(&b.id));
    let following = nodes.into_iter().filter(|node| node.id > after).take(limit + 1).collect();
    let (nodes, next) = page(following, limit, |node| node.id.clone());
    Ok(Json(json!({"data": nodes, "next": next})))
}

pub(crate) async fn get(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let node = app.fleet.nodes().await?.into_iter().find(|node| node.id == id);
    let node = node.ok_or_else(|| ApiError::not_found(format!("there is no node `{id}`")))?;
    Ok(Json(json!(node)))
}
