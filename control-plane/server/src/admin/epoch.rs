//! `/admin/epoch`: the database is right, whatever the nodes hold. For after it was restored from an older copy.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::access::Caller;
use super::error::ApiError;
use crate::app::App;
use crate::clock::unix_ms;
use crate::members::audit;

/// Every node takes the whole configuration anew, also one that has seen later revisions than there are.
pub(crate) async fn create(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<Value>, ApiError> {
    let now_ms = unix_ms();
    let row = |epoch: &str| audit(&caller.0, "create", "epoch", epoch, &Value::Null, now_ms);
    let heads = app.store.new_epoch(|heads| row(&heads.epoch)).await?;
    tracing::warn!(epoch = heads.epoch, actor = caller.0.name, "a new epoch has begun, all nodes take everything anew");
    Ok(Json(json!({"epoch": heads.epoch, "revision": {"topology": heads.topology, "identity": heads.identity}})))
}
