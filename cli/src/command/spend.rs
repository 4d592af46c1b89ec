//! `spend`: what was spent, by any of its dimensions together; for people, for scripts, for spreadsheets.

mod reconcile;
mod reprice;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::logs::read_tokens;
use crate::args::Gateway;
use crate::client::{Client, Query, path};
use crate::exit::{Exit, Failure};
use crate::host;
use crate::output::table::{self, Column};
use crate::output::{self, dollars, number, text};

/// Show what was spent, by key, team, user, organization, model, provider, tag or day
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Days are UTC and both bounds are included. A request with several tags is in the row of each; the total counts it \
    once. Requests without a known price are in no cost and counted apart. SAVED is what routing and the cache saved against the first \
    target of the model that was asked for; below zero they cost more.

Examples:
  gatewayctl spend
  gatewayctl spend --by team,model --from 2027-01-01 --to 2027-01-31
  gatewayctl spend --by day --key ci -o csv > ci.csv
  gatewayctl spend -o focus > focus.csv"
)]
pub(crate) struct Spend {
    #[command(subcommand)]
    act: Option<Act>,
    /// What to sum up by, separated by commas [default: model]
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_enum)]
    by: Vec<By>,
    /// The first day: 2027-01-01
    #[arg(long, value_name = "DAY")]
    from: Option<String>,
    /// The last day
    #[arg(long, value_name = "DAY")]
    to: Option<String>,
    /// Only this key, by name or id
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Only this team
    #[arg(long, value_name = "NAME")]
    team: Option<String>,
    /// Only this user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only this organization
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,
    /// Only this model
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Only this provider
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Only what has this tag
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// How many rows to show at most
    #[arg(long, default_value_t = 500, value_name = "N")]
    limit: usize,
    /// Form of the output
    #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORM")]
    form: Form,
    #[command(flatten)]
    gateway: Gateway,
}

#[derive(Subcommand, Debug)]
enum Act {
    Reconcile(reconcile::Reconcile),
    Reprice(reprice::Reprice),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    Key,
    Team,
    User,
    Organization,
    Model,
    Provider,
    Tag,
    Day,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people; the form may change between versions
    #[default]
    Table,
    /// For scripts; fields are only ever added
    Json,
    /// For spreadsheets
    Csv,
    /// The columns of FOCUS, for tools of finance; has rows of its own, `--by` is not for it
    Focus,
}

/// Rows of one page of CSV.
const CSV_PAGE: usize = 10_000;

pub(crate) async fn run(mut spend: Spend) -> Result<Exit, Failure> {
    match spend.act.take() {
        Some(Act::Reconcile(reconcile)) => return reconcile::run(reconcile).await,
        Some(Act::Reprice(reprice)) => return reprice::run(reprice).await,
        None => {}
    }
    let client = Client::new(&spend.gateway)?;
    match spend.form {
        Form::Table | Form::Json => rows(&client, &spend).await,
        Form::Csv => csv(&client, &spend, "csv").await,
        Form::Focus => csv(&client, &spend, "focus").await,
    }
}

async fn rows(client: &Client, spend: &Spend) -> Result<Exit, Failure> {
    let list = client.list(&path(&["spend"]), &spend.query(), spend.limit).await?;
    if list.items.is_empty() {
        host::say("nothing was spent in this time; usage appears when a request has ended");
    }
    if list.more {
        host::say(&format!("only the first {} are shown; there are more, see --limit", spend.limit));
    }
    if spend.form == Form::Json {
        host::print(&output::json(&Value::Array(list.items)))?;
        return Ok(Exit::Done);
    }
    if !list.items.is_empty() {
        // Where nothing was saved and nothing lost, there is nothing to tell of it.
        let has_saved = list.items.iter().any(|row| saved(row) != 0);
        let lines = list.items.iter().map(|row| line(&spend.by(), row, has_saved));
        host::print(&table::render(&columns(&spend.by(), has_saved), lines, output::Format::Table.width()))?;
    }
    let n_unpriced: u64 = list.items.iter().map(|row| number(row, "/unpriced_requests")).sum();
    if n_unpriced > 0 {
        host::say(&format!(
            "{n_unpriced} requests have no known price and are in no cost; add one: `gatewayctl get prices`"
        ));
    }
    Ok(Exit::Done)
}

