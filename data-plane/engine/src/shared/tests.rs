//! Whose limits a request takes under rules with and without `per`.

use std::time::Instant;

use gateway_model::set::Set;

use super::*;
use crate::identity::Caller;
use crate::tenants::Standing;
use crate::testing::{PROVIDERS, caller, parsed, snapshot};

fn set(rules: &str) -> Set {
    parsed(&format!("{PROVIDERS}users: [{{name: ada}}]\nlimits:\n{rules}"))
}

fn names(limits: &SharedLimits, caller: &Caller, models: [&str; 2]) -> Vec<String> {
    let spender = Spender { caller, standing: &Standing::default(), models };
    limits.of(spender, Instant::now).iter().map(|limits| limits.owner().to_string()).collect()
}

#[test]
fn a_rule_counts_each_apart_by_what_it_says() {
    let rules = "
  - {name: all, match: {models: [\"*\"]}, limits: {rpm: 1}}
  - {name: keys, match: {models: [\"*\"]}, per: key, limits: {rpm: 1}}
  - {name: users, match: {models: [\"*\"]}, per: user, limits: {rpm: 1}}
  - {name: models, match: {models: [\"gpt-*\"]}, per: model, limits: {rpm: 1}}
  - {name: tags, match: {models: [\"*\"]}, per: tag, limits: {rpm: 1}}
  - {name: others, match: {models: [claude]}, per: organization, limits: {rpm: 1}}";
    let (limits, caller) = (SharedLimits::new(&set(rules), &SharedLimits::default()), caller(&["*"]));
    assert_eq!(
        names(&limits, &caller, ["gpt-4o", "gpt"]),
        [
            "Limit all",
            "Limit keys for key vk_1",
            "Limit users for no user",
            "Limit models for model gpt",
            "Limit tags for no tag"
        ]
    );
    let apart: Vec<_> = limits.apart().map(|apart| (apart.rule.to_string(), apart.n_parts)).collect();
    let told = [("keys", 1), ("users", 0), ("models", 1), ("tags", 0), ("others", 0)];
    assert_eq!(apart, told.map(|(rule, n_parts)| (rule.to_owned(), n_parts)));
}

#[test]
fn what_was_used_stays_used_while_the_rule_counts_alike() {
    let rule =
        |per: &str, rpm: u64| set(&format!("  - {{name: r, match: {{keys: [\"*\"]}}{per}, limits: {{rpm: {rpm}}}}}"));
    let (per_key, caller) = (", per: key", caller(&["*"]));
    let before = SharedLimits::new(&rule(per_key, 5), &SharedLimits::default());
    let of = |limits: &SharedLimits| {
        let spender = Spender { caller: &caller, standing: &Standing::default(), models: ["m", "m"] };
        limits.of(spender, Instant::now).remove(0)
    };
    assert!(Arc::ptr_eq(&of(&before), &of(&SharedLimits::new(&rule(per_key, 5), &before))));
    for changed in [rule(per_key, 6), rule(", per: team", 5), rule("", 5)] {
        assert!(!Arc::ptr_eq(&of(&before), &of(&SharedLimits::new(&changed, &before))));
    }
}

#[test]
fn unknown_words_and_names_with_spaces_are_refused() {
    let rule = |fields: &str| format!("{PROVIDERS}limits: [{{match: {{keys: [k]}}, limits: {{rpm: 1}}, {fields}}}]");
    let problems = |yaml: &str| {
        let no_file = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
        gateway_model::file::parse("test.yaml", yaml, &|_| None, &no_file).is_err()
    };
    assert!(!problems(&rule("name: a, per: team")));
    assert!(problems(&rule("name: a, per: planet")) && problems(&rule("name: a, per: [team]")));
    assert!(problems(&rule("name: \"a for user b\", per: user")));
    drop(snapshot(&rule("name: a, per: tag")));
}
