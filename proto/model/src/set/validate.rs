//! What can be wrong with a whole configuration. One function per kind; every finding names its field.

mod auto;
mod budget;
mod url;
mod exporter;
mod alerts;
mod introspection;
mod credentials;
mod cache;
mod cloud;
mod model;
mod person;
mod route;
mod references;
mod price;
mod trial;

use std::collections::HashSet;
use std::net::{SocketAddr, ToSocketAddrs as _};

use crate::bodies;
use crate::catalog::{self, QUIRKS};
use crate::document::did_you_mean;
use crate::kind::a2a_agent::A2aAgent;
use crate::kind::key::Key;
use crate::kind::provider::{Probe, Provider};
use crate::kind::settings::limit_store::LimitStore;
use crate::kind::settings::{Auth, Settings};
use crate::limits::Limits;
use crate::policy::{Breaker, Concurrency, Continuation, Fault, Retry, Timeouts};
use crate::problem::{Code, Problem};
use crate::secret::Secret;
use crate::set::Set;
use crate::token::{self, Form};

/// Shortest imported key: below it, guessing is a threat.
const MIN_SECRET_CHARS: usize = 20;

/// Collects findings under a path.
struct Findings<'a> {
    problems: &'a mut Vec<Problem>,
    path: String,
}

pub(super) fn problems(set: &Set) -> Vec<Problem> {
    let mut problems = Vec::new();
    settings(&set.settings, &mut Findings { problems: &mut problems, path: "settings".to_owned() });
    if let Some(auto) = &set.settings.auto {
        auto::check(auto, set, &mut Findings { problems: &mut problems, path: "settings.auto".to_owned() });
    }
    each(&mut problems, "providers", &set.providers, |provider| &provider.name, provider_name, provider);
    each(&mut problems, "prices", &set.prices, |price| &price.name, |_| None, price::check);
    each(&mut problems, "models", &set.models, |model| &model.name, public_name, model::check);
    each(&mut problems, "routes", &set.routes, |route| &route.name, public_name, route::check);
    each(&mut problems, "a2a_agents", &set.a2a_agents, |agent| &agent.name, provider_name, a2a_agent);
    each(
        &mut problems,
        "organizations",
        &set.organizations,
        |one| &one.name,
        public_name,
        |one, findings| {
            limits(&one.limits, findings);
            budget::of(one.budget, findings);
        },
    );
    each(
        &mut problems,
        "teams",
        &set.teams,
        |team| &team.name,
        public_name,
        |team, findings| {
            limits(&team.limits, findings);
            budget::of(team.budget, findings);
        },
    );
    each(
        &mut problems,
        "users",
        &set.users,
        |user| &user.name,
        public_name,
        |user, findings| {
            limits(&user.limits, findings);
            budget::of(user.budget, findings);
            person::check(user, findings);
        },
    );
    each(
        &mut problems,
        "limits",
        &set.limits,
        |limit| &limit.name,
        public_name,
        |rule, findings| {
            limits(&rule.limits, findings);
            budget::selects(&rule.matcher, findings);
            if rule.limits.named().next().is_none() {
                findings.error(Code::MissingField, "limits", "limits nothing; give one, like `rpm: 600`");
            }
            if rule.limits.max_tokens.is_some() && !rule.matcher.credentials.is_empty() {
                let message = "is of a request, whoever serves it, and cannot be of `match.credentials`";
                findings.error(Code::Conflict, "limits.max_tokens", message);
            }
        },
    );
    each(&mut problems, "budgets", &set.budgets, |budget| &budget.name, public_name, budget::rule);
    each(&mut problems, "exporters", &set.exporters, |one| &one.name, provider_name, exporter::check);
    each(&mut problems, "keys", &set.keys, |key| &key.name, public_name, key);
    trial::check(set, &mut Findings { problems: &mut problems, path: String::new() });
    references::check(set, &mut problems);
    person::check_all(set, &mut problems);
    person::issuers(&set.settings.jwt, &mut Findings { problems: &mut problems, path: "settings.jwt".to_owned() });
    if let Some(oidc) = &set.settings.oidc {
        person::provider(oidc, set, &mut Findings { problems: &mut problems, path: "settings.oidc".to_owned() });
    }
    // Warnings behind what has to be mended.
    route::unreached(&set.routes, &mut problems);
    problems
}

