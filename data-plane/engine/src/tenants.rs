//! Teams, users and organizations: on whose account a key is used, and whether that may be.

use std::collections::HashMap;
use std::sync::Arc;

use gateway_ir::failure::{Code, Failure};
use gateway_model::kind::budget::Budget;
use gateway_model::kind::tenant::{Organization, Team, User};
use gateway_model::limits::Limits as Document;
use gateway_model::set::Set;

use crate::identity::Caller;
use crate::limits::purse::{Purse, Purses};
use crate::limits::{Limits, Owner, Scopes};

/// Everybody that keys can belong to.
#[derive(Clone, Debug, Default)]
pub struct Tenants {
    organizations: Index,
    teams: Index,
    users: Index,
}

type Index = HashMap<Arc<str>, Arc<Tenant>, ahash::RandomState>;

/// A team, a user or an organization.
#[derive(Debug)]
pub struct Tenant {
    pub name: Arc<str>,
    enabled: bool,
    /// That a team or a user belongs to.
    organization: Option<Arc<Tenant>>,
    /// `None` without any.
    limits: Option<Arc<Limits>>,
    /// Of its budget.
    purse: Option<Arc<Purse>>,
}

/// Whose account a request is on.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    pub user: Option<Arc<Tenant>>,
    pub team: Option<Arc<Tenant>>,
    /// The team's, else the user's.
    pub organization: Option<Arc<Tenant>>,
}

// === impl Tenants ===

impl Tenants {
    /// What those had used of their limits who were there before, stays used, unless the limits changed.
    pub(crate) fn new(set: &Set, served: &Self, purses: &Arc<Purses>) -> Self {
        let purse = |kind: &str, name: &str, budget: Option<Budget>| {
            budget.map(|budget| purses.purse(&format!("{kind}/{name}"), budget))
        };
        let mut tenants = Self::default();
        for Organization { name, limits, budget, enabled, .. } in &set.organizations {
            let tenant = Tenant::new(("Organization", name), *enabled, None, limits, &served.organizations);
            let tenant = Tenant { purse: purse("organization", name, *budget), ..tenant };
            tenants.organizations.insert(Arc::clone(&tenant.name), Arc::new(tenant));
        }
        let of = |organization: &Option<String>| {
            organization.as_deref().and_then(|name| tenants.organizations.get(name)).map(Arc::clone)
        };
        for Team { name, organization, limits, budget, enabled, .. } in &set.teams {
            let tenant = Tenant::new(("Team", name), *enabled, of(organization), limits, &served.teams);
            let tenant = Tenant { purse: purse("team", name, *budget), ..tenant };
            tenants.teams.insert(Arc::clone(&tenant.name), Arc::new(tenant));
        }
        for User { name, organization, limits, budget, enabled, .. } in &set.users {
            let tenant = Tenant::new(("User", name), *enabled, of(organization), limits, &served.users);
            let tenant = Tenant { purse: purse("user", name, *budget), ..tenant };
            tenants.users.insert(Arc::clone(&tenant.name), Arc::new(tenant));
        }
        tenants
    }

    /// On whose account this caller is. Refused (401) where that is gone or shut: a key does not outlive whom it was for.
    pub fn standing(&self, caller: &Caller) -> Result<Standing, Box<Failure>> {
        let Some(belongs) = caller.belongs() else { return Ok(Standing::default()) };
        let user = find(&self.users, "user", belongs.user.as_deref())?;
        let team = find(&self.teams, "team", belongs.team.as_deref())?;
        let of = |tenant: &Option<Arc<Tenant>>| tenant.as_ref().and_then(|tenant| tenant.organization.clone());
        let organization = of(&team).or_else(|| of(&user));
        if let Some(shut) = organization.iter().find(|organization| !organization.enabled) {
            return Err(refused("organization", &shut.name, "is disabled"));
        }
        Ok(Standing { user, team, organization })
    }
}

fn find(index: &Index, kind: &str, name: Option<&str>) -> Result<Option<Arc<Tenant>>, Box<Failure>> {
    let Some(name) = name else { return Ok(None) };
    match index.get(name) {
        Some(tenant) if tenant.enabled => Ok(Some(Arc::clone(tenant))),
        Some(_) => Err(refused(kind, name, "is disabled")),
        None => Err(refused(kind, name, "is gone")),
    }
}

fn refused(kind: &str, name: &str, why: &str) -> Box<Failure> {
    Box::new(Failure::new(Code::InvalidCredential, format!("the {kind} `{name}` that this API key is for {why}")))
}

// === impl Tenant ===

impl Tenant {
    fn new(
        (kind, name): (&'static str, &str),
        enabled: bool,
        organization: Option<Arc<Self>>,
        written: &Document,
        served: &Index,
    ) -> Self {
        let before = served.get(name).and_then(|tenant| tenant.limits.as_ref()).filter(|limits| limits.are(written));
        let new = || Arc::new(Limits::new(Owner { kind, name: name.into() }, written));
        let limits = (!written.is_empty()).then(|| before.map_or_else(new, Arc::clone));
        Self { name: name.into(), enabled, organization, limits, purse: None }
    }
}

// === impl Standing ===

impl Standing {
    /// The budgets that a request of this caller counts in, but for those that several share.
    pub fn purses<'a>(&'a self, caller: &'a Caller) -> impl Iterator<Item = &'a Arc<Purse>> {
        let tenants = [&self.user, &self.team, &self.organization].into_iter().flatten();
        caller.purse().into_iter().chain(tenants.filter_map(|tenant| tenant.purse.as_ref()))
    }

    /// Whose limits a request of this caller takes.
    pub fn scopes(&self, caller: &Caller) -> Scopes {
        let of = |tenant: &Option<Arc<Tenant>>| tenant.as_ref().and_then(|tenant| tenant.limits.clone());
        Scopes::of_key(Arc::clone(caller.limits())).with(of(&self.user), of(&self.team), of(&self.organization))
    }
}

#[cfg(test)]
mod tests;
