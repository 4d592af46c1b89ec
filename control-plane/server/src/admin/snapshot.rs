//! `/admin/snapshot`: the whole configuration in one sealed file, for nodes that start where no control plane can be reached.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use gateway_model::secret::Secret;
use gateway_wire::seal::{self, Key, Purpose};
use http::header;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::access::Caller;
use super::error::ApiError;
use super::extract::Payload;
use crate::app::App;
use crate::clock::unix_ms;
use crate::members::audit;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SnapshotBody {
    state_key: Secret,
}

/// A key that can be guessed protects nothing, and the file travels.
const MIN_STATE_KEY: usize = 16;

/// Provider credentials leave the control plane here, sealed under a key that the caller brings; it is not kept.
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Payload(body): Payload,
) -> Result<Response, ApiError> {
    // What is wrong with the body is not repeated: there is a secret in it.
    let body: SnapshotBody = serde_json::from_value(body)
        .map_err(|_| ApiError::malformed("the body must be `{\"state_key\": \"…\"}` and nothing else"))?;
    let state_key = body.state_key.expose();
    if state_key.len() < MIN_STATE_KEY {
        return Err(ApiError::malformed(format!(
            "`state_key` must have at least {MIN_STATE_KEY} characters, best random ones"
        )));
    }
    let key = Key::derive(&[state_key.as_bytes()], Purpose::Export);
    let configuration = app.publisher.configuration().await.map_err(|error| {
        tracing::error!("the configuration cannot be exported: {error:#}");
        ApiError::unavailable("the control plane cannot read its database; try again later")
    })?;
    let after = json!({"topology": configuration.topology.revision, "identity": configuration.identity.revision});
    // Nothing leaves without a trace.
    app.store.record_audit(&[audit(&caller.0, "export", "snapshot", &configuration.epoch, &after, unix_ms())]).await?;
    let sealed = tokio::task::spawn_blocking(move || seal::seal(&key, &configuration)).await;
    let sealed = sealed.map_err(|_| ApiError::internal())?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], sealed).into_response())
}
