//! The admin API and what stands behind it: does it answer, is it ours, does its database answer, is there anything to serve.

use gateway_model::catalog::{self, Auth};
use gateway_model::kind::Kind;
use serde_json::Value;

use super::report::Report;
use crate::change;
use crate::client::{Client, Query, path};
use crate::output::{text, when};

/// Items of a list that are looked at.
const MAX_ITEMS: usize = 2_000;

/// Looks at one thing after the other; `false` when the next would make no sense.
pub(super) async fn check(report: &mut Report, client: &Client) -> bool {
    if let Err(failure) = client.get("/health", &Query::new()).await {
        report.failed("admin api", &failure);
        return false;
    }
    report.ok("admin api", "answers");
    match client.get("/ready", &Query::new()).await {
        Ok(_) => report.ok("database", "answers"),
        Err(failure) => report.fail(
            "database",
            failure.message(),
            "nodes serve on with what they have, changes wait; look at the control plane's log and at its --database-url",
        ),
    }
    let status = match client.get(&path(&["status"]), &Query::new()).await {
        Ok(status) => status,
        Err(failure) => {
            report.failed("master key", &failure);
            return false;
        }
    };
    report.ok("master key", "accepted");
    version(report, &status);
    if let Some(trouble) = status["logs"]["trouble"].as_str() {
        let advice =
            "requests are served and nodes keep their logs for a while; look at the ClickHouse and at --logs-database";
        report.fail("logs", trouble, advice);
    }
    let revision = change::revision(&status["revision"]);
    report.ok("revisions", format!("{revision}; epoch {}", text(&status, "/epoch")));
    match client.list(&path(&[Kind::Provider.plural()]), &Query::new(), MAX_ITEMS).await {
        Ok(list) => providers(report, &list.items),
        Err(failure) => report.failed("providers", &failure),
    }
    match client.list(&path(&[Kind::Key.plural()]), &Query::new(), MAX_ITEMS).await {
        Ok(list) => keys(report, &list.items, crate::host::now_ms()),
        Err(failure) => report.failed("keys", &failure),
    }
    true
}

fn version(report: &mut Report, status: &Value) {
    let (theirs, ours) = (text(status, "/version"), env!("CARGO_PKG_VERSION"));
    let since = when(status, "/started_at");
    if theirs == ours {
        report.ok("version", format!("{theirs}, started {since}"));
    } else {
        let found = format!("the gateway is {theirs}, this gatewayctl is {ours}");
        report.warn("version", found, "use the gatewayctl of the gateway's version where the two disagree");
    }
}

/// Whether requests have somewhere to go, and something to show there.
fn providers(report: &mut Report, providers: &[Value]) {
    let bare: Vec<String> =
        providers.iter().filter(|provider| lacks_key(provider)).map(|provider| text(provider, "/name")).collect();
    match (providers.len(), bare.is_empty()) {
        (0, _) => report.warn(
            "providers",
            "none: requests have nowhere to go",
            "write one into gateway.yaml and run `gatewayctl apply -f gateway.yaml`",
        ),
        (n_providers, true) => report.ok("providers", format!("{n_providers}, each with the credential it needs")),
        (n_providers, false) => report.warn(
            "providers",
            format!("{} of {n_providers} without a credential: {}", bare.len(), bare.join(", ")),
            "set `api_key` in gateway.yaml, or with `gatewayctl edit provider NAME`",
        ),
    }
}

/// Kinds that are usually called without a key, such as a server of one's own, are not meant.
fn lacks_key(provider: &Value) -> bool {
    let wants =
        catalog::row(&text(provider, "/spec/kind")).is_some_and(|row| row.auth != Auth::None && !row.env.is_empty());
    let secrets = provider.get("secrets").and_then(Value::as_object);
    let has = secrets.is_some_and(|secrets| secrets.values().any(|secret| secret["set"] == true));
    wants && !has
}

fn keys(report: &mut Report, keys: &[Value], now_ms: i64) {
    let is_usable = |key: &&Value| {
        let ends = key.get("expires_at").and_then(crate::output::time::unix_ms);
        key["enabled"] != false && ends.is_none_or(|at| at > now_ms)
    };
    match (keys.len(), keys.iter().filter(is_usable).count()) {
        (n_keys, 0) => report.warn(
            "keys",
            format!("none of {n_keys} can be used: every request is refused"),
            "make one with `gatewayctl keys create NAME`",
        ),
        (n_keys, n_usable) => report.ok("keys", format!("{n_usable} of {n_keys} can be used")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::report::State;
    use super::*;

    fn check(examine: impl FnOnce(&mut Report), state: State, wanted: &str) {
        let mut report = Report::default();
        examine(&mut report);
        assert_eq!(report.worst(), state, "{report:?}");
        assert!(report.draw(false).contains(wanted), "{report:?}");
    }

    #[test]
    fn providers_without_their_key_are_named() {
        let provider = |name: &str, kind: &str, set: bool| json!({"name": name, "spec": {"kind": kind}, "secrets": {"api_key": {"set": set}}});
        check(|report| providers(report, &[]), State::Warn, "nowhere to go");
        check(
            |report| providers(report, &[provider("a", "openai", true), provider("d", "demo", false)]),
            State::Ok,
            "2, each",
        );
        check(
            |report| providers(report, &[provider("a", "openai", false)]),
            State::Warn,
            "1 of 1 without a credential: a",
        );
        check(
            |report| providers(report, &[json!({"name": "b", "spec": {"kind": "anthropic"}, "secrets": {}})]),
            State::Warn,
            ": b",
        );
        check(
            |report| providers(report, &[json!({"name": "o", "spec": {"kind": "ollama"}, "secrets": {}})]),
            State::Ok,
            "1, each",
        );
    }

    #[test]
    fn keys_that_are_over_or_off_do_not_count() {
        let now = 1_800_000_000_000;
        check(|report| keys(report, &[], now), State::Warn, "none of 0");
        let all = [json!({"enabled": false}), json!({"expires_at": "2001-01-01T00:00:00Z"}), json!({"enabled": true})];
        check(|report| keys(report, &all, now), State::Ok, "1 of 3");
        check(|report| keys(report, &all[..2], now), State::Warn, "none of 2");
    }
}
