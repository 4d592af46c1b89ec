//! JSON to a program, signed as alerts are.

use gateway_model::kind::exporter::Exporter;
use http::Method;
use serde_json::json;

use super::event::Event;
use super::sink::{Batch, Call, Sink};
use crate::outbound::signature;

pub(super) struct Webhook;

impl Sink for Webhook {
    fn call(&self, exporter: &Exporter, batch: &Batch<'_>) -> Result<Call, String> {
        let events: Vec<_> = batch.events.iter().map(Event::told).collect();
        let body = json!({"id": batch.id, "type": "requests", "exporter": exporter.name, "events": events}).to_string();
        let url = exporter.url.clone().ok_or("it has no address")?;
        let mut headers =
            vec![("content-type", "application/json".to_owned()), ("x-gateway-batch-id", batch.id.to_owned())];
        if let Some(secret) = &exporter.secret {
            headers.push(signature::header(secret, &body, batch.now_ms));
        }
        Ok(Call { method: Method::POST, url, headers, body: body.into_bytes() })
    }
}
