//! Selectors → targets: what a model's selectors mean with what is configured and what providers list now. Worked out when
//! either changes.

use std::collections::HashSet;
use std::sync::Arc;

use gateway_model::kind::model::{Model as Document, Selector, Target};
use gateway_model::pattern::regex;
use gateway_model::problem::{Code, Problem};
use regex::Regex;

use crate::known::Discovered;
use crate::snapshot::Provider;

/// Targets that one model gets of its selectors. Nobody asks so many for one request; each costs its strategy a number.
const MAX_SELECTED: usize = 256;

/// A compiled selector. What is `None` holds of each.
struct Filter<'a> {
    selector: &'a Selector,
    provider: Option<Regex>,
    model: Option<Regex>,
}

/// The same documents with targets in place of selectors; those of the document itself come first and are not repeated. In the
/// order of providers, then of models' names.
pub(super) fn expanded(
    documents: &[Document],
    providers: &[Arc<Provider>],
    discovered: &Discovered,
    problems: &mut Vec<Problem>,
) -> Vec<Document> {
    let offered = offered(documents, providers, discovered);
    documents.iter().map(|document| one(document, &offered, problems)).collect()
}

fn one(document: &Document, offered: &[(&str, &str)], problems: &mut Vec<Problem>) -> Document {
    let mut expanded = Document { selectors: Vec::new(), ..document.clone() };
    let mut seen: HashSet<(&str, &str)> =
        document.targets.iter().map(|target| (target.provider.as_str(), target.model.as_str())).collect();
    for (index, selector) in document.selectors.iter().enumerate() {
        let at = |field: &str| format!("models[{}].selectors[{index}].{field}", document.name);
        let filter = match Filter::new(selector) {
            Ok(filter) => filter,
            Err((field, reason)) => {
                problems.push(Problem::error(Code::InvalidValue, at(field), reason));
                continue;
            }
        };
        for (provider, model) in offered.iter().filter(|(provider, model)| filter.takes(provider, model)) {
            if expanded.targets.len() - document.targets.len() == MAX_SELECTED {
                break;
            }
            if seen.insert((provider, model)) {
                expanded.targets.push(Target {
                    provider: (*provider).to_owned(),
                    model: (*model).to_owned(),
                    weight: selector.weight,
                    priority: selector.priority,
                    enabled: true,
                    quirks: Vec::new(),
                });
            }
        }
    }
    expanded
}

/// Provider and model of all that is a target of some model, or that providers list.
fn offered<'a>(
    documents: &'a [Document],
    providers: &'a [Arc<Provider>],
    discovered: &'a Discovered,
) -> Vec<(&'a str, &'a str)> {
    let mut offered = Vec::new();
    for provider in providers {
        let name = &*provider.name;
        let configured = documents.iter().flat_map(|document| &document.targets);
        let configured = configured.filter(|target| target.provider == name).map(|target| target.model.as_str());
        let listed = discovered.of(name).iter().map(|offer| offer.model.as_str());
        let mut models: Vec<&str> = configured.chain(listed).collect();
        models.sort_unstable();
        models.dedup();
        offered.extend(models.into_iter().map(|model| (name, model)));
    }
    offered
}

// === impl Filter ===

impl<'a> Filter<'a> {
    /// Or the field that is wrong, and how.
    fn new(selector: &'a Selector) -> Result<Self, (&'static str, String)> {
        let compiled = |text: &Option<String>, field: &'static str| {
            text.as_deref().map(regex).transpose().map_err(|reason| (field, reason))
        };
        Ok(Self {
            selector,
            provider: compiled(&selector.provider_regex, "provider_regex")?,
            model: compiled(&selector.model_regex, "model_regex")?,
        })
    }

    fn takes(&self, provider: &str, model: &str) -> bool {
        self.selector.provider.as_deref().is_none_or(|wanted| wanted == provider)
            && self.selector.model.as_deref().is_none_or(|wanted| wanted == model)
            && self.provider.as_ref().is_none_or(|wanted| wanted.is_match(provider))
            && self.model.as_ref().is_none_or(|wanted| wanted.is_match(model))
    }
}

#[cfg(test)]
mod tests;
