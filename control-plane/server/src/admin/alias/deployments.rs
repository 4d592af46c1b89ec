//! `/v1/management/deployments`: a target of a model at a time, and `/routing-policy`, how those of a model are chosen among.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gateway_model::kind::Kind;
use gateway_model::kind::model::{Model, Strategy, Target};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{APPLIED, asked};
use crate::admin::access::Caller;
use crate::admin::error::ApiError;
use crate::admin::extract::{Path, Payload, typed};
use crate::admin::write::write;
use crate::app::App;
use crate::change::switch::{Deployment, Which, deployments};
use crate::change::{Edit, Retarget, Wish};

/// A target that is added to a model; the model is made if it is not there.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeploymentMade {
    /// The public model.
    model_alias: String,
    /// The name of a provider; with `credential_id` its kind will do.
    provider: String,
    /// The upstream's own name of it.
    provider_model: String,
    /// The name of the provider, which holds the credential.
    credential_id: Option<String>,
    weight: Option<u32>,
    priority: Option<u32>,
    /// The model's own, where there is the model.
    routing_strategy: Option<Strategy>,
    is_active: Option<bool>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AliasStrategy {
    model_alias: String,
    routing_strategy: Strategy,
}

/// What of a model's routing can be changed here.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoutingPolicy {
    routing_strategy: Option<Strategy>,
    /// Tried in order when no target is left.
    fallbacks: Option<Vec<String>>,
}

pub(crate) async fn make(
    State(app): State<Arc<App>>,
    caller: Caller,
    Payload(body): Payload,
) -> Result<(StatusCode, Json<Deployment>), ApiError> {
    let made: DeploymentMade = asked(body)?;
    let provider = provider(&app, &made).await?;
    let which = Which {
        id: None,
        model_alias: Some(made.model_alias.clone()),
        provider: Some(provider.clone()),
        provider_model: Some(made.provider_model.clone()),
    };
    let target = Target {
        provider,
        model: made.provider_model,
        weight: made.weight.unwrap_or(1),
        priority: made.priority.unwrap_or(0),
        enabled: made.is_active.unwrap_or(true),
        quirks: Vec::new(),
    };
    let wish = Retarget::Add { model: made.model_alias, strategy: made.routing_strategy, target };
    write(&app, caller, Wish::Retarget(wish), &APPLIED).await?;
    Ok((StatusCode::CREATED, Json(one(&app, &which).await?)))
}

pub(crate) async fn get(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<Deployment>, ApiError> {
    Ok(Json(one(&app, &Which { id: Some(id), ..Which::default() }).await?))
}

pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let which = Which { id: Some(id), ..Which::default() };
    write(&app, caller, Wish::Retarget(Retarget::Remove(which)), &APPLIED).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// All of a model's at once.
pub(crate) async fn put_strategy(
    State(app): State<Arc<App>>,
    caller: Caller,
    Payload(body): Payload,
) -> Result<Json<Value>, ApiError> {
    let AliasStrategy { model_alias, routing_strategy } = asked(body)?;
    let wish = Retarget::Strategy { model: model_alias.clone(), strategy: routing_strategy };
    write(&app, caller, Wish::Retarget(wish), &APPLIED).await?;
    let set = app.changes.set().await?;
    let which = Which { model_alias: Some(model_alias), ..Which::default() };
    let data: Vec<Deployment> = deployments(&set).filter(|deployment| which.covers(deployment)).collect();
    Ok(Json(json!({"data": data})))
}

pub(crate) async fn policies(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    let set = app.changes.set().await?;
    Ok(Json(json!({"data": set.models.iter().map(policy_of).collect::<Vec<_>>()})))
}

pub(crate) async fn policy(State(app): State<Arc<App>>, Path(alias): Path<String>) -> Result<Json<Value>, ApiError> {
    Ok(Json(policy_of(&model(&app, &alias).await?)))
}

pub(crate) async fn put_policy(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(alias): Path<String>,
    Payload(body): Payload,
) -> Result<Json<Value>, ApiError> {
    let RoutingPolicy { routing_strategy, fallbacks } = typed(body)?;
    let mut patch = json!({});
    if let Some(strategy) = routing_strategy {
        patch["strategy"] = json!(strategy);
    }
    if let Some(fallbacks) = fallbacks {
        patch["fallbacks"] = json!(fallbacks);
    }
    let edit = Edit::Patch { kind: Kind::Model, name: alias.clone(), patch };
    write(&app, caller, Wish::Edit(edit), &APPLIED).await?;
    Ok(Json(policy_of(&model(&app, &alias).await?)))
}

fn policy_of(model: &Model) -> Value {
    json!({"model_alias": model.name, "routing_strategy": model.strategy, "fallbacks": model.fallbacks})
}

async fn model(app: &App, alias: &str) -> Result<Model, ApiError> {
    let found = app.changes.set().await?.models.into_iter().find(|model| model.name == alias);
    found.ok_or_else(|| ApiError::not_found(format!("there is no model `{alias}`")))
}

/// A credential is a provider here: what is called a provider there is its kind.
async fn provider(app: &App, made: &DeploymentMade) -> Result<String, ApiError> {
    let Some(named) = &made.credential_id else { return Ok(made.provider.clone()) };
    let found = app.changes.provider(named).await?;
    let found = found.ok_or_else(|| ApiError::not_found(format!("there is no provider `{named}`")))?;
    if made.provider != found.name && made.provider != found.kind {
        let message = format!("`credential_id` names a provider of kind `{}`, and `provider` another one", found.kind);
        return Err(ApiError::malformed(message));
    }
    Ok(found.name)
}

async fn one(app: &App, which: &Which) -> Result<Deployment, ApiError> {
    let set = app.changes.set().await?;
    let found = deployments(&set).find(|deployment| which.covers(deployment));
    found.ok_or_else(|| ApiError::not_found(format!("there is no deployment `{which}`")))
}
