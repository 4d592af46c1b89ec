//! Request → model and policy: a pure lookup that may refuse, and chooses nothing yet.
//!
//! What serves is decided by, in this order: a forced route, else the first route that matches; the route's model, else the
//! forced model, else the one in the body; and a forced provider narrows that to its targets. Where the chosen model has the
//! forced model among its targets, the header narrows too, so that it can never leave what a route offers.
//!
//! A caller must be allowed the name that it asks for (in the body, or by header), or the model that the route makes of it:
//! routes are made by operators, and sending all traffic of a narrow key to a model of their choice is what they are for.

mod trial;

use std::sync::Arc;

use gateway_ir::failure::{Code, Failure};
use gateway_ir::prompt;
use gateway_model::policy::Unpriced;

pub use self::trial::Arm;
pub use crate::ask::Ask;
use crate::bodies::Keeping;
use crate::identity::Caller;
use crate::policy::{Overrides, Policy};
use crate::shared::AtCredentials;
use crate::snapshot::{Affinity, Model, Route, Shadow, Snapshot, Target, of_account, steady_hash};

/// Evidence that the caller may do this, and with what.
#[derive(Debug)]
pub struct Resolved {
    pub route: Option<Arc<str>>,
    pub model: Arc<Model>,
    /// The model that a variant of its experiment serves in place of.
    tried: Option<Arc<Model>>,
    /// The route's level, and behind it the model's.
    overrides: Overrides,
    /// The same for requests that belong together; 0 where nobody asks.
    pub(crate) affinity: u64,
    /// `None`: every target will do.
    only: Option<Only>,
    /// What its caller may use of credentials.
    pub(crate) beside: AtCredentials,
    /// Who is asked too, behind the request: of the model that was asked for, whatever variant serves.
    pub shadow: Option<Arc<Shadow>>,
    /// What is kept of the bodies, by the nearest that says it: key, route, settings.
    pub log_bodies: Option<Arc<Keeping>>,
}

/// What forcing headers leave of a model's targets.
#[derive(Clone, Debug, Default)]
struct Only {
    provider: Option<Box<str>>,
    /// One of the provider's several keys.
    key: Option<Box<str>>,
    model: Option<Box<str>>,
}

/// The forcing headers' own texts, which clients may compare.
const NO_PROVIDER: &str = "requested provider is not available for this route";
const NO_MODEL: &str = "requested model is not available for this route";

/// Finds what serves a request. Without a route and forcing headers it costs one lookup and allocates nothing.
pub fn resolve(snapshot: &Snapshot, ask: &Ask<'_>, caller: &Caller) -> Result<Resolved, Box<Failure>> {
    let route = find_route(snapshot, ask, caller)?;
    let offered = route.and_then(|route| route.model.as_ref());
    let (model, only) = match (offered, ask.forced_model) {
        (Some(offered), forced) => (Arc::clone(offered), only(offered, ask.forced_provider, forced)?),
        (None, None) => asked_for(snapshot, ask)?,
        (None, Some(forced)) => forced_to(snapshot, ask, forced, caller)?,
    };
    let asked = ask.name();
    // A route that matched is the operator's word on what a name stands for; one that the caller picked is not.
    let is_rerouted = offered.is_some() && ask.forced_route.is_none();
    let is_allowed = caller.may_use(&model.name) || is_rerouted && caller.may_use(asked);
    if !is_allowed {
        return Err(not_allowed(asked));
    }
    Ok(resolved(snapshot, (route, model, only), ask, caller))
}

/// The same where the client leaves the choice to the gateway: of the model of the route that matches and then of `models`, the
/// first that the caller may use. What is asked for is never a way past that.
pub fn resolve_chosen<'a>(
    snapshot: &Snapshot,
    ask: &Ask<'_>,
    models: impl Iterator<Item = &'a str>,
    caller: &Caller,
) -> Result<Resolved, Box<Failure>> {
    let route = find_route(snapshot, ask, caller)?;
    let offered = route.and_then(|route| route.model.clone());
    let mut models = offered.into_iter().chain(models.filter_map(|name| snapshot.model(name)));
    let model = models.find(|model| caller.may_use(&model.name)).ok_or_else(|| not_allowed(ask.model))?;
    let only = only(&model, ask.forced_provider, None)?;
    Ok(resolved(snapshot, (route, model, only), ask, caller))
}

