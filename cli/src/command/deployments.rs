//! `deployments`: the targets of models, in rotation or taken out of it.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::args::{Gateway, Output, Wait};
use crate::change;
use crate::client::{Client, Query, path};
use crate::exit::{Exit, Failure};
use crate::output::table::{self, Column};
use crate::output::{items, text};
use crate::write;

/// Take targets of models out of rotation and put them back, at once
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  gatewayctl deployments list
  gatewayctl deployments disable smart openai/gpt-4.1
  gatewayctl deployments disable --provider openai
  gatewayctl deployments enable smart")]
pub(crate) struct Deployments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    List(List),
    Disable(Switch),
    Enable(Switch),
}

/// List the targets of all models
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  gatewayctl deployments list
  gatewayctl deployments list -o json")]
struct List {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

/// All targets of a model, one of them, or all of a provider
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  gatewayctl deployments disable smart openai/gpt-4.1
  gatewayctl deployments enable smart
  gatewayctl deployments disable --provider openai

A target that is out of rotation gets no request by its model's name; `provider/model` still
reaches it. A file that is applied later says anew what is enabled.")]
struct Switch {
    /// The public model
    #[arg(required_unless_present_any = ["provider", "id"])]
    model: Option<String>,
    /// Only this target of it: `provider/model`
    #[arg(value_name = "TARGET", value_parser = target)]
    target: Option<(String, String)>,
    /// Only those of this provider
    #[arg(long, value_name = "NAME", conflicts_with = "target")]
    provider: Option<String>,
    /// The one with this id, as `deployments list -o json` shows it
    #[arg(long, conflicts_with_all = ["model", "target", "provider"])]
    id: Option<String>,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

fn target(text: &str) -> Result<(String, String), String> {
    let (provider, model) = text.split_once('/').ok_or("must be `provider/model`")?;
    Ok((provider.to_owned(), model.to_owned()))
}

pub(crate) async fn run(deployments: Deployments) -> Result<Exit, Failure> {
    match deployments.action {
        Action::List(action) => list(action).await,
        Action::Disable(action) => switch(action, "disable").await,
        Action::Enable(action) => switch(action, "enable").await,
    }
}

const COLUMNS: [Column; 6] = [
    Column::Text("MODEL"),
    Column::Text("TARGET"),
    Column::Text("STATE"),
    Column::Number("WEIGHT"),
    Column::Number("PRIORITY"),
    Column::Spare("STRATEGY"),
];

async fn list(list: List) -> Result<Exit, Failure> {
    let client = Client::new(&list.gateway)?;
    let answer = client.get(&path(&["deployments"]), &Query::new()).await?;
    let rows = answer.get("data").cloned().unwrap_or_else(|| json!([]));
    list.output
        .format
        .print(&rows, |rows| table::render(&COLUMNS, items(rows, "").iter().map(line), list.output.format.width()))?;
    Ok(Exit::Done)
}

async fn switch(switch: Switch, verb: &str) -> Result<Exit, Failure> {
    let client = Client::new(&switch.gateway)?;
    let (of_target, upstream) = switch.target.map_or((None, None), |(provider, model)| (Some(provider), Some(model)));
    let which = [
        ("id", switch.id),
        ("model_alias", switch.model),
        ("provider", switch.provider.or(of_target)),
        ("provider_model", upstream),
    ];
    let which = which.into_iter().filter_map(|(field, value)| Some((field.to_owned(), json!(value?))));
    let body = Value::Object(which.collect::<Map<_, _>>());
    let target = path(&["deployments", verb]);
    let answer = write::send(&client, Method::POST, &target, switch.wait, Some(&body)).await?;
    let rollout = answer.pointer("/change/rollout").unwrap_or(&Value::Null);
    switch.output.format.print(&answer, |answer| {
        let switched: Vec<String> = items(answer, "/data").iter().map(|row| line(row)[..2].join(" ")).collect();
        write::outcome(&format!("{verb}d {}", switched.join(", ")), &answer["change"])
    })?;
    Ok(change::exit(rollout))
}

fn line(row: &Value) -> Vec<String> {
    let target = format!("{}/{}", text(row, "/provider"), text(row, "/provider_model"));
    let state = if row.get("is_active") == Some(&Value::Bool(true)) { "enabled" } else { "disabled" };
    let (weight, priority) = (text(row, "/weight"), text(row, "/priority"));
    vec![text(row, "/model_alias"), target, state.to_owned(), weight, priority, text(row, "/routing_strategy")]
}
