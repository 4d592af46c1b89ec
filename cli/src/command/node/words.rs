//! What lists and descriptions of nodes have in common: one word for the state, labels, the certificate, the latency.

use serde_json::Value;

use crate::host;
use crate::output::{items, number, text, time};

/// One word, the most urgent one; `list::HELP` explains them. With the number of warnings where there are any.
pub(super) fn state(node: &Value) -> String {
    let statuses = [text(node, "/topology/status"), text(node, "/identity/status")];
    let has = |wanted: &str| statuses.iter().any(|status| status == wanted);
    let lag = number(node, "/lag/topology") + number(node, "/lag/identity");
    let word = if !node["revoked_at"].is_null() {
        "revoked"
    } else if node["connected"] != true {
        "offline"
    } else if has("regressed") {
        "regressed"
    } else if has("incompatible") {
        "incompatible"
    } else if has("rejected") {
        "rejected"
    } else if has("applied_with_quarantine") {
        "quarantine"
    } else if lag > 0 {
        "stale"
    } else {
        "connected"
    };
    match items(node, "/warnings").len() {
        0 => word.to_owned(),
        1 => format!("{word}, 1 warning"),
        n_warnings => format!("{word}, {n_warnings} warnings"),
    }
}

pub(super) fn revision(node: &Value, class: &str) -> u64 {
    number(node, &format!("/{class}/revision"))
}

/// `zone=a, tier=edge`
pub(super) fn labels(node: &Value) -> String {
    let labels = node.get("labels").and_then(Value::as_object).into_iter().flatten();
    labels.map(|(name, value)| format!("{name}={}", text(value, ""))).collect::<Vec<_>>().join(", ")
}

/// When its certificate ends; a node inside the control plane's own process has none.
pub(super) fn certificate(node: &Value) -> String {
    match node.pointer("/certificate/not_after").and_then(time::unix_ms) {
        Some(at) if at <= host::now_ms() => format!("expired {}", time::relative(at, host::now_ms())),
        Some(at) => time::relative(at, host::now_ms()),
        None => "-".to_owned(),
    }
}

/// `87ms`; a dash where nothing ended in the last minute.
pub(super) fn p95(node: &Value) -> String {
    let milliseconds = node.pointer("/metrics/p95_ms").and_then(Value::as_f64).filter(|value| value.is_finite());
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and bounded by the cast itself"
    )]
    let microseconds = milliseconds.map(|milliseconds| (milliseconds.max(0.0) * 1000.0) as u64);
    microseconds.map_or_else(|| "-".to_owned(), time::length_us)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_most_urgent_word_is_the_state() {
        for (node, expected) in [
            (json!({"connected": true}), "connected"),
            (json!({"connected": true, "lag": {"topology": 0, "identity": 1}}), "stale"),
            (json!({"connected": false, "lag": {"topology": 1}}), "offline"),
            (json!({"connected": true, "topology": {"status": "rejected"}, "lag": {"topology": 1}}), "rejected"),
            (json!({"connected": true, "identity": {"status": "applied_with_quarantine"}}), "quarantine"),
            (json!({"connected": true, "topology": {"status": "incompatible"}}), "incompatible"),
            (json!({"connected": true, "identity": {"status": "regressed"}}), "regressed"),
            (json!({"connected": true, "revoked_at": "2027-01-15T08:00:00Z"}), "revoked"),
            (json!({"connected": true, "revoked_at": null, "warnings": ["disk full"]}), "connected, 1 warning"),
            (json!({"connected": false, "warnings": ["a", "b"]}), "offline, 2 warnings"),
        ] {
            assert_eq!(state(&node), expected, "{node}");
        }
    }
}
