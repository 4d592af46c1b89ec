//! The ingestion API of Langfuse, <https://api.reference.langfuse.com/#tag/ingestion>: a trace and a generation for each request. It
//! answers 207, with what it took and what it did not, event by event.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use gateway_model::kind::exporter::Exporter;
use gateway_model::secret::Secret;
use http::Method;
use serde_json::{Value, json};

use super::event::Event;
use super::sink::{Batch, Call, Sink, Verdict, by_status, key, root};
use crate::clock::rfc3339;
use crate::outbound::Answer;

pub(super) const DEFAULT: &str = "https://cloud.langfuse.com";

pub(super) struct Langfuse;

impl Sink for Langfuse {
    /// A call holds 3.5 MB at most.
    fn most(&self) -> usize {
        100
    }

    fn call(&self, exporter: &Exporter, batch: &Batch<'_>) -> Result<Call, String> {
        let events: Vec<Value> = batch.events.iter().flat_map(|event| [trace(event), generation(event)]).collect();
        let public = exporter.public_key.as_deref().unwrap_or_default();
        let basic = BASE64.encode(format!("{public}:{}", key(exporter)));
        let headers =
            vec![("content-type", "application/json".to_owned()), ("authorization", format!("Basic {basic}"))];
        let url = Secret::new(root(exporter, DEFAULT) + "/api/public/ingestion");
        let body = json!({"batch": events, "metadata": {"batch_id": batch.id}}).to_string();
        Ok(Call { method: Method::POST, url, headers, body: body.into_bytes() })
    }

    fn judge(&self, answer: &Answer, batch: &Batch<'_>) -> Verdict {
        if answer.status != 207 {
            return by_status(answer);
        }
        let told: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let errors = told["errors"].as_array().map_or(&[][..], Vec::as_slice);
        // One of the two refused is the request refused.
        let is_of = |error: &Value, event: &Event| error["id"].as_str().is_some_and(|id| id.starts_with(&event.id));
        let n_failed = batch.events.iter().filter(|event| errors.iter().any(|error| is_of(error, event))).count();
        let why = errors.first().map(|error| format!("it refuses events: {} {}", error["status"], error["message"]));
        Verdict::Taken { n_failed, why: why.unwrap_or_default() }
    }
}

/// The envelope's id is what it knows an event by that comes again.
fn envelope(event: &Event, of: &str, body: Value) -> Value {
    json!({"id": format!("{}-{of}", event.id), "type": of, "timestamp": rfc3339(event.started_unix_ms), "body": body})
}

fn trace_id(event: &Event) -> &str {
    if event.trace_id.is_empty() { &event.id } else { &event.trace_id }
}

fn text(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { json!(text) }
}

fn trace(event: &Event) -> Value {
    let user = if event.user.is_empty() { &event.key_name } else { &event.user };
    let body = json!({
        "id": trace_id(event),
        "timestamp": rfc3339(event.started_unix_ms),
        "name": event.path,
        "userId": text(user),
        "sessionId": text(&event.session_id),
        "tags": event.tags,
        "metadata": {"key_id": event.key_id, "team": text(&event.team), "organization": text(&event.organization)},
    });
    envelope(event, "trace-create", body)
}

fn generation(event: &Event) -> Value {
    let tokens = event.tokens.unwrap_or_default();
    let first = event.first_token_us.max(event.first_byte_us);
    let first_ms = i64::try_from(first / 1000).unwrap_or(i64::MAX);
    let body = json!({
        "id": event.id,
        "traceId": trace_id(event),
        "name": event.model,
        "model": event.upstream_model,
        "startTime": rfc3339(event.started_unix_ms),
        "completionStartTime": (first > 0).then(|| rfc3339(event.started_unix_ms.saturating_add(first_ms))),
        "endTime": rfc3339(event.ended_ms()),
        "level": if event.failed() { "ERROR" } else { "DEFAULT" },
        "statusMessage": text(&event.error_message),
        "usageDetails": {
            "input": tokens.input,
            "cache_read_input_tokens": tokens.cache_read,
            "cache_creation_input_tokens": tokens.cache_write,
            "output": tokens.output,
            "total": event.n_input().saturating_add(tokens.output),
        },
        "costDetails": {"total": event.cost_usd()},
        "metadata": {"provider": event.provider, "status": event.status, "route": text(&event.route)},
    });
    envelope(event, "generation-create", body)
}
