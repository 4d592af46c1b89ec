//! Several keys of one provider: each has a name and a value, and there is one that can be used. And what a vendor lets an
//! account do.

use std::collections::HashSet;

use super::{Findings, api_key, provider_name};
use crate::catalog::{Auth, Row};
use crate::kind::provider::{Provider, UpstreamLimits};
use crate::problem::Code;

/// Of requests or tokens: more than that is no limit.
const MOST_PER_MINUTE: u64 = 10_000_000_000;

pub(super) fn check(provider: &Provider, row: &Row, findings: &mut Findings<'_>) {
    if provider.api_keys.is_empty() {
        return;
    }
    if let Some(message) = beside(provider, row) {
        findings.error(Code::Conflict, "api_keys", message);
    }
    if provider.api_keys.len() > Provider::MAX_KEYS {
        let message = format!("are {}; at most {} are taken", provider.api_keys.len(), Provider::MAX_KEYS);
        findings.error(Code::InvalidValue, "api_keys", message);
    }
    if provider.api_keys.iter().all(|key| !key.enabled) {
        findings.error(Code::Conflict, "api_keys", "are all disabled; enable one, or leave the field out");
    }
    let mut seen = HashSet::new();
    for (position, key) in provider.api_keys.iter().enumerate() {
        if let Some(message) = provider_name(&key.name) {
            findings.error(Code::InvalidValue, &format!("api_keys[{position}].name"), message);
        }
        let path = |field: &str| format!("api_keys[{}].{field}", key.name);
        if !seen.insert(key.name.as_str()) {
            findings.error(Code::DuplicateName, &path("name"), format!("`{}` is there twice", key.name));
        }
        match &key.key {
            Some(secret) => api_key(secret, &path("key"), findings),
            None => findings.error(Code::MissingField, &path("key"), "is missing; give the key's value"),
        }
        if key.weight > 10_000 {
            findings.error(Code::InvalidValue, &path("weight"), "must be at most 10000");
        }
        limits(key.limits.as_ref(), &path("limits"), findings);
    }
}

/// Of a provider or of one of its keys.
pub(super) fn limits(limits: Option<&UpstreamLimits>, path: &str, findings: &mut Findings<'_>) {
    let Some(limits) = limits else { return };
    for (field, limit) in [("rpm", limits.rpm), ("tpm", limits.tpm)] {
        if limit.is_some_and(|limit| !(1..=MOST_PER_MINUTE).contains(&limit)) {
            let message = format!("must be from 1 to {MOST_PER_MINUTE}; leave it out for no limit");
            findings.error(Code::InvalidValue, &format!("{path}.{field}"), message);
        }
    }
}

/// What they contradict.
fn beside(provider: &Provider, row: &Row) -> Option<String> {
    let is_signed = provider.aws.as_ref().is_some_and(|aws| aws.access_key_id.is_some());
    let is_tokened =
        |gcp: &crate::kind::provider::Gcp| gcp.service_account_json.is_some() || gcp.metadata_url.is_some();
    if provider.api_key.is_some() {
        Some("stand in place of `api_key`; give one of them".to_owned())
    } else if is_signed {
        Some("mean nothing where requests are signed with `aws`; make a provider for each access key".to_owned())
    } else if provider.gcp.as_ref().is_some_and(is_tokened) {
        Some("mean nothing where requests carry tokens of `gcp`; make a provider for each account".to_owned())
    } else if row.auth == Auth::None {
        Some(format!("mean nothing to a provider of kind `{}`, which is shown no key", row.id))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::{Resource, decode};
    use crate::kind::Kind;
    use crate::set::Set;

    fn check(provider: serde_json::Value, expected: &[(Code, &str)]) {
        let Ok(Resource::Provider(provider)) = decode(Kind::Provider, provider.clone()) else { panic!("{provider}") };
        let problems = Set { providers: vec![*provider], ..Set::default() }.validate();
        let found: Vec<_> = problems.iter().map(|problem| (problem.code, problem.path.as_str())).collect();
        assert_eq!(found, expected, "{problems:?}");
    }

    #[test]
    fn each_key_has_a_name_of_its_own_and_a_value() {
        let openai = |keys| json!({"name": "p", "kind": "openai", "api_keys": keys});
        check(openai(json!([{"name": "a", "key": "x"}, {"name": "b.c", "key": "y", "weight": 0}])), &[]);
        check(
            openai(json!([{"name": "a"}, {"name": "a", "key": "y z", "weight": 10_001}])),
            &[
                (Code::MissingField, "providers[p].api_keys[a].key"),
                (Code::DuplicateName, "providers[p].api_keys[a].name"),
                (Code::InvalidValue, "providers[p].api_keys[a].key"),
                (Code::InvalidValue, "providers[p].api_keys[a].weight"),
            ],
        );
        check(openai(json!([{"name": "A#", "key": "x"}])), &[(Code::InvalidValue, "providers[p].api_keys[0].name")]);
        let off = json!([{"name": "a", "key": "x", "enabled": false}]);
        check(openai(off), &[(Code::Conflict, "providers[p].api_keys")]);
        let limited = json!([{"name": "a", "key": "x", "limits": {"rpm": 0, "tpm": 1}}]);
        check(openai(limited), &[(Code::InvalidValue, "providers[p].api_keys[a].limits.rpm")]);
        let limited = json!({"name": "p", "kind": "openai", "limits": {"tpm": 0}});
        check(limited, &[(Code::InvalidValue, "providers[p].limits.tpm")]);
        let many: Vec<_> = (0..65).map(|n| json!({"name": format!("k{n}"), "key": "x"})).collect();
        check(openai(json!(many)), &[(Code::InvalidValue, "providers[p].api_keys")]);
    }

    #[test]
    fn keys_stand_beside_no_other_credential() {
        let keys = json!([{"name": "a", "key": "x"}]);
        let aws = json!({"region": "us-east-1", "access_key_id": "AKIA", "secret_access_key": "s"});
        for (provider, is_refused) in [
            (json!({"name": "p", "kind": "openai", "api_key": "x", "api_keys": keys}), true),
            (json!({"name": "p", "kind": "bedrock", "aws": aws, "api_keys": keys}), true),
            (json!({"name": "p", "kind": "bedrock", "aws": {"region": "us-east-1"}, "api_keys": keys}), false),
            (
                json!({"name": "p", "kind": "vertex", "gcp": {"project": "a-b", "service_account_json": "{}"}, "api_keys": keys}),
                true,
            ),
            (json!({"name": "p", "kind": "vertex", "gcp": {"project": "a-b"}, "api_keys": keys}), false),
            (json!({"name": "p", "kind": "demo", "api_keys": keys}), true),
        ] {
            let conflict = [(Code::Conflict, "providers[p].api_keys")];
            check(provider, &conflict[..usize::from(is_refused)]);
        }
    }
}
