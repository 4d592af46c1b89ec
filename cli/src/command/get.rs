//! `get`: resources of one kind as a table, or one of them.

use clap::Args;
use gateway_model::catalog;
use gateway_model::kind::Kind;
use serde_json::Value;

use crate::args::{self, Gateway, Output};
use crate::client::{Client, Query, path};
use crate::exit::{Exit, Failure};
use crate::host;
use crate::output::table::{self, Column};
use crate::output::{dash, items, joined, text, when};

/// Show resources of a kind
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  gatewayctl get providers
  gatewayctl get model smart -o yaml
  gatewayctl get keys -o json | jq -r '.[].name'")]
pub(crate) struct Get {
    /// providers, models, routes, prices, keys or settings; the singular works too
    #[arg(value_parser = args::kind)]
    pub(super) kind: Kind,
    /// Only this one
    pub(super) name: Option<String>,
    /// How many to show at most
    #[arg(long, default_value_t = 500, value_name = "N")]
    pub(super) limit: usize,
    #[command(flatten)]
    pub(super) output: Output,
    #[command(flatten)]
    pub(super) gateway: Gateway,
}

pub(crate) async fn run(get: Get) -> Result<Exit, Failure> {
    let client = Client::new(&get.gateway)?;
    if let Some(item) = single(&client, get.kind, get.name.as_deref()).await? {
        get.output.format.print(&item, |item| rows(get.kind, std::slice::from_ref(item), get.output.format.width()))?;
        return Ok(Exit::Done);
    }
    let list = client.list(&path(&[get.kind.plural()]), &Query::new(), get.limit).await?;
    if list.items.is_empty() {
        host::say(empty(get.kind));
    }
    if list.more {
        host::say(&format!("only the first {} are shown; there are more, see --limit", get.limit));
    }
    let n_items = list.items.len();
    get.output.format.print(&Value::Array(list.items), |value| match n_items {
        0 => String::new(),
        _ => rows(get.kind, items(value, ""), get.output.format.width()),
    })?;
    Ok(Exit::Done)
}

/// The resource that is meant, where one is: by its name, or the only one of its kind.
pub(crate) async fn single(client: &Client, kind: Kind, name: Option<&str>) -> Result<Option<Value>, Failure> {
    match (kind, name) {
        (Kind::Setting, _) => client.get(&path(&[kind.plural()]), &Query::new()).await.map(Some),
        (_, Some(name)) => client.get(&path(&[kind.plural(), name]), &Query::new()).await.map(Some),
        (_, None) => Ok(None),
    }
}

/// What is known of everything, told where there is room.
const REVISION: Column = Column::SpareNumber("REVISION");
const UPDATED: Column = Column::Spare("UPDATED");

/// Makes the cells of one row.
type RowOf = fn(&Value) -> Vec<String>;

/// The table of `items`, by kind.
fn rows(kind: Kind, items: &[Value], width: Option<usize>) -> String {
    use Column::{Number, Spare, SpareNumber, Text};
    let (columns, row): (&[Column], RowOf) = match kind {
        Kind::Provider => (&[Text("NAME"), Text("KIND"), Text("URL"), Text("API KEY"), REVISION, UPDATED], provider),
        Kind::Model => {
            (&[Text("NAME"), Text("STRATEGY"), Text("TARGETS"), Spare("FALLBACKS"), REVISION, UPDATED], model)
        }
        Kind::Route => (&[Number("ORDER"), Text("NAME"), Text("MATCH"), Text("MODEL"), REVISION, UPDATED], route),
        Kind::A2aAgent => {
            (&[Text("NAME"), Text("URL"), Text("METHODS"), Text("API KEY"), REVISION, UPDATED], a2a_agent)
        }
        Kind::Exporter => (&[Text("NAME"), Text("TYPE"), Text("STATE"), REVISION, UPDATED], exporter),
        Kind::Organization | Kind::Team | Kind::User => {
            (&[Text("NAME"), Text("ORGANIZATION"), Text("LIMITS"), Text("STATE"), REVISION, UPDATED], tenant)
        }
        Kind::Limit => (&[Text("NAME"), Text("LIMITS"), Text("OF"), Text("PER"), REVISION, UPDATED], limit),
        Kind::Budget => (
            &[Text("NAME"), Number("USD"), Text("WINDOW"), Text("OF"), Spare("WHEN EXHAUSTED"), REVISION, UPDATED],
            budget,
        ),
        Kind::Price => (
            &[
                Text("PROVIDER"),
                Text("MODEL"),
                Number("INPUT"),
                Number("OUTPUT"),
                SpareNumber("CACHE READ"),
                SpareNumber("CACHE WRITE"),
                Spare("BY THE UNIT"),
            ],
            price,
        ),
        Kind::Key => (
            &[
                Text("NAME"),
                Text("ID"),
                Text("MODELS"),
                Text("LIMITS"),
                Text("EXPIRES"),
                Text("STATE"),
                Spare("LAST USED"),
                Spare("CREATED"),
            ],
            key,
        ),
        Kind::Setting => return settings(items, width),
    };
    table::render(columns, items.iter().map(row), width)
}

