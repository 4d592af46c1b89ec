//! Models that the gateway makes itself, out of those that are configured or discovered, by what is known of them; and how
//! what providers list becomes part of a snapshot.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use gateway_ir::offer::Known;
use gateway_model::kind::settings::AutoAgent;

use crate::known::Discovered;
use crate::listing::known;
use crate::routing::{priority, weighted};
use crate::snapshot::{Declared, Group, Model, Provider, PublicModel, Snapshot, Target};

/// Nobody asks more targets than this for one request, and a turn should come round.
const MAX_TARGETS: usize = 16;

/// A model that may become part of another.
struct Candidate<'a> {
    provider: &'a Arc<Provider>,
    model: &'a str,
    known: Known,
}

/// The same configuration with what providers list now, but for selectors. Models keep their turns; takes time linear in both.
pub(crate) fn with_discovered(snapshot: &Snapshot, discovered: Arc<Discovered>) -> Snapshot {
    let mut merged = Snapshot { discovered, ..snapshot.clone() };
    relist(&mut merged);
    for agent in merged.auto_agents.drain(..) {
        merged.models.remove(&agent.name);
    }
    let made = agents(&merged);
    for (model, shown) in made {
        merged.models.insert(Arc::clone(&model.name), model);
        merged.auto_agents.push(shown);
    }
    merged
}

/// Every target at the price that holds with what is discovered, and as able. Groups that models share stay shared.
fn relist(snapshot: &mut Snapshot) {
    let discovered = Arc::clone(&snapshot.discovered);
    let mut relisted: HashMap<*const Group, Arc<Group>> = HashMap::new();
    let mut one = |model: &mut Arc<Model>| {
        let group = |group: &Arc<Group>| {
            Arc::clone(relisted.entry(Arc::as_ptr(group)).or_insert_with(|| group.listed(&discovered)))
        };
        let groups: Vec<_> = model.groups.iter().map(group).collect();
        if groups.iter().zip(&model.groups).any(|(new, old)| !Arc::ptr_eq(new, old)) {
            *model = Arc::new(Model {
                name: Arc::clone(&model.name),
                groups,
                affinity: model.affinity.clone(),
                overrides: model.overrides,
                experiment: model.experiment.clone(),
                shadow: model.shadow.clone(),
            });
        }
    };
    snapshot.models.values_mut().for_each(&mut one);
    snapshot.routes.iter_mut().filter_map(|route| route.model.as_mut()).for_each(one);
}

/// Those that are wanted, whose name is free and for which there is at least one model.
fn agents(snapshot: &Snapshot) -> Vec<(Arc<Model>, PublicModel)> {
    let wanted = &snapshot.settings.auto_agents;
    if wanted.is_empty() {
        return Vec::new();
    }
    let candidates = candidates(snapshot);
    let discovered = &snapshot.discovered;
    let free = wanted.iter().filter(|agent| !snapshot.models.contains_key(agent.name()));
    free.filter_map(|agent| made(*agent, &candidates, discovered)).collect()
}

/// What is configured first, then what is discovered, the cheaper before the dearer.
fn candidates(snapshot: &Snapshot) -> Vec<Candidate<'_>> {
    let configured = snapshot.public_models.iter().flat_map(|model| &model.targets);
    let configured = configured.map(|target| (&target.provider, &*target.model));
    let discovered = snapshot.providers.iter().flat_map(|provider| {
        snapshot.discovered.of(&provider.name).iter().map(move |offer| (provider, offer.model.as_str()))
    });
    let mut seen = HashSet::new();
    let mut candidates: Vec<(bool, Candidate<'_>)> = Vec::new();
    for (is_discovered, (provider, model)) in
        configured.map(|named| (false, named)).chain(discovered.map(|named| (true, named)))
    {
        if seen.insert((provider.index, model)) {
            candidates.push((is_discovered, Candidate { provider, model, known: known(snapshot, provider, model) }));
        }
    }
    candidates.sort_by_key(|(is_discovered, candidate)| {
        let price = candidate.known.rates.map_or(u64::MAX, |rates| rates.input);
        (*is_discovered, is_discovered.then_some(price))
    });
    candidates.into_iter().map(|(_, candidate)| candidate).collect()
}

fn made(agent: AutoAgent, candidates: &[Candidate<'_>], discovered: &Discovered) -> Option<(Arc<Model>, PublicModel)> {
    let fitting = candidates.iter().filter(|candidate| fits(agent, candidate)).take(MAX_TARGETS);
    let target = |candidate: &Candidate<'_>| Target::new(candidate.provider, candidate.model, Declared::default());
    let targets: Vec<Arc<Target>> = fitting.map(|candidate| target(candidate).listed(discovered)).collect();
    if targets.is_empty() {
        return None;
    }
    let name: Arc<str> = agent.name().into();
    let members = targets.iter().map(|target| (Arc::clone(target), 1)).collect();
    let (group, description) = match agent {
        AutoAgent::AutoFast | AutoAgent::AutoVision | AutoAgent::AutoTools | AutoAgent::AutoBalanced => {
            (weighted::group(members), "made by the gateway: its models in turn")
        }
        AutoAgent::AutoReasoning | AutoAgent::AutoLarge | AutoAgent::AutoCoding => {
            (priority::group(members), "made by the gateway: the first of its models that answers")
        }
    };
    let shown = PublicModel {
        name: Arc::clone(&name),
        owned_by: "gateway".into(),
        description: Some(description.into()),
        facts: Known::default(),
        targets,
    };
    Some((Arc::new(Model::plain(name, vec![Arc::new(group)])), shown))
}

/// What is not known is not there.
fn fits(agent: AutoAgent, candidate: &Candidate<'_>) -> bool {
    /// How makers of models call those for code.
    const CODERS: [&str; 3] = ["code", "coder", "codestral"];
    let known = &candidate.known;
    let is = |fact: Option<bool>| fact == Some(true);
    let context = known.context_window.unwrap_or_default();
    if known.mode.is_some_and(|mode| mode != "chat") {
        return false;
    }
    match agent {
        AutoAgent::AutoFast => (1..=32_768).contains(&context) && known.max_tokens.is_some_and(|most| most <= 4096),
        AutoAgent::AutoReasoning => is(known.reasoning) && context >= 128_000,
        AutoAgent::AutoVision => is(known.vision),
        AutoAgent::AutoTools => is(known.tool_calls),
        AutoAgent::AutoLarge => context >= 200_000,
        AutoAgent::AutoBalanced => (32_000..=131_072).contains(&context),
        AutoAgent::AutoCoding => {
            let name = candidate.model.to_ascii_lowercase();
            is(known.tool_calls) && CODERS.iter().any(|word| name.contains(word))
        }
    }
}

#[cfg(test)]
mod tests;
