//! `doctor`: what a person would look at when something is wrong, in the order in which one thing rests on the other. It changes
//! nothing, and helps most when nothing runs.

mod report;
mod gateway;
mod fleet;
mod machine;

use clap::Args;

use self::report::{Report, State};
use crate::args::{self, Gateway};
use crate::client::Client;
use crate::context::{self, Origin};
use crate::exit::{Exit, Failure};
use crate::host;

/// Find out what is wrong, and what to do about it
#[derive(Args, Debug)]
#[command(
    after_help = "Each line is `ok`, `warn` or `fail`, with what to do below it. Exit code 1 when anything fails. It only looks: the \
    gateway that commands talk to, the admin API and its database, the nodes, the providers, and on this machine the data \
    directory and the ports.

Examples:
  gatewayctl doctor
  gatewayctl doctor --context prod
  gatewayctl doctor -o json | jq '.checks[] | select(.state != \"ok\")'"
)]
pub(crate) struct Doctor {
    #[command(flatten)]
    output: args::Output,
    #[command(flatten)]
    gateway: Gateway,
}

pub(crate) async fn run(doctor: Doctor) -> Result<Exit, Failure> {
    let report = examine(&doctor.gateway).await;
    let colour = host::wants_colour(&std::io::stdout());
    doctor.output.format.print(&report.value(), |_| report.draw(colour))?;
    Ok(if report.worst() == State::Fail { Exit::Refused } else { Exit::Done })
}

async fn examine(flags: &Gateway) -> Report {
    let mut report = Report::default();
    let context = match context::find(flags) {
        Ok(context) => context,
        Err(failure) => {
            report.failed("gateway", &failure);
            machine::data_dir(&mut report, flags.data_dir.as_deref());
            machine::ports(&mut report);
            return report;
        }
    };
    report.ok("gateway", format!("commands talk to {context}"));
    if let Origin::Local(data_dir) = &context.origin {
        machine::data_dir(&mut report, Some(data_dir));
    }
    let is_local = matches!(context.origin, Origin::Local(_));
    let client = match Client::to(context) {
        Ok(client) => client,
        Err(failure) => {
            report.failed("admin api", &failure);
            return report;
        }
    };
    if gateway::check(&mut report, &client).await {
        fleet::check(&mut report, &client).await;
    } else if is_local {
        machine::ports(&mut report);
    }
    report
}
