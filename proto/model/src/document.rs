//! One resource as a document: strict decode, and the division into what may be shown and what may not.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::kind::Kind;
use crate::kind::a2a_agent::A2aAgent;
use crate::kind::budget::BudgetRule;
use crate::kind::exporter::Exporter;
use crate::kind::key::Key;
use crate::kind::limit::LimitRule;
use crate::kind::model::Model;
use crate::kind::price::Price;
use crate::kind::provider::Provider;
use crate::kind::route::Route;
use crate::kind::settings::Settings;
use crate::kind::settings::alerts::Destination;
use crate::kind::settings::introspection::Introspector;
use crate::kind::tenant::{Organization, Team, User};
use crate::problem::{Code, Problem};
use crate::secret::Secret;

/// Name under which the one settings resource is stored.
pub const SETTINGS_NAME: &str = "settings";

/// A resource of any kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Resource {
    Settings(Box<Settings>),
    Provider(Box<Provider>),
    Price(Box<Price>),
    Model(Box<Model>),
    Route(Box<Route>),
    A2aAgent(Box<A2aAgent>),
    Organization(Box<Organization>),
    Team(Box<Team>),
    User(Box<User>),
    Budget(Box<BudgetRule>),
    Limit(Box<LimitRule>),
    Exporter(Box<Exporter>),
    Key(Box<Key>),
}

/// Decodes a document strictly: unknown fields and wrong types are problems, with paths relative to the item.
pub fn decode(kind: Kind, value: Value) -> Result<Resource, Vec<Problem>> {
    if !value.is_object() {
        return Err(vec![Problem::error(Code::InvalidValue, "", format!("a {kind} must be a map of fields"))]);
    }
    let unsupported = unsupported_fields(kind, &value);
    if !unsupported.is_empty() {
        return Err(unsupported);
    }
    Ok(match kind {
        Kind::Setting => Resource::Settings(typed(value)?),
        Kind::Provider => Resource::Provider(typed(value)?),
        Kind::Price => {
            let mut price: Box<Price> = typed(value)?;
            if price.name.is_empty() {
                price.name = format!("{}/{}", price.provider, price.model);
            }
            Resource::Price(price)
        }
        Kind::Model => Resource::Model(typed(value)?),
        Kind::Route => Resource::Route(typed(value)?),
        Kind::A2aAgent => Resource::A2aAgent(typed(value)?),
        Kind::Organization => Resource::Organization(typed(value)?),
        Kind::Team => Resource::Team(typed(value)?),
        Kind::User => Resource::User(typed(value)?),
        Kind::Budget => Resource::Budget(typed(value)?),
        Kind::Limit => Resource::Limit(typed(value)?),
        Kind::Exporter => Resource::Exporter(typed(value)?),
        Kind::Key => Resource::Key(typed(value)?),
    })
}

/// A stored document and its secrets, put together again.
pub fn join(kind: Kind, document: Value, secrets: &BTreeMap<String, Secret>) -> Result<Resource, Vec<Problem>> {
    let Value::Object(mut members) = document else {
        return Err(vec![Problem::error(Code::InvalidValue, "", "a document must be an object")]);
    };
    put_back(&mut members, secrets);
    decode(kind, Value::Object(members))
}

/// Secrets stand at the top (`api_key`), one level down (`aws.secret_access_key`) or in a named item of a list
/// (`api_keys[main].key`). What belonged to an item that is gone is gone with it.
fn put_back(members: &mut Map<String, Value>, secrets: &BTreeMap<String, Secret>) {
    for (path, secret) in secrets {
        let (parent, name) = path.rsplit_once('.').map_or((None, path.as_str()), |(parent, name)| (Some(parent), name));
        let holder = match (parent, parent.and_then(item)) {
            (None, _) => Some(&mut *members),
            (Some(_), Some((list, wanted))) => {
                let items = members.get_mut(list).and_then(Value::as_array_mut);
                let found = items.and_then(|items| items.iter_mut().find(|item| item["name"] == wanted));
                found.and_then(Value::as_object_mut)
            }
            (Some(parent), None) => {
                let nested = members.entry(parent).or_insert_with(|| Value::Object(Map::new()));
                nested.as_object_mut()
            }
        };
        if let Some(holder) = holder {
            holder.insert(name.to_owned(), Value::from(secret.expose()));
        }
    }
}

