//! What operators are told of the breakers: which upstream models are left alone, and since what.

use std::fmt::Write as _;
use std::time::Instant;

use gateway_engine::health::State;
use gateway_engine::snapshot::{Snapshot, Target};
use serde_json::{Map, Value, json};

/// By `provider/model`, for `/statsz`.
pub(super) fn statistics(snapshot: &Snapshot, now: Instant) -> Map<String, Value> {
    let one = |target: &Target| {
        let health = &target.health;
        let passed_over = health.look(target.breaker.as_ref(), now).err();
        let last = health.last_failure();
        json!({
            "enabled": target.breaker.is_some(),
            "state": health.state(now).name(),
            "failure_count": health.failures(),
            "in_flight": health.in_flight(),
            "passed_over": passed_over.map(|skip| skip.name()),
            "passed_over_seconds": passed_over.and_then(|skip| skip.left()).map(|left| left.as_secs_f64()),
            // The code and not the upstream's words, which may name accounts.
            "last_error": last.as_ref().map(|failure| failure.code.name()),
            "last_error_status": last.as_ref().map(|failure| failure.status),
        })
    };
    let targets = snapshot.targets().into_iter();
    targets.map(|target| (format!("{}/{}", target.provider.name, target.model), one(target))).collect()
}

/// The same as a gauge, in the text format of Prometheus. It is written from what serves, so that what is configured no more is
/// told no more.
pub(super) fn metrics(snapshot: &Snapshot, now: Instant) -> String {
    const NAME: &str = "gateway_breaker_state";
    let mut text =
        format!("# HELP {NAME} 0 closed, 1 half open, 2 open; by provider and upstream model\n# TYPE {NAME} gauge\n");
    for target in snapshot.targets() {
        let state = match target.health.state(now) {
            State::Closed => 0,
            State::HalfOpen => 1,
            State::Open => 2,
        };
        let (provider, model) = (&target.provider.name, escaped(&target.model));
        let _ = writeln!(text, "{NAME}{{provider=\"{provider}\",model=\"{model}\"}} {state}");
    }
    text + "\n"
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
