//! References between resources: everything named exists, and fallbacks end somewhere.

use std::collections::{HashMap, HashSet};

use crate::document::did_you_mean;
use crate::kind::model::Model;
use crate::problem::{Code, Problem};
use crate::set::Set;

struct Names<'a> {
    providers: HashSet<&'a str>,
    models: HashMap<&'a str, &'a Model>,
}

pub(super) fn check(set: &Set, problems: &mut Vec<Problem>) {
    let names = Names {
        providers: set.providers.iter().map(|provider| provider.name.as_str()).collect(),
        models: set.models.iter().map(|model| (model.name.as_str(), model)).collect(),
    };
    for model in &set.models {
        for (index, target) in model.targets.iter().enumerate() {
            let path = format!("models[{}].targets[{index}].provider", model.name);
            names.provider(&target.provider, path, problems);
        }
        for (index, selector) in model.selectors.iter().enumerate() {
            if let Some(provider) = &selector.provider {
                names.provider(provider, format!("models[{}].selectors[{index}].provider", model.name), problems);
            }
        }
        for (index, fallback) in model.fallbacks.iter().enumerate() {
            let path = format!("models[{}].fallbacks[{index}]", model.name);
            names.address(fallback, path, problems);
        }
        for (index, variant) in model.experiment.iter().flat_map(|experiment| experiment.variants.iter().enumerate()) {
            if let Some(named) = &variant.model {
                names.address(named, format!("models[{}].experiment.variants[{index}].model", model.name), problems);
            }
        }
        if let Some(shadow) = &model.shadow {
            names.address(&shadow.model, format!("models[{}].shadow.model", model.name), problems);
        }
    }
    names.cycles(set, problems);
    if let Some(provider) = set.settings.passthrough.as_ref().and_then(|policy| policy.default_provider.as_ref()) {
        names.provider(provider, "settings.passthrough.default_provider".to_owned(), problems);
    }
    if let Some(auto) = &set.settings.auto {
        let tiers = auto.tiers.as_ref();
        for (field, name) in [
            ("default_model", Some(&auto.default_model)),
            ("tiers.simple", tiers.and_then(|tiers| tiers.simple.as_ref())),
            ("tiers.medium", tiers.and_then(|tiers| tiers.medium.as_ref())),
            ("tiers.complex", tiers.and_then(|tiers| tiers.complex.as_ref())),
        ] {
            if let Some(name) = name {
                names.address(name, format!("settings.auto.{field}"), problems);
            }
        }
    }
    for route in &set.routes {
        if let Some(model) = &route.model {
            names.address(model, format!("routes[{}].model", route.name), problems);
        }
    }
    let organizations: HashSet<&str> = set.organizations.iter().map(|one| one.name.as_str()).collect();
    let of_teams = set.teams.iter().map(|team| ("teams", &team.name, &team.organization));
    let of_users = set.users.iter().map(|user| ("users", &user.name, &user.organization));
    for (plural, name, organization) in of_teams.chain(of_users) {
        if let Some(wanted) = organization.as_deref().filter(|wanted| !organizations.contains(wanted)) {
            let message = format!("no organization is named `{wanted}`");
            let path = format!("{plural}[{name}].organization");
            problems.push(Problem::error(Code::UnknownReference, path, message));
        }
    }
    for price in &set.prices {
        names.provider(&price.provider, format!("prices[{}].provider", price.name), problems);
    }
}

// === impl Names ===

impl Names<'_> {
    fn provider(&self, name: &str, path: String, problems: &mut Vec<Problem>) {
        if !self.providers.contains(name) {
            let known: Vec<_> = self.providers.iter().copied().take(1000).collect();
            let hint = did_you_mean(name, &known.join(",")).map(|close| format!("; did you mean `{close}`?"));
            let message = format!("no provider is named `{name}`{}", hint.unwrap_or_default());
            problems.push(Problem::error(Code::UnknownReference, path, message));
        }
    }

    /// A model's name, or `provider/model`.
    fn address(&self, address: &str, path: String, problems: &mut Vec<Problem>) {
        if self.models.contains_key(address) {
            return;
        }
        match address.split_once('/') {
            Some((provider, model)) if !model.is_empty() => self.provider(provider, path, problems),
            _ => {
                let message = format!("no model is named `{address}`; write a model's name or `provider/model`");
                problems.push(Problem::error(Code::UnknownReference, path, message));
            }
        }
    }

    /// Fallbacks that lead back to where they began. Each model is walked through once, however long the chains are.
    fn cycles(&self, set: &Set, problems: &mut Vec<Problem>) {
        let mut finished: HashSet<&str> = HashSet::new();
        for model in &set.models {
            // The way from `model` down to where the walk is, and how many fallbacks of each have been followed.
            let mut way: Vec<(&Model, usize)> = Vec::new();
            if !finished.contains(model.name.as_str()) {
                way.push((model, 0));
            }
            while let Some((here, n_followed)) = way.last_mut() {
                let (here, next) = (*here, here.fallbacks.get(*n_followed));
                *n_followed += 1;
                match next.map(|name| self.models.get(name.as_str())) {
                    None => {
                        finished.insert(&here.name);
                        way.pop();
                    }
                    Some(Some(next)) if way.iter().any(|(model, _)| model.name == next.name) => {
                        let path = format!("models[{}].fallbacks", here.name);
                        let message = format!("`{}` falls back to `{}`, which falls back to it", here.name, next.name);
                        problems.push(Problem::error(Code::Conflict, path, message));
                    }
                    Some(Some(next)) if !finished.contains(next.name.as_str()) => way.push((next, 0)),
                    Some(_) => {}
                }
            }
        }
    }
}
