//! What is sent of an alert: to programs as JSON, with a signature, to Slack as a line.

use gateway_model::kind::Kind;
use gateway_model::kind::budget::{Budget, Window};
use gateway_model::kind::settings::alerts::{Destination, DestinationKind};
use gateway_model::secret::Secret;
use gateway_model::unit::Usd;
use serde_json::{Value, json};

use crate::clock::rfc3339;
use crate::outbound::{signature, slack};

/// A budget and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing<'a> {
    pub(super) kind: Kind,
    pub(super) name: &'a str,
    pub(super) terms: Budget,
    pub(super) spent: i64,
    pub(super) now_ms: i64,
}

/// What it is about; the same to everybody.
pub(super) fn content(id: &str, standing: Standing<'_>, percent: u16) -> Value {
    let Standing { kind, name, terms, spent, now_ms } = standing;
    let bounds = terms.window.at(now_ms);
    let end = (bounds.end_ms < i64::MAX).then(|| rfc3339(bounds.end_ms));
    json!({
        "id": id,
        "type": "budget.threshold",
        "at": rfc3339(now_ms),
        "budget": {"kind": kind, "name": name},
        "threshold_percent": percent,
        "spent_usd": Usd(spent).to_string(),
        "amount_usd": terms.amount_at(now_ms).to_string(),
        "window": terms.window.to_string(),
        // Of a window that rolls only a step ends.
        "window_end": end.filter(|_| !matches!(terms.window, Window::Rolling(_))),
        "on_exhausted": terms.on_exhausted,
    })
}

/// Sent by `gatewayctl alerts test`.
pub(super) fn trial(id: &str, now_ms: i64) -> Value {
    json!({"id": id, "type": "test", "at": rfc3339(now_ms)})
}

/// As this destination takes it.
pub(super) fn body(destination: &Destination, content: &Value) -> String {
    match destination.kind {
        DestinationKind::Webhook => content.to_string(),
        DestinationKind::Slack => json!({"text": line(content)}).to_string(),
    }
}

/// Which alert it is, and a signature where there is a secret.
pub(super) fn headers(secret: Option<&Secret>, id: &str, body: &str, now_ms: i64) -> Vec<(&'static str, String)> {
    let signed = secret.map(|secret| signature::header(secret, body, now_ms));
    [("x-gateway-alert-id", id.to_owned())].into_iter().chain(signed).collect()
}

fn line(content: &Value) -> String {
    let text = |pointer: &str| content.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if text("/type") == "test" {
        return "The gateway can reach this channel.".to_owned();
    }
    format!(
        "Budget {} {} has reached {}%: ${} of ${} ({}).",
        text("/budget/kind"),
        slack::plain(text("/budget/name")),
        content["threshold_percent"],
        text("/spent_usd"),
        text("/amount_usd"),
        text("/window")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(name: &str) -> Standing<'_> {
        let terms = json!({"amount_usd": 10, "window": "monthly", "override":
            {"amount_usd": 20, "expires_at": "2027-01-20T00:00:00Z"}});
        let terms = serde_json::from_value(terms).expect("a budget");
        Standing { kind: Kind::Team, name, terms, spent: 16_100_000_000, now_ms: 1_800_000_000_000 }
    }

    fn destination(kind: &str) -> Destination {
        serde_json::from_value(json!({"name": "ops", "kind": kind, "url": "https://a.example"})).expect("one")
    }

    #[test]
    fn programs_get_json_and_people_a_line() {
        let content = content("a1", standing("<!channel> & co"), 80);
        assert_eq!((&content["spent_usd"], &content["amount_usd"]), (&json!("16.1"), &json!("20")), "{content}");
        assert_eq!(content["window_end"], "2027-02-01T00:00:00.000Z");
        assert_eq!(body(&destination("webhook"), &content), content.to_string());
        let line: Value = serde_json::from_str(&body(&destination("slack"), &content)).expect("JSON");
        let expected = "Budget team &lt;!channel&gt; &amp; co has reached 80%: $16.1 of $20 (monthly).";
        assert_eq!(line["text"], expected);
    }

    #[test]
    fn a_message_is_signed_where_there_is_a_secret() {
        let names = |secret: Option<Secret>| {
            headers(secret.as_ref(), "a1", "{}", 0).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names(Some(Secret::new("0123456789abcdef"))), ["x-gateway-alert-id", "x-gateway-signature"]);
        assert_eq!(names(None), ["x-gateway-alert-id"]);
    }
}
