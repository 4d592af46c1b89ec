//! `alerts`: whom the gateway tells of budgets, how that goes, and a message to try it.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::args::{Gateway, Output};
use crate::client::{Client, path};
use crate::exit::{Exit, Failure};
use crate::host;
use crate::output::table::{self, Column};
use crate::output::{dash, items, number, text, when};

/// Show whom alerts on budgets are sent to, and how that goes
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Destinations are `alerts` in the settings; which parts of its amount a budget is told of is its `alert_at`.

Examples:
  gatewayctl alerts
  gatewayctl alerts acknowledge ID
  gatewayctl alerts test ops"
)]
pub(crate) struct Alerts {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

#[derive(Subcommand, Debug)]
enum Action {
    Acknowledge(Acknowledge),
    Test(Test),
}

/// Say that you see to an alert
///
/// What waits to be sent of it is not sent any more. The audit log says who it was.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  gatewayctl alerts acknowledge alert_01JHM6Z1X2Y3Z4A5B6C7D8E9F0")]
struct Acknowledge {
    /// As `gatewayctl alerts` and the message show it
    #[arg(value_name = "ID")]
    alert: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

/// Send a message to try a destination, or all of them
///
/// Exits 1 unless each has taken it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  gatewayctl alerts test
  gatewayctl alerts test ops")]
struct Test {
    /// One of them
    #[arg(value_name = "NAME")]
    destination: Option<String>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

pub(crate) async fn run(alerts: Alerts) -> Result<Exit, Failure> {
    match alerts.action {
        Some(Action::Acknowledge(action)) => acknowledge(action).await,
        Some(Action::Test(action)) => test(action).await,
        None => list(alerts).await,
    }
}

async fn list(alerts: Alerts) -> Result<Exit, Failure> {
    let told = Client::new(&alerts.gateway)?.get(&path(&["alerts"]), &Vec::new()).await?;
    if items(&told, "/destinations").is_empty() {
        host::say("nobody is told of budgets; name whom in `alerts` of the settings");
    }
    let width = alerts.output.format.width();
    alerts.output.format.print(&told, |told| {
        let destinations = items(told, "/destinations");
        let lately = items(told, "/alerts");
        let mut shown = String::new();
        if !destinations.is_empty() {
            shown += &table::render(&DESTINATIONS, destinations.iter().map(destination), width);
        }
        if !lately.is_empty() {
            shown += "\n";
            shown += &table::render(&LATELY, lately.iter().map(alert), width);
        }
        shown
    })?;
    Ok(Exit::Done)
}

async fn acknowledge(action: Acknowledge) -> Result<Exit, Failure> {
    let client = Client::new(&action.gateway)?;
    client.say_target();
    let told = client.post(&path(&["alerts", &action.alert, "acknowledge"]), Some(&json!({}))).await?;
    action.output.format.print(&told, |told| {
        let (budget, percent) = (text(told, "/budget"), number(told, "/percent"));
        format!("{budget} at {percent}%: seen to by {}\n", text(told, "/acknowledged_by"))
    })?;
    Ok(Exit::Done)
}

async fn test(test: Test) -> Result<Exit, Failure> {
    let client = Client::new(&test.gateway)?;
    client.say_target();
    let body = test.destination.map_or_else(|| json!({}), |name| json!({"destination": name}));
    let told = client.post(&path(&["alerts", "test"]), Some(&body)).await?;
    let tried = items(&told, "/data");
    if tried.is_empty() {
        host::say("nobody is told of budgets; name whom in `alerts` of the settings");
    }
    let is_taken = tried.iter().all(|one| one["delivered"] == true);
    test.output.format.print(&told, |told| {
        let outcome = |one: &Value| match one["delivered"] == true {
            true => format!("{}: taken after {} ms\n", text(one, "/destination"), number(one, "/took_ms")),
            false => format!("{}: {}\n", text(one, "/destination"), text(one, "/error")),
        };
        items(told, "/data").iter().map(outcome).collect()
    })?;
    Ok(if is_taken { Exit::Done } else { Exit::Refused })
}

const DESTINATIONS: [Column; 7] = [
    Column::Text("DESTINATION"),
    Column::Text("KIND"),
    Column::Number("WAITING"),
    Column::Number("DELIVERED"),
    Column::Number("LOST"),
    Column::Spare("LAST"),
    Column::Text("ERROR"),
];

const LATELY: [Column; 5] = [
    Column::Text("BUDGET"),
    Column::Number("REACHED"),
    Column::Text("WHEN"),
    Column::Text("SEEN TO BY"),
    Column::Spare("ID"),
];

fn destination(row: &Value) -> Vec<String> {
    vec![
        text(row, "/name"),
        dash(text(row, "/kind")),
        number(row, "/waiting").to_string(),
        number(row, "/delivered").to_string(),
        number(row, "/lost").to_string(),
        dash(when(row, "/last_delivered_at")),
        dash(text(row, "/error")),
    ]
}

fn alert(row: &Value) -> Vec<String> {
    vec![
        text(row, "/budget"),
        format!("{}%", number(row, "/percent")),
        when(row, "/at"),
        dash(text(row, "/acknowledged_by")),
        text(row, "/id"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_how_it_goes() {
        let row = json!({"name": "ops", "kind": "webhook", "waiting": 2, "delivered": 5, "lost": 0,
            "last_delivered_at": null, "error": "it answers 503 Service Unavailable"});
        assert_eq!(destination(&row), ["ops", "webhook", "2", "5", "0", "-", "it answers 503 Service Unavailable"]);
        let row = json!({"id": "alert_1", "budget": "team/search", "percent": 80, "at": "2027-01-15T10:00:00.000Z",
            "acknowledged_by": "user:ada"});
        assert_eq!(alert(&row)[..2], ["team/search", "80%"]);
        assert_eq!(alert(&row)[3..], ["user:ada", "alert_1"]);
    }
}
