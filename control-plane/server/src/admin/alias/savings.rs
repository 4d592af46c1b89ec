//! `/v1/management/savings`: what routing and the cache saved, request by request and by day. Receipts stay on their nodes, so that nothing is
//! verified here.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gateway_store::usage::UsageRow;
use serde_json::{Value, json};

use super::management::{self, DailyParams};
use crate::admin::error::ApiError;
use crate::admin::extract::{Params, Path, limit, page, parse_time_cursor, time_cursor};
use crate::admin::usage::{self, UsageParams};
use crate::app::App;
use crate::money;

/// Of requests whose baseline is known, those that cost more than it too.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Params(params): Params<UsageParams>,
) -> Result<Json<Value>, ApiError> {
    let limit = limit(params.limit)?;
    let after = parse_time_cursor(params.after.as_deref())?;
    let rows = app.store.savings(after.as_ref(), limit + 1).await?;
    let (rows, next) = page(rows, limit, |row| time_cursor(row.started_ms, &row.id));
    Ok(Json(json!({"data": rows.iter().map(shown).collect::<Vec<_>>(), "next": next})))
}

pub(crate) async fn daily(
    State(app): State<Arc<App>>,
    Params(params): Params<DailyParams>,
) -> Result<Json<Value>, ApiError> {
    management::daily(&app, params, None).await
}

pub(crate) async fn get(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let row = app.store.saving(&id).await?;
    let row = row.ok_or_else(|| ApiError::not_found(format!("no request `{id}` with a known baseline is kept")))?;
    Ok(Json(shown(&row)))
}

fn shown(row: &UsageRow) -> Value {
    let saved = row.saved_nano_usd();
    let mut shown = usage::event(row);
    shown["saved_nano_usd"] = json!(saved);
    shown["saved_usd"] = json!(saved.map(money::usd));
    shown
}
