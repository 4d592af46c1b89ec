//! What can be wrong with experiments and shadows.

use std::collections::HashSet;

use super::Findings;
use crate::kind::model::Model;
use crate::kind::model::trial::{Experiment, Shadow};
use crate::kind::settings::auto::NAMES;
use crate::problem::Code;
use crate::set::Set;

pub(super) fn check(set: &Set, findings: &mut Findings<'_>) {
    let on_trial: HashSet<&str> =
        set.models.iter().filter(|model| model.experiment.is_some()).map(|model| model.name.as_str()).collect();
    for model in &set.models {
        findings.path = format!("models[{}]", model.name);
        if let Some(experiment) = &model.experiment {
            check_experiment(model, experiment, &on_trial, findings);
        }
        if let Some(shadow) = &model.shadow {
            check_shadow(model, shadow, findings);
        }
    }
}

fn check_experiment(model: &Model, experiment: &Experiment, on_trial: &HashSet<&str>, findings: &mut Findings<'_>) {
    word(&experiment.name, "experiment.name", findings);
    if !(2..=8).contains(&experiment.variants.len()) {
        findings.error(Code::InvalidValue, "experiment.variants", "an experiment has from 2 to 8 variants");
    }
    let mut seen = HashSet::new();
    for (position, variant) in experiment.variants.iter().enumerate() {
        let at = |field: &str| format!("experiment.variants[{position}].{field}");
        word(&variant.name, &at("name"), findings);
        if !seen.insert(&variant.name) {
            findings.error(Code::DuplicateName, &at("name"), format!("`{}` is defined twice", variant.name));
        }
        if variant.weight > 10_000 {
            findings.error(Code::InvalidValue, &at("weight"), "must be at most 10000");
        }
        let Some(named) = &variant.model else { continue };
        if *named == model.name {
            findings.error(Code::Conflict, &at("model"), "is the model itself; leave it out for its own targets");
        } else if on_trial.contains(named.as_str()) {
            let message = format!("`{named}` has an experiment of its own, which would be one within another");
            findings.error(Code::Conflict, &at("model"), message);
        } else {
            automatic(named, &at("model"), findings);
        }
    }
    if experiment.variants.iter().all(|variant| variant.weight == 0) {
        findings.error(Code::InvalidValue, "experiment.variants", "every weight is 0: nobody would get any of them");
    }
}

fn check_shadow(model: &Model, shadow: &Shadow, findings: &mut Findings<'_>) {
    if shadow.model == model.name {
        findings.error(Code::Conflict, "shadow.model", "is the model itself");
    }
    automatic(&shadow.model, "shadow.model", findings);
    if !(0.0..=100.0).contains(&shadow.percent) {
        findings.error(Code::InvalidValue, "shadow.percent", "must be from 0 to 100");
    }
    if shadow.max_concurrent.is_some_and(|most| !(1..=256).contains(&most)) {
        findings.error(Code::InvalidValue, "shadow.max_concurrent", "must be from 1 to 256");
    }
}

fn automatic(name: &str, field: &str, findings: &mut Findings<'_>) {
    if NAMES.contains(&name) {
        findings.error(Code::Conflict, field, "is the automatic choice; name the model that is meant");
    }
}

fn word(name: &str, field: &str, findings: &mut Findings<'_>) {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > 64 || !name.chars().all(is_word) {
        let message = "must be 1 to 64 characters of a-z, A-Z, 0-9, `.`, `_` and `-`: it becomes a header and a label";
        findings.error(Code::InvalidValue, field, message);
    }
}

#[cfg(test)]
mod tests {
    use crate::set::validate::tests::check;

    #[test]
    fn what_is_tried_out_makes_sense() {
        let models = |more: &str| {
            format!(
                "models:\n  - {{name: m, targets: [{{provider: p, model: x}}], {more}}}\n  - {{name: n, targets: [{{provider: p, model: y}}]}}\n"
            )
        };
        let arms = |arms: &str| models(&format!("experiment: {{name: e, variants: [{arms}]}}"));
        check(&arms("{name: a}, {name: b, model: n, weight: 3}"), &[]);
        check(&arms("{name: a}, {name: b, model: p/z}"), &[]);
        check(&arms("{name: a}"), &["models[m].experiment.variants"]);
        check(&arms("{name: a}, {name: a}"), &["models[m].experiment.variants[1].name"]);
        check(&arms("{name: 'a b'}, {name: b}"), &["models[m].experiment.variants[0].name"]);
        check(&arms("{name: a, weight: 0}, {name: b, weight: 0}"), &["models[m].experiment.variants"]);
        check(&arms("{name: a, weight: 10001}, {name: b}"), &["models[m].experiment.variants[0].weight"]);
        check(&arms("{name: a, model: m}, {name: b}"), &["models[m].experiment.variants[0].model"]);
        check(&arms("{name: a, model: auto}, {name: b}"), &["models[m].experiment.variants[0].model"; 2]);
        check(&arms("{name: a, model: nobody}, {name: b}"), &["models[m].experiment.variants[0].model"]);
        let nested = arms("{name: a}, {name: b, model: n}")
            .replace("model: y}]", "model: y}], experiment: {name: f, variants: [{name: a}, {name: b}]}");
        check(&nested, &["models[m].experiment.variants[1].model"]);

        let shadow = |shadow: &str| models(&format!("shadow: {{{shadow}}}"));
        check(&shadow("model: n, percent: 0.25, max_concurrent: 1"), &[]);
        check(&shadow("model: m, percent: 100"), &["models[m].shadow.model"]);
        check(&shadow("model: nobody, percent: 1"), &["models[m].shadow.model"]);
        check(&shadow("model: n, percent: 101"), &["models[m].shadow.percent"]);
        check(&shadow("model: n, percent: -1"), &["models[m].shadow.percent"]);
        check(&shadow("model: n, percent: 1, max_concurrent: 0"), &["models[m].shadow.max_concurrent"]);
    }
}
