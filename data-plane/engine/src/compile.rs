//! A configuration → a snapshot, or everything that is wrong with it. Pure: the same set gives the same snapshot, and nothing
//! that serves is touched. The last gate before a configuration is served, on every way by which one arrives.

mod auto;
mod settings;
mod provider;
mod select;
mod model;
mod route;
mod agent;
mod cache;

use std::sync::Arc;

use gateway_ir::offer::Known;
use gateway_model::kind::model::Model as Document;
use gateway_model::problem::Problem;
use gateway_model::set::Set;

use crate::agents;
use crate::budgets::Budgets;
use crate::known::Discovered;
use crate::policy::Overrides;
use crate::shared::SharedLimits;
use crate::snapshot::{Declared, Provider, PublicModel, RouteIndex, Selecting, Snapshot, Target};
use crate::tenants::Tenants;

/// Validates and compiles. All or nothing: with any error there is no snapshot, and every error found is told. Takes time
/// linear in the set; keys are not part of a snapshot.
pub fn compile(set: &Set, revision: u64) -> Result<Snapshot, Vec<Problem>> {
    compile_over(set, revision, &Snapshot::default())
}

/// The same, with what has been seen of those upstreams that are in `served` as they are in the set.
pub fn compile_over(set: &Set, revision: u64, served: &Snapshot) -> Result<Snapshot, Vec<Problem>> {
    let mut problems = set.validate();
    problems.retain(Problem::is_error);
    if !problems.is_empty() {
        return Err(problems);
    }
    let of_settings = Overrides::compile(set.settings.retry.as_ref(), set.settings.timeouts.as_ref())
        .continued(set.settings.continuation.as_ref());
    let providers = provider::compile(set, of_settings, served, &mut problems);
    let keyed = providers.iter().filter_map(|provider| provider.keys.as_ref()).flat_map(|keys| &keys.each);
    let by_account = keyed.map(|provider| (Arc::clone(&provider.account), Arc::clone(provider)));
    let by_name = providers.iter().map(|provider| (Arc::clone(&provider.name), Arc::clone(provider)));
    let providers_by_name = by_name.chain(by_account).collect();
    let selecting = selecting(&set.models, &providers, &mut problems);
    let documents = selecting.as_ref().map_or(&set.models, |selecting| &selecting.expanded);
    let models = model::compile(documents, &providers_by_name, &mut problems);
    let (models, public_models): (Vec<_>, Vec<_>) = models.into_iter().unzip();
    let public_models = public_models.into_iter().chain(demo_models(&providers)).collect();
    let mut snapshot = Snapshot {
        revision,
        settings: settings::compile(&set.settings, &mut problems),
        providers,
        providers_by_name,
        public_models,
        models: models.into_iter().map(|model| (Arc::clone(&model.name), model)).collect(),
        agents: agent::compile(&set.a2a_agents, of_settings, &mut problems),
        selecting: selecting.map(Arc::new),
        tenants: Tenants::new(set, &served.tenants, &served.purses),
        budgets: Budgets::new(set, &served.purses),
        shared_limits: SharedLimits::new(set, &served.shared_limits),
        purses: Arc::clone(&served.purses),
        ..Snapshot::default()
    };
    snapshot.recall = cache::compile(set, &snapshot.providers, &snapshot.models);
    snapshot.routes = route::compile(&set.routes, &snapshot, &mut problems);
    snapshot.route_index = Arc::new(RouteIndex::new(&snapshot.routes));
    if problems.is_empty() { Ok(with_discovered(&snapshot, Arc::default())) } else { Err(problems) }
}

/// The same configuration with what providers list now. Models keep their turns, but where a selector's targets have changed;
/// takes time linear in both.
pub fn with_discovered(snapshot: &Snapshot, discovered: Arc<Discovered>) -> Snapshot {
    match reselected(snapshot, &discovered) {
        Some(reselected) => agents::with_discovered(&reselected, discovered),
        None => agents::with_discovered(snapshot, discovered),
    }
}

/// `None` where no model has selectors.
fn selecting(models: &[Document], providers: &[Arc<Provider>], problems: &mut Vec<Problem>) -> Option<Selecting> {
    if models.iter().all(|model| model.selectors.is_empty()) {
        return None;
    }
    let expanded = select::expanded(models, providers, &Discovered::default(), problems);
    Some(Selecting { documents: models.to_vec(), expanded })
}

/// `None` where every selector stands for the targets that it stood for.
fn reselected(snapshot: &Snapshot, discovered: &Discovered) -> Option<Snapshot> {
    let selecting = snapshot.selecting.as_ref()?;
    // These very documents have compiled before.
    let mut problems = Vec::new();
    let expanded = select::expanded(&selecting.documents, &snapshot.providers, discovered, &mut problems);
    if expanded == selecting.expanded {
        return None;
    }
    let models = model::compile(&expanded, &snapshot.providers_by_name, &mut problems);
    debug_assert!(problems.is_empty(), "{problems:?}");
    let (models, public_models): (Vec<_>, Vec<_>) = models.into_iter().unzip();
    let mut next = Snapshot {
        public_models: public_models.into_iter().chain(demo_models(&snapshot.providers)).collect(),
        models: models.into_iter().map(|model| (Arc::clone(&model.name), model)).collect(),
        selecting: Some(Arc::new(Selecting { documents: selecting.documents.clone(), expanded })),
        ..snapshot.clone()
    };
    for model in next.routes.iter_mut().filter_map(|route| route.model.as_mut()) {
        if let Some(again) = next.models.get(&model.name) {
            *model = Arc::clone(again);
        }
    }
    Some(next)
}

/// The one model of the built-in demo is offered by its direct address: there is nobody who would name it first.
fn demo_models(providers: &[Arc<Provider>]) -> impl Iterator<Item = PublicModel> {
    providers.iter().filter(|provider| provider.endpoint.is_demo()).map(|provider| PublicModel {
        name: format!("{}/chat", provider.name).into(),
        owned_by: Arc::clone(&provider.name),
        description: None,
        facts: Known::default(),
        targets: vec![Target::new(provider, "chat", Declared::default())],
    })
}

#[cfg(test)]
mod tests;
