//! `config`: the history of the configuration, what changed between two revisions, and the way back.

use clap::{Args, Subcommand, ValueEnum};
use gateway_model::kind::Class;
use reqwest::Method;
use serde_json::{Value, json};

use crate::args::{Gateway, Output, Wait};
use crate::change;
use crate::client::{Client, path};
use crate::exit::{Exit, Failure};
use crate::host;
use crate::output::table::{self, Column};
use crate::output::{items, text, when};
use crate::write;

/// Look at earlier revisions of the configuration and go back to one
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  gatewayctl config history
  gatewayctl config diff 4
  gatewayctl config rollback --to previous")]
pub(crate) struct Config {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    History(History),
    Diff(Diff),
    Rollback(Rollback),
}

/// List revisions, the newest first
#[derive(Args, Debug)]
#[command(after_help = "Topology is everything but keys; keys have revisions of their own.

Examples:
  gatewayctl config history
  gatewayctl config history --class identity --limit 10")]
struct History {
    /// Which line of revisions
    #[arg(long, value_enum, default_value_t = Line::Topology)]
    class: Line,
    /// How many to show at most
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: usize,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

/// Show what changed between two topology revisions
#[derive(Args, Debug)]
#[command(after_help = "Secrets are not shown; a changed one shows as changed.

Examples:
  gatewayctl config diff 4
  gatewayctl config diff 4 7 -o yaml")]
struct Diff {
    /// The earlier revision
    from: u64,
    /// The later revision [default: the current one]
    to: Option<u64>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

/// Make the topology what it was at an earlier revision
#[derive(Args, Debug)]
#[command(
    after_help = "The old content becomes a new revision, so that nothing is lost and a rollback can be rolled back. \
    Keys are not touched: a revoked key stays revoked.

Examples:
  gatewayctl config rollback --to previous
  gatewayctl config rollback --to 4"
)]
struct Rollback {
    /// A revision, or `previous`
    #[arg(long, value_name = "REVISION", value_parser = target)]
    to: Value,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Line {
    Topology,
    Identity,
}

pub(crate) async fn run(config: Config) -> Result<Exit, Failure> {
    match config.action {
        Action::History(action) => history(action).await,
        Action::Diff(action) => diff(action).await,
        Action::Rollback(action) => rollback(action).await,
    }
}

async fn history(history: History) -> Result<Exit, Failure> {
    let client = Client::new(&history.gateway)?;
    let class = match history.class {
        Line::Topology => Class::Topology,
        Line::Identity => Class::Identity,
    };
    let query = vec![("class", class.name().to_owned())];
    let list = client.list(&path(&["config", "revisions"]), &query, history.limit).await?;
    if list.items.is_empty() {
        host::say("no revisions yet; the first change makes one");
    }
    let columns = [Column::Number("REVISION"), Column::Text("WHEN"), Column::Text("BY"), Column::Text("SUMMARY")];
    history.output.format.print(&Value::Array(list.items), |value| match items(value, "") {
        [] => String::new(),
        revisions => table::render(
            &columns,
            revisions.iter().map(|revision| {
                vec![
                    text(revision, "/revision"),
                    when(revision, "/at"),
                    text(revision, "/actor"),
                    text(revision, "/summary"),
                ]
            }),
            history.output.format.width(),
        ),
    })?;
    Ok(Exit::Done)
}

async fn diff(diff: Diff) -> Result<Exit, Failure> {
    let client = Client::new(&diff.gateway)?;
    let mut query = vec![("from", diff.from.to_string())];
    query.extend(diff.to.map(|to| ("to", to.to_string())));
    let answer = client.get(&path(&["config", "diff"]), &query).await?;
    diff.output.format.print(&answer, |answer| match change::differences(items(answer, "/changes")) {
        none if none.is_empty() => "no difference\n".to_owned(),
        drawn => drawn,
    })?;
    Ok(Exit::Done)
}

async fn rollback(rollback: Rollback) -> Result<Exit, Failure> {
    let client = Client::new(&rollback.gateway)?;
    let body = json!({"to": rollback.to});
    let target = path(&["config", "rollback"]);
    let answer = write::send(&client, Method::POST, &target, rollback.wait, Some(&body)).await?;
    let rollout = answer.get("rollout").unwrap_or(&Value::Null);
    rollback.output.format.print(&answer, |answer| {
        format!("{}{}", change::differences(items(answer, "/changes")), write::outcome("", answer))
    })?;
    Ok(change::exit(rollout))
}

fn target(text: &str) -> Result<Value, String> {
    match text {
        "previous" => Ok(json!("previous")),
        number => number
            .parse::<u64>()
            .map(|number| json!(number))
            .map_err(|_| "write a revision's number, or `previous`".to_owned()),
    }
}
