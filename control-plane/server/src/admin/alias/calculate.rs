//! `POST /spend/calculate`: what a request costs, by the prices of now. Nothing is asked of anybody and nothing is written down.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use gateway_engine::compile::compile;
use gateway_engine::explain::{self, Question};
use gateway_engine::identity::Caller;
use gateway_engine::price::{self, Tier, Usage};
use gateway_engine::{count, snapshot::Target};
use http::HeaderMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::admin::error::ApiError;
use crate::admin::extract::{Payload, typed};
use crate::app::App;
use crate::{clock, money};

/// A request that was answered (`completion_response`), one of which it is known what it used (`usage`), or one that has not been sent
/// (`messages`), whose prompt is counted and whose answer is not there yet.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Calculated {
    /// As it is asked for; `provider/model` for one provider's. May be left out where the answer names it.
    model: Option<String>,
    /// As for chat completions.
    messages: Option<Vec<Value>>,
    /// As chat completions answer.
    completion_response: Option<Value>,
    /// The `usage` of such an answer.
    usage: Option<Value>,
    /// `priority` or `flex`, where the vendor has served it so.
    service_tier: Option<String>,
}

/// What it costs at the first target of the model.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CalculatedSpend")]
pub(crate) struct Told {
    /// In dollars; null where something was used that has no price.
    cost: Option<f64>,
    cost_nano_usd: Option<i64>,
    /// The same in dollars, exact.
    cost_usd: Option<String>,
    provider: String,
    model: String,
    /// The row of prices; null without one.
    price: Option<String>,
    input_tokens: u64,
    output_tokens: u64,
}

/// What vendors add around each message, and for the reply to begin.
const TOKENS_PER_MESSAGE: u64 = 4;
const TOKENS_PER_REQUEST: u64 = 3;

pub(crate) async fn post(State(app): State<Arc<App>>, Payload(body): Payload) -> Result<Json<Told>, ApiError> {
    let asked: Calculated = typed(body)?;
    let answered = asked.completion_response.as_ref();
    let named = asked.model.as_deref().or_else(|| answered?.get("model")?.as_str());
    let name = named.ok_or_else(|| ApiError::malformed("say which `model`"))?;
    let revision = app.store.heads().await?.topology;
    let target = target(&app, name, revision).await?;
    let mut usage = match asked.usage.as_ref().or_else(|| answered?.get("usage")) {
        Some(usage) => read(usage)?,
        None => match &asked.messages {
            Some(messages) => Usage { input: prompt(messages, &target), ..Usage::default() },
            None => return Err(ApiError::malformed("say what was used: `usage`, `completion_response` or `messages`")),
        },
    };
    let tier = asked.service_tier.as_deref().or_else(|| answered?.get("service_tier")?.as_str());
    usage.tier = tier.map(Tier::parse).unwrap_or_default();
    let price = target.price.as_ref();
    let cost = price.and_then(|price| price::cost(&usage, price));
    Ok(Json(Told {
        cost: cost.map(money::number),
        cost_nano_usd: cost,
        cost_usd: cost.map(money::usd),
        provider: target.provider.name.as_ref().to_owned(),
        model: target.model.as_ref().to_owned(),
        price: price.map(|price| price.row(revision).into_owned()),
        input_tokens: usage.prompt(),
        output_tokens: usage.output,
    }))
}

/// Where a request for this model would go first.
async fn target(app: &App, name: &str, revision: u64) -> Result<Arc<Target>, ApiError> {
    let set = app.changes.set().await?;
    let snapshot = compile(&set, revision).map_err(|problems| {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        ApiError::conflict(format!("no node would take this configuration: {first}"))
    })?;
    let body = json!({"model": name, "messages": [{"role": "user", "content": ""}]}).to_string();
    let question = Question {
        method: "POST",
        path: "/v1/chat/completions",
        headers: &HeaderMap::new(),
        body: body.as_bytes(),
        unix_ms: clock::unix_ms(),
    };
    let told = explain::answer(&snapshot, &question, &Caller::anonymous(), Instant::now())
        .map_err(|failure| ApiError::malformed(failure.message.to_string()))?;
    let first = told.candidates.into_iter().next();
    first.map(|candidate| candidate.target).ok_or_else(|| {
        ApiError::not_found(format!("nobody offers the model `{name}`; `GET /admin/models` lists those that there are"))
    })
}

/// Tokens of the texts, as they are estimated for limits.
fn prompt(messages: &[Value], target: &Target) -> u64 {
    let texts = messages.iter().flat_map(|message| match &message["content"] {
        Value::String(text) => vec![text.as_str()],
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => Vec::new(),
    });
    let n_texts: u64 = texts.map(|text| count::text(text, target.tokenizer, 0)).fold(0, u64::saturating_add);
    let n_around = TOKENS_PER_MESSAGE.saturating_mul(messages.len() as u64);
    n_texts.saturating_add(n_around).saturating_add(TOKENS_PER_REQUEST)
}

/// OpenAI's `usage`, in classes that have nothing in common.
fn read(usage: &Value) -> Result<Usage, ApiError> {
    let member = |pointer: &str| match usage.pointer(pointer) {
        None | Some(Value::Null) => Ok(0),
        Some(count) => count.as_u64().ok_or_else(|| {
            let name = pointer.trim_start_matches('/').replace('/', ".");
            ApiError::malformed(format!("`usage.{name}` is not a count of tokens"))
        }),
    };
    let (prompt, output) = (member("/prompt_tokens")?, member("/completion_tokens")?);
    let cache_read = member("/prompt_tokens_details/cached_tokens")?.min(prompt);
    let written = member("/prompt_tokens_details/cache_write_tokens")?.min(prompt - cache_read);
    let cache_write_1h = member("/prompt_tokens_details/cache_write_1h_tokens")?.min(written);
    Ok(Usage {
        input: prompt - cache_read - written,
        cache_read,
        cache_write: written - cache_write_1h,
        cache_write_1h,
        output,
        reasoning: member("/completion_tokens_details/reasoning_tokens")?.min(output),
        input_audio: member("/prompt_tokens_details/audio_tokens")?.min(prompt),
        output_audio: member("/completion_tokens_details/audio_tokens")?.min(output),
        ..Usage::default()
    })
}
