//! What can be wrong with a whole configuration. One function per kind; every finding names its field.

mod url;
mod references;

use std::collections::HashSet;
use std::net::{SocketAddr, ToSocketAddrs as _};

use crate::catalog::{self, QUIRKS};
use crate::document::did_you_mean;
use crate::kind::a2a_agent::A2aAgent;
use crate::kind::key::Key;
use crate::kind::model::{Model, Strategy};
use crate::kind::price::Price;
use crate::kind::provider::Provider;
use crate::kind::route::{HeaderMatch, Route};
use crate::kind::settings::{Auth, Settings};
use crate::policy::{Breaker, Retry, Timeouts};
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
    each(&mut problems, "providers", &set.providers, |provider| &provider.name, provider_name, provider);
    each(&mut problems, "prices", &set.prices, |price| &price.name, |_| None, price);
    each(&mut problems, "models", &set.models, |model| &model.name, public_name, model);
    each(&mut problems, "routes", &set.routes, |route| &route.name, public_name, route);
    each(&mut problems, "a2a_agents", &set.a2a_agents, |agent| &agent.name, provider_name, a2a_agent);
    each(&mut problems, "keys", &set.keys, |key| &key.name, public_name, key);
    references::check(set, &mut problems);
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
    if settings.passthrough.as_ref().is_some_and(|passthrough| passthrough.max_attempts == Some(0)) {
        findings.error(Code::InvalidValue, "passthrough.max_attempts", "must be at least 1");
    }
    let interval = settings.discovery.as_ref().and_then(|discovery| discovery.interval);
    if interval.is_some_and(|interval| interval.0.as_secs() < 10) {
        findings.error(Code::InvalidValue, "discovery.interval", "must be at least 10s");
    }
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
    aws(provider, findings);
    gcp(provider, findings);
    if let Some(key) = &provider.api_key {
        api_key(key, findings);
    }
    breaker(provider.breaker.as_ref(), findings);
    if provider.discovery.as_ref().is_some_and(|discovery| discovery.allowed.iter().any(String::is_empty)) {
        findings.error(Code::InvalidValue, "discovery.allowed", "holds an empty name");
    }
    policy(provider.retry.as_ref(), provider.timeouts.as_ref(), findings);
}

