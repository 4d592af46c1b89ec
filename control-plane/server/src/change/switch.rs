//! Deployments, as the seed's API calls the targets of models: taken out of rotation and put back, without anything else of the
//! model being written.

use std::fmt;

use aws_lc_rs::digest;
use gateway_model::document::Resource;
use gateway_model::kind::model::{Model, Strategy, Target};
use gateway_model::set::Set;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Refusal;
use super::draft::Draft;
use super::plan::Plan;

/// Which deployments: those for which everything holds that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// As the list has it.
    pub id: Option<String>,
    /// The public model.
    #[serde(alias = "model")]
    pub model_alias: Option<String>,
    pub provider: Option<String>,
    /// The upstream's own name of it.
    #[serde(alias = "upstream_model")]
    pub provider_model: Option<String>,
}

/// A wish to have deployments in rotation or out of it.
#[derive(Clone, Debug)]
pub struct Switch {
    pub which: Which,
    pub enabled: bool,
}

/// One target of a model.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Deployment {
    /// The same for as long as model, provider and upstream model are.
    pub id: String,
    pub model_alias: String,
    pub provider: String,
    pub provider_model: String,
    pub weight: u32,
    pub priority: u32,
    pub routing_strategy: Strategy,
    pub is_active: bool,
}

/// All of a configuration, by model.
pub fn deployments(set: &Set) -> impl Iterator<Item = Deployment> {
    set.models.iter().flat_map(|model| model.targets.iter().map(|target| Deployment::new(model, target)))
}

/// Plans the switch; what is so already stays untouched.
pub(super) fn plan(plan: &mut Plan<'_>, switch: &Switch) -> Result<(), Refusal> {
    let mut models = plan.models();
    models.retain(|model| model.targets.iter().any(|target| switch.which.covers(&Deployment::new(model, target))));
    if models.is_empty() {
        return Err(Refusal::NotFound { kind: "deployment", name: switch.which.to_string() });
    }
    for model in models {
        let mut switched = model.clone();
        let covered = switched.targets.iter_mut().filter(|target| switch.which.covers(&Deployment::new(model, target)));
        covered.for_each(|target| target.enabled = switch.enabled);
        plan.put(Draft::from(Resource::Model(Box::new(switched))), None)?;
    }
    Ok(())
}

pub(super) fn is_covered(which: &Which, model: &Model, target: &Target) -> bool {
    which.covers(&Deployment::new(model, target))
}

// === impl Switch ===

impl Switch {
    pub fn verb(&self) -> &'static str {
        if self.enabled { "enable" } else { "disable" }
    }
}

// === impl Which ===

impl Which {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub fn covers(&self, deployment: &Deployment) -> bool {
        let holds = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        holds(&self.id, &deployment.id)
            && holds(&self.model_alias, &deployment.model_alias)
            && holds(&self.provider, &deployment.provider)
            && holds(&self.provider_model, &deployment.provider_model)
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = [&self.id, &self.model_alias, &self.provider, &self.provider_model];
        let given: Vec<&str> = given.into_iter().filter_map(Option::as_deref).collect();
        f.write_str(&given.join(" "))
    }
}

// === impl Deployment ===

impl Deployment {
    fn new(model: &Model, target: &Target) -> Self {
        Self {
            id: id(&model.name, target),
            model_alias: model.name.clone(),
            provider: target.provider.clone(),
            provider_model: target.model.clone(),
            weight: target.weight,
            priority: target.priority,
            routing_strategy: model.strategy,
            is_active: target.enabled,
        }
    }
}

/// Of letters that a path may hold; names may hold others.
fn id(model: &str, target: &Target) -> String {
    let names = format!("{model}\0{}\0{}", target.provider, target.model);
    let digest = digest::digest(&digest::SHA256, names.as_bytes());
    digest.as_ref()[..10].iter().fold("dpl_".to_owned(), |id, byte| format!("{id}{byte:02x}"))
}
