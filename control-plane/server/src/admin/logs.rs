//! `/admin/logs`: requests as they went. Never a prompt, never an answer: see [`super::bodies`].

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use axum::{Extension, Json};
use futures_util::{Stream, StreamExt as _, stream};
use gateway_store::logs::{Filter, LogRow};
use http::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::Identity;
use super::error::ApiError;
use super::extract::{Params, limit, page, parse_time_cursor, time_cursor};
use crate::app::App;
use crate::clock;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogParams {
    #[schemars(range(min = 1, max = 500))]
    limit: Option<usize>,
    after: Option<String>,
    key: Option<String>,
    model: Option<String>,
    provider: Option<String>,
    status: Option<u32>,
    /// Unix milliseconds or RFC 3339.
    since: Option<String>,
}

/// What a reader that was away is given at once; beyond it, the list itself is the way.
const MAX_CATCH_UP: usize = 1000;
/// A session that was ended reads nothing for longer than this.
const SESSION_LOOK: Duration = Duration::from_millis(500);
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Params(params): Params<LogParams>,
) -> Result<Json<Value>, ApiError> {
    let limit = limit(params.limit)?;
    let after = parse_time_cursor(params.after.as_deref())?;
    let rows = app.store.logs(&params.filter()?, after.as_ref(), limit + 1).await?;
    let (rows, next) = page(rows, limit, |row| time_cursor(row.started_ms, &row.id));
    Ok(Json(json!({"data": rows.iter().map(record).collect::<Vec<_>>(), "next": next})))
}

pub(crate) async fn get(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let row = app.store.log(&id).await?;
    let row = row.ok_or_else(|| {
        ApiError::not_found(format!("there is no record of a request `{id}`; records are kept for a while only"))
    })?;
    Ok(Json(record(&row)))
}

/// Server-sent events, one record each. `Last-Event-ID` first gives what was missed since.
pub(crate) async fn follow(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Identity>,
    Params(params): Params<LogParams>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let filter = params.filter()?;
    // Subscribed before the past is read: what arrives in between is then in both, and not in neither.
    let live = app.tail.subscribe();
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let missed = match parse_time_cursor(last)? {
        Some(cursor) => app.store.logs_since(&filter, &cursor, MAX_CATCH_UP).await?,
        None => Vec::new(),
    };
    let known: std::collections::HashSet<String> = missed.iter().map(|row| row.id.clone()).collect();
    let live = live.filter(move |row| std::future::ready(matches(&filter, row) && !known.contains(&row.id)));
    let events = stream::iter(missed.into_iter().map(Arc::new)).chain(live).map(|row| Ok(event(&row)));
    let events = events.take_until(app.stop.clone().cancelled_owned()).take_until(session_over(app, identity));
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// Ends when the session does with which somebody follows; who has shown the key follows for as long as they like.
async fn session_over(app: Arc<App>, identity: Identity) {
    let Some(session) = identity.session else { return std::future::pending().await };
    loop {
        tokio::time::sleep(SESSION_LOOK).await;
        if let Ok(None) = app.store.session(&session.digest, clock::unix_ms()).await {
            return;
        }
    }
}

fn event(row: &LogRow) -> Event {
    Event::default().id(time_cursor(row.started_ms, &row.id)).data(&row.record)
}

fn record(row: &LogRow) -> Value {
    serde_json::from_str(&row.record).unwrap_or(Value::Null)
}

/// The same as the store's own filter.
fn matches(filter: &Filter, row: &LogRow) -> bool {
    filter.key.as_ref().is_none_or(|key| *key == row.key_id || *key == row.key_name)
        && filter.model.as_ref().is_none_or(|model| *model == row.model)
        && filter.provider.as_ref().is_none_or(|provider| *provider == row.provider)
        && filter.status.is_none_or(|status| status == row.status)
        && filter.since_ms.is_none_or(|since| row.started_ms >= since)
}

// === impl LogParams ===

impl LogParams {
    fn filter(&self) -> Result<Filter, ApiError> {
        let since_ms = self.since.as_deref().map(|text| {
            clock::parse(text).ok_or_else(|| ApiError::malformed("`since` must be RFC 3339 or Unix milliseconds"))
        });
        Ok(Filter {
            key: self.key.clone(),
            model: self.model.clone(),
            provider: self.provider.clone(),
            status: self.status,
            since_ms: since_ms.transpose()?,
        })
    }
}
