//! The control paths of LiteLLM: `/key/…`, `/team/…`, `/user/…`, `/model/info`, `/spend/logs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gateway_model::kind::Kind;
use gateway_model::token::{self, Form};
use gateway_store::StoredItem;
use gateway_store::spend::Dimension;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{create, delete, fields, find, members, shown, update};
use crate::admin::access::Caller;
use crate::admin::error::ApiError;
use crate::admin::extract::{Params, Path, Payload};
use crate::admin::scope;
use crate::admin::spend::{self, SpendParams};
use crate::admin::usage;
use crate::app::App;
use crate::change::Actor;
use crate::change::switch::deployments;
use crate::{clock, money};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyParams {
    /// The secret, the id or the name.
    key: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TeamParams {
    team_id: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserParams {
    user_id: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogParams {
    /// With both dates the answer is the sums of each day, without them the newest requests.
    start_date: Option<String>,
    end_date: Option<String>,
    /// Only this key, by id or name; with dates only.
    api_key: Option<String>,
    /// Only this user; with dates only.
    user_id: Option<String>,
}

/// Requests in one answer.
const MAX_LOGS: usize = 500;
/// Days of one answer times models and users of each.
const MAX_SUMS: usize = 10_000;

type Answer = Result<Json<Value>, ApiError>;

pub(crate) async fn generate_key(State(app): State<Arc<App>>, Caller(actor): Caller, Payload(body): Payload) -> Answer {
    Ok(Json(made(&app, &actor, Kind::Key, members(body)?).await?))
}

pub(crate) async fn key_info(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Params(params): Params<KeyParams>,
) -> Answer {
    let item = key(&app, &actor, &params.key).await?;
    Ok(Json(json!({"key": item.id, "info": shown(&app, &item).await?})))
}

pub(crate) async fn update_key(State(app): State<Arc<App>>, Caller(actor): Caller, Payload(body): Payload) -> Answer {
    let mut body = members(body)?;
    let Some(Value::String(named)) = body.remove("key") else {
        return Err(ApiError::malformed("say which `key`: its secret, its id or its name"));
    };
    let item = key(&app, &actor, &named).await?;
    let wanted = fields::read(Kind::Key, body, clock::unix_ms())?;
    Ok(Json(update(&app, &actor, &item, wanted).await?))
}

/// All of them are looked for before the first is deleted.
pub(crate) async fn delete_keys(State(app): State<Arc<App>>, Caller(actor): Caller, Payload(body): Payload) -> Answer {
    let mut body = members(body)?;
    let mut items = Vec::new();
    for field in ["keys", "key_aliases"] {
        let Some(named) = body.remove(field).filter(|value| !value.is_null()) else { continue };
        let named: Vec<String> = serde_json::from_value(named)
            .map_err(|_| ApiError::malformed(format!("`{field}` must be a list of texts")))?;
        for name in named {
            items.push((key(&app, &actor, &name).await?, name));
        }
    }
    if items.is_empty() || !body.is_empty() {
        return Err(ApiError::malformed("say which: `keys` (secrets, ids) or `key_aliases` (names), and nothing else"));
    }
    let mut deleted = Vec::with_capacity(items.len());
    for (item, _) in items {
        delete(&app, &actor, &item).await?;
        deleted.push(item.id);
    }
    Ok(Json(json!({"deleted_keys": deleted})))
}

pub(crate) async fn new_team(State(app): State<Arc<App>>, Caller(actor): Caller, Payload(body): Payload) -> Answer {
    Ok(Json(made(&app, &actor, Kind::Team, members(body)?).await?))
}

pub(crate) async fn team_info(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Params(params): Params<TeamParams>,
) -> Answer {
    team(&app, &actor, &params.team_id).await
}

pub(crate) async fn team_by_path(State(app): State<Arc<App>>, Caller(actor): Caller, Path(id): Path<String>) -> Answer {
    team(&app, &actor, &id).await
}

async fn team(app: &App, actor: &Actor, id: &str) -> Answer {
    let item = find(app, actor, Kind::Team, id).await?;
    Ok(Json(json!({"team_id": item.name, "team_info": shown(app, &item).await?})))
}

/// A budget is a part of whose it is: it is said back, and kept nowhere.
pub(crate) async fn new_budget(Payload(body): Payload) -> Answer {
    let mut said = members(body)?;
    said.insert("stored".to_owned(), json!(false));
    let message = "nothing was stored: a budget is part of a key, team, user or organization; give `max_budget` there";
    said.insert("message".to_owned(), json!(message));
    Ok(Json(Value::Object(said)))
}

/// With a key of its own, unless `auto_create_key` is false.
pub(crate) async fn new_user(State(app): State<Arc<App>>, Caller(actor): Caller, Payload(body): Payload) -> Answer {
    let mut body = members(body)?;
    let wants_key = body.remove("auto_create_key").is_none_or(|wanted| wanted == json!(true));
    let mut user = made(&app, &actor, Kind::User, body).await?;
    if wants_key {
        let key = Map::from_iter([("user_id".to_owned(), user["user_id"].clone())]);
        user["key"] = made(&app, &actor, Kind::Key, key).await?["key"].take();
    }
    Ok(Json(user))
}

pub(crate) async fn user_info(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Params(params): Params<UserParams>,
) -> Answer {
    let item = find(&app, &actor, Kind::User, &params.user_id).await?;
    Ok(Json(json!({"user_id": item.name, "user_info": shown(&app, &item).await?})))
}

pub(crate) async fn model_info(State(app): State<Arc<App>>) -> Answer {
    let set = app.changes.set().await?;
    let data = deployments(&set).map(|deployment| {
        json!({
            "model_name": deployment.model_alias,
            "litellm_params": {"model": format!("{}/{}", deployment.provider, deployment.provider_model)},
            "model_info": {"id": deployment.id, "provider": deployment.provider, "is_active": deployment.is_active},
        })
    });
    Ok(Json(json!({"data": data.collect::<Vec<_>>()})))
}

pub(crate) async fn spend_logs(State(app): State<Arc<App>>, Params(params): Params<LogParams>) -> Answer {
    let (Some(from), Some(to)) = (&params.start_date, &params.end_date) else {
        if params.api_key.is_some()
            || params.user_id.is_some()
            || params.start_date.is_some()
            || params.end_date.is_some()
        {
            return Err(ApiError::malformed(
                "give `start_date` and `end_date`; single requests come without a filter only",
            ));
        }
        let rows = app.store.usage(None, MAX_LOGS).await?;
        return Ok(Json(rows.iter().map(log).collect()));
    };
    let wanted = SpendParams {
        group_by: Some("day,model,user".to_owned()),
        from: Some(from.clone()),
        to: Some(to.clone()),
        key: params.api_key.clone(),
        user: params.user_id.clone(),
        limit: Some(MAX_SUMS),
        ..SpendParams::default()
    };
    let page = spend::read(&app, &wanted, spend::Format::Csv).await?;
    if page.next.is_some() {
        return Err(ApiError::malformed("that is more than one answer holds; ask for fewer days"));
    }
    Ok(Json(by_day(&page)))
}

/// One that says no name gets one.
async fn made(app: &App, actor: &Actor, kind: Kind, body: Map<String, Value>) -> Result<Value, ApiError> {
    let mut wanted = fields::read(kind, body, clock::unix_ms())?;
    let made_up = || {
        let millis = u64::try_from(clock::unix_ms()).unwrap_or(0);
        let id = ulid::Ulid::from_parts(millis, rand::random()).to_string();
        json!(format!("{}-{}", kind.name(), id.to_ascii_lowercase()))
    };
    wanted.entry("name".to_owned()).or_insert_with(made_up);
    let (mut shown, secret) = create(app, actor, kind, wanted).await?;
    if let Some(secret) = secret {
        shown["key"] = json!(secret);
    }
    Ok(shown)
}

/// By its secret, its id or its name.
async fn key(app: &App, actor: &Actor, named: &str) -> Result<StoredItem, ApiError> {
    let is_secret = !matches!(token::check(named), Form::BadChecksum) && named.len() >= 20;
    if is_secret && let Some(item) = app.store.key_by_digest(&app.pepper.digest(named)).await? {
        let seen = scope::sees(&actor.grant, &item).then_some(item);
        return seen.ok_or_else(|| ApiError::not_found("there is no such key"));
    }
    // A secret that is nobody's is not told again.
    find(app, actor, Kind::Key, named).await.map_err(|_| ApiError::not_found("there is no such key"))
}

fn log(row: &gateway_store::usage::UsageRow) -> Value {
    let ours = usage::event(row);
    json!({
        "request_id": row.id,
        "api_key": row.key_id,
        "user": row.user,
        "team_id": row.team,
        "model": row.upstream_model,
        "model_group": row.model,
        "custom_llm_provider": row.provider,
        "spend": money::number(row.cost_nano_usd),
        "prompt_tokens": row.tokens.input + row.tokens.cache_read + row.tokens.cache_write + row.tokens.cache_write_1h,
        "completion_tokens": row.tokens.output,
        "startTime": clock::rfc3339(row.started_ms),
        "request_tags": ours["tags"],
    })
}

/// One day's sum, and the parts of each model and user in it: nano-dollars.
#[derive(Default)]
struct Day {
    date: String,
    nano: i64,
    models: BTreeMap<String, i64>,
    users: BTreeMap<String, i64>,
}

fn by_day(page: &spend::Page) -> Value {
    let mut days: Vec<Day> = Vec::new();
    for sum in &page.sums {
        let names = page.names(sum);
        let name = |dimension: Dimension| {
            let word = spend::word(dimension);
            names.iter().find(|(field, _)| *field == word).map(|(_, name)| name.clone()).unwrap_or_default()
        };
        let (date, nano) = (name(Dimension::Day), sum.totals.cost_nano_usd);
        if days.last().is_none_or(|last| last.date != date) {
            days.push(Day { date, ..Day::default() });
        }
        let Some(day) = days.last_mut() else { continue };
        day.nano = day.nano.saturating_add(nano);
        for (parts, name) in [(&mut day.models, name(Dimension::Model)), (&mut day.users, name(Dimension::User))] {
            let part = parts.entry(name).or_default();
            *part = part.saturating_add(nano);
        }
    }
    let dollars = |parts: BTreeMap<String, i64>| -> Map<String, Value> {
        parts.into_iter().map(|(name, nano)| (name, json!(money::number(nano)))).collect()
    };
    let told = |day: Day| {
        let (models, users) = (dollars(day.models), dollars(day.users));
        json!({"startTime": day.date, "spend": money::number(day.nano), "models": models, "users": users})
    };
    days.into_iter().map(told).collect()
}
