//! `/admin/nodes/tokens`: with what nodes join. A token is shown once, when it is made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use gateway_model::unit::Span;
use gateway_store::membership::TokenRow;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::Caller;
use super::error::ApiError;
use super::extract::{Params, Path, Payload, limit, page};
use crate::app::App;
use crate::clock::{rfc3339, unix_ms};
use crate::members::NewToken;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenBody {
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default = "default_ttl")]
    ttl: Span,
    #[serde(default = "default_uses")]
    uses: u64,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenParams {
    #[schemars(range(min = 1, max = 500))]
    limit: Option<usize>,
    after: Option<String>,
}

const MAX_TTL: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const MAX_USES: u64 = 1_000_000;
const MAX_LABELS: usize = 64;
const MAX_LABEL: usize = 256;

fn default_ttl() -> Span {
    Span(Duration::from_secs(60 * 60))
}

fn default_uses() -> u64 {
    1
}

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Payload(body): Payload,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    if !body.is_object() {
        return Err(ApiError::malformed("the body must be an object with any of `labels`, `ttl` and `uses`"));
    }
    let body = serde_json::from_value(body);
    let body: TokenBody = body.map_err(|error| ApiError::malformed(format!("the body is not understood: {error}")))?;
    check(&body)?;
    let wanted = NewToken { labels: body.labels, ttl: body.ttl.0, uses: body.uses };
    let (row, token) = app.members.create_token(&wanted, &caller.0).await?;
    let mut shown = shown(&row);
    shown["token"] = json!(token.expose());
    Ok((StatusCode::CREATED, Json(shown)))
}

/// Those that can still be used.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Params(params): Params<TokenParams>,
) -> Result<Json<Value>, ApiError> {
    let limit = limit(params.limit)?;
    let tokens = app.store.tokens(&params.after.unwrap_or_default(), unix_ms(), limit + 1).await?;
    let (tokens, next) = page(tokens, limit, |token| token.id.clone());
    Ok(Json(json!({"data": tokens.iter().map(shown).collect::<Vec<_>>(), "next": next})))
}

pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    match app.members.delete_token(&id, &caller.0).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::not_found(format!("there is no join token `{id}`"))),
    }
}

fn check(body: &TokenBody) -> Result<(), ApiError> {
    if body.ttl.0 < Duration::from_secs(1) || body.ttl.0 > MAX_TTL {
        return Err(ApiError::malformed("`ttl` must be from 1s to 30d"));
    }
    if !(1..=MAX_USES).contains(&body.uses) {
        return Err(ApiError::malformed(format!("`uses` must be from 1 to {MAX_USES}")));
    }
    let fits =
        |(name, value): (&String, &String)| !name.is_empty() && name.len() <= MAX_LABEL && value.len() <= MAX_LABEL;
    if body.labels.len() > MAX_LABELS || !body.labels.iter().all(fits) {
        return Err(ApiError::malformed(format!(
            "`labels` may be {MAX_LABELS} names with values of up to {MAX_LABEL} bytes"
        )));
    }
    Ok(())
}

/// `uses` 0: any number of times.
fn shown(row: &TokenRow) -> Value {
    json!({
        "id": row.id,
        "labels": serde_json::from_str::<Value>(&row.labels).unwrap_or_default(),
        "uses": row.uses,
        "uses_left": row.uses_left,
        "created_at": rfc3339(row.created_at_ms),
        "created_by": row.created_by,
        "expires_at": rfc3339(row.expires_at_ms),
    })
}
