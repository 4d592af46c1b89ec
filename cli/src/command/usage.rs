//! `usage`: what was used and what it cost, summed up.

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::logs::{read_tokens, units};
use crate::args::{Gateway, Output};
use crate::client::{Client, path};
use crate::exit::{Exit, Failure};
use crate::host;
use crate::output::table::{self, Column};
use crate::output::{dollars, items, number, text};

/// Show tokens and costs, summed up
#[derive(Args, Debug)]
#[command(after_help = "Costs are exact sums of nano-dollars; requests without a known price are counted apart.

Examples:
  gatewayctl usage
  gatewayctl usage --by key -o json")]
pub(crate) struct Usage {
    /// What to sum up by
    #[arg(long, value_enum, default_value_t = By::Model)]
    by: By,
    /// How many rows to show at most
    #[arg(long, default_value_t = 500, value_name = "N")]
    limit: usize,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    Key,
    Model,
    Provider,
    Day,
}

pub(crate) async fn run(usage: Usage) -> Result<Exit, Failure> {
    let client = Client::new(&usage.gateway)?;
    let by = usage.by.word();
    let list = client.list(&path(&["usage", "summary"]), &vec![("group_by", by.to_owned())], usage.limit).await?;
    if list.items.is_empty() {
        host::say("no usage yet; it appears when the first request has ended");
    }
    if list.more {
        host::say(&format!("only the first {} are shown; there are more, see --limit", usage.limit));
    }
    let rows = Value::Array(list.items);
    usage.output.format.print(&rows, |value| match items(value, "") {
        [] => String::new(),
        rows => table::render(&columns(usage.by), rows.iter().map(|row| line(by, row)), usage.output.format.width()),
    })?;
    if let Some(told) = unpriced(&rows) {
        host::say(&told);
    }
    Ok(Exit::Done)
}

fn columns(by: By) -> [Column; 7] {
    use Column::{Number, Spare, Text};
    let first = match by {
        By::Key => "KEY",
        By::Model => "MODEL",
        By::Provider => "PROVIDER",
        By::Day => "DAY",
    };
    let counts = (Number("REQUESTS"), Number("TOKENS IN"), Number("TOKENS OUT"));
    [Text(first), counts.0, counts.1, counts.2, Number("COST"), Number("UNPRICED"), Spare("UNITS")]
}

/// A sum without any price behind it is not zero dollars; it is not known.
fn line(by: &str, row: &Value) -> Vec<String> {
    let (n_requests, n_unpriced) = (number(row, "/requests"), number(row, "/unpriced_requests"));
    let nano = row.get("cost_nano_usd").and_then(Value::as_i64).unwrap_or(0);
    let cost = if n_unpriced >= n_requests { "-".to_owned() } else { dollars(nano) };
    let name = text(row, &format!("/{by}"));
    let name = if name.is_empty() { "(none)".to_owned() } else { name };
    let tokens = (read_tokens(row).to_string(), text(row, "/tokens/output"));
    vec![name, n_requests.to_string(), tokens.0, tokens.1, cost, n_unpriced.to_string(), units(row)]
}

/// Says that costs are missing from the sums, and what to do about it.
fn unpriced(rows: &Value) -> Option<String> {
    let sum = |field: &str| items(rows, "").iter().map(|row| number(row, field)).sum::<u64>();
    let (n_requests, n_unpriced) = (sum("/requests"), sum("/unpriced_requests"));
    (n_unpriced > 0).then(|| {
        format!(
            "{n_unpriced} of {n_requests} requests have no known price and are in no cost; add a price: \
             `gatewayctl get prices` lists what there is"
        )
    })
}

// === impl By ===

impl By {
    fn word(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Model => "model",
            Self::Provider => "provider",
            Self::Day => "day",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_has_no_price_costs_a_dash_and_is_counted() {
        let row = |requests: u64, unpriced: u64, nano: i64| json!({"model": "m", "requests": requests, "unpriced_requests": unpriced, "cost_nano_usd": nano, "tokens": {"input": 5, "output": 7}, "units": {"searches": 3}});
        for (row, expected) in [
            (row(2, 0, 1_500_000_000), ["m", "2", "5", "7", "$1.50", "0", "3 searches"]),
            (row(2, 1, 1_500_000_000), ["m", "2", "5", "7", "$1.50", "1", "3 searches"]),
            (row(2, 2, 0), ["m", "2", "5", "7", "-", "2", "3 searches"]),
            (row(2, 0, 0), ["m", "2", "5", "7", "$0.00", "0", "3 searches"]),
        ] {
            assert_eq!(line("model", &row), expected);
        }
        let told = unpriced(&json!([row(2, 1, 5), row(3, 3, 0)])).unwrap_or_default();
        assert!(told.starts_with("4 of 5 requests have no known price"), "{told}");
        assert_eq!(unpriced(&json!([row(2, 0, 5)])), None);
    }
}