fn provider(item: &Value) -> Vec<String> {
    let kind = text(item, "/spec/kind");
    let named = text(item, "/spec/base_url");
    let default = catalog::row(&kind).and_then(|row| row.base_url.as_deref()).unwrap_or("-");
    let url = if named.is_empty() { default.to_owned() } else { named };
    vec![text(item, "/name"), kind, url, credentials(item), text(item, "/revision"), when(item, "/updated_at")]
}

fn a2a_agent(item: &Value) -> Vec<String> {
    let (name, url, methods) = (text(item, "/name"), text(item, "/spec/url"), joined(item, "/spec/methods"));
    vec![name, url, methods, credential(item, "api_key"), text(item, "/revision"), when(item, "/updated_at")]
}

fn exporter(item: &Value) -> Vec<String> {
    let is_off = item.pointer("/spec/enabled") == Some(&Value::Bool(false)) || text(item, "/spec/share") == "off";
    let state = if is_off { "off" } else { "on" };
    let (name, of) = (text(item, "/name"), text(item, "/spec/type"));
    vec![name, of, state.to_owned(), text(item, "/revision"), when(item, "/updated_at")]
}

fn tenant(item: &Value) -> Vec<String> {
    let organization = Some(text(item, "/spec/organization")).filter(|name| !name.is_empty());
    let state = if item.pointer("/spec/enabled") == Some(&Value::Bool(false)) { "disabled" } else { "enabled" };
    vec![
        text(item, "/name"),
        organization.unwrap_or_else(|| "-".to_owned()),
        limits(item),
        state.to_owned(),
        text(item, "/revision"),
        when(item, "/updated_at"),
    ]
}

/// All of them in one cell: `rpm 60, tpm 1000`.
fn limits(item: &Value) -> String {
    // A key's fields stand beside its name, other kinds' in their `spec`.
    let limits = item.pointer("/spec/limits").or_else(|| item.pointer("/limits"));
    let limits = limits.and_then(Value::as_object).into_iter().flatten();
    let each: Vec<String> = limits.map(|(name, amount)| format!("{name} {}", text(amount, ""))).collect();
    if each.is_empty() { "-".to_owned() } else { each.join(", ") }
}

/// The key of a provider, or how many it has.
fn credentials(item: &Value) -> String {
    match items(item, "/spec/api_keys").len() {
        0 => credential(item, "api_key"),
        n_keys => format!("{n_keys} keys"),
    }
}

/// How a write-only secret shows: that it is there, and its end.
pub(crate) fn credential(item: &Value, field: &str) -> String {
    let last4 = text(item, &format!("/secrets/{field}/last4"));
    match item.pointer(&format!("/secrets/{field}/set")).and_then(Value::as_bool) {
        Some(true) if last4.is_empty() => "set".to_owned(),
        Some(true) => format!("…{last4}"),
        _ => "-".to_owned(),
    }
}

