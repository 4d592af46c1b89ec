//! `apply` and `plan`: a file becomes the configuration, or the difference it would make is shown.

use std::time::Duration;

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use crate::args::{Gateway, Output, Wait};
use crate::change;
use crate::client::{Client, path};
use crate::exit::{Exit, Failure};
use crate::host;
use crate::output::{items, text};
use crate::source::{self, FileArgs, Source};
use crate::write;

/// Make the gateway's configuration what a file says
#[derive(Args, Debug)]
#[command(
    after_help = "The file is checked as a whole first: a bad one is refused with file, line and field, and changes nothing. \
    Applying the same file twice changes nothing. Resources that the file does not name are left alone unless \
    --prune is given, which deletes those that an earlier version of the same file has made. Requests that are \
    running keep the configuration they started with; the next one uses the new one.

Examples:
  gatewayctl apply -f gateway.yaml
  gatewayctl apply -f gateway.yaml --prune --timeout 30s
  gatewayctl plan -f gateway.yaml"
)]
pub(crate) struct Apply {
    #[command(flatten)]
    file: FileArgs,
    /// Delete what this file once made and no longer names
    #[arg(long)]
    prune: bool,
    /// Show what would change, change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

/// Show what `apply` would change
#[derive(Args, Debug)]
#[command(
    after_help = "The gateway checks the file against everything it holds. Exit code 0 whether or not something would change.

Examples:
  gatewayctl plan -f gateway.yaml
  gatewayctl plan -f gateway.yaml --prune -o json | jq '.changes[].op'"
)]
pub(crate) struct Plan {
    #[command(flatten)]
    file: FileArgs,
    /// Show also what `apply --prune` would delete
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

pub(crate) async fn run(apply: Apply) -> Result<Exit, Failure> {
    if apply.dry_run {
        return plan(Plan { file: apply.file, prune: apply.prune, output: apply.output, gateway: apply.gateway }).await;
    }
    let source = source::load(&apply.file)?;
    let client = Client::new(&apply.gateway)?;
    let body = source::request(&source, apply.prune);
    let answer = write::send(&client, Method::POST, &path(&["apply"]), apply.wait, Some(&body)).await;
    let answer = located(answer, &source)?;
    let rollout = answer.get("rollout").unwrap_or(&Value::Null);
    apply.output.format.print(&answer, |answer| {
        let changes = items(answer, "/changes");
        let mut drawn = change::differences(changes);
        drawn.push_str(&summary(changes, "nothing to change"));
        drawn.push_str(&write::outcome("", answer));
        for key in items(answer, "/minted") {
            drawn.push_str(&format!("key {}: {}\n", text(key, "/name"), text(key, "/key")));
        }
        drawn
    })?;
    if !items(&answer, "/minted").is_empty() {
        host::say("keep the keys above; they are not shown again");
    }
    Ok(change::exit(rollout))
}

pub(crate) async fn plan(plan: Plan) -> Result<Exit, Failure> {
    let source = source::load(&plan.file)?;
    let client = Client::new(&plan.gateway)?;
    let query = vec![("dry_run", "true".to_owned())];
    let body = source::request(&source, plan.prune);
    let answer = client.send(Method::POST, &path(&["apply"]), &query, Some(&body), Duration::ZERO).await;
    let answer = located(answer, &source)?;
    plan.output.format.print(&answer, |answer| {
        let changes = items(answer, "/changes");
        format!("{}{}", change::differences(changes), summary(changes, "nothing would change"))
    })?;
    Ok(Exit::Done)
}

/// What the gateway finds in the file is told with the file's own lines.
fn located(answer: Result<Value, Failure>, source: &Source) -> Result<Value, Failure> {
    let answer = answer.map_err(|mut failure| {
        source.index.locate(failure.problems_mut());
        failure
    })?;
    let mut warnings = answer
        .get("problems")
        .and_then(|problems| serde_json::from_value::<Vec<gateway_model::problem::Problem>>(problems.clone()).ok())
        .unwrap_or_default();
    source.index.locate(&mut warnings);
    for warning in &warnings {
        host::say(&warning.to_string());
    }
    Ok(answer)
}

fn summary(changes: &[Value], nothing: &str) -> String {
    let changed = changes.iter().any(|change| text(change, "/op") != "unchanged");
    let tally = change::tally(changes);
    match (changed, tally.is_empty()) {
        (true, _) => format!("{tally}\n"),
        (false, true) => format!("{nothing}\n"),
        (false, false) => format!("{nothing} ({tally})\n"),
    }
}