/// `api_keys[main]`: the list, and the name of one of its items.
fn item(path: &str) -> Option<(&str, &str)> {
    path.strip_suffix(']')?.split_once('[')
}

fn typed<T: DeserializeOwned>(value: Value) -> Result<Box<T>, Vec<Problem>> {
    serde_path_to_error::deserialize(value).map(Box::new).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { String::new() } else { path };
        vec![explained(path, error.inner())]
    })
}

/// serde's words, sorted into codes.
fn explained(path: String, error: &serde_json::Error) -> Problem {
    let message = error.to_string();
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let (field, known) = rest.split_once('`').unwrap_or((rest, ""));
        let hint = did_you_mean(field, known).map(|close| format!("; did you mean `{close}`?")).unwrap_or_default();
        let path = path_of(&path, field);
        return Problem::error(Code::UnknownField, path, format!("there is no field `{field}`{hint}"));
    }
    let code = if message.starts_with("missing field") { Code::MissingField } else { Code::InvalidValue };
    Problem::error(code, path, message)
}

/// serde reports an unknown field at its parent or at itself, depending on the container.
fn path_of(path: &str, field: &str) -> String {
    if path == field || path.ends_with(&format!(".{field}")) {
        path.to_owned()
    } else if path.is_empty() {
        field.to_owned()
    } else {
        format!("{path}.{field}")
    }
}

/// Fields of the design that this version does not honour: refused, never ignored.
fn unsupported_fields(kind: Kind, value: &Value) -> Vec<Problem> {
    let Value::Object(members) = value else { return Vec::new() };
    let mut problems: Vec<Problem> = kind
        .row()
        .unsupported
        .iter()
        .filter(|name| members.contains_key(**name))
        .map(|name| unsupported((*name).to_owned(), &format!("`{name}` of a {kind}")))
        .collect();
    for (parent, names) in
        UNSUPPORTED_NESTED.iter().filter(|(of, ..)| *of == kind).map(|(_, parent, names)| (parent, names))
    {
        let Some(Value::Object(nested)) = members.get(*parent) else { continue };
        let found = names.iter().filter(|name| nested.contains_key(**name));
        problems.extend(found.map(|name| unsupported(format!("{parent}.{name}"), &format!("`{parent}.{name}`"))));
    }
    problems
}

/// As `Row::unsupported`, one level down.
const UNSUPPORTED_NESTED: &[(Kind, &str, &[&str])] =
    &[(Kind::A2aAgent, "timeouts", &["queue"]), (Kind::Route, "match", &["team"])];

pub(crate) fn unsupported(path: String, what: &str) -> Problem {
    let message = format!("{what} is not supported by this version yet; remove it");
    Problem::error(Code::UnsupportedYet, path, message)
}

/// The name in `known` (a comma-separated list or serde's "expected one of …") that is closest to `word`, if close.
pub(crate) fn did_you_mean(word: &str, known: &str) -> Option<String> {
    let names =
        known.split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))).filter(|name| name.len() > 1);
    let closest = names.map(|name| (distance(word, name), name)).min()?;
    (closest.0 <= 1 + word.len() / 4).then(|| closest.1.to_owned())
}

/// Levenshtein distance; the words are field names, so quadratic is fine.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

// === impl Resource ===

