//! Deployments that come and go one by one, and the strategy over those of a model, as other gateways have them: worked out from the model
//! as it is when the change is made, so that nobody's other change of it is lost.

use gateway_model::document::Resource;
use gateway_model::kind::Kind;
use gateway_model::kind::model::{Model, Strategy, Target};
use serde_json::json;

use super::Refusal;
use super::draft::Draft;
use super::plan::Plan;
use super::switch::{Which, is_covered};

/// A wish for other targets.
#[derive(Clone, Debug)]
pub enum Retarget {
    /// A model that is not there yet is made with it. The strategy must be the model's, where one is said.
    Add {
        model: String,
        strategy: Option<Strategy>,
        target: Target,
    },
    /// A model that has nothing left to go to is deleted.
    Remove(Which),
    Strategy {
        model: String,
        strategy: Strategy,
    },
}

pub(super) fn plan(plan: &mut Plan<'_>, wanted: &Retarget) -> Result<(), Refusal> {
    match wanted {
        Retarget::Add { model, strategy, target } => match find(plan, model) {
            Some(model) => put(plan, added(model, *strategy, target)?),
            None => {
                let document = json!({"name": model, "strategy": strategy.unwrap_or_default(), "targets": [target]});
                plan.put(Draft::from_document(Kind::Model, document)?, None)
            }
        },
        Retarget::Remove(which) => remove(plan, which),
        Retarget::Strategy { model: name, strategy } => {
            let model = find(plan, name).ok_or_else(|| not_found(Kind::Model.name(), name))?;
            put(plan, Model { strategy: *strategy, ..model.clone() })
        }
    }
}

fn added(model: &Model, strategy: Option<Strategy>, target: &Target) -> Result<Model, Refusal> {
    if let Some(wanted) = strategy.filter(|strategy| *strategy != model.strategy) {
        return Err(Refusal::OtherStrategy {
            model: model.name.clone(),
            is: word(model.strategy),
            wanted: word(wanted),
        });
    }
    if model.targets.iter().any(|known| (&known.provider, &known.model) == (&target.provider, &target.model)) {
        let name = format!("{}: {}/{}", model.name, target.provider, target.model);
        return Err(Refusal::Exists { kind: "deployment", name });
    }
    let mut model = model.clone();
    model.targets.push(target.clone());
    Ok(model)
}

fn remove(plan: &mut Plan<'_>, which: &Which) -> Result<(), Refusal> {
    let covers = |model: &Model, target: &Target| is_covered(which, model, target);
    let found = plan.models().into_iter().find(|model| model.targets.iter().any(|target| covers(model, target)));
    let mut model = found.cloned().ok_or_else(|| not_found("deployment", &which.to_string()))?;
    let before = model.clone();
    model.targets.retain(|target| !covers(&before, target));
    if !model.targets.is_empty() || !model.selectors.is_empty() {
        return put(plan, model);
    }
    match plan.before(Kind::Model, &model.name).cloned() {
        Some(entry) => plan.delete(&entry),
        None => Ok(()),
    }
}

fn find<'a>(plan: &Plan<'a>, name: &str) -> Option<&'a Model> {
    plan.models().into_iter().find(|model| model.name == name)
}

fn put(plan: &mut Plan<'_>, model: Model) -> Result<(), Refusal> {
    plan.put(Draft::from(Resource::Model(Box::new(model))), None)
}

fn word(strategy: Strategy) -> String {
    json!(strategy).as_str().unwrap_or_default().to_owned()
}

fn not_found(kind: &'static str, name: &str) -> Refusal {
    Refusal::NotFound { kind, name: name.to_owned() }
}
