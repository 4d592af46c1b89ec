//! `/admin/{plural}` and `/admin/settings`: every kind of resource, one at a time.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use gateway_model::document::SETTINGS_NAME;
use gateway_model::kind::Kind;
use gateway_model::unit::Span;
use gateway_store::{ItemKind, StoredItem};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::Caller;
use super::error::ApiError;
use super::extract::{Collection, Member, Params, Path, Payload, limit, page, typed};
use super::scope;
use super::write::{Wait, WriteParams, Written, write};
use crate::app::App;
use crate::change::{Draft, Edit, Op, Wish};
use crate::clock;
use crate::permission::Grant;
use crate::view;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListParams {
    #[schemars(range(min = 1, max = 500))]
    pub(crate) limit: Option<usize>,
    pub(crate) after: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateBody {
    /// How long the secret so far is good beside the new one; `0s`: not at all, nor any before it. Default `24h`, at most `90d`.
    overlap: Option<Span>,
}

const DEFAULT_OVERLAP: Duration = Duration::from_hours(24);
const MAX_OVERLAP: Duration = Duration::from_hours(90 * 24);

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Collection(kind): Collection,
    Caller(actor): Caller,
    Params(params): Params<ListParams>,
) -> Result<Json<Value>, ApiError> {
    let limit = limit(params.limit)?;
    let after = params.after.as_deref().unwrap_or_default();
    let items = scope::items(&app, &actor.grant, kind, after, limit + 1).await?;
    let (items, next) = page(items, limit, |item| item.name.clone());
    Ok(Json(json!({"data": shown(&app, kind, &items).await?, "next": next})))
}

pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Member(kind, name): Member,
    Caller(actor): Caller,
) -> Result<Json<Value>, ApiError> {
    let item = scope::find(&app, &actor.grant, kind, &name).await?;
    let item = item.ok_or_else(|| ApiError::not_found(format!("there is no {kind} named `{name}`")))?;
    Ok(Json(shown(&app, kind, std::slice::from_ref(&item)).await?.remove(0)))
}

/// Keys with when they were used last.
async fn shown(app: &App, kind: Kind, items: &[StoredItem]) -> Result<Vec<Value>, ApiError> {
    let mut shown: Vec<Value> = items.iter().map(view::item).collect();
    if kind == Kind::Key {
        let ids: Vec<&str> = items.iter().map(|item| item.id.as_str()).collect();
        let used = app.store.keys_used(&ids).await?;
        for (shown, item) in shown.iter_mut().zip(items) {
            shown["last_used_at"] = json!(used.get(&item.id).map(|at_ms| clock::rfc3339(*at_ms)));
        }
    }
    Ok(shown)
}

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Collection(kind): Collection,
    Params(params): Params<WriteParams>,
    caller: Caller,
    Payload(document): Payload,
) -> Result<Response, ApiError> {
    let edit = Edit::Create(draft(kind, document)?);
    let written = write(&app, caller, Wish::Edit(edit), &params.of(kind)).await?;
    answer(&written)
}

pub(crate) async fn put(
    State(app): State<Arc<App>>,
    Member(kind, name): Member,
    Params(params): Params<WriteParams>,
    caller: Caller,
    Payload(mut document): Payload,
) -> Result<Response, ApiError> {
    let name = existing_name(&app, &caller.0.grant, kind, name).await?;
    if let Value::Object(members) = &mut document {
        members.entry("name").or_insert_with(|| json!(name));
    }
    let draft = draft(kind, document)?;
    if draft.name() != name {
        return Err(ApiError::malformed(format!(
            "the path names `{name}` and the body `{}`; make them the same",
            draft.name()
        )));
    }
    let written = write(&app, caller, Wish::Edit(Edit::Put(draft)), &params.of(kind)).await?;
    answer(&written)
}

pub(crate) async fn patch(
    State(app): State<Arc<App>>,
    Member(kind, name): Member,
    Params(params): Params<WriteParams>,
    caller: Caller,
    Payload(patch): Payload,
) -> Result<Response, ApiError> {
    let edit = Edit::Patch { kind, name, patch: object(patch)? };
    let written = write(&app, caller, Wish::Edit(edit), &params.of(kind)).await?;
    answer(&written)
}

pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Member(kind, name): Member,
    Params(params): Params<WriteParams>,
    caller: Caller,
) -> Result<Response, ApiError> {
    let written = write(&app, caller, Wish::Edit(Edit::Delete { kind, name }), &params.of(kind)).await?;
    if !matches!(params.wait, Some(Wait::Applied)) && !params.dry_run {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    answer(&written)
}

/// A new secret, shown this once; the one that it replaces is good until the overlap ends.
pub(crate) async fn rotate(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Params(params): Params<WriteParams>,
    caller: Caller,
    Payload(body): Payload,
) -> Result<Response, ApiError> {
    let body: RotateBody = typed(body)?;
    let overlap = body.overlap.map_or(DEFAULT_OVERLAP, |overlap| overlap.0);
    if overlap > MAX_OVERLAP {
        return Err(ApiError::malformed("`overlap` must be at most 90d; two secrets for ever are two keys"));
    }
    let overlap_ms = i64::try_from(overlap.as_millis()).unwrap_or(i64::MAX);
    let edit = Edit::Rotate { name, overlap_ms };
    let written = write(&app, caller, Wish::Edit(edit), &params.of(Kind::Key)).await?;
    answer(&written)
}

pub(crate) async fn get_settings(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    Ok(Json(match app.store.item(ItemKind::Resource(Kind::Setting), SETTINGS_NAME).await? {
        Some(item) => view::item(&item),
        // Nothing was ever set: everything has its default.
        None => json!({
            "kind": Kind::Setting, "id": SETTINGS_NAME, "name": SETTINGS_NAME, "revision": 0,
            "created_at": null, "updated_at": null, "owner": null, "secrets": {}, "spec": {},
        }),
    }))
}

pub(crate) async fn put_settings(
    State(app): State<Arc<App>>,
    Params(params): Params<WriteParams>,
    caller: Caller,
    Payload(document): Payload,
) -> Result<Response, ApiError> {
    let edit = Edit::Put(draft(Kind::Setting, document)?);
    let written = write(&app, caller, Wish::Edit(edit), &params).await?;
    answer(&written)
}

pub(crate) async fn patch_settings(
    State(app): State<Arc<App>>,
    Params(params): Params<WriteParams>,
    caller: Caller,
    Payload(patch): Payload,
) -> Result<Response, ApiError> {
    let edit = Edit::Patch { kind: Kind::Setting, name: SETTINGS_NAME.to_owned(), patch: object(patch)? };
    let written = write(&app, caller, Wish::Edit(edit), &params).await?;
    answer(&written)
}

/// Keys are addressed by id as well; everything else has its name in the path.
async fn existing_name(app: &App, grant: &Grant, kind: Kind, name: String) -> Result<String, ApiError> {
    if kind != Kind::Key {
        return Ok(name);
    }
    match app.store.item(ItemKind::Resource(kind), &name).await? {
        Some(item) if scope::sees(grant, &item) => Ok(item.name),
        Some(_) => Err(ApiError::not_found(format!("there is no {kind} named `{name}`"))),
        None => Ok(name),
    }
}

fn draft(kind: Kind, document: Value) -> Result<Draft, ApiError> {
    let document = object(document)?;
    Draft::from_document(kind, document).map_err(|problems| crate::change::Refusal::from(problems).into())
}

fn object(value: Value) -> Result<Value, ApiError> {
    if value.is_object() { Ok(value) } else { Err(ApiError::malformed("the body must be a JSON object")) }
}

/// The item, what happened to it, and the new key where one was made.
fn answer(written: &Written) -> Result<Response, ApiError> {
    let Some(changed) = written.outcome.changes.first() else { return Err(ApiError::internal()) };
    let mut body = view::item(&changed.item);
    body["change"] = written.change(changed.op);
    if let Some(minted) = written.outcome.minted.first() {
        body["key"] = json!(minted.key.expose());
    }
    let status = if changed.op == Op::Create { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(body)).into_response())
}
