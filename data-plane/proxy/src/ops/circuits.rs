//! What operators are told of the breakers: which upstream models, and which keys at them, are left alone, and since what; and of
//! places at providers.

use std::fmt::Write as _;
use std::time::Instant;

use gateway_engine::health::State;
use gateway_engine::snapshot::{Snapshot, Target};
use serde_json::{Map, Value, json};

use crate::meters::row;

/// By `provider/model`, and `provider#key/model` of several keys, for `/statsz`.
pub(super) fn statistics(snapshot: &Snapshot, now: Instant) -> Map<String, Value> {
    let one = |target: &Target| {
        let health = target.key_health.as_ref().unwrap_or(&target.health);
        let passed_over = target.look(now).err();
        let last = health.last_failure();
        json!({
            "enabled": target.breaker.is_some(),
            "state": health.state(now).name(),
            "failure_count": health.failures(),
            "in_flight": health.in_flight(),
            "concurrency": target.provider.gate.as_ref().map(|gate| {
                let standing = gate.standing();
                json!({"limit": standing.limit, "under_way": standing.n_under_way, "waiting": standing.n_waiting})
            }),
            "passed_over": passed_over.map(|skip| skip.name()),
            "passed_over_seconds": passed_over.and_then(|skip| skip.left()).map(|left| left.as_secs_f64()),
            // The code and not the upstream's words, which may name accounts.
            "last_error": last.as_ref().map(|failure| failure.code.name()),
            "last_error_status": last.as_ref().map(|failure| failure.status),
        })
    };
    let targets = with_keys(snapshot);
    targets.map(|target| (format!("{}/{}", target.provider.account, target.model), one(target))).collect()
}

/// The same as a gauge, in the text format of Prometheus. It is written from what serves, so that what is configured no more is
/// told no more.
pub(super) fn metrics(snapshot: &Snapshot, now: Instant) -> String {
    const NAME: &str = "gateway_breaker_state";
    let mut text = row(NAME).head();
    for target in with_keys(snapshot) {
        let state = match target.key_health.as_ref().unwrap_or(&target.health).state(now) {
            State::Closed => 0,
            State::HalfOpen => 1,
            State::Open => 2,
        };
        let (provider, model) = (&target.provider.name, escaped(&target.model));
        // Names of keys need no escape.
        let key = target.provider.key.as_deref().filter(|_| target.key_health.is_some());
        let key = key.map(|key| format!(",key=\"{key}\"")).unwrap_or_default();
        let _ = writeln!(text, "{NAME}{{provider=\"{provider}\",model=\"{model}\"{key}}} {state}");
    }
    text + "\n" + &concurrency(snapshot)
}

/// Places at providers that have only so many.
fn concurrency(snapshot: &Snapshot) -> String {
    const NAME: &str = "gateway_provider_concurrency";
    let limited: Vec<_> =
        snapshot.providers.iter().filter_map(|provider| Some((&provider.name, provider.gate.as_ref()?))).collect();
    if limited.is_empty() {
        return String::new();
    }
    let mut text = row(NAME).head();
    for (provider, gate) in limited {
        let standing = gate.standing();
        let waiting = u32::try_from(standing.n_waiting).unwrap_or(u32::MAX);
        for (what, n) in [("limit", standing.limit), ("under_way", standing.n_under_way), ("waiting", waiting)] {
            let _ = writeln!(text, "{NAME}{{provider=\"{provider}\",what=\"{what}\"}} {n}");
        }
    }
    text + "\n"
}

/// Every target, and behind it the same with each of several keys.
fn with_keys(snapshot: &Snapshot) -> impl Iterator<Item = &Target> {
    let targets = snapshot.targets().into_iter();
    targets.flat_map(|target| std::iter::once(target).chain(&target.by_key)).map(AsRef::as_ref)
}

pub(super) fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
