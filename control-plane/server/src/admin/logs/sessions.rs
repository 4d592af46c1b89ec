//! `/admin/logs/sessions`: requests that belong together because their clients said so. A session's requests are those that
//! `/admin/logs` finds by it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gateway_store::log_sessions::{LogSession, Names, SessionFilter};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::error::ApiError;
use crate::admin::extract::{Params, limit, page, parse_time_cursor, time_cursor};
use crate::app::App;
use crate::clock::{self, rfc3339};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionParams {
    #[schemars(range(min = 1, max = 500))]
    limit: Option<usize>,
    after: Option<String>,
    /// How its id begins.
    search: Option<String>,
    /// Its id, whole. A parameter and not a part of the path: clients choose it, and it may be anything.
    session: Option<String>,
    /// The name of a key that it had requests with.
    key: Option<String>,
    user: Option<String>,
    model: Option<String>,
    /// Unix milliseconds or RFC 3339: sessions with a request since then.
    since: Option<String>,
    /// As `since`: sessions whose last request was before.
    until: Option<String>,
}

/// Sessions, those first that were used last.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SessionPage {
    data: Vec<SessionSum>,
    next: Option<String>,
}

/// The requests of a session, summed up as they came; those that are not kept any more are still in the sums.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SessionSum {
    /// As clients gave it, its first 200 letters.
    session: String,
    /// RFC 3339.
    first_request_at: String,
    /// RFC 3339. When the last request began.
    last_request_at: String,
    requests: u64,
    /// The gateway or a provider failed on them.
    failed: u64,
    /// A limit, a mistake in the request.
    refused: u64,
    input_tokens: u64,
    output_tokens: u64,
    /// Of those that have a price.
    cost_nano_usd: i64,
    /// Whose cost is not known: they are in no sum of it.
    unpriced_requests: u64,
    models: SessionNames,
    keys: SessionNames,
    users: SessionNames,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SessionNames {
    total: u64,
    /// Those of most requests, up to eight.
    most: Vec<SessionName>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SessionName {
    name: String,
    requests: u64,
}

/// Longest value that is looked for.
const MAX_TEXT: usize = 1000;

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Params(params): Params<SessionParams>,
) -> Result<Json<SessionPage>, ApiError> {
    let limit = limit(params.limit)?;
    let after = parse_time_cursor(params.after.as_deref())?;
    let found = app.store.log_sessions(&params.filter()?, after.as_ref(), limit + 1).await?;
    let (found, next) = page(found, limit, |last| time_cursor(last.last_ms, &last.id));
    Ok(Json(SessionPage { data: found.into_iter().map(SessionSum::new).collect(), next }))
}

// === impl SessionParams ===

impl SessionParams {
    fn filter(self) -> Result<SessionFilter, ApiError> {
        Ok(SessionFilter {
            id: checked("session", self.session)?,
            starts: checked("search", self.search)?,
            key: checked("key", self.key)?,
            user: checked("user", self.user)?,
            model: checked("model", self.model)?,
            since_ms: time("since", self.since.as_deref())?,
            until_ms: time("until", self.until.as_deref())?,
        })
    }
}

fn checked(field: &str, value: Option<String>) -> Result<Option<String>, ApiError> {
    match value {
        Some(value) if value.len() > MAX_TEXT => {
            Err(ApiError::malformed(format!("`{field}` is longer than {MAX_TEXT} bytes; look for less of it")))
        }
        value => Ok(value.filter(|value| !value.is_empty())),
    }
}

fn time(field: &str, text: Option<&str>) -> Result<Option<i64>, ApiError> {
    let wrong = || ApiError::malformed(format!("`{field}` must be RFC 3339 or Unix milliseconds"));
    text.map(|text| clock::parse(text).ok_or_else(wrong)).transpose()
}

// === impl SessionSum ===

impl SessionSum {
    fn new(session: LogSession) -> Self {
        Self {
            session: session.id,
            first_request_at: rfc3339(session.first_ms),
            last_request_at: rfc3339(session.last_ms),
            requests: session.requests,
            failed: session.failed,
            refused: session.refused,
            input_tokens: session.input,
            output_tokens: session.output,
            cost_nano_usd: session.cost_nano_usd,
            unpriced_requests: session.unpriced,
            models: SessionNames::new(session.models),
            keys: SessionNames::new(session.keys),
            users: SessionNames::new(session.users),
        }
    }
}

// === impl SessionNames ===

impl SessionNames {
    fn new(names: Names) -> Self {
        let most = names.most.into_iter().map(|(name, requests)| SessionName { name, requests }).collect();
        Self { total: names.total, most }
    }
}