/// All pages as one table under one head.
async fn csv(client: &Client, spend: &Spend, format: &str) -> Result<Exit, Failure> {
    let mut after: Option<String> = None;
    let mut left = spend.limit;
    loop {
        let mut query = spend.query();
        query.extend([("format", format.to_owned()), ("limit", CSV_PAGE.min(left).max(1).to_string())]);
        let is_first = after.is_none();
        query.extend(after.take().map(|cursor| ("after", cursor)));
        let (text, next) = client.get_text(&path(&["spend"]), &query, "x-gateway-next").await?;
        let rows = if is_first { text.as_str() } else { text.split_once("\r\n").map_or("", |(_, rows)| rows) };
        host::print(rows)?;
        left = left.saturating_sub(CSV_PAGE);
        after = next;
        if after.is_none() {
            return Ok(Exit::Done);
        }
        if left == 0 {
            host::say(&format!("only the first {} are shown; there are more, see --limit", spend.limit));
            return Ok(Exit::Done);
        }
    }
}

fn columns(by: &[By], has_saved: bool) -> Vec<Column> {
    use Column::{Number, Text};
    let figures = ["REQUESTS", "TOKENS IN", "TOKENS OUT", "COST"].map(Number);
    let figures = figures.into_iter().chain(has_saved.then_some(Number("SAVED"))).chain([Number("UNPRICED")]);
    by.iter().map(|by| Text(by.title())).chain(figures).collect()
}

/// Below zero where it was dearer.
fn saved(row: &Value) -> i64 {
    row.get("saved_nano_usd").and_then(Value::as_i64).unwrap_or(0)
}

/// A sum without any price behind it is not zero dollars; it is not known.
fn line(by: &[By], row: &Value, has_saved: bool) -> Vec<String> {
    let (n_requests, n_unpriced) = (number(row, "/requests"), number(row, "/unpriced_requests"));
    let nano = row.get("cost_nano_usd").and_then(Value::as_i64).unwrap_or(0);
    let cost = if n_unpriced >= n_requests { "-".to_owned() } else { dollars(nano) };
    let names = by.iter().map(|by| match text(row, &format!("/{}", by.word())) {
        name if name.is_empty() => "(none)".to_owned(),
        name => name,
    });
    let tokens = (read_tokens(row).to_string(), text(row, "/tokens/output"));
    let saved = has_saved.then(|| dollars(saved(row)));
    let figures = [n_requests.to_string(), tokens.0, tokens.1, cost].into_iter().chain(saved);
    names.chain(figures).chain([n_unpriced.to_string()]).collect()
}

// === impl Spend ===

impl Spend {
    fn by(&self) -> Vec<By> {
        if self.by.is_empty() { vec![By::Model] } else { self.by.clone() }
    }

    fn query(&self) -> Query {
        let mut query = Query::new();
        if !self.by.is_empty() {
            query.push(("group_by", self.by.iter().map(|by| by.word()).collect::<Vec<_>>().join(",")));
        }
        for (name, value) in [
            ("from", &self.from),
            ("to", &self.to),
            ("key", &self.key),
            ("team", &self.team),
            ("user", &self.user),
            ("organization", &self.organization),
            ("model", &self.model),
            ("provider", &self.provider),
            ("tag", &self.tag),
        ] {
            query.extend(value.clone().map(|value| (name, value)));
        }
        query
    }
}

// === impl By ===

impl By {
    fn word(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Team => "team",
            Self::User => "user",
            Self::Organization => "organization",
            Self::Model => "model",
            Self::Provider => "provider",
            Self::Tag => "tag",
            Self::Day => "day",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Key => "KEY",
            Self::Team => "TEAM",
            Self::User => "USER",
            Self::Organization => "ORGANIZATION",
            Self::Model => "MODEL",
            Self::Provider => "PROVIDER",
            Self::Tag => "TAG",
            Self::Day => "DAY",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_have_their_names_first_and_unknown_costs_a_dash() {
        let row = |unpriced: u64| json!({"team": "", "model": "m", "requests": 2, "unpriced_requests": unpriced, "cost_nano_usd": 5, "tokens": {"input": 5, "cache_read": 1, "output": 7}});
        assert_eq!(line(&[By::Team, By::Model], &row(0), false), ["(none)", "m", "2", "6", "7", "$0.000000005", "0"]);
        assert_eq!(line(&[By::Model], &row(2), false), ["m", "2", "6", "7", "-", "2"]);
    }

    #[test]
    fn what_was_saved_or_lost_has_a_column_of_its_own() {
        let row = |saved: i64| json!({"model": "m", "requests": 2, "cost_nano_usd": 5, "saved_nano_usd": saved, "tokens": {"input": 5, "output": 7}});
        assert_eq!(line(&[By::Model], &row(1_500_000_000), true), ["m", "2", "5", "7", "$0.000000005", "$1.50", "0"]);
        assert_eq!(line(&[By::Model], &row(-1_500_000_000), true), ["m", "2", "5", "7", "$0.000000005", "-$1.50", "0"]);
        for has_saved in [false, true] {
            assert_eq!(columns(&[By::Model], has_saved).len(), line(&[By::Model], &row(0), has_saved).len());
        }
    }
}
