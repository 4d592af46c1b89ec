//! Lines in a Slack channel, <https://api.slack.com/messaging/webhooks>: meant for requests that people should look at.

use gateway_model::kind::exporter::Exporter;
use http::Method;
use serde_json::json;

use super::event::Event;
use super::sink::{Batch, Call, Sink};
use crate::outbound::slack::plain;

pub(super) struct Slack;

impl Sink for Slack {
    /// More would be cut off: a message holds 40,000 characters, and people read fewer.
    fn most(&self) -> usize {
        20
    }

    fn call(&self, exporter: &Exporter, batch: &Batch<'_>) -> Result<Call, String> {
        let text: Vec<String> = batch.events.iter().map(line).collect();
        let url = exporter.url.clone().ok_or("it has no address")?;
        let headers = vec![("content-type", "application/json".to_owned())];
        let body = json!({"text": text.join("\n")}).to_string().into_bytes();
        Ok(Call { method: Method::POST, url, headers, body })
    }
}

fn line(event: &Event) -> String {
    let cost = gateway_model::unit::Usd(event.cost_nano_usd);
    let whom = if event.team.is_empty() { String::new() } else { format!(" of team {}", plain(&event.team)) };
    let why = if event.error_code.is_empty() { String::new() } else { format!(" ({})", plain(&event.error_code)) };
    format!(
        "Request {} cost ${cost}: model {}, key {}{whom}, status {}{why}, {} tokens in, {} out, {} ms",
        plain(&event.id),
        plain(&event.model),
        plain(&event.key_name),
        event.status,
        event.n_input(),
        event.n_output(),
        event.total_us / 1000,
    )
}
