//! `/admin/logs/{id}/body`: what was asked and answered in one request, where its key, its route or the settings had it kept. Whoever reads it
//! is written down first.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::access::Caller;
use super::error::ApiError;
use super::extract::Path;
use crate::app::App;
use crate::clock::unix_ms;
use crate::ingest;
use crate::members::audit;

pub(crate) async fn get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let row = app.store.body(&id).await?.ok_or_else(|| {
        ApiError::not_found(format!(
            "nothing is kept of what request `{id}` asked and was answered; `log_bodies` of its key, its route or the settings has that \
             kept, from then on and for a few days"
        ))
    })?;
    // Nobody reads it without a trace.
    app.store.record_audit(&[audit(&caller.0, "read", "log_body", &row.id, &Value::Null, unix_ms())]).await?;
    let document = ingest::document(&row).ok_or_else(ApiError::internal)?;
    Ok(Json(json!({
        "id": row.id,
        "started_unix_ms": row.started_ms,
        "request": document["request"],
        "response": document["response"],
    })))
}
