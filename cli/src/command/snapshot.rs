//! `snapshot`: the configuration as one sealed file, for nodes that must start where no control plane can be reached.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use gateway_model::secret::Secret;
use serde_json::json;

use crate::args::Gateway;
use crate::client::{Client, path};
use crate::exit::{Exit, Failure};
use crate::host::{self, private, terminal, variable};

/// Export what nodes need to serve, sealed
#[derive(Args, Debug)]
#[command(after_help = "Example:
  gatewayctl snapshot export --out seed.snapshot")]
pub(crate) struct Snapshot {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    Export(Export),
}

/// Write the configuration, keys and credentials into one sealed file
#[derive(Args, Debug)]
#[command(
    after_help = "A node that is started with `--seed-snapshot FILE` and the same GATEWAY_STATE_KEY serves from it until it reaches its \
    control plane. The file holds provider credentials; only the state key opens it. The key comes from GATEWAY_STATE_KEY, \
    else it is asked for or read from stdin; it is never an argument. 16 characters at least, best random ones.

Examples:
  GATEWAY_STATE_KEY=$(cat state-key) gatewayctl snapshot export --out seed.snapshot
  gateway-data-plane --data-dir /var/lib/gateway --fleet-url https://10.0.0.5:8082 --seed-snapshot seed.snapshot"
)]
struct Export {
    /// The file to write, readable by this user only
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace a file of that name
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    gateway: Gateway,
}

pub(crate) async fn run(snapshot: Snapshot) -> Result<Exit, Failure> {
    match snapshot.action {
        Action::Export(action) => export(action).await,
    }
}

async fn export(export: Export) -> Result<Exit, Failure> {
    let client = Client::new(&export.gateway)?;
    let shown = export.out.display();
    if export.out.exists() && !export.force {
        return Err(Failure::new(Exit::Refused, format!("`{shown}` exists")).hint("`--force` replaces it"));
    }
    let state_key = match host::variable(variable::STATE_KEY) {
        Some(key) => Secret::new(key),
        None => terminal::secret("state key")?,
    };
    client.say_target();
    let sealed = client.post_for_bytes(&path(&["snapshot"]), &json!({"state_key": state_key.expose()})).await?;
    private::write(&export.out, &sealed).map_err(|error| {
        Failure::new(Exit::Refused, format!("cannot write `{shown}`: {error}")).hint("name another place with --out")
    })?;
    host::say(&format!("wrote {} bytes to `{shown}`; GATEWAY_STATE_KEY opens it, so keep the two apart", sealed.len()));
    Ok(Exit::Done)
}
