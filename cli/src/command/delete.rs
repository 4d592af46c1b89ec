//! `delete`: takes one resource away.

use std::time::Duration;

use clap::Args;
use gateway_model::kind::Kind;
use reqwest::Method;
use serde_json::{Value, json};

use crate::args::{self, Gateway, Output, Wait};
use crate::change;
use crate::client::{Client, Query, path};
use crate::exit::{Exit, Failure};
use crate::host;
use crate::output::text;
use crate::write;

/// Delete a resource
#[derive(Args, Debug)]
#[command(after_help = "A resource that others refer to is not deleted; the error names who refers to it.

Examples:
  gatewayctl delete route search-team
  gatewayctl delete provider openai --dry-run")]
pub(crate) struct Delete {
    /// provider, model, route, price or key
    #[arg(value_parser = args::kind)]
    kind: Kind,
    /// Its name; keys also by id
    name: String,
    /// Only check whether it could be deleted
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

pub(crate) async fn run(delete: Delete) -> Result<Exit, Failure> {
    if delete.kind == Kind::Setting {
        return Err(
            Failure::new(Exit::Usage, "settings cannot be deleted").hint("`gatewayctl edit settings` changes them")
        );
    }
    let client = Client::new(&delete.gateway)?;
    let target = path(&[delete.kind.plural(), &delete.name]);
    let owner = text(&client.get(&target, &Query::new()).await?, "/owner");
    let answer = if delete.dry_run {
        let query = vec![("dry_run", "true".to_owned())];
        client.send(Method::DELETE, &target, &query, None, Duration::ZERO).await?
    } else {
        write::send(&client, Method::DELETE, &target, delete.wait, None).await?
    };
    let shown = if answer.is_null() {
        json!({"kind": delete.kind, "name": delete.name, "change": {"op": "delete"}})
    } else {
        answer
    };
    let rollout = shown.pointer("/change/rollout").unwrap_or(&Value::Null);
    delete.output.format.print(&shown, |_| {
        let outcome = if delete.dry_run { "could be deleted" } else { "deleted" };
        write::outcome(&format!("{} {} {outcome}", delete.kind, delete.name), &shown["change"])
    })?;
    if !delete.dry_run {
        warn_owned(&owner);
    }
    Ok(change::exit(rollout))
}

/// A change by hand to what a file owns lasts only until the file is applied again.
pub(crate) fn warn_owned(owner: &str) {
    if !owner.is_empty() {
        host::say(&format!("warning: it comes from `{owner}`; change it there too, or the next apply undoes this"));
    }
}
