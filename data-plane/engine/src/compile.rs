//! A configuration → a snapshot, or everything that is wrong with it. Pure: the same set gives the same snapshot, and nothing
//! that serves is touched. The last gate before a configuration is served, on every way by which one arrives.

mod settings;
mod provider;
mod model;
mod route;
mod agent;

use std::sync::Arc;

use gateway_ir::offer::Known;
use gateway_model::problem::Problem;
use gateway_model::set::Set;

use crate::agents::with_discovered;
use crate::policy::Overrides;
use crate::snapshot::{Declared, Provider, PublicModel, Snapshot, Target};

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
    let of_settings = Overrides::compile(set.settings.retry.as_ref(), set.settings.timeouts.as_ref());
    let providers = provider::compile(set, of_settings, served, &mut problems);
    let providers_by_name =
        providers.iter().map(|provider| (Arc::clone(&provider.name), Arc::clone(provider))).collect();
    let models = model::compile(&set.models, &providers_by_name, &mut problems);
    let (models, public_models): (Vec<_>, Vec<_>) = models.into_iter().unzip();
    let public_models = public_models.into_iter().chain(demo_models(&providers)).collect();
    let mut snapshot = Snapshot {
        revision,
        settings: settings::compile(&set.settings),
        providers,
        providers_by_name,
        public_models,
        models: models.into_iter().map(|model| (Arc::clone(&model.name), model)).collect(),
        agents: agent::compile(&set.a2a_agents, of_settings, &mut problems),
        ..Snapshot::default()
    };
    snapshot.routes = route::compile(&set.routes, &snapshot, &mut problems);
    if problems.is_empty() { Ok(with_discovered(&snapshot, Arc::default())) } else { Err(problems) }
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
