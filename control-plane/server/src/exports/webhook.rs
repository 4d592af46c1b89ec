//! JSON to a program, signed as alerts are.

use aws_lc_rs::hmac;
use gateway_model::kind::exporter::Exporter;
use gateway_model::secret::Secret;
use http::Method;
use serde_json::json;

use super::event::Event;
use super::sink::{Batch, Call, Sink};

pub(super) struct Webhook;

impl Sink for Webhook {
    fn call(&self, exporter: &Exporter, batch: &Batch<'_>) -> Result<Call, String> {
        let events: Vec<_> = batch.events.iter().map(Event::told).collect();
        let body = json!({"id": batch.id, "type": "requests", "exporter": exporter.name, "events": events}).to_string();
        let url = exporter.url.clone().ok_or("it has no address")?;
        let mut headers =
            vec![("content-type", "application/json".to_owned()), ("x-gateway-batch-id", batch.id.to_owned())];
        if let Some(secret) = &exporter.secret {
            headers.push(("x-gateway-signature", signature(secret, &body, batch.now_ms)));
        }
        Ok(Call { method: Method::POST, url, headers, body: body.into_bytes() })
    }
}

/// `t=<seconds>,v1=<HMAC-SHA-256 of "<seconds>.<body>", in hex>`.
fn signature(secret: &Secret, body: &str, now_ms: i64) -> String {
    let seconds = now_ms / 1000;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let tag = hmac::sign(&key, format!("{seconds}.{body}").as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},v1={hex}")
}
