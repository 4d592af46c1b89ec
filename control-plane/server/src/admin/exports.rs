//! `/admin/exporters/{name}/…`: how sending to an exporter goes, and whether it takes anything.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gateway_model::kind::exporter::{Exporter, ExporterType};
use schemars::JsonSchema;
use serde::Serialize;

use super::error::ApiError;
use super::extract::Path;
use crate::app::App;
use crate::clock::{self, rfc3339};
use crate::exports::{Health, Trial};

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ExporterHealth {
    name: String,
    r#type: ExporterType,
    /// Scheme and host that it sends to; the rest of the address is a secret.
    destination: String,
    state: ExporterState,
    delivered: u64,
    /// Refused by the destination.
    failed: u64,
    /// Deleted by age or number before they could be sent.
    dropped: u64,
    /// Not sent yet, counted up to 100,000.
    behind_records: u64,
    /// Since the oldest of them was stored.
    behind_seconds: f64,
    /// Why the last attempt failed, or why records were refused.
    last_error: Option<String>,
    /// RFC 3339.
    last_error_at: Option<String>,
    /// RFC 3339.
    last_success_at: Option<String>,
    /// RFC 3339. Of a batch that waits to be sent again.
    next_attempt_at: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ExporterState {
    /// It is sent nothing.
    Off,
    /// It was made a moment ago: what is stored from the time on that it is current is sent.
    Starting,
    /// What there is for it was sent, or is about to be.
    Current,
    /// The last attempt failed; it is tried again.
    Failing,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ExporterTrial {
    exporter: String,
    delivered: bool,
    /// Of the answer, where one came.
    status: Option<u16>,
    error: Option<String>,
    took_ms: u64,
}

pub(crate) async fn health(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Json<ExporterHealth>, ApiError> {
    let exporter = find(&app, &name).await?;
    let health = app.exports.health(&exporter).await?;
    Ok(Json(ExporterHealth::new(exporter, health)))
}

/// Waits until it was taken, or not: ten seconds at most.
pub(crate) async fn test(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Json<ExporterTrial>, ApiError> {
    Ok(Json(tried(&app, name).await?))
}

pub(super) async fn tried(app: &App, name: String) -> Result<ExporterTrial, ApiError> {
    let exporter = find(app, &name).await?;
    let Trial { status, outcome, took } = app.exports.test(&exporter).await;
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    Ok(ExporterTrial { exporter: name, delivered: outcome.is_ok(), status, error: outcome.err(), took_ms })
}

async fn find(app: &App, name: &str) -> Result<Exporter, ApiError> {
    let found = app.exports.configured().await?.into_iter().find(|exporter| exporter.name == name);
    found.ok_or_else(|| ApiError::not_found(format!("there is no exporter named `{name}`")))
}

// === impl ExporterHealth ===

impl ExporterHealth {
    fn new(exporter: Exporter, health: Health) -> Self {
        let Health { destination, progress, backlog } = health;
        let has_begun = progress.is_some();
        let progress = progress.unwrap_or_default();
        let is_failing = !progress.error.is_empty();
        let age_ms = backlog.oldest_ms.map_or(0, |oldest| (clock::unix_ms() - oldest).max(0));
        let state = match (exporter.sends(), has_begun, is_failing) {
            (false, ..) => ExporterState::Off,
            (true, false, _) => ExporterState::Starting,
            (true, true, true) => ExporterState::Failing,
            (true, true, false) => ExporterState::Current,
        };
        Self {
            name: exporter.name,
            r#type: exporter.of,
            destination,
            state,
            delivered: progress.n_delivered,
            failed: progress.n_failed,
            dropped: progress.n_dropped,
            behind_records: backlog.n_records,
            behind_seconds: age_ms as f64 / 1000.0,
            last_error_at: (progress.error_ms > 0).then(|| rfc3339(progress.error_ms)),
            last_error: is_failing.then_some(progress.error),
            last_success_at: progress.delivered_ms.map(rfc3339),
            next_attempt_at: (progress.due_ms > 0).then(|| rfc3339(progress.due_ms)),
        }
    }
}
