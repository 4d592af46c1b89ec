//! Users who sign in: what they need for it, and whom they lead.

use std::collections::HashSet;

use super::Findings;
use crate::kind::settings::jwt::{Claims, Issuer};
use crate::kind::settings::sign_in::{CALLBACK, Oidc};
use crate::kind::tenant::User;
use crate::person::PersonRole;
use crate::problem::{Code, Problem};
use crate::set::Set;

/// Longest e-mail address (RFC 5321, section 4.5.3.1.3, without its brackets).
const MAX_EMAIL: usize = 254;

pub(super) fn check(user: &User, findings: &mut Findings<'_>) {
    if user.role.is_some() && user.service_account {
        findings.error(
            Code::Conflict,
            "role",
            "a program does not sign in; give it keys, or leave `service_account` out",
        );
    }
    if user.role.is_some() && !user.email.as_deref().is_some_and(is_email) {
        findings.error(Code::MissingField, "email", "whoever has a role signs in with an e-mail address; give theirs");
    }
    match user.role {
        Some(PersonRole::TeamAdmin) if user.leads.is_empty() => {
            findings.error(Code::MissingField, "leads", "name the teams that they look after, like `[search]`");
        }
        Some(PersonRole::TeamAdmin) => {}
        _ if !user.leads.is_empty() => {
            findings.error(Code::Conflict, "leads", "only a `team-admin` leads teams; other roles see all of them");
        }
        _ => {}
    }
}

/// The teams are there, and an address is one person's.
pub(super) fn check_all(set: &Set, problems: &mut Vec<Problem>) {
    let teams: HashSet<&str> = set.teams.iter().map(|team| team.name.as_str()).collect();
    let mut addresses = HashSet::new();
    for user in &set.users {
        for (place, team) in user.leads.iter().enumerate().filter(|(_, team)| !teams.contains(team.as_str())) {
            let path = format!("users[{}].leads[{place}]", user.name);
            problems.push(Problem::error(Code::UnknownReference, path, format!("no team is named `{team}`")));
        }
        let Some(email) = user.email.as_deref().filter(|_| user.role.is_some()) else { continue };
        if !addresses.insert(email.to_lowercase()) {
            let message = format!("`{email}` is the address of another user who signs in with it");
            problems.push(Problem::error(Code::DuplicateName, format!("users[{}].email", user.name), message));
        }
    }
}

/// An identity provider, and what it may say of people.
pub(super) fn provider(oidc: &Oidc, set: &Set, findings: &mut Findings<'_>) {
    for (field, url) in [("issuer", &oidc.issuer), ("redirect_url", &oidc.redirect_url)] {
        // On this machine nobody listens in.
        let is_loopback = ["http://127.0.0.1", "http://localhost", "http://[::1]"]
            .iter()
            .any(|host| url.strip_prefix(host).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/'])));
        if !url.starts_with("https://") && !is_loopback {
            findings.error(Code::InsecureDestination, field, "must be https, but on this machine");
        }
    }
    if !oidc.redirect_url.ends_with(CALLBACK) {
        findings.error(Code::InvalidValue, "redirect_url", format!("must end in {CALLBACK}"));
    }
    for (place, mapping) in oidc.roles.iter().enumerate() {
        let field = format!("roles[{place}].leads");
        match (mapping.role, mapping.leads.as_slice()) {
            (PersonRole::TeamAdmin, []) => {
                findings.error(Code::MissingField, &field, "name the teams that they look after")
            }
            (PersonRole::TeamAdmin, _) | (_, []) => {}
            _ => findings.error(Code::Conflict, &field, "only a `team-admin` leads teams; other roles see all of them"),
        }
        for team in mapping.leads.iter().filter(|team| !set.teams.iter().any(|known| known.name == **team)) {
            findings.error(Code::UnknownReference, &field, format!("no team is named `{team}`"));
        }
    }
}

/// Systems whose tokens are keys. What their keys are is for who verifies with them.
pub(super) fn issuers(issuers: &[Issuer], findings: &mut Findings<'_>) {
    let mut names = HashSet::new();
    for (place, one) in issuers.iter().enumerate() {
        let mut wrong = |field: &str, message: &str| {
            findings.error(Code::InvalidValue, &format!("{place}.{field}"), message);
        };
        if one.name.is_empty() || !names.insert(&one.name) {
            wrong("name", "must be a name that no other issuer has");
        }
        if one.audience.is_empty() {
            wrong("audience", "say whom its tokens are for; one for others is not one for us");
        }
        if one.jwks_url.is_some() != one.keys.is_empty() {
            wrong("jwks_url", "give either `jwks_url` or `keys`");
        }
        let is_safe =
            |url: &String| url.starts_with("https://") || url.starts_with("http://") && one.allow_private_networks;
        if !one.jwks_url.as_ref().is_none_or(is_safe) {
            wrong(
                "jwks_url",
                "must be https; http is possible towards private addresses with `allow_private_networks: true`",
            );
        }
        let Claims { key, team, user, .. } = &one.claims;
        if key.is_none() && team.is_none() && user.is_none() {
            wrong("claims", "say which claim names the `key`, the `team` or the `user`");
        }
    }
}

/// What can be one: the rest is for who sends mail.
fn is_email(text: &str) -> bool {
    let is_plain = text.len() <= MAX_EMAIL && !text.contains(|char: char| char.is_whitespace() || char.is_control());
    is_plain && text.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
}
