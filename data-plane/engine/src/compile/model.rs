//! Public models: their targets in groups, by priority and strategy, and behind them those of their fallbacks.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use gateway_ir::offer::Known;
use gateway_ir::quirks::Quirks;
use gateway_model::kind::model::trial::{Experiment as ExperimentDocument, Shadow as ShadowDocument};
use gateway_model::kind::model::{Model as Document, Strategy};
use gateway_model::problem::{Code, Problem};
use gateway_providers::quirks;

use super::provider::unknown_quirk;
use crate::known::configured;
use crate::policy::Overrides;
use crate::routing::{priority, weighted};
use crate::snapshot::{
    Affinity, Declared, Experiment, Group, Index, Model, Order, Provider, PublicModel, Shadow, Target, Variant,
};

/// Groups of one model, fallbacks included. A request makes ten attempts at most, so that nothing behind is ever reached, and
/// long chains of fallbacks stay cheap.
const MAX_GROUPS: usize = 32;

/// What a model is by itself.
struct Own<'a> {
    document: &'a Document,
    groups: Vec<Arc<Group>>,
}

pub(super) fn compile(
    documents: &[Document],
    providers: &Index<Arc<Provider>>,
    problems: &mut Vec<Problem>,
) -> Vec<(Arc<Model>, PublicModel)> {
    let mut own = HashMap::with_capacity(documents.len());
    for document in documents {
        let facts = document.facts.as_ref().map(|facts| Arc::new(configured(facts)));
        let groups = groups(document, facts.as_ref(), providers, problems);
        own.insert(document.name.as_str(), Own { document, groups });
    }
    let model = |document: &Document| {
        let groups = with_fallbacks(document, &own, providers, problems);
        let model = Model {
            affinity: affinity(document, &groups),
            overrides: Overrides::compile(document.retry.as_ref(), document.timeouts.as_ref())
                .hedged(document.hedge.as_ref())
                .continued(document.continuation.as_ref()),
            experiment: document.experiment.as_ref().map(|document| Arc::new(experiment(document))),
            shadow: document.shadow.as_ref().map(|document| Arc::new(shadow(document))),
            ..Model::plain(document.name.as_str().into(), groups)
        };
        let shown = public(document, &model, &own[document.name.as_str()].groups);
        (Arc::new(model), shown)
    };
    documents.iter().map(model).collect()
}

fn experiment(document: &ExperimentDocument) -> Experiment {
    let mut total = 0;
    let variants = document.variants.iter().map(|variant| {
        total += u64::from(variant.weight);
        let model = variant.model.as_deref().map(Arc::from);
        (total, Variant { name: variant.name.as_str().into(), model })
    });
    let variants = variants.collect();
    Experiment { name: document.name.as_str().into(), by: document.by, variants }
}

fn shadow(document: &ShadowDocument) -> Shadow {
    /// As the documentation has it.
    const MAX_CONCURRENT: u32 = 8;
    // Validated to be from 0 to 100.
    let share = (document.percent * 100.0).round() as u32;
    Shadow::new(document.model.as_str().into(), share, document.max_concurrent.unwrap_or(MAX_CONCURRENT))
}

/// As the list of models has it.
fn public(document: &Document, model: &Model, own: &[Arc<Group>]) -> PublicModel {
    let mut targets = model.groups.iter().flat_map(|group| &group.members);
    let owned_by = match targets.next() {
        Some(first) if targets.all(|target| target.provider.index == first.provider.index) => {
            Arc::clone(&first.provider.name)
        }
        _ => "gateway".into(),
    };
    PublicModel {
        name: Arc::clone(&model.name),
        owned_by,
        description: document.description.as_deref().map(Arc::from),
        facts: document.facts.as_ref().map(configured).unwrap_or_default(),
        targets: own.iter().flat_map(|group| &group.members).cloned().collect(),
    }
}

/// What keeps the requests of a model together. Its fallbacks may ask where it does not.
fn affinity(document: &Document, groups: &[Arc<Group>]) -> Option<Affinity> {
    let is_sticky = groups.iter().any(|group| matches!(group.order, Order::Sticky));
    let header = document.sticky_header.as_deref().and_then(|name| name.parse().ok());
    is_sticky.then_some(Affinity { header, by_opening: document.sticky_opening })
}

