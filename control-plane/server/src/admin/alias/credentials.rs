//! `/v1/management/credentials`: the providers, which are what holds credentials here, with their keys masked; whether one works, and which
//! models it reaches.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gateway_model::kind::Kind;
use gateway_store::StoredItem;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::fields::{nothing, refused};
use super::{APPLIED, changed, delete, find, members};
use crate::admin::access::Caller;
use crate::admin::error::ApiError;
use crate::admin::extract::{Params, Path, Payload, limit, page};
use crate::admin::providers::{self, ProviderTrial};
use crate::admin::resources::ListParams;
use crate::admin::scope;
use crate::admin::write::write;
use crate::app::App;
use crate::change::{Draft, Edit, Refusal, Wish};
use crate::{clock, view};

/// Theirs, ours.
const FIELDS: [(&str, &str); 9] = [
    ("id", "name"),
    ("name", "name"),
    ("credential_name", "name"),
    ("provider", "kind"),
    ("kind", "kind"),
    ("api_key", "api_key"),
    ("api_keys", "api_keys"),
    ("api_base", "base_url"),
    ("base_url", "base_url"),
];

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Params(params): Params<ListParams>,
) -> Result<Json<Value>, ApiError> {
    let limit = limit(params.limit)?;
    let after = params.after.as_deref().unwrap_or_default();
    let items = scope::items(&app, &actor.grant, Kind::Provider, after, limit + 1).await?;
    let (items, next) = page(items, limit, |item| item.name.clone());
    Ok(Json(json!({"data": items.iter().map(shown).collect::<Vec<_>>(), "next": next})))
}

pub(crate) async fn make(
    State(app): State<Arc<App>>,
    caller: Caller,
    Payload(body): Payload,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let draft = Draft::from_document(Kind::Provider, read(members(body)?)?).map_err(Refusal::from)?;
    let written = write(&app, caller, Wish::Edit(Edit::Create(draft)), &APPLIED).await?;
    Ok((StatusCode::CREATED, Json(shown(changed(&written)?))))
}

pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(shown(&find(&app, &actor, Kind::Provider, &id).await?)))
}

/// What is not said stays, the key too.
pub(crate) async fn put(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    Payload(body): Payload,
) -> Result<Json<Value>, ApiError> {
    let edit = Edit::Patch { kind: Kind::Provider, name: id, patch: read(members(body)?)? };
    let written = write(&app, caller, Wish::Edit(edit), &APPLIED).await?;
    Ok(Json(shown(changed(&written)?)))
}

pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    delete(&app, &actor, &find(&app, &actor, Kind::Provider, &id).await?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// One that nobody has stored.
pub(crate) async fn test_raw(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Payload(body): Payload,
) -> Result<Json<ProviderTrial>, ApiError> {
    Ok(Json(providers::unsaved(&app, &actor, read(members(body)?)?).await?))
}

/// The same, told by what was found.
pub(crate) async fn discover(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Payload(body): Payload,
) -> Result<Json<Value>, ApiError> {
    let tried = providers::unsaved(&app, &actor, read(members(body)?)?).await?;
    let models: Vec<Value> = tried.models.iter().map(|name| json!({"id": name})).collect();
    Ok(Json(json!({"data": models, "result": tried})))
}

/// Their document as ours. There is one name here.
fn read(body: Map<String, Value>) -> Result<Value, ApiError> {
    let mut document = Map::new();
    for (field, value) in body.into_iter().filter(|(_, value)| !nothing(value)) {
        let ours = match FIELDS.iter().find(|(theirs, _)| *theirs == field) {
            Some((_, ours)) => *ours,
            // As they are written for a provider.
            None if field == "allow_private_networks" || field == "headers" => &field,
            None => return Err(refused(&field, "a credential is a provider here, which has nothing like it")),
        };
        if let Some(other) = document.insert(ours.to_owned(), value.clone())
            && other != value
        {
            return Err(refused(&field, &format!("`{ours}` is said twice, and not the same")));
        }
    }
    Ok(Value::Object(document))
}

/// Of a key no more than its last four letters.
fn shown(item: &StoredItem) -> Value {
    let (spec, facts) = (view::spec(item), view::secret_facts(item));
    let masked = |last4: &str| format!("…{last4}");
    let keys: Map<String, Value> =
        facts.iter().map(|(path, fact)| (path.clone(), json!(masked(&fact.last4)))).collect();
    json!({
        "id": item.name,
        "name": item.name,
        "provider": spec["kind"],
        "api_base": spec["base_url"],
        "api_key": facts.get("api_key").map(|fact| masked(&fact.last4)),
        "keys": keys,
        "created_at": clock::rfc3339(item.created_at_ms),
        "updated_at": clock::rfc3339(item.updated_at_ms),
    })
}