fn resolved(
    snapshot: &Snapshot,
    (route, model, only): (Option<&Route>, Arc<Model>, Option<Only>),
    ask: &Ask<'_>,
    caller: &Caller,
) -> Resolved {
    let overrides = route.map_or(model.overrides, |route| route.overrides.or(model.overrides));
    let affinity = model.affinity.as_ref().map_or(0, |affinity| affinity_of(affinity, ask, caller));
    let (shadow, beside) = (model.shadow.clone(), AtCredentials::default());
    let log_bodies = caller.log_bodies().or(route.and_then(|route| route.log_bodies.as_ref()));
    let log_bodies = log_bodies.or(snapshot.settings.log_bodies.as_ref()).cloned();
    let route = route.map(|route| Arc::clone(&route.name));
    Resolved { route, model, tried: None, overrides, affinity, only, beside, shadow, log_bodies }
}

/// Sessions are a caller's own: two callers' of the same name have nothing in common.
fn affinity_of(affinity: &Affinity, ask: &Ask<'_>, caller: &Caller) -> u64 {
    let header = affinity.header.as_ref().and_then(|name| ask.headers.get(name)).map(http::HeaderValue::as_bytes);
    let together = match header.or(ask.session.map(str::as_bytes)) {
        None if affinity.by_opening => prompt::opening(ask.body),
        named => Vec::from_iter(named),
    };
    let caller: [&[u8]; 2] = [caller.id.as_bytes(), b"/"];
    steady_hash(0, caller.into_iter().chain(together))
}

// === impl Resolved ===

impl Resolved {
    /// Time limits and attempts towards a target: route, model, provider, settings, defaults; the nearest that says something.
    pub fn policy(&self, target: &Target, stream: bool) -> Policy {
        let defaults = if stream { &Policy::STREAM } else { &Policy::PLAIN };
        self.overrides.or(target.provider.overrides).resolve(defaults)
    }

    /// These limits hold of whichever credential is picked.
    pub fn within(&mut self, beside: AtCredentials) {
        self.beside = beside;
    }

    /// Whether it is known what each credential may spend; if not, the ledger has been asked just now, and it is worth waiting for its answer.
    pub fn is_funded(&self) -> bool {
        let mut is_funded = true;
        let targets = self.targets().filter(|_| self.beside.has_budgets());
        for target in targets {
            let keyed = target.by_key.iter().map(AsRef::as_ref);
            for target in keyed.chain(target.by_key.is_empty().then_some(target)) {
                match self.beside.pay(&target.provider.account, target.price.as_ref()) {
                    Ok(bill) => bill.settle(0),
                    Err(refused) => is_funded &= !refused.is_asked(),
                }
            }
        }
        is_funded
    }

    /// What the route says of models without a price.
    pub fn unpriced(&self) -> Option<Unpriced> {
        self.overrides.unpriced()
    }

    /// Everybody who may come to serve it.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        let members = self.model.groups.iter().flat_map(|group| &group.members);
        members.map(AsRef::as_ref).filter(|target| self.permits(target))
    }

    /// Who would serve it if nothing were chosen: the first target of the model that was asked for, whatever variant serves.
    pub fn first(&self) -> Option<&Arc<Target>> {
        let model = self.tried.as_ref().unwrap_or(&self.model);
        model.groups.iter().flat_map(|group| &group.members).find(|target| self.permits(target))
    }

    /// The only key that will do, where there is but one such.
    pub(crate) fn only_key(&self) -> Option<&str> {
        self.only.as_ref()?.key.as_deref()
    }

    /// Whether the forcing headers leave this target.
    pub(crate) fn permits(&self, target: &Target) -> bool {
        self.only.as_ref().is_none_or(|only| only.permits(target))
    }
}

// === impl Only ===

impl Only {
    fn permits(&self, target: &Target) -> bool {
        let has_key = |key: &str| {
            let mut named = target.by_key.iter().map(|keyed| &keyed.provider).chain([&target.provider]);
            named.any(|provider| provider.key.as_deref() == Some(key))
        };
        self.provider.as_ref().is_none_or(|provider| **provider == *target.provider.name)
            && self.key.as_deref().is_none_or(has_key)
            && self.model.as_ref().is_none_or(|model| **model == *target.model)
    }
}

