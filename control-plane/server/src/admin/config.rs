//! `/admin/apply` and `/admin/config/…`: the configuration as a whole, its history, the way back.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gateway_model::kind::{Class, Kind};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::Caller;
use super::error::ApiError;
use super::extract::{Params, Payload, limit, page, parse_number_cursor, typed};
use super::write::{WriteParams, write};
use crate::app::App;
use crate::change::{Apply, Draft, Earlier, Refusal, Wish, diff};
use crate::clock::rfc3339;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApplyBody {
    source: String,
    #[serde(default)]
    prune: bool,
    resources: Vec<ResourceBody>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResourceBody {
    kind: Kind,
    spec: Value,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollbackBody {
    to: Value,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevisionParams {
    #[serde(default = "topology")]
    class: Class,
    #[schemars(range(min = 1, max = 500))]
    limit: Option<usize>,
    after: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DiffParams {
    from: u64,
    to: Option<u64>,
}

fn topology() -> Class {
    Class::Topology
}

pub(crate) async fn apply(
    State(app): State<Arc<App>>,
    Params(params): Params<WriteParams>,
    caller: Caller,
    Payload(body): Payload,
) -> Result<Json<Value>, ApiError> {
    let body: ApplyBody = typed(body)?;
    if body.source.is_empty() || body.source.len() > 256 {
        return Err(ApiError::malformed("`source` must be 1 to 256 characters: the name of the file"));
    }
    let mut problems = Vec::new();
    let mut resources = Vec::with_capacity(body.resources.len());
    for resource in body.resources {
        match Draft::from_document(resource.kind, resource.spec) {
            Ok(draft) => resources.push(draft),
            Err(found) => problems.extend(found),
        }
    }
    if !problems.is_empty() {
        return Err(Refusal::Invalid { message: "the change is refused as a whole".to_owned(), problems }.into());
    }
    let wish = Wish::Apply(Apply { source: body.source, resources, prune: body.prune });
    Ok(Json(write(&app, caller, wish, &params).await?.summary()))
}

pub(crate) async fn rollback(
    State(app): State<Arc<App>>,
    Params(params): Params<WriteParams>,
    caller: Caller,
    Payload(body): Payload,
) -> Result<Json<Value>, ApiError> {
    let body: RollbackBody = typed(body)?;
    let earlier = match &body.to {
        Value::String(text) if text == "previous" => Earlier::Previous,
        Value::Number(number) if number.is_u64() => Earlier::Revision(number.as_u64().unwrap_or_default()),
        _ => return Err(ApiError::malformed("`to` must be `previous` or the number of a revision")),
    };
    Ok(Json(write(&app, caller, Wish::Rollback(earlier), &params).await?.summary()))
}

pub(crate) async fn revisions(
    State(app): State<Arc<App>>,
    Params(params): Params<RevisionParams>,
) -> Result<Json<Value>, ApiError> {
    let limit = limit(params.limit)?;
    let before = parse_number_cursor(params.after.as_deref())?;
    let revisions = app.store.revisions(params.class, before, limit + 1).await?;
    let (revisions, next) = page(revisions, limit, |revision| revision.revision.to_string());
    let shown = revisions.iter().map(|revision| {
        json!({
            "revision": revision.revision,
            "at": rfc3339(revision.at_ms),
            "actor": revision.actor,
            "summary": revision.summary,
            "changes": revision.n_changes,
        })
    });
    Ok(Json(json!({"data": shown.collect::<Vec<_>>(), "next": next})))
}

pub(crate) async fn difference(
    State(app): State<Arc<App>>,
    Params(params): Params<DiffParams>,
) -> Result<Json<Value>, ApiError> {
    let to = match params.to {
        Some(to) => to,
        None => app.store.heads().await?.topology,
    };
    let before = app.store.items_at(Class::Topology, params.from).await?;
    let after = app.store.items_at(Class::Topology, to).await?;
    Ok(Json(json!({"from": params.from, "to": to, "changes": diff::states(&before, &after)})))
}
