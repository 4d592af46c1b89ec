//! `node`, and `nodes`: the data-plane nodes, what they run, and who may join them.

mod words;
mod list;
mod describe;
mod token;

use clap::{Args, Subcommand};

use crate::args::{Gateway, Output};
use crate::client::{Client, path};
use crate::exit::{Exit, Failure};
use crate::output::text;

/// Look after the nodes: what they run, who may join, who must leave
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  gatewayctl node list
  gatewayctl node token create > token
  gatewayctl node revoke node_01JD0Q6S0Z6QK1GZ0YV4M8T9XA")]
pub(crate) struct Node {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    List(list::List),
    Describe(describe::Describe),
    Revoke(Revoke),
    Token(token::Tokens),
}

/// Show the nodes and the revision each one runs; the same as `node list`
#[derive(Args, Debug)]
#[command(after_help = list::HELP)]
pub(crate) struct Nodes {
    /// Only this one, in full; the same as `node describe`
    id: Option<String>,
    #[command(flatten)]
    list: list::List,
}

/// Put a node out of the fleet, at once and for good
#[derive(Args, Debug)]
#[command(
    after_help = "Its certificate is refused from now on and its streams are cut, so that it gets no more changes. It is for a node \
    that is lost or stolen; to stop one that is not, stop its process. The machine can join again as a new node, with an \
    empty data directory and a new token.

Example:
  gatewayctl node revoke node_01JD0Q6S0Z6QK1GZ0YV4M8T9XA"
)]
struct Revoke {
    /// Its id
    id: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

pub(crate) async fn run(node: Node) -> Result<Exit, Failure> {
    match node.action {
        Action::List(action) => list::run(action).await,
        Action::Describe(action) => describe::run(action).await,
        Action::Revoke(action) => revoke(action).await,
        Action::Token(action) => token::run(action).await,
    }
}

pub(crate) async fn list_or_one(nodes: Nodes) -> Result<Exit, Failure> {
    let list::List { output, gateway, .. } = &nodes.list;
    match nodes.id {
        Some(id) => describe::run(describe::Describe { id, output: *output, gateway: gateway.clone() }).await,
        None => list::run(nodes.list).await,
    }
}

async fn revoke(revoke: Revoke) -> Result<Exit, Failure> {
    let client = Client::new(&revoke.gateway)?;
    client.say_target();
    let target = path(&["nodes", &revoke.id, "revoke"]);
    let node = client.post(&target, None).await?;
    revoke.output.format.print(&node, |node| {
        format!("node {} revoked; its certificate is refused and its streams are cut\n", text(node, "/id"))
    })?;
    Ok(Exit::Done)
}
