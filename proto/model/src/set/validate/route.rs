//! What can be wrong with a route by itself: demands that nobody can read, and those that no request can meet.

use std::collections::HashMap;

use super::{Findings, cache, is_header_name, policy};
use crate::bodies;
use crate::kind::route::{HeaderMatch, HeaderRule, Match, Route};
use crate::pattern::regex;
use crate::policy::{Continuation, Hedge};
use crate::problem::{Code, Problem};

pub(super) fn check(route: &Route, findings: &mut Findings<'_>) {
    cache::rule(route.cache.as_ref(), findings);
    findings.all(route.log_bodies.as_ref().map(bodies::Rule::faults));
    let wanted = &route.matcher;
    if let Some(path) = &wanted.path
        && !path.starts_with('/')
        && path != "*"
    {
        findings.error(Code::InvalidValue, "match.path", format!("`{path}` must begin with `/`"));
    }
    for (name, rule) in &wanted.headers {
        header(name, rule, findings);
    }
    for (index, method) in wanted.methods.iter().enumerate() {
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            let message = format!("`{}` is no method like `POST`", method.escape_debug());
            findings.error(Code::InvalidValue, &format!("match.methods[{index}]"), message);
        }
    }
    let lists = [("keys", &wanted.keys), ("key_tags", &wanted.key_tags), ("tags", &wanted.tags)];
    for (field, texts) in lists {
        if texts.iter().any(String::is_empty) {
            findings.error(Code::InvalidValue, &format!("match.{field}"), "holds an empty text");
        }
    }
    if wanted.tags.iter().any(|tag| tag.contains(',') || tag.trim() != tag) {
        let message =
            "holds a comma, or a space at an end; what clients send is split at commas, so nothing is ever equal";
        findings.error(Code::InvalidValue, "match.tags", message);
    }
    never(wanted, findings);
    policy(route.retry.as_ref(), route.timeouts.as_ref(), findings);
    findings.all(route.hedge.as_ref().map(Hedge::faults));
    findings.all(route.continuation.as_ref().map(Continuation::faults));
}

/// Routes behind one that takes everything, or that takes the same: allowed, since somebody may be about to move them.
pub(super) fn unreached(routes: &[Route], problems: &mut Vec<Problem>) {
    let mut seen: HashMap<String, &str> = HashMap::new();
    let mut takes_all = None;
    for route in routes {
        // What is the same is written the same.
        let same = serde_json::to_string(&route.matcher).unwrap_or_default();
        let earlier = takes_all.or_else(|| seen.get(&same).copied());
        if let Some(earlier) = earlier {
            let message = format!("never matches: `{earlier}` stands before it and takes all that this one would");
            problems.push(Problem::warning(Code::Conflict, format!("routes[{}].match", route.name), message));
        }
        if takes_all.is_none() && takes_everything(&route.matcher) {
            takes_all = Some(route.name.as_str());
        }
        seen.entry(same).or_insert(&route.name);
    }
}

fn takes_everything(wanted: &Match) -> bool {
    let rest = Match { path: None, model: None, ..wanted.clone() };
    wanted.path.as_deref().is_none_or(|path| matches!(path, "*" | "/*"))
        && wanted.model.as_deref().is_none_or(|model| model == "*")
        && rest == Match::default()
}

fn header(name: &str, rule: &HeaderMatch, findings: &mut Findings<'_>) {
    let path = format!("match.headers.{name}");
    if !is_header_name(name) {
        findings.error(Code::InvalidValue, &path, format!("`{name}` is no header name"));
    }
    let HeaderMatch::Rule(rule) = rule else { return };
    let n_given = [rule.exact.is_some(), rule.prefix.is_some(), rule.regex.is_some(), rule.present.is_some()];
    if n_given.iter().filter(|given| **given).count() != 1 {
        findings.error(Code::Conflict, &path, "needs exactly one of `exact`, `prefix`, `regex`, `present`");
    }
    if let HeaderRule { regex: Some(text), .. } = rule
        && let Err(reason) = regex(text)
    {
        findings.error(Code::InvalidValue, &format!("{path}.regex"), reason);
    }
}

/// Demands that no request meets: the route would be there and do nothing.
fn never(wanted: &Match, findings: &mut Findings<'_>) {
    if let Some(tokens) = &wanted.tokens
        && let (Some(min), Some(max)) = (tokens.min, tokens.max)
        && min > max
    {
        let message = format!("never matches: `min` is {min} and `max` {max}");
        findings.error(Code::Conflict, "match.tokens", message);
    }
    if let Some(times) = &wanted.times
        && times.is_never()
    {
        let (from, to) = times.window();
        let message = format!("never matches: there is no time from {from} to {to}; leave both out for the whole day");
        findings.error(Code::Conflict, "match.times", message);
    }
}
