//! What other gateways tell and take of the gateway as a whole: `/api/config`, `/v1/management/callbacks`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use gateway_model::document::SETTINGS_NAME;
use gateway_model::kind::Kind;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::fields::{nothing, refused};
use super::{APPLIED, asked, changed, members};
use crate::admin::access::Caller;
use crate::admin::error::ApiError;
use crate::admin::exports::{self, ExporterTrial};
use crate::admin::extract::Payload;
use crate::admin::write::write;
use crate::app::App;
use crate::change::{Draft, Edit, Refusal, Wish};
use crate::view;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CallbackTest {
    /// The name of an exporter.
    #[serde(alias = "id", alias = "callback")]
    name: String,
}

/// What they change while they run and is elsewhere here, and where.
const ELSEWHERE: [(&str, &str); 9] = [
    ("routing_strategy", "it is each model's; `PUT /v1/management/routing-policy/{alias}` changes it"),
    ("retry_delay", "how long is waited is worked out from what the provider says"),
    ("retry_delay_ms", "how long is waited is worked out from what the provider says"),
    ("fallback", "fallbacks are each model's; `PUT /v1/management/routing-policy/{alias}` changes them"),
    ("enable_fallback", "fallbacks are each model's; `PUT /v1/management/routing-policy/{alias}` changes them"),
    ("fallbacks", "fallbacks are each model's; `PUT /v1/management/routing-policy/{alias}` changes them"),
    ("default_rpm", "limits are keys', teams' and limit rules'; there are none for everybody by default"),
    ("default_tpm", "limits are keys', teams' and limit rules'; there are none for everybody by default"),
    ("log_level", "each process has its own, from its start"),
];
/// Beside the first attempt, where nothing is configured: what nodes do then.
const DEFAULT_RETRIES: u64 = 2;

/// The settings, which hold no secret when they are shown, and what of them they have a word for.
pub(crate) async fn config(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    let set = app.changes.set().await?;
    let attempts = set.settings.retry.and_then(|retry| retry.max_attempts);
    let retries = attempts.map_or(DEFAULT_RETRIES, |attempts| u64::from(attempts.saturating_sub(1)));
    let item = app.store.item(gateway_store::ItemKind::Resource(Kind::Setting), SETTINGS_NAME).await?;
    Ok(Json(json!({
        "retries": retries,
        "settings": item.as_ref().map_or_else(|| json!({}), view::spec),
        "models": set.models.len(),
        "providers": set.providers.len(),
    })))
}

pub(crate) async fn put_config(
    State(app): State<Arc<App>>,
    caller: Caller,
    Payload(body): Payload,
) -> Result<Json<Value>, ApiError> {
    let patch = read(members(body)?)?;
    let edit = Edit::Patch { kind: Kind::Setting, name: SETTINGS_NAME.to_owned(), patch };
    write(&app, caller, Wish::Edit(edit), &APPLIED).await?;
    config(State(app)).await
}

/// A document of ours: an exporter.
pub(crate) async fn make_callback(
    State(app): State<Arc<App>>,
    caller: Caller,
    Payload(body): Payload,
) -> Result<Response, ApiError> {
    let draft = Draft::from_document(Kind::Exporter, Value::Object(members(body)?)).map_err(Refusal::from)?;
    let written = write(&app, caller, Wish::Edit(Edit::Create(draft)), &APPLIED).await?;
    Ok((StatusCode::CREATED, Json(view::item(changed(&written)?))).into_response())
}

pub(crate) async fn test_callback(
    State(app): State<Arc<App>>,
    Payload(body): Payload,
) -> Result<Json<ExporterTrial>, ApiError> {
    let CallbackTest { name } = asked(body)?;
    Ok(Json(exports::tried(&app, name).await?))
}

fn read(body: Map<String, Value>) -> Result<Value, ApiError> {
    let mut patch = json!({});
    for (field, value) in body.into_iter().filter(|(_, value)| !nothing(value)) {
        if !matches!(field.as_str(), "retries" | "num_retries" | "max_retries") {
            let known = ELSEWHERE.iter().find(|(theirs, _)| *theirs == field);
            return Err(refused(&field, known.map_or("the gateway has no such setting", |(_, why)| why)));
        }
        let retries = value.as_u64().ok_or_else(|| refused(&field, "it is a number"))?;
        patch["retry"]["max_attempts"] = json!(retries.saturating_add(1));
    }
    match patch.as_object().is_some_and(Map::is_empty) {
        true => Err(ApiError::malformed("say `retries`; it is what can be changed here")),
        false => Ok(patch),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_setting_of_ours_is_refused_by_its_name() {
        for (field, _) in ELSEWHERE.iter().chain(&[("bogus", "")]) {
            let refused = format!("{:?}", read(Map::from_iter([((*field).to_owned(), json!(1))])).expect_err(field));
            assert!(refused.contains(field), "{refused}");
        }
        let patch = read(Map::from_iter([("num_retries".to_owned(), json!(4))])).expect("a setting");
        assert_eq!(patch, json!({"retry": {"max_attempts": 5}}));
    }
}
