//! What can be wrong with `settings.introspection`.

use std::collections::HashSet;
use std::time::Duration;

use super::{Findings, provider_name, url};
use crate::kind::settings::introspection::Introspector;
use crate::kind::settings::jwt::Claims;
use crate::problem::Code;
use crate::unit::Span;

/// How our own keys begin.
const OURS: &str = "gw_";

pub(super) fn check(all: &[Introspector], findings: &mut Findings<'_>) {
    if all.len() > Introspector::MOST {
        findings.error(Code::InvalidValue, "introspection", format!("must be at most {}", Introspector::MOST));
    }
    let (mut names, mut prefixes) = (HashSet::new(), HashSet::new());
    for one in all {
        let path = |field: &str| format!("introspection[{}].{field}", one.name);
        if let Some(why) = provider_name(&one.name) {
            findings.error(Code::InvalidValue, &path("name"), why);
        }
        if !names.insert(&one.name) {
            findings.error(Code::DuplicateName, &path("name"), "is there twice");
        }
        url::check_address(&path("url"), &one.url, one.allow_private_networks, findings);
        if one.client_id.is_empty() {
            findings.error(Code::MissingField, &path("client_id"), "say as which client nodes ask");
        }
        if one.client_secret.is_none() {
            findings.error(
                Code::MissingField,
                &path("client_secret"),
                "nodes have to show who asks; without it anybody could try tokens out there",
            );
        }
        let prefix = one.prefix.as_deref().unwrap_or_default();
        if !prefixes.insert(prefix) {
            let message = "two are asked about the same tokens; tell them apart by how they begin";
            findings.error(Code::Conflict, &path("prefix"), message);
        }
        if !prefix.is_empty() && (OURS.starts_with(prefix) || prefix.starts_with(OURS)) {
            findings.error(Code::Conflict, &path("prefix"), "keys of this gateway begin so, and are shown to nobody");
        }
        for (field, given, most) in [
            ("max_age", one.max_age, Duration::from_secs(3600)),
            ("negative_age", one.negative_age, Duration::from_secs(60)),
            ("timeout", one.timeout, Duration::from_secs(30)),
        ] {
            if given.is_some_and(|Span(given)| given > most) {
                findings.error(Code::InvalidValue, &path(field), format!("must be at most {}s", most.as_secs()));
            }
        }
        if one.timeout.is_some_and(|Span(timeout)| timeout.is_zero()) {
            findings.error(Code::InvalidValue, &path("timeout"), "must be more than nothing");
        }
        let Claims { key, team, user, .. } = &one.claims;
        if key.is_none() && team.is_none() && user.is_none() {
            findings.error(
                Code::InvalidValue,
                &path("claims"),
                "say which claim names the `key`, the `team` or the `user`",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::set::validate::tests::check;

    #[test]
    fn introspectors() {
        let of = |fields: &str| format!("settings: {{introspection: [{{name: id, {fields}}}]}}");
        let good = "url: \"https://id.example.com/introspect\", client_id: g, client_secret: s, claims: {user: sub}";
        check(&of(good), &[]);
        for (more, wrong) in [
            ("prefix: gw_virt_", "prefix"),
            ("prefix: g", "prefix"),
            ("max_age: 2h", "max_age"),
            ("negative_age: 2m", "negative_age"),
            ("timeout: 1m", "timeout"),
            ("timeout: 0s", "timeout"),
        ] {
            check(&of(&format!("{good}, {more}")), &[&format!("settings.introspection[id].{wrong}")]);
        }
        let bare = "url: \"http://id.example.com/introspect\", client_id: \"\", claims: {models: m}";
        let wrong = ["url", "client_id", "client_secret", "claims"];
        check(
            &of(bare),
            &wrong.map(|field| format!("settings.introspection[id].{field}")).each_ref().map(String::as_str),
        );
        let two = format!("settings: {{introspection: [{{name: a, {good}}}, {{name: b, {good}}}]}}");
        check(&two, &["settings.introspection[b].prefix"]);
    }
}
