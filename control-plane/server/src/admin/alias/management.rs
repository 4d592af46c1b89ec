//! `/v1/management/…`: keys, teams, users, organizations, deployments, prices, providers and usage.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use gateway_model::kind::Kind;
use http::StatusCode;
use http::request::Parts;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{APPLIED, create, delete, fields, find, members, pricing, shown, update};
use crate::admin::access::Caller;
use crate::admin::error::ApiError;
use crate::admin::extract::{Params, Path, Payload, collection, limit, page};
use crate::admin::resources::ListParams;
use crate::admin::scope;
use crate::admin::spend::{self, SpendParams};
use crate::admin::write::write;
use crate::app::App;
use crate::change::switch::{Which, deployments};
use crate::change::{Switch, Wish};
use crate::clock;
use crate::view;

/// The kind that the path names after `/v1/management/`.
pub(crate) struct Section(Kind);

/// What of a deployment can be changed here; the rest is its model's.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeploymentBody {
    is_active: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DailyParams {
    /// Back from today. Default 30.
    #[schemars(range(min = 1, max = 365))]
    days: Option<u32>,
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Section(kind): Section,
    Caller(actor): Caller,
    Params(params): Params<ListParams>,
) -> Result<Json<Value>, ApiError> {
    let limit = limit(params.limit)?;
    let after = params.after.as_deref().unwrap_or_default();
    let items = scope::items(&app, &actor.grant, kind, after, limit + 1).await?;
    let (items, next) = page(items, limit, |item| item.name.clone());
    // What they have spent is shown one by one.
    let shown = items.iter().map(|item| match kind {
        Kind::Price => pricing::shown(item),
        Kind::Provider | Kind::Exporter => view::item(item),
        _ => Value::Object(fields::show(kind, item)),
    });
    Ok(Json(json!({"data": shown.collect::<Vec<_>>(), "next": next})))
}

pub(crate) async fn make(
    State(app): State<Arc<App>>,
    Section(kind): Section,
    Caller(actor): Caller,
    Payload(body): Payload,
) -> Result<Response, ApiError> {
    let wanted = fields::read(kind, members(body)?, clock::unix_ms())?;
    let (mut shown, secret) = create(&app, &actor, kind, wanted).await?;
    if let Some(secret) = secret {
        shown["key"] = json!(secret);
    }
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Section(kind): Section,
    Path(id): Path<String>,
    Caller(actor): Caller,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(shown(&app, &find(&app, &actor, kind, &id).await?).await?))
}

/// What is not said stays, as it does there.
pub(crate) async fn put(
    State(app): State<Arc<App>>,
    Section(kind): Section,
    Path(id): Path<String>,
    Caller(actor): Caller,
    Payload(body): Payload,
) -> Result<Json<Value>, ApiError> {
    let item = find(&app, &actor, kind, &id).await?;
    let wanted = fields::read(kind, members(body)?, clock::unix_ms())?;
    Ok(Json(update(&app, &actor, &item, wanted).await?))
}

pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    Section(kind): Section,
    Path(id): Path<String>,
    Caller(actor): Caller,
) -> Result<StatusCode, ApiError> {
    delete(&app, &actor, &find(&app, &actor, kind, &id).await?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn switch(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    caller: Caller,
    Payload(body): Payload,
) -> Result<Json<Value>, ApiError> {
    let body: DeploymentBody = crate::admin::extract::typed(body)?;
    let which = Which { id: Some(id), ..Which::default() };
    write(&app, caller, Wish::Switch(Switch { which: which.clone(), enabled: body.is_active }), &APPLIED).await?;
    let set = app.changes.set().await?;
    let deployment = deployments(&set).find(|deployment| which.covers(deployment));
    Ok(Json(json!(deployment)))
}

/// What one key has used altogether.
pub(crate) async fn key_usage(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Caller(actor): Caller,
) -> Result<Json<Value>, ApiError> {
    let item = find(&app, &actor, Kind::Key, &id).await?;
    let wanted = SpendParams { key: Some(item.id.clone()), ..SpendParams::default() };
    let page = spend::read(&app, &wanted, spend::Format::Json).await?;
    let mut shown = spend::figures(&page.total);
    shown.insert("id".to_owned(), json!(item.id));
    shown.insert("total_spend".to_owned(), shown["spend"].clone());
    Ok(Json(Value::Object(shown)))
}

pub(crate) async fn key_usage_daily(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Caller(actor): Caller,
    Params(params): Params<DailyParams>,
) -> Result<Json<Value>, ApiError> {
    let item = find(&app, &actor, Kind::Key, &id).await?;
    daily(&app, params, Some(item.id)).await
}

pub(crate) async fn usage_daily(
    State(app): State<Arc<App>>,
    Params(params): Params<DailyParams>,
) -> Result<Json<Value>, ApiError> {
    daily(&app, params, None).await
}

pub(super) async fn daily(app: &App, params: DailyParams, key: Option<String>) -> Result<Json<Value>, ApiError> {
    let n_days = params.days.unwrap_or(30);
    if !(1..=365).contains(&n_days) {
        return Err(ApiError::malformed("`days` must be from 1 to 365"));
    }
    let first = clock::unix_ms().div_euclid(DAY_MS) - i64::from(n_days) + 1;
    let wanted = SpendParams {
        group_by: Some("day".to_owned()),
        from: Some(clock::date(first)),
        limit: Some(365),
        key,
        ..SpendParams::default()
    };
    Ok(Json(spend::read(app, &wanted, spend::Format::Json).await?.json()))
}

// === impl Section ===

impl<S: Send + Sync> FromRequestParts<S> for Section {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        match parts.uri.path().split('/').nth(3).unwrap_or_default() {
            "pricing" => Ok(Self(Kind::Price)),
            "callbacks" => Ok(Self(Kind::Exporter)),
            plural => collection(plural).map(Self),
        }
    }
}
