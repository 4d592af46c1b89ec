//! What can be wrong with `settings.auto`.

use std::collections::HashSet;

use regex::RegexBuilder;

use super::Findings;
use crate::kind::settings::auto::{Auto, MAX_REGEX_SIZE, NAMES, Score, Skill};
use crate::problem::Code;
use crate::set::Set;

/// Expressions of all skills: each is matched against each prompt that is judged.
const MAX_REGEXES: usize = 64;

pub(super) fn check(auto: &Auto, set: &Set, findings: &mut Findings<'_>) {
    let tiers = auto.tiers.as_ref();
    let named = [
        ("default_model", Some(&auto.default_model)),
        ("tiers.simple", tiers.and_then(|tiers| tiers.simple.as_ref())),
        ("tiers.medium", tiers.and_then(|tiers| tiers.medium.as_ref())),
        ("tiers.complex", tiers.and_then(|tiers| tiers.complex.as_ref())),
    ];
    for (field, name) in named {
        if name.is_some_and(|name| NAMES.contains(&name.as_str())) {
            findings.error(Code::Conflict, field, "is the automatic choice itself; name a model that it may choose");
        }
    }
    if auto.enabled {
        for model in set.models.iter().filter(|model| NAMES.contains(&model.name.as_str())) {
            let message = format!("`{}` is what the automatic choice is called; call this model otherwise", model.name);
            findings.error(Code::Conflict, "enabled", message);
        }
    }
    skills(&auto.skills, findings);
    if let Some(score) = &auto.score {
        check_score(score, findings);
    }
}

fn skills(skills: &[Skill], findings: &mut Findings<'_>) {
    let mut seen = HashSet::new();
    for (position, skill) in skills.iter().enumerate() {
        let at = |field: &str| format!("skills[{position}].{field}");
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if skill.name.is_empty() || skill.name.len() > 64 || !skill.name.chars().all(is_word) {
            let message = "must be 1 to 64 characters of a-z, A-Z, 0-9, `.`, `_` and `-`: it becomes a header";
            findings.error(Code::InvalidValue, &at("name"), message);
        }
        if !seen.insert(&skill.name) {
            findings.error(Code::DuplicateName, &at("name"), format!("`{}` is defined twice", skill.name));
        }
        if skill.regex_any.is_empty() {
            findings.error(Code::MissingField, &at("regex_any"), "needs at least one expression");
        }
        for (index, regex) in skill.regex_any.iter().enumerate() {
            if let Err(error) = RegexBuilder::new(regex).size_limit(MAX_REGEX_SIZE).build() {
                let reason = error.to_string();
                let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                let message = format!("is no regular expression: {reason}");
                findings.error(Code::InvalidValue, &at(&format!("regex_any[{index}]")), message);
            }
        }
    }
    if skills.iter().map(|skill| skill.regex_any.len()).sum::<usize>() > MAX_REGEXES {
        findings.error(Code::InvalidValue, "skills", format!("may hold {MAX_REGEXES} expressions in all"));
    }
}

fn check_score(score: &Score, findings: &mut Findings<'_>) {
    let weights = [
        ("score.input", score.input),
        ("score.code", score.code),
        ("score.maths", score.maths),
        ("score.analysis", score.analysis),
        ("score.safety", score.safety),
        ("score.tools", score.tools),
    ];
    for (field, weight) in weights {
        if weight.is_some_and(|weight| weight > 100) {
            findings.error(Code::InvalidValue, field, "must be from 0 to 100");
        }
    }
    let (first, second, third) =
        (score.tier_01_max.unwrap_or(1), score.tier_23_max.unwrap_or(3), score.tier_45_max.unwrap_or(5));
    if first >= second || second >= third {
        let message = "the highest scores of the tiers must rise: `tier_01_max` < `tier_23_max` < `tier_45_max`";
        findings.error(Code::Conflict, "score", message);
    }
}

#[cfg(test)]
mod tests {
    use crate::set::validate::tests::check;

    #[test]
    fn an_automatic_choice_makes_sense() {
        let auto = |more: &str| {
            format!(
                "models: [{{name: m, targets: [{{provider: p, model: x}}]}}]\nsettings: {{auto: {{default_model: m{more}}}}}\n"
            )
        };
        check(&auto(""), &[]);
        check(&auto(", tiers: {complex: p/y}, skills: [{name: c, regex_any: ['(?i)code']}]"), &[]);
        check(&auto(", tiers: {simple: nobody}"), &["settings.auto.tiers.simple"]);
        check(&auto(", tiers: {medium: auto}"), &["settings.auto.tiers.medium"; 2]);
        check(&auto(", skills: [{name: c, regex_any: []}]"), &["settings.auto.skills[0].regex_any"]);
        check(&auto(", skills: [{name: c, regex_any: ['(']}]"), &["settings.auto.skills[0].regex_any[0]"]);
        let explodes = ", skills: [{name: c, regex_any: ['((\\w{100}){100}){100}']}]";
        check(&auto(explodes), &["settings.auto.skills[0].regex_any[0]"]);
        check(&auto(", skills: [{name: 'a\"b', regex_any: [x]}]"), &["settings.auto.skills[0].name"]);
        let twice = ", skills: [{name: c, regex_any: [x]}, {name: c, regex_any: [y]}]";
        check(&auto(twice), &["settings.auto.skills[1].name"]);
        check(&auto(", score: {code: 101}"), &["settings.auto.score.code"]);
        check(&auto(", score: {tier_01_max: 3}"), &["settings.auto.score"]);
        let taken = auto("").replace("name: m,", "name: auto,").replace("default_model: m", "default_model: p/x");
        check(&taken, &["settings.auto.enabled"]);
        check(&taken.replace("default_model", "enabled: false, default_model"), &[]);
    }
}
