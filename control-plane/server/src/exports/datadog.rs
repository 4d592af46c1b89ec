//! The log intake of Datadog, version 2, <https://docs.datadoghq.com/api/latest/logs/#send-logs>: a compressed JSON array.

use gateway_model::kind::exporter::Exporter;
use gateway_model::secret::Secret;
use http::Method;
use serde_json::{Value, json};

use super::event::Event;
use super::sink::{Batch, Call, Sink, gzip, key, root};

pub(super) const DEFAULT: &str = "https://http-intake.logs.datadoghq.com";

pub(super) struct Datadog;

impl Sink for Datadog {
    fn call(&self, exporter: &Exporter, batch: &Batch<'_>) -> Result<Call, String> {
        let body: Vec<Value> = batch.events.iter().map(entry).collect();
        let headers = vec![
            ("content-type", "application/json".to_owned()),
            ("content-encoding", "gzip".to_owned()),
            ("dd-api-key", key(exporter).to_owned()),
        ];
        let url = Secret::new(root(exporter, DEFAULT) + "/api/v2/logs");
        Ok(Call { method: Method::POST, url, headers, body: gzip(Value::from(body).to_string().as_bytes())? })
    }
}

fn entry(event: &Event) -> Value {
    let mut tags = vec![format!("model:{}", tag(&event.model)), format!("provider:{}", tag(&event.provider))];
    tags.push(format!("status_code:{}", event.status));
    if !event.team.is_empty() {
        tags.push(format!("team:{}", tag(&event.team)));
    }
    json!({
        "ddsource": "llm-gateway",
        "service": "llm-gateway",
        "hostname": event.node_id,
        "ddtags": tags.join(","),
        "status": if event.status >= 500 { "error" } else if event.failed() { "warn" } else { "info" },
        "timestamp": event.started_unix_ms,
        "message": format!("{} {} {} {}", event.path, event.model, event.status, event.ending),
        "gateway": event.told(),
    })
}

/// A comma would begin another one.
fn tag(text: &str) -> String {
    text.replace(|letter: char| letter == ',' || letter.is_whitespace(), "_")
}
