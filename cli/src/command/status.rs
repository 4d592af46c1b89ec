//! `status`: which gateway, and how it is, in five lines.

use clap::Args;

use crate::args::{Gateway, Output};
use crate::change;
use crate::client::{Client, Query, path};
use crate::exit::{Exit, Failure};
use crate::output::table::pairs;
use crate::output::{number, text, when};

/// Show whether the gateway is well: version, revisions, nodes
#[derive(Args, Debug)]
#[command(after_help = "Example:
  gatewayctl status && echo reachable")]
pub(crate) struct Status {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

pub(crate) async fn run(status: Status) -> Result<Exit, Failure> {
    let client = Client::new(&status.gateway)?;
    let answer = client.get(&path(&["status"]), &Query::new()).await?;
    status.output.format.print(&answer, |answer| {
        let (connected, known) = (number(answer, "/nodes/connected"), number(answer, "/nodes/known"));
        pairs(&[
            ("Gateway", client.context().to_string()),
            ("Version", text(answer, "/version")),
            ("Started", when(answer, "/started_at")),
            ("Revision", change::revision(&answer["revision"])),
            ("Nodes", format!("{connected} of {known} connected")),
        ])
    })?;
    Ok(Exit::Done)
}