impl Resource {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Settings(_) => Kind::Setting,
            Self::Provider(_) => Kind::Provider,
            Self::Price(_) => Kind::Price,
            Self::Model(_) => Kind::Model,
            Self::Route(_) => Kind::Route,
            Self::A2aAgent(_) => Kind::A2aAgent,
            Self::Organization(_) => Kind::Organization,
            Self::Team(_) => Kind::Team,
            Self::User(_) => Kind::User,
            Self::Budget(_) => Kind::Budget,
            Self::Limit(_) => Kind::Limit,
            Self::Exporter(_) => Kind::Exporter,
            Self::Key(_) => Kind::Key,
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Settings(_) => SETTINGS_NAME,
            Self::Provider(provider) => &provider.name,
            Self::Price(price) => &price.name,
            Self::Model(model) => &model.name,
            Self::Route(route) => &route.name,
            Self::A2aAgent(agent) => &agent.name,
            Self::Organization(organization) => &organization.name,
            Self::Team(team) => &team.name,
            Self::User(user) => &user.name,
            Self::Budget(budget) => &budget.name,
            Self::Limit(limit) => &limit.name,
            Self::Exporter(exporter) => &exporter.name,
            Self::Key(key) => &key.name,
        }
    }

    /// The document without its secrets: what is stored, shown and sent.
    pub fn to_document(&self) -> Value {
        match self {
            Self::Settings(settings) => document(settings),
            Self::Provider(provider) => document(provider),
            Self::Price(price) => document(price),
            Self::Model(model) => document(model),
            Self::Route(route) => document(route),
            Self::A2aAgent(agent) => document(agent),
            Self::Organization(organization) => document(organization),
            Self::Team(team) => document(team),
            Self::User(user) => document(user),
            Self::Budget(budget) => document(budget),
            Self::Limit(limit) => document(limit),
            Self::Exporter(exporter) => document(exporter),
            Self::Key(key) => document(key),
        }
    }

    /// Its secrets by field path; the paths are those of the kind's row.
    pub fn secrets(&self) -> BTreeMap<String, Secret> {
        let found = match self {
            Self::Provider(provider) => {
                let (aws, gcp) = (provider.aws.as_ref(), provider.gcp.as_ref());
                let single = [
                    ("api_key", provider.api_key.as_ref()),
                    ("aws.secret_access_key", aws.and_then(|aws| aws.secret_access_key.as_ref())),
                    ("aws.session_token", aws.and_then(|aws| aws.session_token.as_ref())),
                    ("gcp.service_account_json", gcp.and_then(|gcp| gcp.service_account_json.as_ref())),
                ];
                let several = provider.api_keys.iter();
                let several = several.map(|key| (format!("api_keys[{}].key", key.name), key.key.as_ref()));
                single.into_iter().map(|(path, secret)| (path.to_owned(), secret)).chain(several).collect()
            }
            Self::A2aAgent(agent) => vec![("api_key".to_owned(), agent.api_key.as_ref())],
            Self::Key(key) => vec![("secret".to_owned(), key.secret.as_ref())],
            Self::Exporter(exporter) => {
                let bucket = exporter.s3.as_ref();
                let found = [
                    ("url", exporter.url.as_ref()),
                    ("api_key", exporter.api_key.as_ref()),
                    ("secret", exporter.secret.as_ref()),
                    ("s3.secret_access_key", bucket.and_then(|bucket| bucket.secret_access_key.as_ref())),
                ];
                found.into_iter().map(|(path, secret)| (path.to_owned(), secret)).collect()
            }
            Self::Settings(settings) => {
                let of_one = |destination: &'_ Destination| {
                    let path = |field: &str| format!("alerts[{}].{field}", destination.name);
                    [(path("url"), destination.url.clone()), (path("secret"), destination.secret.clone())]
                };
                let of_client = |asked: &'_ Introspector| {
                    (format!("introspection[{}].client_secret", asked.name), asked.client_secret.clone())
                };
                let clients = settings.introspection.iter().map(of_client);
                let found = settings.alerts.iter().flat_map(of_one).chain(clients);
                return found.filter_map(|(path, secret)| Some((path, secret?))).collect();
            }
            Self::Price(_)
            | Self::Model(_)
            | Self::Route(_)
            | Self::Organization(_)
            | Self::Team(_)
            | Self::User(_)
            | Self::Budget(_)
            | Self::Limit(_) => Vec::new(),
        };
        found.into_iter().filter_map(|(path, secret)| Some((path, secret?.clone()))).collect()
    }

    /// The document as its author wrote it, secrets included. For sending to the control plane only.
    pub fn to_document_with_secrets(&self) -> Value {
        let mut value = self.to_document();
        if let Value::Object(members) = &mut value {
            put_back(members, &self.secrets());
        }
        value
    }
}

