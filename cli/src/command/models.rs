//! `models`: what can be asked for, with what is known of it and what it costs.

use clap::Args;
use gateway_model::catalog;
use gateway_model::catalog::models::{self, Model};
use gateway_model::kind::Kind;
use serde_json::{Value, json};

use crate::args::{Gateway, Output};
use crate::client::{Client, Query, path};
use crate::exit::{Exit, Failure};
use crate::host;
use crate::output::table::{self, Column};
use crate::output::{dash, items, text};

/// Show models with their facts and prices
#[derive(Args, Debug)]
#[command(
    after_help = "One line for each target of each configured model: facts of the configuration, else of the catalogue; prices \
in US dollars per million tokens. What providers list themselves is in GET /v1/models of a node, with the same facts.

Examples:
  gatewayctl models
  gatewayctl models smart -o json
  gatewayctl models --catalogue anthropic"
)]
pub(crate) struct Models {
    /// Only this one
    name: Option<String>,
    /// What the catalogue knows of a kind of provider, without asking a gateway
    #[arg(long, value_name = "KIND", conflicts_with_all = ["context", "admin_url", "data_dir"])]
    catalogue: Option<String>,
    /// How many models to show at most
    #[arg(long, default_value_t = 500, value_name = "N")]
    limit: usize,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

/// What a configuration says, item by item as the admin API has it.
struct Configured {
    providers: Vec<Value>,
    prices: Vec<Value>,
}

pub(crate) async fn run(asked: Models) -> Result<Exit, Failure> {
    let rows = match &asked.catalogue {
        Some(kind) => of_catalogue(kind, asked.name.as_deref(), asked.limit)?,
        None => of_gateway(&asked).await?,
    };
    if rows.is_empty() {
        host::say("no models of your own; every model of a provider answers as `provider/model`");
    }
    asked.output.format.print(&Value::Array(rows), |value| match items(value, "") {
        [] => String::new(),
        rows => table::render(&COLUMNS, rows.iter().map(line), asked.output.format.width()),
    })?;
    Ok(Exit::Done)
}

// === impl Models ===

impl Models {
    pub(super) fn talks_to_a_gateway(&self) -> bool {
        self.catalogue.is_none()
    }
}

const COLUMNS: [Column; 9] = [
    Column::Text("MODEL"),
    Column::Text("TARGET"),
    Column::Number("CONTEXT"),
    Column::SpareNumber("MAX OUT"),
    Column::Spare("CAN"),
    Column::Number("INPUT"),
    Column::Number("OUTPUT"),
    Column::SpareNumber("CACHE READ"),
    Column::SpareNumber("CACHE WRITE"),
];

fn of_catalogue(kind: &str, name: Option<&str>, limit: usize) -> Result<Vec<Value>, Failure> {
    if catalog::row(kind).is_none() {
        let message =
            format!("there is no provider kind `{kind}`; docs/providers.md and `gatewayctl schema` list them");
        return Err(Failure::new(Exit::NotFound, message));
    }
    let wanted = models::of_kind(kind).filter(|model| name.is_none_or(|name| model.name == name));
    let rows = wanted.take(limit).map(|model| row(model.name, kind, model.name, &Value::Null, Some(&model), None));
    Ok(rows.collect())
}

async fn of_gateway(asked: &Models) -> Result<Vec<Value>, Failure> {
    let client = Client::new(&asked.gateway)?;
    let configured = match &asked.name {
        Some(name) => vec![client.get(&path(&[Kind::Model.plural(), name]), &Query::new()).await?],
        None => {
            let list = client.list(&path(&[Kind::Model.plural()]), &Query::new(), asked.limit).await?;
            if list.more {
                host::say(&format!("only the first {} are shown; there are more, see --limit", asked.limit));
            }
            list.items
        }
    };
    let all = async |kind: Kind| client.list(&path(&[kind.plural()]), &Query::new(), usize::MAX).await;
    let (providers, prices) = (all(Kind::Provider).await?.items, all(Kind::Price).await?.items);
    let around = Configured { providers, prices };
    Ok(configured.iter().flat_map(|model| around.rows(model)).collect())
}

// === impl Configured ===

impl Configured {
    /// A row for each target of a model.
    fn rows(&self, model: &Value) -> Vec<Value> {
        let name = text(model, "/name");
        let facts = model.pointer("/spec/facts").unwrap_or(&Value::Null);
        let targets = items(model, "/spec/targets").iter().map(|target| {
            let (provider, upstream) = (text(target, "/provider"), text(target, "/model"));
            let kind = self.providers.iter().find(|item| text(item, "/name") == provider);
            let kind = kind.map(|item| text(item, "/spec/kind")).unwrap_or_default();
            let known = models::model(&kind, &upstream);
            row(&name, &provider, &upstream, facts, known.as_ref(), self.price(&provider, &upstream))
        });
        targets.collect()
    }

