//! `/admin/usage`: what was used, request by request and summed up.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gateway_model::kind::Kind;
use gateway_store::ItemKind;
use gateway_store::spend::{Dimension, Sum, Wanted};
use gateway_store::usage::{Tokens, Totals, Units, UsageRow};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::extract::{Params, limit, page, parse_time_cursor, time_cursor};
use crate::app::App;
use crate::clock;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsageParams {
    #[schemars(range(min = 1, max = 500))]
    pub(crate) limit: Option<usize>,
    pub(crate) after: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SummaryParams {
    group_by: GroupBy,
    #[schemars(range(min = 1, max = 500))]
    limit: Option<usize>,
    after: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum GroupBy {
    Key,
    Model,
    Provider,
    Day,
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Params(params): Params<UsageParams>,
) -> Result<Json<Value>, ApiError> {
    let limit = limit(params.limit)?;
    let after = parse_time_cursor(params.after.as_deref())?;
    let rows = app.store.usage(after.as_ref(), limit + 1).await?;
    let (rows, next) = page(rows, limit, |row| time_cursor(row.started_ms, &row.id));
    Ok(Json(json!({"data": rows.iter().map(event).collect::<Vec<_>>(), "next": next})))
}

/// Rows carry what they are grouped by under that name; a key shows by name, with its id beside it.
pub(crate) async fn summary(
    State(app): State<Arc<App>>,
    Params(params): Params<SummaryParams>,
) -> Result<Json<Value>, ApiError> {
    let limit = limit(params.limit)?;
    let wanted = Wanted { by: vec![params.group_by.dimension()], ..Wanted::default() };
    let after = params.after.map(|after| [after]);
    let groups = app.store.spend(&wanted, after.as_ref().map(<[String; 1]>::as_slice), limit + 1).await?.sums;
    let (groups, next) = page(groups, limit, |sum| sum.names.concat());
    let mut shown = Vec::with_capacity(groups.len());
    for Sum { names, totals } in groups {
        let name = names.concat();
        let mut row = sums(&totals);
        match params.group_by {
            GroupBy::Key => {
                let item = app.store.item(ItemKind::Resource(Kind::Key), &name).await?;
                row["key"] = json!(item.map_or_else(|| name.clone(), |item| item.name));
                row["key_id"] = json!(name);
            }
            GroupBy::Model => row["model"] = json!(name),
            GroupBy::Provider => row["provider"] = json!(name),
            GroupBy::Day => row["day"] = json!(clock::date(name.parse().unwrap_or_default())),
        }
        shown.push(row);
    }
    Ok(Json(json!({"data": shown, "next": next})))
}

pub(crate) fn event(row: &UsageRow) -> Value {
    json!({
        "id": row.id,
        "node_id": row.node_id,
        "started_unix_ms": row.started_ms,
        "key_id": row.key_id,
        "model": row.model,
        "provider": row.provider,
        "upstream_model": row.upstream_model,
        "route": row.route,
        "tokens": tokens(&row.tokens),
        "units": units(&row.units),
        "settled_by": row.settled_by,
        "cost_nano_usd": row.cost_nano_usd,
        "priced": row.priced,
        "baseline_nano_usd": row.baseline_nano_usd,
        "price": row.price,
        "tier": row.tier,
        "status": row.status,
        "topology_revision": row.topology_revision,
        "tags": serde_json::from_str::<Value>(&row.tags).unwrap_or_else(|_| json!([])),
        "user": row.user,
        "team": row.team,
        "organization": row.organization,
    })
}

fn sums(totals: &Totals) -> Value {
    json!({
        "requests": totals.requests,
        "tokens": tokens(&totals.tokens),
        "units": units(&totals.units),
        "cost_nano_usd": totals.cost_nano_usd,
        "unpriced_requests": totals.unpriced,
    })
}

pub(crate) fn tokens(tokens: &Tokens) -> Value {
    json!({
        "input": tokens.input,
        "cache_read": tokens.cache_read,
        "cache_write": tokens.cache_write,
        "cache_write_1h": tokens.cache_write_1h,
        "output": tokens.output,
        "reasoning": tokens.reasoning,
        "input_audio": tokens.input_audio,
        "output_audio": tokens.output_audio,
        "input_image": tokens.input_image,
        "output_image": tokens.output_image,
    })
}

pub(crate) fn units(units: &Units) -> Value {
    json!({
        "pictures_made": units.pictures_made,
        "pictures_read": units.pictures_read,
        "audio_ms": units.audio_ms,
        "characters": units.characters,
        "searches": units.searches,
    })
}

// === impl GroupBy ===

impl GroupBy {
    fn dimension(self) -> Dimension {
        match self {
            Self::Key => Dimension::Key,
            Self::Model => Dimension::Model,
            Self::Provider => Dimension::Provider,
            Self::Day => Dimension::Day,
        }
    }
}
