//! `/admin/alerts`: whom the control plane tells of budgets, how that goes, and what was told lately.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gateway_model::kind::settings::alerts::{Destination, DestinationKind};
use gateway_store::alerts::{Acknowledged, Alert, DeliveryHealth};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::access::Caller;
use super::error::ApiError;
use super::extract::{Path, Payload, typed};
use crate::alerts::Trial;
use crate::app::App;
use crate::clock::{rfc3339, unix_ms};
use crate::members::audit;

const LATELY: usize = 50;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AlertsTold {
    destinations: Vec<DestinationState>,
    /// The last of them, newest first.
    alerts: Vec<AlertTold>,
}

/// A destination, and how sending to it goes.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DestinationState {
    name: String,
    /// `null` where it is not configured any more.
    kind: Option<DestinationKind>,
    waiting: u64,
    delivered: u64,
    /// Given up after a day, or pushed out where more than 1,000 waited.
    lost: u64,
    /// RFC 3339.
    last_delivered_at: Option<String>,
    /// Why the oldest that waits was not taken, or the last that was lost.
    error: Option<String>,
}

/// A budget that has reached a part of its amount.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AlertTold {
    /// As in what is sent of it.
    id: String,
    budget: String,
    percent: u16,
    /// RFC 3339.
    at: String,
    /// Who sees to it.
    acknowledged_by: Option<String>,
    /// RFC 3339.
    acknowledged_at: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertTest {
    /// One of them; without it, all.
    destination: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AlertTrials {
    data: Vec<AlertTrial>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AlertTrial {
    destination: String,
    delivered: bool,
    error: Option<String>,
    took_ms: u64,
}

pub(crate) async fn list(State(app): State<Arc<App>>) -> Result<Json<AlertsTold>, ApiError> {
    let mut health: BTreeMap<String, DeliveryHealth> =
        app.store.delivery_health().await?.into_iter().map(|health| (health.destination.clone(), health)).collect();
    let configured = app.alerts.destinations().await?;
    let mut destinations: Vec<DestinationState> = configured
        .into_iter()
        .map(|one| {
            let health = health.remove(&one.name).unwrap_or_default();
            DestinationState::new(one.name, Some(one.kind), health)
        })
        .collect();
    destinations.extend(health.into_iter().map(|(name, health)| DestinationState::new(name, None, health)));
    let alerts = app.store.alerts(LATELY).await?.into_iter().map(AlertTold::new).collect();
    Ok(Json(AlertsTold { destinations, alerts }))
}

/// Waits until each was taken, or not: ten seconds at most.
pub(crate) async fn test(State(app): State<Arc<App>>, Payload(body): Payload) -> Result<Json<AlertTrials>, ApiError> {
    let wanted: AlertTest = if body.is_null() { AlertTest::default() } else { typed(body)? };
    let mut destinations = app.alerts.destinations().await?;
    if let Some(name) = wanted.destination {
        destinations.retain(|destination: &Destination| destination.name == name);
        if destinations.is_empty() {
            return Err(ApiError::not_found(format!("there is no destination `{name}` in `settings.alerts`")));
        }
    }
    let tried = app.alerts.test(&destinations).await;
    Ok(Json(AlertTrials { data: tried.into_iter().map(AlertTrial::new).collect() }))
}

/// What waits to be sent of it is not sent any more.
pub(crate) async fn acknowledge(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<AlertTold>, ApiError> {
    let missing = || {
        ApiError::not_found(format!("there is no alert `{id}`; they are kept for as long as their budgets' windows"))
    };
    let (actor, now_ms) = (&caller.0, unix_ms());
    let alert = app.store.alert(&id).await?.ok_or_else(missing)?;
    let about = json!({"budget": alert.budget, "percent": alert.percent});
    let row = audit(actor, "acknowledge", "alert", &id, &about, now_ms);
    let by = Acknowledged { by: actor.name.clone(), at_ms: now_ms };
    let alert = app.store.acknowledge_alert(&id, &by, row).await?.ok_or_else(missing)?;
    Ok(Json(AlertTold::new(alert)))
}

// === impl DestinationState ===

impl DestinationState {
    fn new(name: String, kind: Option<DestinationKind>, health: DeliveryHealth) -> Self {
        Self {
            name,
            kind,
            waiting: health.n_waiting,
            delivered: health.n_delivered,
            lost: health.n_lost,
            last_delivered_at: health.delivered_ms.map(rfc3339),
            error: (!health.error.is_empty()).then_some(health.error),
        }
    }
}

// === impl AlertTold ===

impl AlertTold {
    fn new(alert: Alert) -> Self {
        let (by, at_ms) = alert.acknowledged.map(|one| (one.by, one.at_ms)).unzip();
        Self {
            id: alert.id,
            budget: alert.budget,
            percent: alert.percent,
            at: rfc3339(alert.at_ms),
            acknowledged_by: by,
            acknowledged_at: at_ms.map(rfc3339),
        }
    }
}

// === impl AlertTrial ===

impl AlertTrial {
    fn new(trial: Trial) -> Self {
        let took_ms = u64::try_from(trial.took.as_millis()).unwrap_or(u64::MAX);
        Self { destination: trial.destination, delivered: trial.outcome.is_ok(), error: trial.outcome.err(), took_ms }
    }
}
