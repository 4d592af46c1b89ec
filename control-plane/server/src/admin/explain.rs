//! `/admin/explain`: where a request would go and why, without sending it. Worked out by the engine of the nodes from the same
//! configuration; what only nodes know (circuits, latencies, what providers list) is not part of it, and the answer says so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use gateway_engine::auto::Judgement;
use gateway_engine::compile::compile;
use gateway_engine::explain::{self, Candidate, Explanation, Failure, Question, Tried};
use gateway_engine::identity::{Caller, KeyEntry, KeyTable, still};
use gateway_engine::issuers;
use gateway_engine::resolve::Arm;
use gateway_engine::snapshot::Snapshot;
use gateway_model::kind::Kind;
use gateway_model::kind::key::Key;
use gateway_store::{ItemKind, StoredItem};
use http::{HeaderMap, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::ApiError;
use super::extract::Payload;
use crate::app::App;
use crate::clock;

/// A request, described.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Described {
    #[serde(default = "post")]
    method: String,
    #[serde(default = "chat")]
    path: String,
    /// Names and values; the key is not among them.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Name or id of the key that asks; or who comes with a token of another system, as records call them: `jwt:id?team=search&user=ada`,
    /// `introspection:corp?user=ada`. Absent: somebody who may use everything.
    key: Option<String>,
    /// Public models that such a token allows. Default: all.
    #[serde(default)]
    token_models: Vec<String>,
    /// The body as it would be sent.
    body: Value,
}

/// Where it would go.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Explanation")]
pub(crate) struct Told {
    /// Of topology.
    revision: u64,
    /// Each up to the one that matches.
    routes: Vec<ToldRoute>,
    /// The one that matches.
    route: Option<String>,
    /// What was made of the prompt, where the client leaves the model to the gateway.
    auto_choice: Option<ToldChoice>,
    /// The variant that serves, where the model is tried out against others.
    experiment: Option<ToldArm>,
    /// What serves.
    model: Option<String>,
    /// In the order in which they would be asked, then those that would not be.
    candidates: Vec<ToldCandidate>,
    /// What the gateway itself would answer.
    refused: Option<ToldRefusal>,
    /// What this does not take into account.
    notes: Vec<&'static str>,
}

