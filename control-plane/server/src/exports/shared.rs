//! What was asked and answered, for an exporter that may be told: as it is kept, that is shortened and redacted by the node.

use gateway_model::kind::exporter::{Exporter, ExporterType, Share};
use gateway_store::{Error, Store};
use serde_json::Value;

use super::event::Event;
use crate::ingest;

/// Bodies may be a thousand times as large as records.
const MOST_WITH_BODIES: usize = 20;

/// Records that are sent to it together, of `most` that its destination takes.
pub(super) fn most(exporter: &Exporter, most: usize) -> usize {
    if shares(exporter) { most.min(MOST_WITH_BODIES) } else { most }
}

/// What is kept of a request later than its record is not told.
pub(super) async fn fill(store: &Store, exporter: &Exporter, events: &mut [Event]) -> Result<(), Error> {
    if !shares(exporter) {
        return Ok(());
    }
    for event in events {
        if let Some(document) = store.body(&event.id).await?.as_ref().and_then(ingest::document) {
            event.request_body = said(&document["request"]);
            event.response_body = said(&document["response"]);
        }
    }
    Ok(())
}

fn shares(exporter: &Exporter) -> bool {
    exporter.of == ExporterType::Collector && exporter.share.unwrap_or_default() >= Share::Prompts
}

/// JSON as such, anything else as text.
fn said(part: &Value) -> Option<Value> {
    match (part["text"].as_str(), &part["base64"]) {
        (Some(text), _) => Some(serde_json::from_str(text).unwrap_or_else(|_| text.into())),
        (None, Value::Null) => None,
        (None, base64) => Some(base64.clone()),
    }
}
