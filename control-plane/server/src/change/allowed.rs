//! Whether who makes a change may make it, item by item. Whatever way a change comes (one resource, a file, a rollback, an alias), it
//! comes through here.

use gateway_model::document::Resource;
use gateway_model::kind::Kind;
use gateway_model::kind::key::Key;
use gateway_model::person::PersonRole;

use super::plan::{Plan, Step};
use super::state::Entry;
use super::{Op, Refusal};
use crate::permission::{Doing, Grant, Permission};

/// Refuses the whole change where one of its steps is not allowed. What lies outside of who asks is not there for them.
pub(super) fn check(grant: &Grant, plan: &Plan<'_>) -> Result<(), Refusal> {
    for step in plan.steps() {
        if grant.teams().is_some() {
            of_team(grant, plan, step)?;
        }
        if step.op == Op::Unchanged {
            continue;
        }
        let mut needed = vec![Permission::of(step.kind, Doing::Writing)];
        needed.extend(beyond(step.before.as_ref(), step.after.as_ref()));
        if let Some(missing) = needed.into_iter().find(|needed| !grant.may(*needed)) {
            return Err(Refusal::forbidden(step.kind, step.name(), missing));
        }
    }
    Ok(())
}

/// What a change decides beside its own item.
fn beyond(before: Option<&Entry>, after: Option<&Entry>) -> Vec<Permission> {
    let sides = [before, after].map(|entry| entry.map(|entry| &entry.resource));
    let role = |resource: Option<&Resource>| match resource {
        Some(Resource::User(user)) => user.role,
        _ => None,
    };
    let roles = sides.map(role);
    let oidc = |resource: Option<&Resource>| match resource {
        Some(Resource::Settings(settings)) => settings.oidc.clone(),
        _ => None,
    };
    let foreign = |resource: Option<&Resource>| match resource {
        Some(Resource::Settings(settings)) => (settings.jwt.clone(), settings.introspection.clone()),
        _ => (Vec::new(), Vec::new()),
    };
    let mut needed = Vec::new();
    // Whoever says whose tokens are keys makes keys.
    if foreign(sides[0]) != foreign(sides[1]) {
        needed.push(Permission::KeysWrite);
    }
    // Whoever says who is an owner is one.
    if oidc(sides[0]) != oidc(sides[1]) {
        needed.push(Permission::Ownership);
    }
    // Whoever can change the e-mail of an owner is one.
    if roles.contains(&Some(PersonRole::Owner)) {
        needed.push(Permission::Ownership);
    }
    if roles.iter().any(Option::is_some) {
        needed.push(Permission::PeopleWrite);
    }
    needed
}

/// Keys of one's own teams, before and after.
fn of_team(grant: &Grant, plan: &Plan<'_>, step: &Step) -> Result<(), Refusal> {
    let key = |entry: &Option<Entry>| match entry.as_ref().map(|entry| &entry.resource) {
        Some(Resource::Key(key)) => Some((**key).clone()),
        _ => None,
    };
    let (before, after) = (key(&step.before), key(&step.after));
    if step.before.is_some() && !before.as_ref().is_some_and(|key| grant.reaches(key.team.as_deref())) {
        return Err(Refusal::NotFound { kind: step.kind.name(), name: step.name().to_owned() });
    }
    let Some(after) = after else { return Ok(()) };
    if !grant.reaches(after.team.as_deref()) {
        let teams = grant.teams().unwrap_or_default().join("`, `");
        let message = format!("say which of your teams the key is for: `team` must be one of `{teams}`");
        return Err(Refusal::Forbidden { message });
    }
    let widened =
        !after.passthrough.is_empty() && before.as_ref().is_none_or(|key| key.passthrough != after.passthrough);
    if widened {
        let message = "`passthrough` opens whole accounts at providers; an admin has to give it to a key".to_owned();
        return Err(Refusal::Forbidden { message });
    }
    same_organization(plan, before.as_ref(), &after)
}

/// What a key uses counts on its user's account as well, and that is not to be one of strangers.
fn same_organization(plan: &Plan<'_>, before: Option<&Key>, after: &Key) -> Result<(), Refusal> {
    let Some(named) = after.user.as_deref().filter(|_| before.is_none_or(|key| key.user != after.user)) else {
        return Ok(());
    };
    let organization = |kind: Kind, name: &str| match plan.before(kind, name).map(|entry| &entry.resource) {
        Some(Resource::User(user)) => Some(user.organization.clone()),
        Some(Resource::Team(team)) => Some(team.organization.clone()),
        _ => None,
    };
    let of_team = after.team.as_deref().and_then(|team| organization(Kind::Team, team));
    let of_user = organization(Kind::User, named);
    if of_user.is_some() && of_user == of_team {
        return Ok(());
    }
    Err(Refusal::NotFound { kind: Kind::User.name(), name: named.to_owned() })
}