fn model(item: &Value) -> Vec<String> {
    let targets = items(item, "/spec/targets").iter().map(|target| {
        let weight = target.get("weight").and_then(Value::as_u64).filter(|weight| *weight != 1);
        let weight = weight.map(|weight| format!(" x{weight}")).unwrap_or_default();
        let disabled = if target.get("enabled") == Some(&Value::Bool(false)) { " (off)" } else { "" };
        format!("{}/{}{weight}{disabled}", text(target, "/provider"), text(target, "/model"))
    });
    let targets = targets.collect::<Vec<_>>().join(", ");
    let (strategy, fallbacks) = (text(item, "/spec/strategy"), joined(item, "/spec/fallbacks"));
    vec![text(item, "/name"), strategy, targets, dash(fallbacks), text(item, "/revision"), when(item, "/updated_at")]
}

fn route(item: &Value) -> Vec<String> {
    let mut conditions = Vec::new();
    for (field, value) in item.pointer("/spec/match").and_then(Value::as_object).into_iter().flatten() {
        match value {
            Value::Object(headers) => {
                conditions
                    .extend(headers.iter().map(|(name, rule)| format!("{name}: {}", text(rule, "").replace('"', ""))));
            }
            other => conditions.push(format!("{field} {}", text(other, ""))),
        }
    }
    let conditions = if conditions.is_empty() { "everything".to_owned() } else { conditions.join(", ") };
    let model = text(item, "/spec/model");
    let model = if model.is_empty() { "(as asked)".to_owned() } else { model };
    vec![
        text(item, "/spec/order"),
        text(item, "/name"),
        conditions,
        model,
        text(item, "/revision"),
        when(item, "/updated_at"),
    ]
}

/// What it selects: `models gpt-5*, tags batch`.
fn selected(item: &Value) -> String {
    let lists = item.pointer("/spec/match").and_then(Value::as_object).into_iter().flatten();
    let of: Vec<String> = lists.map(|(list, names)| format!("{list} {}", text(names, ""))).collect();
    of.join(", ")
}

fn limit(item: &Value) -> Vec<String> {
    let (revision, updated_at) = (text(item, "/revision"), when(item, "/updated_at"));
    vec![text(item, "/name"), limits(item), selected(item), dash(text(item, "/spec/per")), revision, updated_at]
}

fn budget(item: &Value) -> Vec<String> {
    let exhausted = text(item, "/spec/on_exhausted");
    let exhausted = if exhausted.is_empty() { "refuse".to_owned() } else { exhausted };
    let (amount, window) = (text(item, "/spec/amount_usd"), text(item, "/spec/window"));
    vec![
        text(item, "/name"),
        amount,
        window,
        selected(item),
        exhausted,
        text(item, "/revision"),
        when(item, "/updated_at"),
    ]
}

fn price(item: &Value) -> Vec<String> {
    let fields = [
        "/spec/provider",
        "/spec/model",
        "/spec/input_per_1m",
        "/spec/output_per_1m",
        "/spec/cache_read_per_1m",
        "/spec/cache_write_per_1m",
    ];
    let units = [
        ("per_image", "picture"),
        ("per_input_image", "picture read"),
        ("per_audio_minute", "minute"),
        ("per_1m_characters", "1M characters"),
        ("per_1k_searches", "1K searches"),
    ];
    let units = units.into_iter().map(|(field, unit)| (text(item, &format!("/spec/{field}")), unit));
    let units: Vec<_> =
        units.filter(|(rate, _)| !rate.is_empty()).map(|(rate, unit)| format!("{rate}/{unit}")).collect();
    fields.into_iter().map(|field| dash(text(item, field))).chain([dash(units.join(", "))]).collect()
}

