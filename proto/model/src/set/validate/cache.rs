//! What can be wrong with what is said of the cache.

use super::Findings;
use crate::cache::{Rule, Settings};
use crate::problem::Code;
use crate::unit::Span;

/// Below this hardly a reply fits.
const MIN_ENTRY_BYTES: u64 = 1024;

pub(super) fn settings(settings: Option<&Settings>, findings: &mut Findings<'_>) {
    let Some(settings) = settings else { return };
    ttl("cache.ttl", settings.ttl, findings);
    let (whole, entry) = settings.bounds();
    if whole < MIN_ENTRY_BYTES * Settings::PARTS {
        let message = "must be at least 8KiB; `enabled: false` switches the cache off";
        findings.error(Code::InvalidValue, "cache.max_bytes", message);
    } else if entry > whole / Settings::PARTS {
        let message = "must be an eighth of `max_bytes` at most, so that one reply does not push out all others";
        findings.error(Code::Conflict, "cache.max_entry_bytes", message);
    } else if entry < MIN_ENTRY_BYTES {
        findings.error(Code::InvalidValue, "cache.max_entry_bytes", "must be at least 1KiB");
    }
}

pub(super) fn rule(rule: Option<&Rule>, findings: &mut Findings<'_>) {
    ttl("cache.ttl", rule.and_then(Rule::ttl), findings);
}

fn ttl(path: &str, ttl: Option<Span>, findings: &mut Findings<'_>) {
    if ttl.is_some_and(|ttl| ttl.0.is_zero()) {
        findings.error(Code::InvalidValue, path, "must be longer than 0; `off` switches the cache off");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(value: Value, expected: Option<(Code, &str)>) {
        let told = value.to_string();
        let mut problems = Vec::new();
        let mut findings = Findings { problems: &mut problems, path: "settings".to_owned() };
        settings(Some(&serde_json::from_value(value).expect("settings")), &mut findings);
        let found = problems.first().map(|problem| (problem.code, problem.path.trim_start_matches("settings.cache.")));
        assert_eq!(found, expected, "{told}");
    }

    #[test]
    fn bounds_that_could_hold_nothing_are_refused() {
        for (value, expected) in [
            (json!({}), None),
            (json!({"enabled": true, "ttl": "5m", "max_bytes": "1GiB", "max_entry_bytes": "128MiB"}), None),
            (json!({"ttl": "0s"}), Some((Code::InvalidValue, "ttl"))),
            (json!({"max_bytes": 0}), Some((Code::InvalidValue, "max_bytes"))),
            (json!({"max_bytes": "7KiB", "max_entry_bytes": "1KiB"}), Some((Code::InvalidValue, "max_bytes"))),
            // What is said of everything moves the default for one.
            (json!({"max_bytes": "8KiB"}), None),
            (json!({"max_bytes": "8MiB", "max_entry_bytes": "2MiB"}), Some((Code::Conflict, "max_entry_bytes"))),
            (json!({"max_entry_bytes": 1000}), Some((Code::InvalidValue, "max_entry_bytes"))),
        ] {
            check(value, expected);
        }
    }

    #[test]
    fn a_rule_is_a_word_or_says_more() {
        let rule = |value: Value| serde_json::from_value::<Rule>(value).ok();
        for (value, expected) in [
            (json!("on"), Some(true)),
            (json!("off"), Some(false)),
            (json!({"ttl": "5m"}), Some(true)),
            (json!({}), Some(true)),
            (json!("maybe"), None),
            (json!({"tl": "5m"}), None),
            (json!(true), None),
        ] {
            assert_eq!(rule(value.clone()).map(|rule| rule.is_on()), expected, "{value}");
        }
    }
}