fn api_key(key: &Secret, findings: &mut Findings<'_>) {
    if key.expose().trim().is_empty() {
        findings.error(Code::InvalidValue, "api_key", "is empty; give the key or leave the field out");
    } else if !key.expose().bytes().all(|byte| (0x21..=0x7e).contains(&byte)) {
        let message = "holds a space, a line break or another character that a header may not have";
        findings.error(Code::InvalidValue, "api_key", message);
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

fn aws(provider: &Provider, findings: &mut Findings<'_>) {
    let Some(aws) = &provider.aws else {
        if provider.kind == "bedrock" {
            findings.error(Code::MissingField, "aws", "give at least `region`; a provider of kind `bedrock` is in one");
        }
        return;
    };
    if provider.kind != "bedrock" {
        findings.error(Code::Conflict, "aws", "belongs to providers of kind `bedrock`");
    }
    if !is_word(&aws.region) {
        findings.error(Code::InvalidValue, "aws.region", "is no region like `us-east-1`");
    }
    if aws.access_key_id.as_ref().is_some_and(|id| !is_word(id)) {
        findings.error(Code::InvalidValue, "aws.access_key_id", "holds other characters than an access key id has");
    }
    if aws.access_key_id.is_some() && provider.api_key.is_some() {
        let message = "requests are either signed with `aws` or carry this key; give one of them";
        findings.error(Code::Conflict, "api_key", message);
    }
    for (path, secret) in [("aws.secret_access_key", &aws.secret_access_key), ("aws.session_token", &aws.session_token)]
    {
        if let Some(secret) = secret {
            if secret.expose().is_empty() || !secret.expose().bytes().all(|byte| (0x21..=0x7e).contains(&byte)) {
                findings.error(Code::InvalidValue, path, "is empty, or holds a space or a line break");
            }
            if aws.access_key_id.is_none() {
                findings.error(Code::Conflict, path, "means nothing without `aws.access_key_id`");
            }
        }
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn gcp(provider: &Provider, findings: &mut Findings<'_>) {
    let Some(gcp) = &provider.gcp else {
        if provider.kind == "vertex" {
            findings.error(Code::MissingField, "gcp", "give at least `project`; a provider of kind `vertex` is in one");
        }
        return;
    };
    if provider.kind != "vertex" {
        findings.error(Code::Conflict, "gcp", "belongs to providers of kind `vertex`");
    }
    // Both become parts of a URL, the location also of a host's name.
    let is_word = |text: &str, more: &[u8]| {
        let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || more.contains(&byte);
        !text.is_empty() && text.len() <= 100 && text.bytes().all(is_letter)
    };
    if !is_word(&gcp.project, b"-:.") {
        findings.error(Code::InvalidValue, "gcp.project", "is no project id like `my-project-123`");
    }
    if !is_word(&gcp.location, b"-") {
        findings.error(Code::InvalidValue, "gcp.location", "is no location like `us-central1` or `global`");
    }
    if gcp.service_account_json.is_some() && provider.api_key.is_some() {
        let message = "requests carry either a token of `gcp` or this key; give one of them";
        findings.error(Code::Conflict, "api_key", message);
    }
    if gcp.metadata_url.is_some() && (gcp.service_account_json.is_some() || provider.api_key.is_some()) {
        let message = "means nothing beside another credential; give one of them";
        findings.error(Code::Conflict, "gcp.metadata_url", message);
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

fn model(model: &Model, findings: &mut Findings<'_>) {
    if model.targets.is_empty() {
        findings.error(Code::MissingField, "targets", "a model needs at least one target");
    } else if model.targets.iter().all(|target| !target.enabled) && model.fallbacks.is_empty() {
        findings.warning(Code::Conflict, "targets", "every target is disabled: requests will be refused");
    }
    for (index, target) in model.targets.iter().enumerate() {
        if target.model.is_empty() {
            findings.error(Code::InvalidValue, &format!("targets[{index}].model"), "must not be empty");
        }
        quirks(&target.quirks, &format!("targets[{index}].quirks"), findings);
        if target.weight > 10_000 {
            findings.error(Code::InvalidValue, &format!("targets[{index}].weight"), "must be at most 10000");
        }
    }
    strategy(model, findings);
    let facts = model.facts.as_ref();
    for (field, tokens) in [
        ("facts.context_window", facts.and_then(|facts| facts.context_window)),
        ("facts.max_tokens", facts.and_then(|facts| facts.max_tokens)),
    ] {
        if tokens == Some(0) {
            findings.error(Code::InvalidValue, field, "must be at least 1");
        }
    }
    breaker(model.breaker.as_ref(), findings);
    policy(model.retry.as_ref(), model.timeouts.as_ref(), findings);
}

fn strategy(model: &Model, findings: &mut Findings<'_>) {
    if let Some(header) = &model.sticky_header {
        if model.strategy != Strategy::Sticky {
            findings.error(Code::Conflict, "sticky_header", "belongs to `strategy: sticky`");
        } else if !is_header_name(header) {
            findings.error(Code::InvalidValue, "sticky_header", format!("`{header}` is no header name"));
        }
    }
    if let Some(balance) = &model.balance {
        if model.strategy != Strategy::Balanced {
            findings.error(Code::Conflict, "balance", "belongs to `strategy: balanced`");
        } else if balance.latency.max(balance.cost) == 0 || balance.latency.max(balance.cost) > 100 {
            findings.error(Code::InvalidValue, "balance", "takes weights from 0 to 100, one of them above 0");
        }
    }
    let is_by_weight = matches!(model.strategy, Strategy::Weighted | Strategy::Random | Strategy::Sticky);
    if is_by_weight && !model.targets.is_empty() && model.targets.iter().all(|target| target.weight == 0) {
        findings.warning(Code::Conflict, "targets", "every weight is 0: the first target takes all requests");
    }
}

fn route(route: &Route, findings: &mut Findings<'_>) {
    if let Some(path) = &route.matcher.path
        && !path.starts_with('/')
        && path != "*"
    {
        findings.error(Code::InvalidValue, "match.path", format!("`{path}` must begin with `/`"));
    }
    for (name, rule) in &route.matcher.headers {
        let path = format!("match.headers.{name}");
        if !is_header_name(name) {
            findings.error(Code::InvalidValue, &path, format!("`{name}` is no header name"));
        }
        let HeaderMatch::Rule(rule) = rule else { continue };
        let n_given = [rule.exact.is_some(), rule.prefix.is_some(), rule.regex.is_some(), rule.present.is_some()];
        if n_given.iter().filter(|given| **given).count() != 1 {
            findings.error(Code::Conflict, &path, "needs exactly one of `exact`, `prefix`, `regex`, `present`");
        }
        if let Some(Err(error)) = rule.regex.as_deref().map(regex::Regex::new) {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            findings.error(Code::InvalidValue, &format!("{path}.regex"), format!("is no regular expression: {reason}"));
        }
    }
    policy(route.retry.as_ref(), route.timeouts.as_ref(), findings);
}

fn a2a_agent(agent: &A2aAgent, findings: &mut Findings<'_>) {
    url::check_address("url", &agent.url, agent.allow_private_networks, findings);
    for (name, value) in &agent.headers {
        header(name, value, findings);
    }
    if let Some(key) = &agent.api_key {
        api_key(key, findings);
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
    if key.limits.rpm == Some(0) {
        findings.error(Code::InvalidValue, "limits.rpm", "must be at least 1; use `enabled: false` to shut a key");
    }
    if key.models.iter().any(String::is_empty) {
        findings.error(Code::InvalidValue, "models", "holds an empty name");
    }
    if key.passthrough.iter().any(String::is_empty) {
        findings.error(Code::InvalidValue, "passthrough", "holds an empty name");
    }
}

fn price(price: &Price, findings: &mut Findings<'_>) {
    if price.model.is_empty() {
        findings.error(Code::InvalidValue, "model", "must not be empty; `*` stands for every model");
    }
    if !price.is_by_tokens() && !price.is_by_units() {
        let message = "is missing, and so is every price by the unit; a price has `input_per_1m` and `output_per_1m`, or \
            one of `per_image`, `per_input_image`, `per_audio_minute`, `per_1m_characters`, `per_1k_searches`";
        findings.error(Code::MissingField, "input_per_1m", message);
    }
}

fn breaker(breaker: Option<&Breaker>, findings: &mut Findings<'_>) {
    let Some(breaker) = breaker else { return };
    if breaker.failures.is_some_and(|failures| !(1..=1000).contains(&failures)) {
        findings.error(Code::InvalidValue, "breaker.failures", "must be from 1 to 1000");
    }
    if breaker.open.is_some_and(|open| open.0.is_zero() || open.0.as_secs() > 3600) {
        findings.error(Code::InvalidValue, "breaker.open", "must be longer than 0 and at most 1h");
    }
    if breaker.trials.is_some_and(|trials| !(1..=100).contains(&trials)) {
        findings.error(Code::InvalidValue, "breaker.trials", "must be from 1 to 100");
    }
}

fn policy(retry: Option<&Retry>, timeouts: Option<&Timeouts>, findings: &mut Findings<'_>) {
    if retry.and_then(|retry| retry.max_attempts).is_some_and(|attempts| !(1..=10).contains(&attempts)) {
        findings.error(Code::InvalidValue, "retry.max_attempts", "must be from 1 to 10; 1 means no retry");
    }
    let Some(timeouts) = timeouts else { return };
    let named = [
        ("timeouts.connect", timeouts.connect),
        ("timeouts.first_byte", timeouts.first_byte),
        ("timeouts.idle", timeouts.idle),
        ("timeouts.total", timeouts.total),
    ];
    for (path, span) in named {
        if span.is_some_and(|span| span.0.is_zero()) {
            findings.error(Code::InvalidValue, path, "must be longer than 0");
        }
    }
}

// === impl Findings ===

impl Findings<'_> {
    fn error(&mut self, code: Code, field: &str, message: impl Into<String>) {
        let path = format!("{}.{field}", self.path);
        self.problems.push(Problem::error(code, path, message));
    }

    fn warning(&mut self, code: Code, field: &str, message: impl Into<String>) {
        let path = format!("{}.{field}", self.path);
        self.problems.push(Problem::warning(code, path, message));
    }
}
