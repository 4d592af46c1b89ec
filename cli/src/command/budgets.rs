//! `budgets`: how much of each is spent, and how much it will be.

use clap::Args;
use serde_json::Value;

use crate::args::{Gateway, Output};
use crate::client::{Client, path};
use crate::exit::{Exit, Failure};
use crate::host;
use crate::output::table::{self, Column};
use crate::output::{dash, dollars, items, text, when};

/// Cells of a bar.
const BAR: usize = 20;

/// Show what is spent of each budget
#[derive(Args, Debug)]
#[command(
    after_help = "A bar is spent money (#), and money that nodes hold to spend it without asking (=). The forecast is what will be spent
when the window ends, if spending goes on like this. Budgets are made with `gatewayctl apply`, or in `budget` of a key, a
team, a user or an organization.

Examples:
  gatewayctl budgets
  gatewayctl budgets -o json"
)]
pub(crate) struct Budgets {
    /// How many to show at most
    #[arg(long, default_value_t = 500, value_name = "N")]
    limit: usize,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

pub(crate) async fn run(budgets: Budgets) -> Result<Exit, Failure> {
    let client = Client::new(&budgets.gateway)?;
    let list = client.list(&path(&["usage", "budgets"]), &Vec::new(), budgets.limit).await?;
    if list.items.is_empty() {
        host::say("no budgets; give a key one in `budget`, or write `budgets` into gateway.yaml");
    }
    if list.more {
        host::say(&format!("only the first {} are shown; there are more, see --limit", budgets.limit));
    }
    let rows = Value::Array(list.items);
    budgets.output.format.print(&rows, |value| match items(value, "") {
        [] => String::new(),
        rows => table::render(&COLUMNS, rows.iter().map(line), budgets.output.format.width()),
    })?;
    Ok(Exit::Done)
}

const COLUMNS: [Column; 8] = [
    Column::Text("BUDGET"),
    Column::Number("SPENT"),
    Column::Number("AMOUNT"),
    Column::Text(""),
    Column::Spare("WINDOW"),
    Column::Spare("ENDS"),
    Column::SpareNumber("FORECAST"),
    Column::Spare("WHEN EXHAUSTED"),
];

fn line(row: &Value) -> Vec<String> {
    let nano = |field: &str| row.get(field).and_then(Value::as_i64);
    let (amount, spent) = (nano("amount_nano_usd").unwrap_or(0), nano("spent_nano_usd").unwrap_or(0));
    let leased = nano("leased_nano_usd").unwrap_or(0);
    let forecast = nano("forecast_nano_usd").map(|forecast| {
        // Over the amount, that is what there is to see.
        format!("{}{}", dollars(cents(forecast)), if forecast > amount { " !" } else { "" })
    });
    vec![
        format!("{}/{}", text(row, "/kind"), text(row, "/name")),
        dollars(spent),
        dollars(amount),
        bar(amount, spent, leased),
        text(row, "/window"),
        dash(when(row, "/window_end")),
        dash(forecast.unwrap_or_default()),
        text(row, "/on_exhausted"),
    ]
}

/// A forecast is no exact figure.
fn cents(nano: i64) -> i64 {
    const CENT: i64 = 10_000_000;
    if nano > CENT { nano / CENT * CENT } else { nano }
}

/// `[######==            ]  35%`
fn bar(amount: i64, spent: i64, leased: i64) -> String {
    let cells = |nano: i64| {
        let cells = i128::from(nano.max(0)) * BAR as i128 / i128::from(amount.max(1));
        usize::try_from(cells).unwrap_or(BAR).min(BAR)
    };
    let percent = i128::from(spent.max(0)) * 100 / i128::from(amount.max(1));
    let (full, held) = (cells(spent), cells(spent.saturating_add(leased)));
    let bar = format!("{}{}", "#".repeat(full), "=".repeat(held - full));
    format!("[{bar:<BAR$}] {percent:>3}%")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_bar_shows_what_is_spent_and_what_is_held() {
        for (amount, spent, leased, expected) in [
            (100, 0, 0, "[                    ]   0%"),
            (100, 30, 10, "[######==            ]  30%"),
            (100, 100, 0, "[####################] 100%"),
            (100, 250, 50, "[####################] 250%"),
            (0, -5, i64::MAX, "[====================]   0%"),
        ] {
            assert_eq!(bar(amount, spent, leased), expected);
        }
    }

    #[test]
    fn a_forecast_beyond_the_amount_is_marked() {
        let row = json!({"kind": "team", "name": "search", "amount_nano_usd": 10_000_000_000_i64, "spent_nano_usd": 2_500_000_000_i64,
            "leased_nano_usd": 0, "window": "monthly", "window_end": null, "forecast_nano_usd": 12_345_678_901_i64, "on_exhausted": "refuse"});
        let line = line(&row);
        assert_eq!(line[..3], ["team/search", "$2.50", "$10.00"]);
        assert_eq!((line[5].as_str(), line[6].as_str()), ("-", "$12.34 !"));
    }
}
