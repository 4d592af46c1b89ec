//! `/admin/rollout`: how the nodes took a revision, for who follows a change after it was made.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use gateway_model::kind::Class;
use gateway_model::unit::Span;
use gateway_store::revisions::Committed;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::error::ApiError;
use super::extract::Params;
use super::write;
use crate::app::App;

/// `?topology=7&identity=3&timeout=250ms`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RolloutParams {
    #[serde(default)]
    topology: u64,
    #[serde(default)]
    identity: u64,
    /// How long to wait for nodes that have not answered; without it nobody is waited for.
    timeout: Option<Span>,
}

pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Params(params): Params<RolloutParams>,
) -> Result<Json<Value>, ApiError> {
    let timeout = write::patience(params.timeout.as_ref(), Duration::ZERO)?;
    let revision = Committed { topology: params.topology, identity: params.identity };
    let asked = [(Class::Topology, params.topology), (Class::Identity, params.identity)];
    let classes: Vec<Class> = asked.iter().filter(|(_, revision)| *revision > 0).map(|(class, _)| *class).collect();
    Ok(Json(write::rollout(&app, revision, &classes, timeout).await?))
}
