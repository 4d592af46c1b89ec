//! `/admin/audit`: who changed what, newest first.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gateway_store::audit::AuditEntry;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::extract::{Params, limit, page, parse_number_cursor};
use crate::app::App;
use crate::clock::rfc3339;
use crate::vault::hex;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditParams {
    #[schemars(range(min = 1, max = 500))]
    limit: Option<usize>,
    after: Option<String>,
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Params(params): Params<AuditParams>,
) -> Result<Json<Value>, ApiError> {
    let limit = limit(params.limit)?;
    let before = parse_number_cursor(params.after.as_deref())?;
    let entries = app.store.audit(before, limit + 1).await?;
    let (entries, next) = page(entries, limit, |entry| entry.seq.to_string());
    Ok(Json(json!({"data": entries.iter().map(shown).collect::<Vec<_>>(), "next": next})))
}

fn shown(entry: &AuditEntry) -> Value {
    let document = |text: &Option<String>| text.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
    json!({
        "seq": entry.seq,
        "at": rfc3339(entry.row.at_ms),
        "actor": entry.row.actor,
        "ip": entry.row.ip,
        "request_id": entry.row.request_id,
        "action": entry.row.action,
        "kind": entry.row.kind,
        "name": entry.row.name,
        "before": document(&entry.row.before),
        "after": document(&entry.row.after),
        "hash": hex(&entry.hash),
    })
}
