//! The HTTP event collector of Splunk, <https://docs.splunk.com/Documentation/Splunk/latest/Data/HTTPEventCollector>: events one
//! after the other, without an array around them.

use gateway_model::kind::exporter::Exporter;
use gateway_model::secret::Secret;
use http::Method;
use serde_json::json;

use super::sink::{Batch, Call, Sink, key, root};

pub(super) struct Splunk;

impl Sink for Splunk {
    fn call(&self, exporter: &Exporter, batch: &Batch<'_>) -> Result<Call, String> {
        let mut body = String::new();
        for event in batch.events {
            let envelope = json!({
                "time": event.started_unix_ms as f64 / 1000.0,
                "host": event.node_id,
                "source": "llm-gateway",
                "sourcetype": "_json",
                "event": event.told(),
            });
            body += &envelope.to_string();
        }
        let headers = vec![
            ("content-type", "application/json".to_owned()),
            ("authorization", format!("Splunk {}", key(exporter))),
        ];
        let url = Secret::new(root(exporter, "") + "/services/collector/event");
        Ok(Call { method: Method::POST, url, headers, body: body.into_bytes() })
    }
}
