//! A collector as LunarGate's gateways speak to theirs: `POST {url}/collector`. How much it is told is said in four steps, and what
//! was not asked for is not even written down for it.

use gateway_model::kind::exporter::{Exporter, Share};
use gateway_model::secret::Secret;
use http::Method;
use serde_json::{Map, Value, json};

use super::event::{Event, millis};
use super::sink::{Batch, Call, Sink, key, root};
use crate::clock::rfc3339;

pub(super) struct Collector;

impl Sink for Collector {
    fn most(&self) -> usize {
        100
    }

    fn call(&self, exporter: &Exporter, batch: &Batch<'_>) -> Result<Call, String> {
        let share = exporter.share.unwrap_or_default();
        if share == Share::Off {
            return Err("it is told nothing".to_owned());
        }
        let events: Vec<Value> = batch.events.iter().flat_map(|event| told(event, share)).collect();
        let body = json!({
            "version": "1.0",
            "gateway_version": env!("CARGO_PKG_VERSION"),
            "timestamp": rfc3339(batch.now_ms),
            "events": events,
        });
        let headers = vec![
            ("content-type", "application/json".to_owned()),
            ("authorization", format!("Bearer {}", key(exporter))),
            ("x-gateway-batch-id", batch.id.to_owned()),
        ];
        let url = Secret::new(root(exporter, "") + "/collector");
        Ok(Call { method: Method::POST, url, headers, body: body.to_string().into_bytes() })
    }
}

fn told(event: &Event, share: Share) -> Vec<Value> {
    let metric = metric(event);
    let started = json!({
        "request_id": event.id,
        "timestamp": rfc3339(event.started_unix_ms),
        "phase": "request_start",
        "model": event.model,
        "session_id": event.session_id,
    });
    let mut events = vec![json!({"type": "trace", "data": started}), json!({"type": "metric", "data": metric})];
    let mut bodies = Map::new();
    if share >= Share::Prompts
        && let Some(request) = &event.request_body
    {
        bodies.insert("request".to_owned(), request.clone());
    }
    if share >= Share::Responses
        && let Some(response) = &event.response_body
    {
        bodies.insert("response".to_owned(), response.clone());
    }
    if !bodies.is_empty() {
        let mut log = metric;
        log.extend(bodies);
        events.push(json!({"type": "request_log", "data": log}));
    }
    events
}

/// Of the targets that were passed over, the worst.
fn breaker(event: &Event) -> &'static str {
    let any = |reason: &str| event.passed_over.iter().any(|passed| passed.reason == reason);
    if any("breaker_open") {
        "open"
    } else if any("breaker_on_trial") {
        "half_open"
    } else {
        "closed"
    }
}

fn metric(event: &Event) -> Map<String, Value> {
    let target = event.attempts.iter().rposition(|attempt| attempt.status < 400).unwrap_or(event.n_retries());
    let before_upstream = if event.attempts.is_empty() { event.total_us } else { event.admitted_us };
    let metric = json!({
        "request_id": event.id,
        "timestamp": rfc3339(event.started_unix_ms),
        "request_type": event.path,
        "duration_ms": millis(event.total_us),
        "gateway_pre_upstream_ms": millis(before_upstream),
        "ttft_ms": millis(event.first_token_us.max(event.first_byte_us)),
        "ttlt_ms": millis(event.total_us),
        "provider": event.provider,
        "model": event.upstream_model,
        "user": event.user,
        "session_id": event.session_id,
        "tokens_input": event.n_input(),
        "tokens_output": event.n_output(),
        "cost_usd": event.cost_usd(),
        "status_code": event.status,
        "error_code": event.error_code,
        "error_message": event.error_message,
        "cache_hit": event.is_cache_hit(),
        "route_used": event.route,
        "target_index": target,
        "fallback_used": event.fell_back(),
        "retry_count": event.n_retries(),
        "circuit_breaker_state": breaker(event),
        "tags": event.tags,
    });
    match metric {
        Value::Object(metric) => metric,
        _ => Map::new(),
    }
}
