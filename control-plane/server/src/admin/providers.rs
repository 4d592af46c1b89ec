//! `/admin/providers/{name}/test` and `/admin/catalog/test`: whether a provider is reached with its key, and which models it has, of one
//! that is stored or of one that is not. Who asks is written down before anybody is called.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gateway_model::document::Resource;
use gateway_model::kind::Kind;
use gateway_model::kind::provider::Provider;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::access::Caller;
use super::error::ApiError;
use super::extract::{Params, Path, Payload};
use crate::app::App;
use crate::change::{Actor, Draft, Refusal};
use crate::clock::unix_ms;
use crate::members::audit;
use crate::upstreams::{Models, Question, Trial, Unasked};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrialParams {
    /// One of its `api_keys`. Default the first that is enabled.
    key: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ProviderTrial {
    pub(super) provider: String,
    kind: String,
    /// Scheme and host of who was asked.
    address: String,
    /// The key that was shown, where it has several.
    key: Option<String>,
    /// It was reached and has said which models it has. Some tell that to anybody, whatever the key.
    pub(super) ok: bool,
    /// Of the answer, where one came.
    status: Option<u16>,
    error: Option<String>,
    took_ms: u64,
    n_models: usize,
    /// Their names there: the first 500.
    pub(super) models: Vec<String>,
    /// It has further pages of them.
    more: bool,
}

/// Waits for an answer, ten seconds at most.
pub(crate) async fn test(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(name): Path<String>,
    Params(params): Params<TrialParams>,
) -> Result<Json<ProviderTrial>, ApiError> {
    let provider = app.changes.provider(&name).await?;
    let provider = provider.ok_or_else(|| ApiError::not_found(format!("there is no provider named `{name}`")))?;
    Ok(Json(tried(&app, &caller.0, &provider, params.key.as_deref()).await?))
}

/// A document that nobody has stored. No secret is added to it that it does not hold.
pub(crate) async fn test_document(
    State(app): State<Arc<App>>,
    caller: Caller,
    Payload(document): Payload,
) -> Result<Json<ProviderTrial>, ApiError> {
    Ok(Json(unsaved(&app, &caller.0, document).await?))
}

/// A name can be left out: it will have one when it is stored.
pub(super) async fn unsaved(app: &App, actor: &Actor, mut document: Value) -> Result<ProviderTrial, ApiError> {
    match &mut document {
        Value::Object(members) => members.entry("name").or_insert_with(|| json!("unsaved")),
        _ => return Err(ApiError::malformed("the body must be a JSON object: a provider")),
    };
    let draft = Draft::from_document(Kind::Provider, document).map_err(Refusal::from)?;
    let Resource::Provider(provider) = draft.into_resource() else { return Err(ApiError::internal()) };
    tried(app, actor, &provider, None).await
}

async fn tried(app: &App, actor: &Actor, provider: &Provider, key: Option<&str>) -> Result<ProviderTrial, ApiError> {
    let question = Question::of(provider, key)?;
    let address = question.address();
    let about = json!({"address": address, "key": question.key});
    app.store.record_audit(&[audit(actor, "test", "provider", &provider.name, &about, unix_ms())]).await?;
    let Trial { status, outcome, took } = app.upstreams.ask(&question).await;
    let (models, error) = match outcome {
        Ok(models) => (models, None),
        Err(why) => (Models::default(), Some(why)),
    };
    Ok(ProviderTrial {
        provider: provider.name.clone(),
        kind: provider.kind.clone(),
        address,
        key: question.key,
        ok: error.is_none(),
        status,
        error,
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        n_models: models.n_models,
        models: models.names,
        more: models.more,
    })
}

// === impl ApiError ===

impl From<Unasked> for ApiError {
    fn from(unasked: Unasked) -> Self {
        match unasked {
            Unasked::Invalid(problems) => Refusal::from(problems).into(),
            Unasked::NoKey(_) => Self::not_found(unasked.to_string()),
            Unasked::NotHere(_) => Self::conflict(format!("it cannot be tried from here: {unasked}")),
        }
    }
}