fn document<T: Serialize>(resource: &T) -> Value {
    serde_json::to_value(resource).unwrap_or_else(|_| Value::Object(Map::new()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind::ROWS;

    fn problem(kind: Kind, value: Value) -> (Code, String) {
        let problems = decode(kind, value).expect_err("a problem");
        (problems[0].code, problems[0].path.clone())
    }

    #[test]
    fn strict_with_paths() {
        let cases = [
            (json!({"name": "p", "kind": "openai", "api_ky": "x"}), Code::UnknownField, "api_ky"),
            (json!({"name": "p", "kind": "openai", "timeouts": {"idel": "1s"}}), Code::UnknownField, "timeouts.idel"),
            (json!({"name": "p", "kind": "openai", "timeouts": {"idle": "soon"}}), Code::InvalidValue, "timeouts.idle"),
            (json!({"name": "p"}), Code::MissingField, ""),
            (json!({"name": "p", "kind": "openai", "guardrails": {}}), Code::UnsupportedYet, "guardrails"),
            (json!([1]), Code::InvalidValue, ""),
        ];
        for (value, code, path) in cases {
            assert_eq!(problem(Kind::Provider, value.clone()), (code, path.to_owned()), "{value}");
        }
        assert_eq!(
            problem(Kind::A2aAgent, json!({"name": "a", "timeouts": {"queue": "5s"}})),
            (Code::UnsupportedYet, "timeouts.queue".to_owned())
        );
    }

    #[test]
    fn secrets_are_taken_out_and_put_back() {
        let aws = json!({"region": "r", "access_key_id": "a", "secret_access_key": "sk-secret-2", "session_token": "sk-secret-3"});
        let keys = json!([{"name": "a.b", "key": "sk-secret-4"}, {"name": "c", "key": "sk-secret-5", "weight": 2}]);
        let whole = json!({"name": "p", "kind": "openai", "api_key": "sk-secret", "aws": aws, "api_keys": keys});
        let provider = decode(Kind::Provider, whole.clone()).expect("valid");
        assert!(!provider.to_document().to_string().contains("sk-secret"));
        assert!(!format!("{provider:?}").contains("sk-secret"));
        assert_eq!(join(Kind::Provider, provider.to_document(), &provider.secrets()), Ok(provider.clone()));
        assert_eq!(decode(Kind::Provider, provider.to_document_with_secrets()), Ok(provider.clone()));
        let mut fewer = provider.to_document();
        fewer["api_keys"].as_array_mut().expect("a list").remove(0);
        let fewer = join(Kind::Provider, fewer, &provider.secrets()).expect("valid");
        let left = fewer.secrets();
        assert!(left.contains_key("api_keys[c].key") && !left.contains_key("api_keys[a.b].key"), "{left:?}");
    }

    #[test]
    fn every_secret_path_is_known_to_its_kind() {
        for row in ROWS {
            assert!(
                row.secrets.iter().all(|path| path.matches('.').count() <= 1),
                "{}: secrets stand at the top, one level down or in an item of a list",
                row.name
            );
        }
    }

    #[test]
    fn close_names_are_suggested() {
        assert_eq!(did_you_mean("api_ky", "`name`, `api_key`").as_deref(), Some("api_key"));
        assert_eq!(did_you_mean("zzz", "`name`, `api_key`"), None);
    }
}