/// Enabled targets, lowest priority number first. One that is listed twice in a priority is one target with both weights.
fn groups(
    document: &Document,
    facts: Option<&Arc<Known>>,
    providers: &Index<Arc<Provider>>,
    problems: &mut Vec<Problem>,
) -> Vec<Arc<Group>> {
    let mut by_priority: BTreeMap<u32, Vec<(Arc<Target>, u32)>> = BTreeMap::new();
    let mut places = HashMap::new();
    for (position, target) in document.targets.iter().enumerate().filter(|(_, target)| target.enabled) {
        let Some(provider) = providers.get(target.provider.as_str()) else {
            let path = format!("models[{}].targets[{position}].provider", document.name);
            let message = format!("no provider is named `{}`", target.provider);
            problems.push(Problem::error(Code::UnknownReference, path, message));
            continue;
        };
        let quirks = quirks::declared(&target.quirks, None).unwrap_or_else(|name| {
            let path = format!("models[{}].targets[{position}].quirks", document.name);
            problems.push(unknown_quirk(path, name));
            Quirks::default()
        });
        let targets = by_priority.entry(target.priority).or_default();
        let place =
            *places.entry((target.priority, provider.index, &target.model, &target.quirks)).or_insert(targets.len());
        match targets.get_mut(place) {
            Some((_, weight)) => *weight = weight.saturating_add(target.weight),
            None => {
                let vocabulary = document.facts.as_ref().and_then(|facts| facts.vocabulary);
                let declared = Declared { quirks, breaker: document.breaker.as_ref(), facts, vocabulary };
                targets.push((Target::new(provider, &target.model, declared), target.weight));
            }
        }
    }
    by_priority.into_values().map(|targets| Arc::new(group(document, targets))).collect()
}

/// Targets of one priority.
fn group(document: &Document, targets: Vec<(Arc<Target>, u32)>) -> Group {
    let order = match document.strategy {
        Strategy::Weighted => return weighted::group(targets),
        Strategy::RoundRobin => return weighted::even(targets),
        Strategy::Priority => return priority::group(targets),
        Strategy::Random => Order::Random,
        Strategy::LeastLatency => Order::LeastLatency,
        Strategy::LeastBusy => Order::LeastBusy,
        Strategy::Cheapest => Order::Cheapest,
        Strategy::Balanced => {
            let (latency, cost, capability) = document
                .balance
                .as_ref()
                .map_or((1, 1, 1), |balance| (balance.latency, balance.cost, balance.capability));
            Order::Balanced { latency: f64::from(latency), cost: f64::from(cost), capability: f64::from(capability) }
        }
        Strategy::Sticky => Order::Sticky,
    };
    Group::new(targets, order)
}

/// The model's own groups, then those of its fallbacks and of theirs, each model once, depth first as listed. Without
/// recursion: chains may be as long as the configuration.
fn with_fallbacks<'a>(
    document: &'a Document,
    own: &HashMap<&'a str, Own<'a>>,
    providers: &Index<Arc<Provider>>,
    problems: &mut Vec<Problem>,
) -> Vec<Arc<Group>> {
    let mut groups = Vec::new();
    let mut seen = HashSet::new();
    let mut pending = vec![document.name.as_str()];
    while let Some(name) = pending.pop()
        && groups.len() < MAX_GROUPS
    {
        if !seen.insert(name) {
            continue;
        }
        let addressed = || name.split_once('/').and_then(|(provider, model)| Some((providers.get(provider)?, model)));
        if let Some(named) = own.get(name) {
            groups.extend(named.groups.iter().cloned());
            pending.extend(named.document.fallbacks.iter().rev().map(String::as_str));
        } else if let Some((provider, model)) = addressed() {
            let declared = Declared { breaker: document.breaker.as_ref(), ..Declared::default() };
            groups.push(Arc::new(Group::of_one(Target::new(provider, model, declared))));
        } else {
            let path = format!("models[{}].fallbacks", document.name);
            let message = format!("`{name}` is neither a model nor `provider/model` of a known provider");
            problems.push(Problem::error(Code::UnknownReference, path, message));
        }
    }
    groups
}
