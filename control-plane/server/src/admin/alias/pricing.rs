//! `/v1/management/pricing`: the prices, each under its provider and model.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gateway_model::kind::Kind;
use gateway_store::StoredItem;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::fields::refused;
use super::{APPLIED, changed, find, members};
use crate::admin::access::Caller;
use crate::admin::error::ApiError;
use crate::admin::extract::{Path, Payload};
use crate::admin::write::write;
use crate::app::App;
use crate::change::{Draft, Edit, Refusal, Wish};
use crate::view;

/// Theirs, ours, and how many of theirs one of ours is. What is not here is called the same, or is not there.
const RATES: [(&str, &str, u64); 9] = [
    ("input_cost_per_1m", "input_per_1m", 1),
    ("output_cost_per_1m", "output_per_1m", 1),
    ("input_cost_per_token", "input_per_1m", 1_000_000),
    ("output_cost_per_token", "output_per_1m", 1_000_000),
    ("cache_read_cost_per_token", "cache_read_per_1m", 1_000_000),
    ("cache_read_input_token_cost", "cache_read_per_1m", 1_000_000),
    ("cache_creation_input_token_cost", "cache_write_per_1m", 1_000_000),
    ("output_cost_per_image", "per_image", 1),
    ("input_cost_per_character", "per_1m_characters", 1_000_000),
];

pub(crate) async fn make(
    State(app): State<Arc<App>>,
    caller: Caller,
    Payload(body): Payload,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let draft = draft(read(members(body)?)?)?;
    let written = write(&app, caller, Wish::Edit(Edit::Create(draft)), &APPLIED).await?;
    Ok((StatusCode::CREATED, Json(shown(changed(&written)?))))
}

pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path((provider, model)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let name = name(&app, &provider, &model).await?.ok_or_else(|| missing(&provider, &model))?;
    Ok(Json(shown(&find(&app, &actor, Kind::Price, &name).await?)))
}

/// As a whole: what is not said is not charged.
pub(crate) async fn put(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((provider, model)): Path<(String, String)>,
    Payload(body): Payload,
) -> Result<Json<Value>, ApiError> {
    let mut document = read(members(body)?)?;
    for (field, value) in [("provider", &provider), ("model", &model)] {
        let said = document.entry(field).or_insert_with(|| json!(value));
        if *said != json!(value) {
            return Err(ApiError::malformed(format!("the path says `{value}` and `{field}` of the body another one")));
        }
    }
    if let Some(name) = name(&app, &provider, &model).await? {
        document.entry("name").or_insert_with(|| json!(name));
    }
    let written = write(&app, caller, Wish::Edit(Edit::Put(draft(document)?)), &APPLIED).await?;
    Ok(Json(shown(changed(&written)?)))
}

pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((provider, model)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let name = name(&app, &provider, &model).await?.ok_or_else(|| missing(&provider, &model))?;
    write(&app, caller, Wish::Edit(Edit::Delete { kind: Kind::Price, name }), &APPLIED).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The row as ours shows it, with what it is about and costs in their words beside.
pub(super) fn shown(item: &StoredItem) -> Value {
    let (mut shown, spec) = (view::item(item), view::spec(item));
    shown["provider"] = spec["provider"].clone();
    shown["model"] = spec["model"].clone();
    for (theirs, ours, n_theirs) in RATES {
        let rate = spec[ours].as_str().and_then(|rate| rate.parse::<f64>().ok()).or_else(|| spec[ours].as_f64());
        if let Some(rate) = rate {
            shown[theirs] = json!(rate / n_theirs as f64);
        }
    }
    shown
}

/// A body of theirs, or of ours, as a document.
fn read(body: Map<String, Value>) -> Result<Map<String, Value>, ApiError> {
    let mut document = Map::new();
    for (field, value) in body.into_iter().filter(|(_, value)| !value.is_null()) {
        let (ours, value) = match RATES.iter().find(|(theirs, ..)| *theirs == field) {
            Some((_, ours, n_theirs)) => (*ours, rate(&field, &value, *n_theirs)?),
            None => (field.as_str(), value),
        };
        if let Some(other) = document.insert(ours.to_owned(), value.clone())
            && other != value
        {
            return Err(refused(&field, &format!("`{ours}` is said twice, and not the same")));
        }
    }
    Ok(document)
}

/// To the nano-dollar; what is finer is not charged by anybody.
fn rate(field: &str, value: &Value, n_theirs: u64) -> Result<Value, ApiError> {
    let said = value.as_f64().or_else(|| value.as_str()?.parse().ok());
    let said = said.filter(|said| said.is_finite() && *said >= 0.0);
    let said = said.ok_or_else(|| refused(field, "it is an amount in US dollars"))?;
    Ok(json!(format!("{:.9}", said * n_theirs as f64)))
}

fn draft(document: Map<String, Value>) -> Result<Draft, ApiError> {
    Draft::from_document(Kind::Price, Value::Object(document)).map_err(|problems| Refusal::from(problems).into())
}

/// What the row is called, which need not be after what it is about.
async fn name(app: &App, provider: &str, model: &str) -> Result<Option<String>, ApiError> {
    let prices = app.changes.set().await?.prices;
    let found = prices.into_iter().find(|price| price.provider == provider && price.model == model);
    Ok(found.map(|price| price.name))
}

fn missing(provider: &str, model: &str) -> ApiError {
    ApiError::not_found(format!("there is no price for `{model}` of provider `{provider}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_theirs_become_ours() {
        let read = |body: Value| read(body.as_object().expect("an object").clone());
        let theirs = json!({"provider": "p", "input_cost_per_token": 1.5e-7, "output_cost_per_token": "0.0000006", "per_image": null,
            "cache_read_input_token_cost": 0});
        let ours = json!({"provider": "p", "input_per_1m": "0.150000000", "output_per_1m": "0.600000000",
            "cache_read_per_1m": "0.000000000"});
        assert_eq!(Value::Object(read(theirs).expect("a price")), ours);
        for (body, named) in [
            (json!({"input_cost_per_token": "dear"}), "input_cost_per_token"),
            (json!({"input_cost_per_token": -1}), "input_cost_per_token"),
            (json!({"input_cost_per_1m": 1, "input_per_1m": 2}), "input_per_1m"),
        ] {
            let refused = format!("{:?}", read(body).expect_err(named));
            assert!(refused.contains(named), "{refused}");
        }
    }
}