    /// The price of this model, else that of all others of the provider.
    fn price(&self, provider: &str, model: &str) -> Option<&Value> {
        let named = |name: &str| {
            let mut of_provider = self.prices.iter().filter(|item| text(item, "/spec/provider") == provider);
            of_provider.find(|item| text(item, "/spec/model") == name)
        };
        named(model).or_else(|| named("*")).and_then(|item| item.get("spec"))
    }
}

/// One target. Members are called as in the list of models that nodes give.
fn row(
    name: &str,
    provider: &str,
    upstream: &str,
    facts: &Value,
    known: Option<&Model>,
    price: Option<&Value>,
) -> Value {
    let fact = |member: &str, known: Value| facts.get(member).cloned().unwrap_or(known);
    let can = |word: &str| json!(known.map(|known| known.capabilities().any(|able| able == word)));
    let reads_pictures = json!(known.map(|known| known.modalities().0.contains(&"image")));
    let rates = known.and_then(|known| known.prices.as_ref()).map(|prices| &prices.base).filter(|_| price.is_none());
    let cost = |member: &str, listed: Option<gateway_model::unit::UsdPerMillion>| match price {
        Some(price) => price.get(member).cloned().unwrap_or(Value::Null),
        None => json!(listed),
    };
    json!({
        "model": name,
        "provider": provider,
        "upstream_model": upstream,
        "mode": known.map(|known| known.mode),
        "context_window": fact("context_window", json!(known.and_then(|known| known.context))),
        "max_tokens": fact("max_tokens", json!(known.and_then(|known| known.output))),
        "supports_vision": fact("supports_vision", reads_pictures),
        "supports_tool_calls": fact("supports_tool_calls", can("tools")),
        "supports_reasoning": fact("supports_reasoning", can("reasoning")),
        "input_cost_per_1m": cost("input_per_1m", rates.and_then(|rates| rates.input)),
        "output_cost_per_1m": cost("output_per_1m", rates.and_then(|rates| rates.output)),
        "cache_read_cost_per_1m": cost("cache_read_per_1m", rates.and_then(|rates| rates.cache_read)),
        "cache_write_cost_per_1m": cost("cache_write_per_1m", rates.and_then(|rates| rates.cache_write)),
    })
}

fn line(row: &Value) -> Vec<String> {
    let able = [("supports_vision", "vision"), ("supports_tool_calls", "tools"), ("supports_reasoning", "reasoning")];
    let able = able.iter().filter(|(member, _)| row[*member] == true).map(|(_, word)| *word).collect::<Vec<_>>();
    let target = format!("{}/{}", text(row, "/provider"), text(row, "/upstream_model"));
    let fields = [
        "/context_window",
        "/max_tokens",
        "",
        "/input_cost_per_1m",
        "/output_cost_per_1m",
        "/cache_read_cost_per_1m",
        "/cache_write_cost_per_1m",
    ];
    let cells = fields.iter().map(|field| dash(if field.is_empty() { able.join(" ") } else { text(row, field) }));
    [text(row, "/model"), target].into_iter().chain(cells).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(model: Value, expected: &[&[&str]]) {
        let configured = Configured {
            providers: vec![
                json!({"name": "claude", "spec": {"kind": "anthropic"}}),
                json!({"name": "own", "spec": {"kind": "vllm"}}),
            ],
            prices: vec![
                json!({"spec": {"provider": "own", "model": "*", "input_per_1m": "0.5", "output_per_1m": "1"}}),
            ],
        };
        let lines: Vec<Vec<String>> = configured.rows(&model).iter().map(line).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn each_target_has_a_line_with_facts_and_prices() {
        let targets = json!([{"provider": "claude", "model": "claude-haiku-4-5"}, {"provider": "own", "model": "m"}]);
        let haiku =
            ["smart", "claude/claude-haiku-4-5", "200000", "64000", "vision tools reasoning", "1", "5", "0.1", "1.25"];
        let own = ["smart", "own/m", "-", "-", "-", "0.5", "1", "-", "-"];
        check(json!({"name": "smart", "spec": {"targets": targets}}), &[&haiku, &own]);
        let facts = json!({"context_window": 9, "supports_vision": false, "supports_tool_calls": true});
        let haiku = ["smart", "claude/claude-haiku-4-5", "9", "64000", "tools reasoning", "1", "5", "0.1", "1.25"];
        let own = ["smart", "own/m", "9", "-", "tools", "0.5", "1", "-", "-"];
        check(json!({"name": "smart", "spec": {"targets": targets, "facts": facts}}), &[&haiku, &own]);
    }

    #[test]
    fn the_catalogue_needs_no_gateway() {
        let rows = of_catalogue("anthropic", Some("claude-haiku-4-5"), 10).unwrap_or_default();
        assert_eq!(rows.iter().map(|row| text(row, "/input_cost_per_1m")).collect::<Vec<_>>(), ["1"]);
        assert_eq!(of_catalogue("anthropic", None, 3).map(|rows| rows.len()).unwrap_or_default(), 3);
        assert!(of_catalogue("none-such", None, 3).is_err());
    }
}
