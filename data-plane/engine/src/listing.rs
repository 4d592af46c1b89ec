//! The list of models: which there are, whose they are, what is known of them. Worked out when the configuration or what
//! providers say has changed, never per request.

use std::sync::Arc;

use gateway_ir::offer::Known;

use crate::auto::Auto;
use crate::known::catalogued;
use crate::snapshot::{Provider, Snapshot, Target};

/// A model as clients are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What clients ask for.
    pub name: Arc<str>,
    /// The provider, where all targets have the same one; else `gateway`.
    pub owned_by: Arc<str>,
    pub description: Option<Arc<str>>,
    pub known: Known,
}

/// The automatic choice, then configured models as listed, then those that the gateway makes itself, then those that providers list, as `provider/model`.
/// Takes time linear in the result.
pub fn listing(snapshot: &Snapshot) -> Vec<Listed> {
    let own = snapshot.public_models.iter().chain(&snapshot.auto_agents).map(|model| Listed {
        name: Arc::clone(&model.name),
        owned_by: Arc::clone(&model.owned_by),
        description: model.description.clone(),
        known: model.facts.clone().or(together(snapshot, &model.targets)),
    });
    let discovered = snapshot.providers.iter().flat_map(|provider| {
        let offers = snapshot.discovered.of(&provider.name).iter();
        let named = offers.map(|offer| (format!("{}/{}", provider.name, offer.model), &*offer.model));
        let others = named.filter(|(name, _)| !snapshot.models.contains_key(name.as_str()));
        others.map(|(name, model)| Listed {
            name: name.into(),
            owned_by: Arc::clone(&provider.name),
            description: None,
            known: known(snapshot, provider, model),
        })
    });
    automatic(snapshot).into_iter().chain(own).chain(discovered).collect()
}

/// What stands for the gateway's own choice, where it is on.
fn automatic(snapshot: &Snapshot) -> Option<Listed> {
    let auto = snapshot.settings.auto.as_ref()?;
    let models: Vec<_> = auto.all_models().filter_map(|name| snapshot.model(name)).collect();
    let targets: Vec<_> = models.iter().flat_map(|model| model.targets()).cloned().collect();
    Some(Listed {
        name: Auto::NAME.into(),
        owned_by: "gateway".into(),
        description: Some("chosen by the gateway for each request".into()),
        known: together(snapshot, &targets),
    })
}

/// A model of a provider that is in no list, by its address; `None` where nothing is known of it.
pub fn addressed(snapshot: &Snapshot, name: &str) -> Option<Listed> {
    let (provider, model) = name.split_once('/')?;
    let provider = snapshot.providers_by_name.get(provider)?;
    let is_known = catalogued(&provider.kind, model) != Known::default();
    is_known.then(|| Listed {
        name: name.into(),
        owned_by: Arc::clone(&provider.name),
        description: None,
        known: known(snapshot, provider, model),
    })
}

/// What is known of a provider's model. Its price is the one that is charged.
pub(crate) fn known(snapshot: &Snapshot, provider: &Provider, model: &str) -> Known {
    let configured = Known { rates: provider.prices.own(model).and_then(|price| price.told()), ..Known::default() };
    let discovered = snapshot.discovered.known(&provider.name, model).cloned().unwrap_or_default();
    configured.or(discovered).or(catalogued(&provider.kind, model))
}

/// What can be counted on whichever target answers.
fn together(snapshot: &Snapshot, targets: &[Arc<Target>]) -> Known {
    let each = targets.iter().map(|target| known(snapshot, &target.provider, &target.model));
    each.reduce(Known::both).unwrap_or_default()
}
