//! What operators are told of limits, as this node counts: how much of each upstream's minute is left, the money it holds, and how
//! many a limit tells apart.

use std::fmt::Write as _;
use std::time::Instant;

use gateway_engine::limits::purse::Totals;
use gateway_engine::limits::quota::{Left, Quota};
use gateway_engine::shared::Apart;
use gateway_engine::snapshot::{Provider, Snapshot};
use serde_json::{Map, Value, json};

use super::circuits::escaped;
use crate::meters::row;

/// All budgets of this node together, for `/statsz`.
pub(super) fn budgets(snapshot: &Snapshot) -> Value {
    let Totals { n_purses, n_open, spent, left } = snapshot.purses.totals();
    json!({"budgets": n_purses, "open_requests": n_open, "spent_nano_usd": spent, "held_nano_usd": left})
}

/// By rule: what those with `per` tell apart, for `/statsz`.
pub(super) fn apart(snapshot: &Snapshot) -> Map<String, Value> {
    let told =
        |apart: Apart| json!({"per": apart.per.name(), "parts": apart.n_parts, "requests_beyond": apart.n_beyond});
    snapshot.shared_limits.apart().map(|apart| (apart.rule.to_string(), told(apart))).collect()
}

/// By provider, and `provider#key` of keys that have limits, for `/statsz`.
pub(super) fn statistics(snapshot: &Snapshot, now: Instant) -> Map<String, Value> {
    let told = |quota: &Quota| {
        let left = quota.left(now).into_iter();
        left.map(|Left { kind, limit, remaining }| (kind.to_owned(), json!({"limit": limit, "remaining": remaining})))
            .collect()
    };
    limited(snapshot).map(|(provider, quota)| (provider.account.to_string(), Value::Object(told(quota)))).collect()
}

/// The same as gauges, in the text format of Prometheus; nothing where there are no limits.
pub(super) fn metrics(snapshot: &Snapshot, now: Instant) -> String {
    const NAME: &str = "gateway_upstream_limit";
    const PARTS: &str = "gateway_limit_parts";
    let mut gauges = String::new();
    for (provider, quota) in limited(snapshot) {
        // Names of providers and keys need no escape.
        let key = provider.key.as_deref().map(|key| format!(",key=\"{key}\"")).unwrap_or_default();
        for Left { kind, limit, remaining } in quota.left(now) {
            let labels = format!("provider=\"{}\"{key},kind=\"{kind}\"", provider.name);
            let _ = writeln!(gauges, "{NAME}{{{labels}}} {limit}\n{NAME}_remaining{{{labels}}} {remaining}");
        }
    }
    // One family after the other.
    let (remaining, limits): (Vec<&str>, Vec<&str>) = gauges.lines().partition(|line| line.contains("_remaining{"));
    let part = |apart: Apart| format!("{PARTS}{{rule=\"{}\"}} {}", escaped(&apart.rule), apart.n_parts);
    let parts: Vec<_> = snapshot.shared_limits.apart().map(part).collect();
    let parts = parts.iter().map(String::as_str).collect();
    let families = [(NAME.to_owned(), limits), (format!("{NAME}_remaining"), remaining), (PARTS.to_owned(), parts)];
    let written = families.into_iter().filter(|(_, lines)| !lines.is_empty());
    written.map(|(name, lines)| format!("{}{}\n", row(&name).head(), lines.join("\n"))).collect()
}

fn limited(snapshot: &Snapshot) -> impl Iterator<Item = (&Provider, &Quota)> {
    let own = snapshot.providers.iter().map(|provider| (&**provider, provider.quota.as_deref()));
    let of_keys = snapshot.providers.iter().flat_map(|provider| provider.with_keys());
    let of_keys = of_keys.map(|keyed| (&**keyed, keyed.key_quota.as_deref()));
    own.chain(of_keys).filter_map(|(provider, quota)| Some((provider, quota?)))
}