/// Names first (well-formed, unique), then the kind's own rules.
fn each<T>(
    problems: &mut Vec<Problem>,
    plural: &str,
    items: &[T],
    name: impl Fn(&T) -> &String,
    bad_name: impl Fn(&str) -> Option<String>,
    check: impl Fn(&T, &mut Findings<'_>),
) {
    let mut seen = HashSet::new();
    for item in items {
        let name = name(item);
        let mut findings = Findings { problems, path: format!("{plural}[{name}]") };
        if let Some(message) = bad_name(name) {
            findings.error(Code::InvalidValue, "name", message);
        }
        if !seen.insert(name.as_str()) {
            findings.error(Code::DuplicateName, "name", format!("`{name}` is defined twice"));
        }
        check(item, &mut findings);
    }
}

fn provider_name(name: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    let fine = !name.is_empty() && name.len() <= 128 && name.chars().all(allowed);
    (!fine).then(|| format!("`{name}` must be 1 to 128 characters of a-z, 0-9, `.`, `_` and `-`"))
}

fn public_name(name: &str) -> Option<String> {
    let n_chars = name.chars().count();
    let fine = (1..=256).contains(&n_chars) && !name.chars().any(|c| c.is_control() || c.is_whitespace());
    (!fine).then(|| format!("`{}` must be 1 to 256 printable characters without spaces", name.escape_debug()))
}

fn settings(settings: &Settings, findings: &mut Findings<'_>) {
    policy(settings.retry.as_ref(), settings.timeouts.as_ref(), findings);
    findings.all(settings.continuation.as_ref().map(Continuation::faults));
    findings.all(settings.limit_store.as_ref().map(LimitStore::faults));
    cache::settings(settings.cache.as_ref(), findings);
    findings.all(settings.log_bodies.as_ref().map(bodies::Rule::faults));
    let kept = [("logs_kept", settings.logs_kept), ("log_bodies_kept", settings.log_bodies_kept)];
    for (name, _) in kept.iter().filter(|(_, span)| span.is_some_and(|span| span.0.as_secs() < 60 * 60)) {
        findings.error(Code::InvalidValue, name, "must be at least 1h");
    }
    if settings.passthrough.as_ref().is_some_and(|passthrough| passthrough.max_attempts == Some(0)) {
        findings.error(Code::InvalidValue, "passthrough.max_attempts", "must be at least 1");
    }
    let interval = settings.discovery.as_ref().and_then(|discovery| discovery.interval);
    if interval.is_some_and(|interval| interval.0.as_secs() < 10) {
        findings.error(Code::InvalidValue, "discovery.interval", "must be at least 10s");
    }
    alerts::check(&settings.alerts, findings);
    introspection::check(&settings.introspection, findings);
    let Some(server) = &settings.server else { return };
    if let Some(listen) = &server.listen {
        match address(listen) {
            None => findings.error(
                Code::InvalidValue,
                "server.listen",
                format!("`{listen}` is no address like 127.0.0.1:8080"),
            ),
            Some(address) if settings.auth == Some(Auth::Off) && !address.ip().is_loopback() => findings.error(
                Code::Conflict,
                "auth",
                format!("`off` lets everybody in, so it is for loopback listeners only; `{listen}` is not one"),
            ),
            Some(_) => {}
        }
    }
    let spans = [("server.header_timeout", server.header_timeout), ("server.idle_timeout", server.idle_timeout)];
    for (path, span) in spans {
        if span.is_some_and(|span| span.0.is_zero()) {
            findings.error(Code::InvalidValue, path, "must be longer than 0");
        }
    }
    if server.max_body.is_some_and(|size| size.0 == 0) {
        findings.error(Code::InvalidValue, "server.max_body", "must be at least 1 byte");
    }
    for (position, origin) in server.cors_origins.iter().flatten().enumerate() {
        let is_origin = origin.split_once("://").is_some_and(|(scheme, host)| {
            !scheme.is_empty() && !host.is_empty() && !host.contains(['/', '?', '#', '@', '*', ' '])
        });
        if origin != "*" && !is_origin {
            findings.error(
                Code::InvalidValue,
                &format!("server.cors_origins[{position}]"),
                format!("`{origin}` is no origin like https://app.example.com, without a path"),
            );
        }
    }
    if server.max_connections == Some(0) {
        findings.error(Code::InvalidValue, "server.max_connections", "must be at least 1");
    }
}

/// `localhost:8080` is fine; other names are not looked up here.
fn address(text: &str) -> Option<SocketAddr> {
    text.parse().ok().or_else(|| match text.strip_prefix("localhost:") {
        Some(port) => ("127.0.0.1", port.parse().ok()?).to_socket_addrs().ok()?.next(),
        None => None,
    })
}

fn provider(provider: &Provider, findings: &mut Findings<'_>) {
    let Some(row) = catalog::row(&provider.kind) else { return unknown_kind(&provider.kind, findings) };
    match &provider.base_url {
        Some(base_url) => url::check(base_url, provider.allow_private_networks, row.root, findings),
        None if row.id == "demo" => {}
        None => match &row.base_url {
            Some(default) => {
                // What stands for a region or a location is checked where those are.
                let default = default.replace("{region}", "region").replace("{location}", "");
                url::check(&default, provider.allow_private_networks, row.root, findings);
            }
            None => {
                let form = row.base_url_form.as_deref().map(|form| format!(", like `{form}`")).unwrap_or_default();
                let message = format!("a provider of kind `{}` needs a `base_url`{form}", row.id);
                findings.error(Code::MissingField, "base_url", message);
            }
        },
    }
    for (name, value) in &provider.headers {
        header(name, value, findings);
    }
    quirks(&provider.quirks, "quirks", findings);
    if provider.azure.is_some() && provider.kind != "azure" {
        findings.error(Code::Conflict, "azure", "belongs to providers of kind `azure`");
    }
    cloud::aws(provider, findings);
    cloud::gcp(provider, findings);
    if let Some(key) = &provider.api_key {
        api_key(key, "api_key", findings);
    }
    findings.all(provider.breaker.as_ref().map(Breaker::faults));
    credentials::check(provider, row, findings);
    findings.all(provider.concurrency.as_ref().map(Concurrency::faults));
    if let Some(probe) = &provider.probe {
        probe_of(probe, row.id == "demo", findings);
    }
    credentials::limits(provider.limits.as_ref(), "limits", findings);
    if provider.discovery.as_ref().is_some_and(|discovery| discovery.allowed.iter().any(String::is_empty)) {
        findings.error(Code::InvalidValue, "discovery.allowed", "holds an empty name");
    }
    policy(provider.retry.as_ref(), provider.timeouts.as_ref(), findings);
    findings.all(provider.continuation.as_ref().map(Continuation::faults));
}

fn probe_of(probe: &Probe, is_demo: bool, findings: &mut Findings<'_>) {
    match (&probe.path, &probe.model) {
        _ if is_demo => findings.error(Code::Conflict, "probe", "means nothing to what answers by itself"),
        (Some(path), None) if !path.starts_with('/') => {
            findings.error(Code::InvalidValue, "probe.path", format!("`{path}` must begin with `/`"));
        }
        (None, Some(model)) if model.is_empty() => {
            findings.error(Code::InvalidValue, "probe.model", "must not be empty");
        }
        (Some(_), None) | (None, Some(_)) => {}
        _ => findings.error(Code::Conflict, "probe", "needs exactly one of `path` and `model`"),
    }
    if probe.interval.is_some_and(|interval| !(1..=3600).contains(&interval.0.as_secs())) {
        findings.error(Code::InvalidValue, "probe.interval", "must be from 1s to 1h");
    }
    if probe.timeout.is_some_and(|timeout| timeout.0.is_zero() || timeout.0.as_secs() > 60) {
        findings.error(Code::InvalidValue, "probe.timeout", "must be longer than 0 and at most 60s");
    }
}

fn api_key(key: &Secret, path: &str, findings: &mut Findings<'_>) {
    if key.expose().trim().is_empty() {
        findings.error(Code::InvalidValue, path, "is empty; give the key or leave the field out");
    } else if !key.expose().bytes().all(|byte| (0x21..=0x7e).contains(&byte)) {
        let message = "holds a space, a line break or another character that a header may not have";
        findings.error(Code::InvalidValue, path, message);
    }
}

fn quirks(quirks: &[String], path: &str, findings: &mut Findings<'_>) {
    for (index, quirk) in quirks.iter().enumerate() {
        if !QUIRKS.iter().any(|(name, _)| name == quirk) {
            let known: Vec<_> = QUIRKS.iter().map(|(name, _)| *name).collect();
            let message = format!("there is no quirk `{quirk}`; known are {}", known.join(", "));
            findings.error(Code::InvalidValue, &format!("{path}[{index}]"), message);
        }
    }
}

fn unknown_kind(kind: &str, findings: &mut Findings<'_>) {
    let known: Vec<_> = catalog::rows().iter().map(|row| row.id.as_str()).collect();
    let known = known.join(", ");
    let hint = did_you_mean(kind, &known).map(|close| format!("did you mean `{close}`? ")).unwrap_or_default();
    findings.error(Code::InvalidValue, "kind", format!("there is no provider kind `{kind}`; {hint}known are {known}"));
}

/// Names that the gateway itself answers for.
const RESERVED_HEADERS: &[&str] = &[
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "cookie",
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "proxy-authorization",
    "accept-encoding",
];

fn header(name: &str, value: &str, findings: &mut Findings<'_>) {
    let path = format!("headers.{name}");
    if !is_header_name(name) {
        findings.error(Code::InvalidValue, &path, format!("`{name}` is no header name"));
    } else if RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
        findings.error(Code::Conflict, &path, format!("`{name}` is set by the gateway; use `api_key` for credentials"));
    }
    if !value.chars().all(|c| c == '\t' || (' '..='~').contains(&c)) {
        findings.error(Code::InvalidValue, &path, "the value may hold visible ASCII only");
    }
}

