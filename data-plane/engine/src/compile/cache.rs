//! Replies that are given again: who says so, and the identities by which a changed model is another one.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use gateway_model::cache::{Rule, Settings};
use gateway_model::kind;
use gateway_model::kind::provider::OnClientGone;
use gateway_model::set::Set;
use serde::Serialize;

use crate::snapshot::{Bounds, Identity, Index, Model, OfModel, Provider, Recall, Said};

/// `None` where no level switches it on, so that nothing else need be looked at.
pub(super) fn compile(set: &Set, providers: &[Arc<Provider>], models: &Index<Arc<Model>>) -> Option<Arc<Recall>> {
    let settings = set.settings.cache.clone().unwrap_or_default();
    let everywhere =
        Said { on: settings.enabled == Some(true), ttl: settings.ttl.map(|ttl| ttl.0), coalesce: settings.coalesce };
    let rules = set.models.iter().map(|model| &model.cache).chain(set.routes.iter().map(|route| &route.cache));
    let is_wanted = everywhere.on || rules.flatten().any(Rule::is_on);
    is_wanted.then(|| {
        let routes =
            set.routes.iter().filter_map(|route| Some((route.name.as_str().into(), said(route.cache.as_ref()?))));
        Arc::new(Recall {
            bounds: bounds(&settings),
            everywhere,
            providers: providers.iter().map(|provider| of_provider(&provider.written)).collect(),
            models: set.models.iter().filter_map(|document| of_model(document, models)).collect(),
            routes: routes.collect(),
        })
    })
}

fn bounds(settings: &Settings) -> Bounds {
    let (whole, entry) = settings.bounds();
    let size = |n_bytes| usize::try_from(n_bytes).unwrap_or(usize::MAX);
    Bounds { whole: size(whole), entry: size(entry) }
}

fn said(rule: &Rule) -> Said {
    Said { on: rule.is_on(), ttl: rule.ttl().map(|ttl| ttl.0), coalesce: rule.coalesce() }
}

/// Without what decides when, how often and with which key it is asked. Credentials are not serialised, so that a new one of the same
/// account keeps what was answered.
fn of_provider(written: &kind::provider::Provider) -> Identity {
    let shown = kind::provider::Provider {
        api_keys: Vec::new(),
        retry: None,
        timeouts: None,
        continuation: None,
        breaker: None,
        limits: None,
        concurrency: None,
        on_client_gone: OnClientGone::default(),
        probe: None,
        discovery: None,
        ..written.clone()
    };
    identity(&shown)
}

/// The quirks are those of fallbacks, too, which its own document does not say. Another variant of an experiment is another model.
fn of_model(document: &kind::model::Model, models: &Index<Arc<Model>>) -> Option<(Arc<str>, OfModel)> {
    let model = models.get(document.name.as_str())?;
    let quirks: Vec<String> = model.targets().map(|target| format!("{:?}", target.quirks)).collect();
    let shown = kind::model::Model {
        description: None,
        retry: None,
        timeouts: None,
        continuation: None,
        breaker: None,
        hedge: None,
        experiment: None,
        shadow: None,
        cache: None,
        ..document.clone()
    };
    let said = document.cache.as_ref().map(said);
    Some((Arc::clone(&model.name), OfModel { identity: identity(&(shown, quirks)), said }))
}

fn identity(shown: &impl Serialize) -> Identity {
    let text = serde_json::to_vec(shown).expect("documents are plain maps");
    digest(&SHA256, &text).as_ref().try_into().expect("SHA-256 has 32 bytes")
}