fn key(item: &Value) -> Vec<String> {
    let expired = item.get("expires_at").and_then(crate::output::time::unix_ms).is_some_and(|at| at <= host::now_ms());
    let state = match item.get("enabled") {
        Some(Value::Bool(false)) => "disabled",
        _ if expired => "expired",
        _ => "active",
    };
    let expires = when(item, "/expires_at");
    let expires = if expires.is_empty() { "never".to_owned() } else { expires };
    let (id, models) = (text(item, "/id"), joined(item, "/models"));
    vec![
        text(item, "/name"),
        id,
        models,
        limits(item),
        expires,
        state.to_owned(),
        when(item, "/last_used_at"),
        when(item, "/created_at"),
    ]
}

fn settings(items: &[Value], width: Option<usize>) -> String {
    let spec = items.first().and_then(|item| item.get("spec")).and_then(Value::as_object);
    let set: Vec<Vec<String>> =
        spec.into_iter().flatten().map(|(field, value)| vec![field.clone(), text(value, "")]).collect();
    if set.is_empty() {
        host::say("every setting has its default; see `gatewayctl schema` for what can be set");
        return String::new();
    }
    table::render(&[Column::Text("SETTING"), Column::Text("VALUE")], set, width)
}

/// What it means that there is nothing, and how to change it.
fn empty(kind: Kind) -> &'static str {
    match kind {
        Kind::Setting => "no settings",
        Kind::Provider => {
            "no providers; requests have nowhere to go. Write one into gateway.yaml and `gatewayctl apply -f gateway.yaml`"
        }
        Kind::Model => "no models of your own; every model of a provider answers as `provider/model`",
        Kind::Route => "no routes; requests go to the model they name",
        Kind::A2aAgent => "no agents; /v1/a2a has nobody to ask",
        Kind::Organization => "no organizations; teams and users stand for themselves",
        Kind::Team => "no teams; each key has limits of its own only",
        Kind::User => "no users; keys are nobody's in particular",
        Kind::Limit => "no limits that several share; a key has its own in `limits`",
        Kind::Budget => "no budgets that several share; a key has its own in `budget`",
        Kind::Exporter => "no exporters; records of requests stay in the gateway's own log",
        Kind::Price => "no prices; usage is counted in tokens, costs are unknown",
        Kind::Key => "no keys; make one with `gatewayctl keys create NAME`",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(kind: Kind, item: Value, expected: &[&str]) {
        let drawn = rows(kind, &[item], None);
        let line = drawn.lines().nth(1).unwrap_or_default();
        let words: Vec<&str> = line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect();
        assert_eq!(words, expected);
    }

    #[test]
    fn each_kind_has_its_columns() {
        check(
            Kind::Provider,
            json!({"name": "claude", "revision": 3, "spec": {"kind": "anthropic", "base_url": "https://x.example"},
                   "secrets": {"api_key": {"set": true, "last4": "abcd"}}}),
            &["claude", "anthropic", "https://x.example", "…abcd", "3"],
        );
        check(
            Kind::Model,
            json!({"name": "smart", "revision": 4, "spec": {"strategy": "weighted", "targets": [
                {"provider": "a", "model": "m", "weight": 70}, {"provider": "b", "model": "n", "enabled": false}]}}),
            &["smart", "weighted", "a/m x70, b/n (off)", "-", "4"],
        );
        check(
            Kind::Route,
            json!({"name": "r", "revision": 5, "spec": {"order": 10, "model": "smart",
                   "match": {"path": "/v1/chat/completions", "headers": {"x-team": "search", "x-beta": {"present": true}}}}}),
            &["10", "r", "path /v1/chat/completions, x-team: search, x-beta: {present:true}", "smart", "5"],
        );
        check(
            Kind::Price,
            json!({"name": "p", "spec": {"provider": "a", "model": "m", "input_per_1m": "5", "per_image": "0.04", "per_1k_searches": 2}}),
            &["a", "m", "5", "-", "-", "-", "0.04/picture, 2/1K searches"],
        );
        check(
            Kind::Key,
            json!({"name": "k", "id": "vk_1", "models": ["*"], "limits": {"rpm": 5}, "expires_at": "2000-01-01T00:00:00Z"}),
            &["k", "vk_1", "*", "rpm 5", "2000-01-01", "expired"],
        );
    }
}
