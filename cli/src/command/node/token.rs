//! `node token`: what a node shows once, to become a member of the fleet.

use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::words::labels;
use crate::args::{self, Gateway, Output};
use crate::client::{Client, Query, path};
use crate::exit::{Exit, Failure};
use crate::host;
use crate::output::table::{self, Column};
use crate::output::{dash, items, text, when};

/// Make, list and delete the tokens with which nodes join
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  gatewayctl node token create > token
  gatewayctl node token list")]
pub(super) struct Tokens {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    Create(Create),
    List(List),
    Delete(Delete),
}

/// Make a token and print it, once
#[derive(Args, Debug)]
#[command(
    after_help = "Only the token goes to stdout, so that a script can keep it. It holds the fingerprint of this fleet's authority as \
    well: a node that has it cannot be led to another control plane. Labels of the token become labels of the node.

Examples:
  gatewayctl node token create > token
  gatewayctl node token create --labels zone=eu-1,tier=edge --ttl 24h --uses 10
  gateway-data-plane --data-dir /var/lib/gateway --fleet-url https://10.0.0.5:8082 --join-token-file token"
)]
struct Create {
    /// Labels for the nodes that join with it; several with commas, or by repeating
    #[arg(long = "labels", visible_alias = "label", value_name = "NAME=VALUE", value_delimiter = ',', value_parser = args::pair)]
    labels: Vec<(String, String)>,
    /// How long it may be used
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = args::span)]
    ttl: Duration,
    /// How many nodes may use it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    uses: u32,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

/// List tokens that can still be used
#[derive(Args, Debug)]
#[command(after_help = "The tokens themselves are not shown; nobody keeps them.

Example:
  gatewayctl node token list")]
struct List {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

/// Make a token useless; nodes that have joined with it stay
#[derive(Args, Debug)]
#[command(after_help = "Example:
  gatewayctl node token delete tok_01JD0Q6S0Z6QK1GZ0YV4M8T9XA")]
struct Delete {
    /// Its id
    id: String,
    #[command(flatten)]
    gateway: Gateway,
}

pub(super) async fn run(tokens: Tokens) -> Result<Exit, Failure> {
    match tokens.action {
        Action::Create(action) => create(action).await,
        Action::List(action) => list(action).await,
        Action::Delete(action) => delete(action).await,
    }
}

async fn create(create: Create) -> Result<Exit, Failure> {
    let client = Client::new(&create.gateway)?;
    client.say_target();
    let labels_of: Map<String, Value> =
        create.labels.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let body = json!({"labels": labels_of, "ttl": format!("{}ms", create.ttl.as_millis()), "uses": create.uses});
    let made = client.post(&path(&["nodes", "tokens"]), Some(&body)).await?;
    create.output.format.print(&made, |made| format!("{}\n", text(made, "/token")))?;
    let uses = if create.uses == 1 { "one node".to_owned() } else { format!("{} nodes", create.uses) };
    host::say(&format!(
        "created token {} for {uses}, ends {}; it is not shown again",
        text(&made, "/id"),
        when(&made, "/expires_at")
    ));
    Ok(Exit::Done)
}

async fn list(list: List) -> Result<Exit, Failure> {
    let client = Client::new(&list.gateway)?;
    let tokens = client.list(&path(&["nodes", "tokens"]), &Query::new(), 10_000).await?;
    if tokens.items.is_empty() {
        host::say("no tokens; make one with `gatewayctl node token create`");
    }
    let columns = [Column::Text("ID"), Column::Number("USES LEFT"), Column::Text("ENDS"), Column::Spare("LABELS")];
    list.output.format.print(&Value::Array(tokens.items), |value| match items(value, "") {
        [] => String::new(),
        tokens => table::render(&columns, tokens.iter().map(row), list.output.format.width()),
    })?;
    Ok(Exit::Done)
}

fn row(token: &Value) -> Vec<String> {
    let left = text(token, "/uses_left");
    let left = if token["uses"] == 0 { "any".to_owned() } else { dash(left) };
    vec![text(token, "/id"), left, when(token, "/expires_at"), dash(labels(token))]
}

async fn delete(delete: Delete) -> Result<Exit, Failure> {
    let client = Client::new(&delete.gateway)?;
    client.say_target();
    client.send(Method::DELETE, &path(&["nodes", "tokens", &delete.id]), &Query::new(), None, Duration::ZERO).await?;
    host::print(&format!("token {} deleted\n", delete.id))?;
    Ok(Exit::Done)
}
