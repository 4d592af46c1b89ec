//! `experiments`: which models are tried out against others, how their variants do, and how an experiment ends.

mod figures;

use std::time::Duration;

use clap::{Args, Subcommand};
use gateway_model::kind::Kind;
use reqwest::Method;
use serde_json::{Map, Value, json};

use self::figures::Figures;
use super::delete::warn_owned;
use super::describe::spec;
use super::get::single;
use crate::args::{self, Gateway, Output, Wait};
use crate::change;
use crate::client::{Client, Query, path};
use crate::exit::{Exit, Failure};
use crate::host;
use crate::output::table::{self, Column};
use crate::output::{dash, dollars, items, number, text, time};
use crate::write;

/// Compare the variants of experiments, and end them
#[derive(Args, Debug)]
#[command(after_help = "An experiment is a field of a model; docs/routing.md has an example.

Examples:
  gatewayctl experiments list --since 7d
  gatewayctl experiments promote chat cheaper
  gatewayctl experiments stop chat")]
pub(crate) struct Experiments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    List(List),
    Promote(Promote),
    Stop(Stop),
}

/// Show each variant with its requests, errors, times and cost
#[derive(Args, Debug)]
#[command(after_help = "The figures are of the records of requests that the gateway keeps, the newest first.

Examples:
  gatewayctl experiments list
  gatewayctl experiments list --since 7d --limit 100000 -o json")]
struct List {
    /// Only requests of this last stretch of time
    #[arg(long, value_name = "TIME", value_parser = args::span, default_value = "24h")]
    since: Duration,
    /// How many records to read at most
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    limit: usize,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

/// Give a variant all requests, and end the experiment
#[derive(Args, Debug)]
#[command(
    after_help = "The model takes over what the variant's model is: its targets, strategy and fallbacks. The variant's model stays.

Example:
  gatewayctl experiments promote chat cheaper"
)]
struct Promote {
    /// The model that has the experiment
    model: String,
    /// The variant
    variant: String,
    #[command(flatten)]
    end: End,
}

/// End an experiment: all requests go to the model's own targets
#[derive(Args, Debug)]
#[command(after_help = "Example:
  gatewayctl experiments stop chat")]
struct Stop {
    /// The model that has the experiment
    model: String,
    #[command(flatten)]
    end: End,
}

