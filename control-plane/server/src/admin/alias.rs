//! The API under the names that clients of other gateways know: `/v1/management/…` and the control paths of LiteLLM. Each of them is
//! translated into our own document, goes the way that `/admin` goes, and is translated back; nothing is decided here.
//!
//! What we cannot honour is refused by name. An id of theirs is a name of ours, but for keys, which have ids.

mod fields;
pub(crate) mod calculate;
pub(crate) mod litellm;
pub(crate) mod pricing;
pub(crate) mod management;
pub(crate) mod savings;
pub(crate) mod deployments;
pub(crate) mod credentials;
pub(crate) mod gateway;

use gateway_model::kind::Kind;
use gateway_store::spend::{Dimension, Wanted};
use gateway_store::{ItemKind, StoredItem};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::access::Caller;
use super::error::ApiError;
use super::extract::typed;
use super::scope;
use super::write::{Wait, WriteParams, Written, write};
use crate::app::App;
use crate::change::{Actor, Draft, Edit, Wish};
use crate::money;

/// Answered when the connected nodes have it.
const APPLIED: WriteParams = WriteParams::waiting(Wait::Applied);

/// Makes one from what was translated; the secret where a key was made.
async fn create(
    app: &App,
    actor: &Actor,
    kind: Kind,
    document: Map<String, Value>,
) -> Result<(Value, Option<String>), ApiError> {
    let draft = Draft::from_document(kind, Value::Object(document));
    let draft = draft.map_err(crate::change::Refusal::from)?;
    let edit = Wish::Edit(Edit::Create(draft));
    let written = write(app, Caller(actor.clone()), edit, &APPLIED).await?;
    let secret = written.outcome.minted.first().map(|minted| minted.key.expose().to_owned());
    Ok((shown(app, changed(&written)?).await?, secret))
}

/// Changes what is said and leaves the rest.
async fn update(app: &App, actor: &Actor, item: &StoredItem, patch: Map<String, Value>) -> Result<Value, ApiError> {
    let Some(kind) = resource(item) else { return Err(ApiError::internal()) };
    let edit = Wish::Edit(Edit::Patch { kind, name: item.name.clone(), patch: Value::Object(patch) });
    let written = write(app, Caller(actor.clone()), edit, &APPLIED).await?;
    shown(app, changed(&written)?).await
}

async fn delete(app: &App, actor: &Actor, item: &StoredItem) -> Result<(), ApiError> {
    let Some(kind) = resource(item) else { return Err(ApiError::internal()) };
    let edit = Wish::Edit(Edit::Delete { kind, name: item.name.clone() });
    write(app, Caller(actor.clone()), edit, &APPLIED).await?;
    Ok(())
}

/// One item in the words of both families, with what it has spent.
async fn shown(app: &App, item: &StoredItem) -> Result<Value, ApiError> {
    let Some(kind) = resource(item) else { return Err(ApiError::internal()) };
    let (dimension, name) = match kind {
        Kind::Key => (Dimension::Key, &item.id),
        Kind::Team => (Dimension::Team, &item.name),
        Kind::User => (Dimension::User, &item.name),
        _ => (Dimension::Organization, &item.name),
    };
    let wanted = Wanted { only: vec![(dimension, name.clone())], ..Wanted::default() };
    let spent = app.store.spend(&wanted, None, 1).await?.total.cost_nano_usd;
    let mut shown = fields::show(kind, item);
    shown.insert("spend".to_owned(), json!(money::number(spent)));
    shown.insert("total_spend".to_owned(), json!(money::number(spent)));
    Ok(Value::Object(shown))
}

async fn find(app: &App, actor: &Actor, kind: Kind, name: &str) -> Result<StoredItem, ApiError> {
    let item = scope::find(app, &actor.grant, kind, name).await?;
    item.ok_or_else(|| ApiError::not_found(format!("there is no {kind} `{name}`")))
}

fn changed(written: &Written) -> Result<&StoredItem, ApiError> {
    written.outcome.changes.first().map(|changed| &changed.item).ok_or_else(ApiError::internal)
}

fn resource(item: &StoredItem) -> Option<Kind> {
    match item.kind {
        ItemKind::Resource(kind) => Some(kind),
        ItemKind::Pepper => None,
    }
}

/// A body of this type. Their clients send many fields empty.
fn asked<T: DeserializeOwned>(body: Value) -> Result<T, ApiError> {
    let said = members(body)?.into_iter().filter(|(_, value)| !fields::nothing(value));
    typed(Value::Object(said.collect()))
}

fn members(body: Value) -> Result<Map<String, Value>, ApiError> {
    match body {
        Value::Object(members) => Ok(members),
        _ => Err(ApiError::malformed("the body must be a JSON object")),
    }
}