/// A token of RFC 9110, section 5.6.2.
fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn a2a_agent(agent: &A2aAgent, findings: &mut Findings<'_>) {
    url::check_address("url", &agent.url, agent.allow_private_networks, findings);
    for (name, value) in &agent.headers {
        header(name, value, findings);
    }
    if let Some(key) = &agent.api_key {
        api_key(key, "api_key", findings);
    }
    if agent.methods.iter().any(String::is_empty) {
        findings.error(Code::InvalidValue, "methods", "holds an empty name");
    }
    policy(None, agent.timeouts.as_ref(), findings);
}

fn key(key: &Key, findings: &mut Findings<'_>) {
    if let Some(secret) = &key.secret {
        if secret.expose().chars().count() < MIN_SECRET_CHARS {
            findings.error(Code::InvalidValue, "secret", format!("must have at least {MIN_SECRET_CHARS} characters"));
        } else if secret.expose().bytes().any(|byte| !(0x21..=0x7e).contains(&byte)) {
            findings.error(Code::InvalidValue, "secret", "may hold visible ASCII without spaces only");
        } else if token::check(secret.expose()) == Form::BadChecksum {
            findings.error(Code::InvalidValue, "secret", "looks like a key of this gateway but its checksum is wrong");
        }
    }
    findings.all(key.log_bodies.as_ref().map(bodies::Rule::faults));
    limits(&key.limits, findings);
    budget::of(key.budget, findings);
    if key.models.iter().any(String::is_empty) {
        findings.error(Code::InvalidValue, "models", "holds an empty name");
    }
    if key.passthrough.iter().any(String::is_empty) {
        findings.error(Code::InvalidValue, "passthrough", "holds an empty name");
    }
}

fn limits(limits: &Limits, findings: &mut Findings<'_>) {
    for (name, _) in limits.named().filter(|(_, amount)| *amount == 0) {
        let message = "must be at least 1; use `enabled: false` to let nothing through";
        findings.error(Code::InvalidValue, &format!("limits.{name}"), message);
    }
}

fn policy(retry: Option<&Retry>, timeouts: Option<&Timeouts>, findings: &mut Findings<'_>) {
    findings.all(retry.map(Retry::faults));
    findings.all(timeouts.map(Timeouts::faults));
}

// === impl Findings ===

impl Findings<'_> {
    fn error(&mut self, code: Code, field: &str, message: impl Into<String>) {
        let path = format!("{}.{field}", self.path);
        self.problems.push(Problem::error(code, path, message));
    }

    fn all(&mut self, faults: Option<Vec<Fault>>) {
        for (field, why) in faults.into_iter().flatten() {
            self.error(Code::InvalidValue, field, why);
        }
    }

    fn warning(&mut self, code: Code, field: &str, message: impl Into<String>) {
        let path = format!("{}.{field}", self.path);
        self.problems.push(Problem::warning(code, path, message));
    }
}

#[cfg(test)]
mod tests;
