//! `usage`: what was used and what it cost, summed up.

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::logs::read_tokens;
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
    usage.output.format.print(&Value::Array(list.items), |value| match items(value, "") {
        [] => String::new(),
        rows => table::render(&columns(usage.by), rows.iter().map(|row| line(by, row))),
    })?;
    Ok(Exit::Done)
}

fn columns(by: By) -> [Column; 5] {
    use Column::{Number, Text};
    let first = match by {
        By::Key => "KEY",
        By::Model => "MODEL",
        By::Provider => "PROVIDER",
        By::Day => "DAY",
    };
    [Text(first), Number("REQUESTS"), Number("TOKENS IN"), Number("TOKENS OUT"), Number("COST")]
}

fn line(by: &str, row: &Value) -> Vec<String> {
    let nano = row.get("cost_nano_usd").and_then(Value::as_i64).unwrap_or(0);
    let cost = match number(row, "/unpriced_requests") {
        0 => dollars(nano),
        all if all == number(row, "/requests") => "unknown".to_owned(),
        some => format!("{} + {some} unknown", dollars(nano)),
    };
    let name = text(row, &format!("/{by}"));
    let name = if name.is_empty() { "(none)".to_owned() } else { name };
    vec![name, text(row, "/requests"), read_tokens(row).to_string(), text(row, "/tokens/output"), cost]
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
