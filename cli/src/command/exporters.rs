//! `exporters`: where records of requests are sent on to, how that goes, and a record to try it.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::args::{Gateway, Output};
use crate::client::{Client, Query, path};
use crate::exit::{Exit, Failure};
use crate::host;
use crate::output::table::{self, Column};
use crate::output::{dash, items, number, text, when};

/// Show where records of requests are sent on to, and how that goes
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Exporters are resources: `gatewayctl get exporters` shows how they are written, `gatewayctl apply` makes them.

Examples:
  gatewayctl exporters
  gatewayctl exporters -o wide
  gatewayctl exporters test hook"
)]
pub(crate) struct Exporters {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

#[derive(Subcommand, Debug)]
enum Action {
    Test(Test),
}

/// Send a made-up record to try an exporter
///
/// Exits 1 unless it was taken.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  gatewayctl exporters test hook")]
struct Test {
    /// One of them
    #[arg(value_name = "NAME")]
    exporter: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

/// Far more than anybody has.
const MOST: usize = 1000;

const COLUMNS: [Column; 9] = [
    Column::Text("EXPORTER"),
    Column::Spare("TYPE"),
    Column::Spare("DESTINATION"),
    Column::Text("STATE"),
    Column::Number("BEHIND"),
    Column::Number("DELIVERED"),
    Column::Number("LOST"),
    Column::Text("LAST"),
    Column::Text("ERROR"),
];

pub(crate) async fn run(exporters: Exporters) -> Result<Exit, Failure> {
    match exporters.action {
        Some(Action::Test(action)) => test(action).await,
        None => list(exporters).await,
    }
}

async fn list(exporters: Exporters) -> Result<Exit, Failure> {
    let client = Client::new(&exporters.gateway)?;
    let configured = client.list(&path(&["exporters"]), &Query::new(), MOST).await?;
    let mut health = Vec::new();
    for exporter in &configured.items {
        health.push(client.get(&path(&["exporters", &text(exporter, "/name"), "health"]), &Query::new()).await?);
    }
    if health.is_empty() {
        host::say("records are sent to nobody; write `exporters` into gateway.yaml");
    }
    exporters.output.format.print(&Value::Array(health), |value| match items(value, "") {
        [] => String::new(),
        rows => table::render(&COLUMNS, rows.iter().map(row), exporters.output.format.width()),
    })?;
    Ok(Exit::Done)
}

async fn test(test: Test) -> Result<Exit, Failure> {
    let client = Client::new(&test.gateway)?;
    client.say_target();
    let tried = client.post(&path(&["exporters", &test.exporter, "test"]), Some(&json!({}))).await?;
    test.output.format.print(&tried, |tried| match tried["delivered"] == true {
        true => format!("{}: taken after {} ms\n", text(tried, "/exporter"), number(tried, "/took_ms")),
        false => format!("{}: {}\n", text(tried, "/exporter"), text(tried, "/error")),
    })?;
    Ok(if tried["delivered"] == true { Exit::Done } else { Exit::Refused })
}

fn row(health: &Value) -> Vec<String> {
    let behind = match number(health, "/behind_records") {
        0 => "0".to_owned(),
        n_records => format!("{n_records} ({:.0}s)", health["behind_seconds"].as_f64().unwrap_or(0.0)),
    };
    // Refused there, or deleted here before they could be sent.
    let lost = number(health, "/failed") + number(health, "/dropped");
    vec![
        text(health, "/name"),
        text(health, "/type"),
        text(health, "/destination"),
        text(health, "/state"),
        behind,
        number(health, "/delivered").to_string(),
        lost.to_string(),
        dash(when(health, "/last_success_at")),
        dash(text(health, "/last_error")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_it_goes() {
        let health = json!({"name": "hook", "type": "webhook", "destination": "https://a.example", "state": "failing",
            "delivered": 7, "failed": 1, "dropped": 2, "behind_records": 30, "behind_seconds": 12.4,
            "last_error": "it answers 503", "last_success_at": null});
        let expected = ["hook", "webhook", "https://a.example", "failing", "30 (12s)", "7", "3", "-", "it answers 503"];
        assert_eq!(row(&health), expected);
    }
}
