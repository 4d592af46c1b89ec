//! `/admin/traffic`: what charts are drawn from: sums that are kept up as records arrive.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gateway_store::traffic::Traffic;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::extract::Params;
use crate::app::App;
use crate::clock::{rfc3339, unix_ms};

/// How far back, and in which steps.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
pub(crate) enum Window {
    #[default]
    #[serde(rename = "1h")]
    Hour,
    #[serde(rename = "6h")]
    SixHours,
    #[serde(rename = "24h")]
    Day,
    #[serde(rename = "3d")]
    ThreeDays,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrafficParams {
    #[serde(default)]
    window: Window,
    /// Of this one only; without it, of everything.
    provider: Option<String>,
}

const MINUTE_MS: i64 = 60_000;
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Params(params): Params<TrafficParams>,
) -> Result<Json<Value>, ApiError> {
    let (minutes, step) = params.window.minutes_and_step();
    let step_ms = i64::from(step) * MINUTE_MS;
    let now_ms = unix_ms();
    let from_ms = (now_ms - i64::from(minutes) * MINUTE_MS) / step_ms * step_ms;
    let slots = app.store.traffic(params.provider.as_deref(), from_ms, step).await?;
    let mut whole = Traffic::default();
    slots.values().for_each(|traffic| whole.merge(traffic));
    let providers = app.store.traffic_of_providers(from_ms, step).await?;
    let mut shown = Vec::new();
    let mut at_ms = from_ms;
    while at_ms <= now_ms {
        let mut point = sums(slots.get(&at_ms).unwrap_or(&Traffic::default()));
        point["at_unix_ms"] = json!(at_ms);
        shown.push(point);
        at_ms += step_ms;
    }
    let providers = providers.iter().map(|(name, traffic)| {
        let mut row = sums(traffic);
        row["provider"] = json!(name);
        row
    });
    Ok(Json(json!({
        "from": rfc3339(from_ms),
        "to": rfc3339(now_ms),
        "step_s": step * 60,
        "sum": sums(&whole),
        "data": shown,
        "providers": providers.collect::<Vec<_>>(),
    })))
}

fn sums(traffic: &Traffic) -> Value {
    let times = |spread: &gateway_store::traffic::Spread| {
        json!({
            "p50_us": spread.percentile(0.5),
            "p95_us": spread.percentile(0.95),
            "p99_us": spread.percentile(0.99),
        })
    };
    json!({
        "requests": traffic.requests,
        "failed": traffic.failed,
        "refused": traffic.refused,
        "input_tokens": traffic.input,
        "output_tokens": traffic.output,
        "cost_nano_usd": traffic.cost_nano_usd,
        "first_byte": times(&traffic.first_byte),
        "total": times(&traffic.total),
    })
}

// === impl Window ===

impl Window {
    /// Sixty to a hundred points, whatever the window.
    fn minutes_and_step(self) -> (u32, u32) {
        match self {
            Self::Hour => (60, 1),
            Self::SixHours => (6 * 60, 5),
            Self::Day => (24 * 60, 15),
            Self::ThreeDays => (3 * 24 * 60, 60),
        }
    }
}
