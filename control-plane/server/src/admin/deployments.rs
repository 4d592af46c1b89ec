//! `/admin/deployments`: the targets of models, and whether they are in rotation. A switch is waited for: when it is answered, every
//! connected node has it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::access::Caller;
use super::error::ApiError;
use super::extract::{Params, Payload, typed};
use super::write::{Wait, WriteParams, write};
use crate::app::App;
use crate::change::switch::{Deployment, Which, deployments};
use crate::change::{Switch, Wish};

/// Every deployment.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Listed {
    data: Vec<Deployment>,
}

/// Those that a switch names, as they are now.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Switched {
    data: Vec<Deployment>,
    /// The revision that has it, what changed, and how the nodes took it.
    change: Value,
}

pub(crate) async fn list(State(app): State<Arc<App>>) -> Result<Json<Listed>, ApiError> {
    Ok(Json(Listed { data: deployments(&app.changes.set().await?).collect() }))
}

pub(crate) async fn disable(
    State(app): State<Arc<App>>,
    Params(params): Params<WriteParams>,
    caller: Caller,
    Payload(body): Payload,
) -> Result<Json<Switched>, ApiError> {
    switch(&app, caller, params, body, false).await
}

pub(crate) async fn enable(
    State(app): State<Arc<App>>,
    Params(params): Params<WriteParams>,
    caller: Caller,
    Payload(body): Payload,
) -> Result<Json<Switched>, ApiError> {
    switch(&app, caller, params, body, true).await
}

async fn switch(
    app: &App,
    caller: Caller,
    mut params: WriteParams,
    body: Value,
    enabled: bool,
) -> Result<Json<Switched>, ApiError> {
    let which: Which = typed(body)?;
    if which.is_empty() {
        let message = "say which: `id`, or `model_alias`, `provider`, `provider_model`, or some of these together";
        return Err(ApiError::malformed(message));
    }
    params.wait = params.wait.or(Some(Wait::Applied));
    let wish = Wish::Switch(Switch { which: which.clone(), enabled });
    let written = write(app, caller, wish, &params).await?;
    let now = deployments(&app.changes.set().await?).filter(|deployment| which.covers(deployment)).collect();
    Ok(Json(Switched { data: now, change: written.summary() }))
}