fn find_route<'a>(snapshot: &'a Snapshot, ask: &Ask<'_>, caller: &Caller) -> Result<Option<&'a Route>, Box<Failure>> {
    match ask.forced_route {
        None => Ok(snapshot.route_index.first(&snapshot.routes, ask, caller)),
        Some(forced) => match snapshot.routes.iter().find(|route| *route.name == *forced) {
            Some(route) => Ok(Some(route)),
            None => Err(Box::new(Failure::invalid(format!("no route is named `{forced}`")))),
        },
    }
}

/// The body's model, where no header replaces it. A forced provider makes a bare name one of its own.
fn asked_for(snapshot: &Snapshot, ask: &Ask<'_>) -> Result<(Arc<Model>, Option<Only>), Box<Failure>> {
    match (snapshot.model(ask.model), ask.forced_provider) {
        (Some(model), None) => Ok((model, None)),
        (Some(model), provider) => {
            let only = only(&model, provider, None)?;
            Ok((model, only))
        }
        (None, Some(provider)) => {
            let model = snapshot.direct(provider, ask.model).ok_or_else(|| Box::new(Failure::invalid(NO_PROVIDER)))?;
            Ok((model, None))
        }
        (None, None) => Err(not_found(ask.model)),
    }
}

/// The header's model, where no route says one: a target of the body's model if it is that, which the caller is allowed if it
/// is allowed the body's model; else a public name or `provider/model` of its own.
fn forced_to(
    snapshot: &Snapshot,
    ask: &Ask<'_>,
    forced: &str,
    caller: &Caller,
) -> Result<(Arc<Model>, Option<Only>), Box<Failure>> {
    if let Some(asked) = snapshot.model(ask.model).filter(|asked| caller.may_use(&asked.name))
        && let Ok(only) = only(&asked, ask.forced_provider, Some(forced))
    {
        return Ok((asked, only));
    }
    let bare = ask.forced_provider.and_then(|provider| snapshot.direct(provider, forced));
    let model = snapshot.model(forced).or(bare).ok_or_else(|| Box::new(Failure::invalid(NO_MODEL).at("model")))?;
    let only = only(&model, ask.forced_provider, None)?;
    Ok((model, only))
}

/// What headers leave of a model's targets; refused where they leave none. Forcing the model's own name changes nothing.
fn only(model: &Model, provider: Option<&str>, forced: Option<&str>) -> Result<Option<Only>, Box<Failure>> {
    let (provider, key) = provider.map(of_account).map_or((None, None), |(provider, key)| (Some(provider), key));
    let of_provider = Only { provider: provider.map(Box::from), key: key.map(Box::from), model: None };
    if provider.is_some() && !has_target(model, &of_provider) {
        return Err(Box::new(Failure::invalid(NO_PROVIDER)));
    }
    match forced.filter(|forced| **forced != *model.name) {
        None => Ok(provider.is_some().then_some(of_provider)),
        Some(forced) => match narrowed(model, &of_provider, forced) {
            Some(only) => Ok(Some(only)),
            None => Err(Box::new(Failure::invalid(NO_MODEL).at("model"))),
        },
    }
}

/// A target's upstream name, which may itself hold a `/`, else `provider/model`.
fn narrowed(model: &Model, of_provider: &Only, forced: &str) -> Option<Only> {
    let named = Only { model: Some(forced.into()), ..of_provider.clone() };
    if has_target(model, &named) {
        return Some(named);
    }
    let (provider, upstream_model) = forced.split_once('/')?;
    if of_provider.provider.as_ref().is_some_and(|wanted| **wanted != *provider) {
        return None;
    }
    let addressed =
        Only { provider: Some(provider.into()), key: of_provider.key.clone(), model: Some(upstream_model.into()) };
    has_target(model, &addressed).then_some(addressed)
}

fn has_target(model: &Model, only: &Only) -> bool {
    model.groups.iter().flat_map(|group| &group.members).any(|target| only.permits(target))
}

fn not_found(name: &str) -> Box<Failure> {
    let message = format!("no model is named `{name}`; GET /v1/models lists what this key may use");
    Box::new(Failure::new(Code::ModelNotFound, message).at("model"))
}

fn not_allowed(name: &str) -> Box<Failure> {
    let message = format!("model not allowed for this API key: `{name}`; GET /v1/models lists what it may use");
    Box::new(Failure::new(Code::NotAllowed, message).at("model"))
}

#[cfg(test)]
mod tests;
