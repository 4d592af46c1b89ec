//! The table of commands: one module each, and the one place that runs them.

mod get;
mod describe;
mod delete;
mod edit;
mod apply;
mod validate;
mod schema;
mod keys;
mod user;
mod node;
mod logs;
mod sessions;
mod explain;
mod usage;
mod budgets;
mod alerts;
mod exporters;
mod providers;
mod spend;
mod receipts;
mod experiments;
mod models;
mod deployments;
mod config;
mod status;
mod context;
mod doctor;
mod db;
mod snapshot;
mod completions;
mod probe;
mod version;
#[cfg(feature = "server")]
mod up;

use std::future::Future;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::docs::{self, Docs};
use crate::exit::{Exit, Failure};

/// Run and steer an LLM gateway
#[derive(Parser, Debug)]
#[command(name = "gatewayctl", version, propagate_version = false, subcommand_required = true, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// Saved gateway to talk to, where the command talks to one
    #[arg(long, value_name = "NAME", global = true, hide = true)]
    context: Option<String>,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "Start here:
  gatewayctl up                      a gateway here, with a key and a curl line to paste
  gatewayctl apply -f gateway.yaml   configure it
  gatewayctl logs --follow           watch requests

Exit codes:
  0 done   1 refused or invalid   2 wrong arguments   3 gateway not reached or not allowed
  4 not found   5 stored, but a node rejected it or did not confirm it in time

Commands talk to the gateway that --context or --admin-url names; else GATEWAY_ADMIN_URL (with GATEWAY_MASTER_KEY) or \
    GATEWAY_CONTEXT; else the one chosen by `gatewayctl context use`; else the local one that `gatewayctl up` started.";

#[derive(Subcommand, Debug)]
enum Command {
    #[cfg(feature = "server")]
    Up(up::Up),
    #[cfg(feature = "server")]
    ControlPlane(gateway_server::command::ControlPlane),
    #[cfg(feature = "server")]
    DataPlane(gateway_proxy::command::DataPlane),
    Apply(apply::Apply),
    Plan(apply::Plan),
    Validate(validate::Validate),
    Schema(schema::Schema),
    Get(get::Get),
    Describe(describe::Describe),
    Delete(delete::Delete),
    Edit(edit::Edit),
    Keys(keys::Keys),
    User(user::User),
    Nodes(node::Nodes),
    Node(node::Node),
    Logs(logs::Logs),
    Sessions(sessions::Sessions),
    Explain(explain::Explain),
    Usage(usage::Usage),
    Budgets(budgets::Budgets),
    Alerts(alerts::Alerts),
    Exporters(exporters::Exporters),
    Providers(providers::Providers),
    Spend(spend::Spend),
    Receipts(receipts::Receipts),
    Experiments(experiments::Experiments),
    Models(models::Models),
    Deployments(deployments::Deployments),
    Config(config::Config),
    Status(status::Status),
    Doctor(doctor::Doctor),
    Context(context::Contexts),
    Db(db::Db),
    Snapshot(snapshot::Snapshot),
    Probe(probe::Probe),
    Completions(completions::Completions),
    Man(completions::Man),
    Version(version::Version),
    #[command(hide = true)]
    Docs(Docs),
}

// === impl Cli ===

impl Cli {
    /// Does what was asked. What went wrong is for the caller to tell.
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        if self.context.is_some() && !self.command.talks_to_a_gateway() {
            return Err(Failure::new(
                Exit::Usage,
                "`--context` means nothing to this command, which talks to no gateway",
            ));
        }
        let exit = match self.command {
            #[cfg(feature = "server")]
            Command::Up(command) => return up::run(command),
            #[cfg(feature = "server")]
            Command::ControlPlane(command) => return Ok(command.run()),
            #[cfg(feature = "server")]
            Command::DataPlane(command) => return Ok(command.run()),
            Command::Apply(command) => wait_for(apply::run(command)),
            Command::Plan(command) => wait_for(apply::plan(command)),
            Command::Validate(command) => validate::run(command),
            Command::Schema(command) => schema::run(command),
            Command::Get(command) => wait_for(get::run(command)),
            Command::Describe(command) => wait_for(describe::run(command)),
            Command::Delete(command) => wait_for(delete::run(command)),
            Command::Edit(command) => wait_for(edit::run(command)),
            Command::Keys(command) => wait_for(keys::run(command)),
            Command::User(command) => wait_for(user::run(command)),
            Command::Nodes(command) => wait_for(node::list_or_one(command)),
            Command::Node(command) => wait_for(node::run(command)),
            Command::Logs(command) => wait_for(logs::run(command)),
            Command::Sessions(command) => wait_for(sessions::run(command)),
            Command::Explain(command) => wait_for(explain::run(command)),
            Command::Usage(command) => wait_for(usage::run(command)),
            Command::Budgets(command) => wait_for(budgets::run(command)),
            Command::Alerts(command) => wait_for(alerts::run(command)),
            Command::Exporters(command) => wait_for(exporters::run(command)),
            Command::Providers(command) => wait_for(providers::run(command)),
            Command::Spend(command) => wait_for(spend::run(command)),
            Command::Receipts(command) => receipts::run(command),
            Command::Experiments(command) => wait_for(experiments::run(command)),
            Command::Models(command) => wait_for(models::run(command)),
            Command::Deployments(command) => wait_for(deployments::run(command)),
            Command::Config(command) => wait_for(config::run(command)),
            Command::Context(command) => context::run(command),
            Command::Doctor(command) => wait_for(doctor::run(command)),
            Command::Db(command) => wait_for(db::run(command)),
            Command::Snapshot(command) => wait_for(snapshot::run(command)),
            Command::Probe(command) => wait_for(probe::run(command)),
            Command::Completions(command) => completions::run::<Cli>(command),
            Command::Man(command) => completions::man::<Cli>(command),
            Command::Status(command) => wait_for(status::run(command)),
            Command::Version(command) => version::run(command),
            Command::Docs(command) => docs::run::<Cli>(command),
        }?;
        Ok(ExitCode::from(exit as u8))
    }
}

// === impl Command ===

impl Command {
    /// Whether it takes [`crate::args::Gateway`].
    fn talks_to_a_gateway(&self) -> bool {
        match self {
            #[cfg(feature = "server")]
            Self::Up(_) | Self::ControlPlane(_) | Self::DataPlane(_) => false,
            Self::Validate(_) | Self::Schema(_) | Self::Receipts(_) | Self::Probe(_) | Self::Version(_) => false,
            Self::Completions(_) | Self::Man(_) | Self::Docs(_) => false,
            Self::Context(command) => command.talks_to_a_gateway(),
            Self::Models(command) => command.talks_to_a_gateway(),
            _ => true,
        }
    }
}

/// A client command needs one thread.
fn wait_for(command: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Refused, format!("cannot start the runtime: {error}")))?;
    runtime.block_on(command)
}
