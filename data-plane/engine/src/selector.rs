//! What shared limits and budgets look at in a request, and whether it is one of theirs.

use std::sync::Arc;

use gateway_model::kind::budget::Match;

use crate::glob::Glob;
use crate::identity::Caller;
use crate::tenants::{Standing, Tenant};

/// Any of each list, and all of the lists that are given.
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    keys: Vec<Glob>,
    teams: Vec<Glob>,
    users: Vec<Glob>,
    organizations: Vec<Glob>,
    models: Vec<Glob>,
    tags: Vec<Glob>,
    /// Who has any is looked at when it is known who serves.
    pub(crate) credentials: Arc<[Glob]>,
}

/// A request, as far as they look at it.
#[derive(Clone, Copy, Debug)]
pub struct Spender<'a> {
    pub caller: &'a Caller,
    pub standing: &'a Standing,
    /// As it was asked for, and what that stands for.
    pub models: [&'a str; 2],
}

// === impl Selector ===

impl Selector {
    pub(crate) fn new(matcher: &Match) -> Self {
        Self {
            keys: globs(&matcher.keys),
            teams: globs(&matcher.teams),
            users: globs(&matcher.users),
            organizations: globs(&matcher.organizations),
            models: globs(&matcher.models),
            tags: globs(&matcher.tags),
            credentials: globs(&matcher.credentials).into(),
        }
    }

    /// Whether it is for some credentials only.
    pub(crate) fn is_of_credentials(&self) -> bool {
        !self.credentials.is_empty()
    }

    /// The tags of this caller that are selected.
    pub(crate) fn tags_of<'a>(&self, caller: &'a Caller) -> impl Iterator<Item = &'a str> {
        let is_selected = |tag: &&str| self.tags.is_empty() || self.tags.iter().any(|glob| glob.matches(tag));
        caller.tags.iter().map(AsRef::as_ref).filter(is_selected)
    }

    pub(crate) fn selects(&self, Spender { caller, standing, models }: Spender<'_>) -> bool {
        let name = |tenant: &'_ Option<Arc<Tenant>>| tenant.as_ref().map(|tenant| Arc::clone(&tenant.name));
        let is_of = |globs: &[Glob], tenant: &Option<Arc<Tenant>>| any(globs, name(tenant).as_deref().into_iter());
        any(&self.keys, [&*caller.name, &*caller.id].into_iter())
            && is_of(&self.teams, &standing.team)
            && is_of(&self.users, &standing.user)
            && is_of(&self.organizations, &standing.organization)
            && any(&self.models, models.into_iter())
            && any(&self.tags, caller.tags.iter().map(AsRef::as_ref))
    }
}

fn globs(patterns: &[String]) -> Vec<Glob> {
    patterns.iter().map(|pattern| Glob::new(pattern)).collect()
}

/// An empty list asks nothing.
fn any<'a>(globs: &[Glob], mut names: impl Iterator<Item = &'a str>) -> bool {
    globs.is_empty() || names.any(|name| globs.iter().any(|glob| glob.matches(name)))
}