/// As log records have it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ExplainedChoice")]
struct ToldChoice {
    model: String,
    /// `simple`, `medium` or `complex`, by a score from 0 to 100.
    bucket: &'static str,
    percent: u32,
    /// By the weights of the signals together.
    tier: &'static str,
    score: u32,
    skill: String,
    signals: Vec<&'static str>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ExplainedArm")]
struct ToldArm {
    name: String,
    variant: String,
    model: String,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ExplainedRoute")]
struct ToldRoute {
    name: String,
    matches: bool,
    /// What it wants that the request is not: `match.model`.
    field: Option<String>,
    wanted: Option<String>,
    given: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ExplainedCandidate")]
struct ToldCandidate {
    provider: String,
    model: String,
    /// From 0: targets by priority, then fallbacks. One is exhausted before the next.
    group: usize,
    strategy: &'static str,
    weight: u32,
    /// What the strategy gives it, the lowest first; null where it goes by turns or as listed.
    score: Option<f64>,
    /// Of this request, should the answer be as long as it may; null without a price.
    cost_nano_usd: Option<i64>,
    /// Whether it would be asked at all.
    asked: bool,
    /// Why it is passed over, at least at first.
    skip: Option<&'static str>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ExplainedRefusal")]
struct ToldRefusal {
    status: u16,
    code: &'static str,
    message: String,
}

/// What nodes know and this does not.
const NOTES: [&str; 2] = [
    "open circuits, cool-downs, latencies and requests under way are known at each node only: see /statsz there; none is assumed",
    "what providers list is known at nodes only: selectors stand for configured models here",
];

pub(crate) async fn answer(State(app): State<Arc<App>>, Payload(body): Payload) -> Result<Json<Told>, ApiError> {
    let described: Described = serde_json::from_value(body)
        .map_err(|error| ApiError::malformed(format!("the body is not understood: {error}")))?;
    let headers = described.headers()?;
    let foreign = described.key.as_deref().filter(|key| issuers::is_foreign(key));
    if foreign.is_none() && !described.token_models.is_empty() {
        return Err(ApiError::malformed("`token_models` is for a `key` like `jwt:id?user=ada`"));
    }
    let caller = match &described.key {
        None => Ok(Caller::anonymous()),
        // Their issuer is looked up in the configuration, below.
        Some(_) if foreign.is_some() => Ok(Caller::anonymous()),
        Some(name) => {
            let item = app.store.item(ItemKind::Resource(Kind::Key), name).await?;
            caller(&item.ok_or_else(|| ApiError::not_found(format!("there is no key named `{name}`")))?)?
        }
    };
    let set = app.changes.set().await?;
    let revision = app.store.heads().await?.topology;
    let snapshot = compile(&set, revision).map_err(|problems| {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        ApiError::conflict(format!("no node would take this configuration: {first}"))
    })?;
    let caller = match foreign {
        Some(id) => speaker(id, &described.token_models, &snapshot),
        None => caller,
    };
    let sent = described.body.to_string();
    let question = Question {
        method: &described.method,
        path: &described.path,
        headers: &headers,
        body: sent.as_bytes(),
        unix_ms: clock::unix_ms(),
    };
    let told = caller.and_then(|caller| explain::answer(&snapshot, &question, &caller, Instant::now()));
    Ok(Json(Told::new(revision, told)))
}

/// Somebody with a token of another system that is good, or what nodes tell them: their issuer has to be there, and so have team and user.
fn speaker(id: &str, models: &[String], snapshot: &Snapshot) -> Result<Arc<Caller>, Box<Failure>> {
    let every = ["*".to_owned()];
    let models = if models.is_empty() { &every } else { models };
    let caller = issuers::revived(id, models, snapshot.settings.issuers.as_deref())?;
    snapshot.tenants.standing(&caller)?;
    Ok(caller)
}

/// The key as nodes have it, or what they tell those who show it.
fn caller(item: &StoredItem) -> Result<Result<Arc<Caller>, Box<Failure>>, ApiError> {
    let key: Key = serde_json::from_str(&item.document).map_err(|_| ApiError::internal())?;
    let keys = KeyTable::default();
    let entry = KeyEntry {
        id: item.id.as_str().into(),
        name: key.name,
        models: key.models,
        passthrough: key.passthrough,
        enabled: key.enabled,
        expires_at_ms: key.expires_at.map(|at| at.0),
        tags: key.tags,
        metadata: key.metadata,
        ..KeyEntry::default()
    };
    keys.upsert(&entry);
    Ok(still(&item.id, &keys, clock::unix_ms()))
}

fn post() -> String {
    "POST".to_owned()
}

fn chat() -> String {
    "/v1/chat/completions".to_owned()
}

// === impl Described ===

impl Described {
    fn headers(&self) -> Result<HeaderMap, ApiError> {
        let mut headers = HeaderMap::with_capacity(self.headers.len());
        for (name, value) in &self.headers {
            let known = HeaderName::try_from(name.as_str());
            let value = HeaderValue::try_from(value.as_str());
            match (known, value) {
                (Ok(name), Ok(value)) => headers.insert(name, value),
                _ => return Err(ApiError::malformed(format!("`{}` is no header", name.escape_debug()))),
            };
        }
        Ok(headers)
    }
}

// === impl Told ===

impl Told {
    fn new(revision: u64, told: Result<Explanation, Box<Failure>>) -> Self {
        let (told, refused) = match told {
            Ok(mut told) => {
                let refused = told.refused.take();
                (told, refused)
            }
            Err(refused) => (Explanation::default(), Some(refused)),
        };
        let model = told.model.as_deref().unwrap_or_default();
        let auto_choice = told.chosen.judged.as_deref().map(|judged| ToldChoice::new(judged, model));
        let experiment = told.chosen.arm.as_deref().map(|arm| ToldArm::new(arm, model));
        let matching = told.routes.last().filter(|tried| tried.miss.is_none());
        Self {
            revision,
            route: matching.map(|tried| tried.route.to_string()),
            routes: told.routes.iter().map(ToldRoute::from).collect(),
            auto_choice,
            experiment,
            model: told.model.as_deref().map(str::to_owned),
            candidates: told.candidates.iter().map(ToldCandidate::from).collect(),
            refused: refused.map(|refused| ToldRefusal {
                status: refused.status,
                code: refused.code.name(),
                message: refused.message.into_owned(),
            }),
            notes: NOTES.to_vec(),
        }
    }
}

// === impl ToldChoice ===

impl ToldChoice {
    fn new(judged: &Judgement, model: &str) -> Self {
        Self {
            model: model.to_owned(),
            bucket: judged.bucket.name(),
            percent: judged.percent,
            tier: judged.tier,
            score: judged.score,
            skill: judged.skill.to_string(),
            signals: judged.signals.names().collect(),
        }
    }
}

// === impl ToldArm ===

impl ToldArm {
    fn new(arm: &Arm, model: &str) -> Self {
        Self { name: arm.experiment.to_string(), variant: arm.variant.to_string(), model: model.to_owned() }
    }
}

// === impl ToldRoute ===

impl From<&Tried> for ToldRoute {
    fn from(tried: &Tried) -> Self {
        let miss = tried.miss.as_ref();
        Self {
            name: tried.route.to_string(),
            matches: miss.is_none(),
            field: miss.map(|miss| miss.field.clone()),
            wanted: miss.map(|miss| miss.wanted.clone()),
            given: miss.map(|miss| miss.given.clone()),
        }
    }
}

// === impl ToldCandidate ===

impl From<&Candidate> for ToldCandidate {
    fn from(candidate: &Candidate) -> Self {
        Self {
            provider: candidate.target.provider.name.to_string(),
            model: candidate.target.model.to_string(),
            group: candidate.group,
            strategy: candidate.strategy,
            weight: candidate.weight,
            // Behind all that can be judged is no number that says anything.
            score: candidate.score.filter(|score| score.is_finite() && *score < f64::MAX),
            cost_nano_usd: candidate.cost,
            asked: candidate.is_asked,
            skip: candidate.skip.map(|skip| skip.name()),
        }
    }
}
