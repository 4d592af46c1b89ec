//! `version`: of this program; the gateway's own is in `status`.

use clap::Args;
use serde_json::json;

use crate::args::Output;
use crate::exit::{Exit, Failure};
use crate::output::text;

/// Show the version of gatewayctl
#[derive(Args, Debug)]
#[command(after_help = "The running gateway's version is in `gatewayctl status`.

Example:
  gatewayctl version -o json")]
pub(crate) struct Version {
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(version: Version) -> Result<Exit, Failure> {
    let server = cfg!(feature = "server");
    let value = json!({"version": env!("CARGO_PKG_VERSION"), "server": server});
    version.output.format.print(&value, |value| {
        let parts = if server { "client, control plane and data plane" } else { "client only" };
        format!("gatewayctl {} ({parts})\n", text(value, "/version"))
    })?;
    Ok(Exit::Done)
}
