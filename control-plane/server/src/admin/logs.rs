//! `/admin/logs`: requests as they went, found by any field. Never a prompt, never an answer: see [`super::bodies`].

mod question;
pub(crate) mod sessions;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
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
use super::extract::{Params, Path, limit, parse_time_cursor, time_cursor};
use crate::app::App;
use crate::clock;
use question::Question;

/// Every field may be asked for on its own, or all of them in `search`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogParams {
    #[schemars(range(min = 1, max = 500))]
    limit: Option<usize>,
    after: Option<String>,
    /// Fields and words in one line: `team:core status:5xx tag:a tag:b "rate limit"`.
    search: Option<String>,
    /// Words of whatever a record says, each by how it begins; or a whole session or trace id.
    q: Option<String>,
    /// How the request id begins.
    id: Option<String>,
    /// Name or id.
    key: Option<String>,
    model: Option<String>,
    provider: Option<String>,
    /// `429`, `5xx`, `>=400`, `<300`
    status: Option<String>,
    team: Option<String>,
    user: Option<String>,
    organization: Option<String>,
    upstream_model: Option<String>,
    route: Option<String>,
    ending: Option<String>,
    error_code: Option<String>,
    /// `true` or `false`
    stream: Option<String>,
    lane: Option<String>,
    /// `hit`, `miss`, `bypass`, `unfit`
    cache: Option<String>,
    session: Option<String>,
    /// One; several in `search`.
    tag: Option<String>,
    node: Option<String>,
    /// Of topology.
    revision: Option<String>,
    tier: Option<String>,
    dialect: Option<String>,
    trace: Option<String>,
    /// `500ms`, `1.5s`, `2m`
    min_duration: Option<String>,
    /// In US dollars: `0.05`.
    min_cost: Option<String>,
    /// Unix milliseconds or RFC 3339. Without it a search looks at a day at a time, and `next` goes on.
    since: Option<String>,
    /// As `since`; not itself.
    until: Option<String>,
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
    let found = app.store.search(&params.filter()?, after.as_ref(), limit, clock::unix_ms()).await?;
    Ok(Json(json!({
        "data": found.rows.iter().map(record).collect::<Vec<_>>(),
        "next": found.next.map(|next| time_cursor(next.started_ms, &next.id)),
        "searched_since": found.since_ms.map(clock::rfc3339),
        "stopped_early": found.stopped,
    })))
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
    let live = live.filter(move |row| std::future::ready(filter.matches(row) && !known.contains(&row.id)));
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

// === impl LogParams ===

impl LogParams {
    fn filter(&self) -> Result<Filter, ApiError> {
        let fields = [
            ("q", &self.q),
            ("id", &self.id),
            ("key", &self.key),
            ("model", &self.model),
            ("provider", &self.provider),
            ("status", &self.status),
            ("team", &self.team),
            ("user", &self.user),
            ("organization", &self.organization),
            ("upstream_model", &self.upstream_model),
            ("route", &self.route),
            ("ending", &self.ending),
            ("error_code", &self.error_code),
            ("stream", &self.stream),
            ("lane", &self.lane),
            ("cache", &self.cache),
            ("session", &self.session),
            ("tag", &self.tag),
            ("node", &self.node),
            ("revision", &self.revision),
            ("tier", &self.tier),
            ("dialect", &self.dialect),
            ("trace", &self.trace),
            ("min_duration", &self.min_duration),
            ("min_cost", &self.min_cost),
            ("since", &self.since),
            ("until", &self.until),
        ];
        let mut question = Question::default();
        for (name, value) in fields {
            if let Some(value) = value {
                question.put(name, value)?;
            }
        }
        question.line(self.search.as_deref().unwrap_or_default())?;
        Ok(question.into_filter())
    }
}
