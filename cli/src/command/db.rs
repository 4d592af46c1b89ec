//! `db`: what is done to the gateway's database after an accident.

use clap::{Args, Subcommand};

use crate::args::{Gateway, Output};
use crate::change;
use crate::client::{Client, Query, path};
use crate::exit::{Exit, Failure};
use crate::host::{self, terminal};
use crate::output::{number, text};

/// Care for the database after an accident
#[derive(Args, Debug)]
#[command(after_help = "Example:
  gatewayctl db new-epoch")]
pub(crate) struct Db {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    NewEpoch(NewEpoch),
}

/// Let the nodes take this database as it is, after it was restored from an older copy
#[derive(Args, Debug)]
#[command(
    after_help = "A node never goes back: one that has seen a later revision than the restored database knows (state `regressed` in \
    `gatewayctl nodes`) keeps what it has, and takes no changes. A new epoch says that the database is right: every node \
    drops what it has for what the database holds. Changes that were made after the copy was taken are gone: keys that \
    were revoked since then work again, keys that were made since then do not.

Examples:
  gatewayctl nodes
  gatewayctl config history
  gatewayctl db new-epoch"
)]
struct NewEpoch {
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

pub(crate) async fn run(db: Db) -> Result<Exit, Failure> {
    match db.action {
        Action::NewEpoch(action) => new_epoch(action).await,
    }
}

async fn new_epoch(new_epoch: NewEpoch) -> Result<Exit, Failure> {
    let client = Client::new(&new_epoch.gateway)?;
    let before = client.get(&path(&["status"]), &Query::new()).await?;
    let revision = change::revision(&before["revision"]);
    if !new_epoch.yes {
        let nodes = number(&before, "/nodes/known");
        host::say(&format!(
            "On {}:\nthe database stands at {revision}. With a new epoch all {nodes} known nodes drop what they have and take that,\n\
             also where they have newer revisions. Keys revoked after the copy of the database was made work again; revoke them anew.",
            client.context()
        ));
        if !terminal::confirm("Begin a new epoch?", "--yes")? {
            host::say("nothing was changed");
            return Ok(Exit::Refused);
        }
    } else {
        client.say_target();
    }
    let answer = client.post(&path(&["epoch"]), None).await?;
    new_epoch.output.format.print(&answer, |answer| {
        format!("epoch {}\nrevision {}\n", text(answer, "/epoch"), change::revision(&answer["revision"]))
    })?;
    host::say("nodes take it as they hear of it; `gatewayctl nodes --watch` shows how far they are");
    Ok(Exit::Done)
}