#[derive(Args, Debug)]
struct End {
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

pub(crate) async fn run(experiments: Experiments) -> Result<Exit, Failure> {
    match experiments.action {
        Action::List(action) => list(action).await,
        Action::Promote(action) => {
            let client = Client::new(&action.end.gateway)?;
            let item = on_trial(&client, &action.model).await?;
            let changed = promoted(&client, &spec(&item), &action.variant).await?;
            let told = format!("variant {} is model {} now", action.variant, action.model);
            put(&client, &action.model, &item, &changed, &action.end, &told).await
        }
        Action::Stop(action) => {
            let client = Client::new(&action.end.gateway)?;
            let item = on_trial(&client, &action.model).await?;
            let told = format!("the experiment of model {} has ended", action.model);
            put(&client, &action.model, &item, &without_experiment(&spec(&item)), &action.end, &told).await
        }
    }
}

async fn list(list: List) -> Result<Exit, Failure> {
    let client = Client::new(&list.gateway)?;
    let models = client.list(&path(&["models"]), &Query::new(), usize::MAX).await?.items;
    let models: Vec<Value> = models.iter().map(spec).filter(|model| model.get("experiment").is_some()).collect();
    if models.is_empty() {
        host::say("no model has an experiment");
    }
    let since_ms = host::now_ms().saturating_sub(i64::try_from(list.since.as_millis()).unwrap_or(i64::MAX));
    let records = match models.is_empty() {
        true => Vec::new(),
        false => {
            let query = vec![("since", since_ms.max(0).to_string())];
            let read = client.list(&path(&["logs"]), &query, list.limit).await?;
            if read.more {
                host::say(&format!("only the newest {} records are counted; there are more, see --limit", list.limit));
            }
            read.items
        }
    };
    let rows: Vec<Value> = models.iter().flat_map(|model| variants(model, &records)).collect();
    list.output.format.print(&Value::Array(rows), |value| match items(value, "") {
        [] => String::new(),
        rows => table::render(&COLUMNS, rows.iter().map(line), list.output.format.width()),
    })?;
    Ok(Exit::Done)
}

const COLUMNS: [Column; 10] = [
    Column::Text("MODEL"),
    Column::Text("EXPERIMENT"),
    Column::Text("VARIANT"),
    Column::Spare("STANDS FOR"),
    Column::Number("WEIGHT"),
    Column::Number("REQUESTS"),
    Column::Number("ERRORS"),
    Column::Number("MEDIAN"),
    Column::SpareNumber("P95"),
    Column::Number("COST"),
];

/// A row for each variant of a model's experiment.
fn variants(model: &Value, records: &[Value]) -> Vec<Value> {
    let experiment = text(model, "/experiment/name");
    let row = |variant: &Value| {
        let name = text(variant, "/name");
        let is_its = |record: &&Value| {
            text(record, "/experiment/name") == experiment && text(record, "/experiment/variant") == name
        };
        let mut row = Figures::of(records.iter().filter(is_its)).told();
        row["model"] = json!(text(model, "/name"));
        row["experiment"] = json!(experiment);
        row["variant"] = json!(name);
        row["stands_for"] = variant.get("model").cloned().unwrap_or_default();
        row["weight"] = json!(variant.get("weight").and_then(Value::as_u64).unwrap_or(1));
        row
    };
    items(model, "/experiment/variants").iter().map(row).collect()
}

fn line(row: &Value) -> Vec<String> {
    let length = |pointer: &str| row.pointer(pointer).and_then(Value::as_u64).map(time::length_us).unwrap_or_default();
    let n_priced = number(row, "/requests").saturating_sub(number(row, "/unpriced_requests"));
    let cost = if n_priced == 0 { String::new() } else { dollars(number(row, "/cost_nano_usd").cast_signed()) };
    vec![
        text(row, "/model"),
        text(row, "/experiment"),
        text(row, "/variant"),
        dash(text(row, "/stands_for")),
        text(row, "/weight"),
        text(row, "/requests"),
        text(row, "/errors"),
        dash(length("/median_us")),
        dash(length("/p95_us")),
        dash(cost),
    ]
}

/// The model as it is, if it has an experiment.
async fn on_trial(client: &Client, name: &str) -> Result<Value, Failure> {
    let item = single(client, Kind::Model, Some(name)).await?.unwrap_or_default();
    match spec(&item).get("experiment") {
        Some(_) => Ok(item),
        None => Err(Failure::new(Exit::NotFound, format!("model `{name}` has no experiment"))
            .hint("`gatewayctl experiments list` shows those that there are")),
    }
}

fn without_experiment(model: &Value) -> Value {
    let mut fields = model.as_object().cloned().unwrap_or_default();
    fields.remove("experiment");
    Value::Object(fields)
}

/// The model with what its variant stands for in place of its own.
async fn promoted(client: &Client, model: &Value, variant: &str) -> Result<Value, Failure> {
    let variants = items(model, "/experiment/variants");
    let Some(chosen) = variants.iter().find(|one| text(one, "/name") == variant) else {
        let names: Vec<String> = variants.iter().map(|one| text(one, "/name")).collect();
        let message = format!("the experiment has no variant `{variant}`; it has {}", names.join(", "));
        return Err(Failure::new(Exit::NotFound, message));
    };
    let named = text(chosen, "/model");
    if named.is_empty() {
        return Ok(without_experiment(model));
    }
    match single(client, Kind::Model, Some(&named)).await {
        Ok(item) => Ok(as_model(model, &spec(&item.unwrap_or_default()))),
        Err(failure) if failure.exit == Exit::NotFound => Ok(as_address(model, &named)),
        Err(failure) => Err(failure),
    }
}

/// Everything of `other` but what names and describes `model`, and what is done beside its requests.
fn as_model(model: &Value, other: &Value) -> Value {
    const OURS: [&str; 3] = ["name", "description", "shadow"];
    let (own, theirs) =
        (model.as_object().cloned().unwrap_or_default(), other.as_object().cloned().unwrap_or_default());
    let kept = own.into_iter().filter(|(field, _)| OURS.contains(&field.as_str()));
    let taken = theirs.into_iter().filter(|(field, _)| !OURS.contains(&field.as_str()) && field != "experiment");
    Value::Object(kept.chain(taken).collect::<Map<_, _>>())
}

fn as_address(model: &Value, address: &str) -> Value {
    let mut model = without_experiment(model);
    let (provider, upstream) = address.split_once('/').unwrap_or((address, ""));
    model["targets"] = json!([{"provider": provider, "model": upstream}]);
    model
}

async fn put(client: &Client, name: &str, item: &Value, model: &Value, end: &End, told: &str) -> Result<Exit, Failure> {
    let target = path(&[Kind::Model.plural(), name]);
    let answer = write::send(client, Method::PUT, &target, end.wait, Some(model)).await?;
    end.output.format.print(&answer, |answer| write::outcome(told, &answer["change"]))?;
    warn_owned(&text(item, "/owner"));
    Ok(change::exit(answer.pointer("/change/rollout").unwrap_or(&Value::Null)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promoted_variant_s_model_takes_the_place_of_the_model_s_own() {
        let model = json!({"name": "chat", "description": "ours", "targets": [{"provider": "a", "model": "x"}],
            "strategy": "sticky", "sticky_header": "x-user", "shadow": {"model": "b/z", "percent": 1},
            "experiment": {"name": "e", "variants": [{"name": "c"}, {"name": "t", "model": "other"}]}});
        let other = json!({"name": "other", "targets": [{"provider": "b", "model": "y"}], "fallbacks": ["a/x"]});
        assert_eq!(
            as_model(&model, &other),
            json!({"name": "chat", "description": "ours", "shadow": {"model": "b/z", "percent": 1},
                "targets": [{"provider": "b", "model": "y"}], "fallbacks": ["a/x"]})
        );
        let addressed = as_address(&model, "b/org/y");
        assert_eq!(addressed["targets"], json!([{"provider": "b", "model": "org/y"}]));
        assert_eq!((addressed.get("experiment"), &addressed["strategy"]), (None, &json!("sticky")));
    }

    #[test]
    fn each_variant_has_the_figures_of_its_own_requests() {
        let model = json!({"name": "chat", "experiment": {"name": "e",
            "variants": [{"name": "c", "weight": 9}, {"name": "t", "model": "other"}]}});
        let record = |experiment: &str, variant: &str, status: u64, total_us: u64| {
            json!({"experiment": {"name": experiment, "variant": variant}, "status": status, "total_us": total_us,
                "priced": true, "cost_nano_usd": 500_000_000, "error_code": ""})
        };
        let records = [
            record("e", "t", 200, 1_000_000),
            record("e", "t", 200, 3_000_000),
            record("e", "t", 502, 2_000_000),
            record("earlier", "t", 200, 9),
            json!({"experiment": null, "status": 200}),
        ];
        let rows = variants(&model, &records);
        assert_eq!(line(&rows[0]), ["chat", "e", "c", "-", "9", "0", "0", "-", "-", "-"]);
        assert_eq!(line(&rows[1]), ["chat", "e", "t", "other", "1", "3", "1", "2.0s", "3.0s", "$1.50"]);
    }
}
