//! `sessions`: requests that clients marked as belonging together, summed up.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use crate::args::{self, Gateway, Output};
use crate::client::{Client, Query, path};
use crate::exit::{Exit, Failure};
use crate::host;
use crate::output::table::{self, Column};
use crate::output::{dash, dollars, items, number, text, when};

/// Show sessions: requests that clients marked as belonging together
#[derive(Args, Debug)]
#[command(
    after_help = "A client names its session in the header x-gateway-sessionid. Those that were used last come first; the requests of one are \
    found by `session:ID`.

Examples:
  gatewayctl sessions
  gatewayctl sessions --user ada --since 1d
  gatewayctl logs session:ID"
)]
pub(crate) struct Sessions {
    /// Only sessions whose id begins like this
    #[arg(value_name = "ID")]
    search: Option<String>,
    /// How many to show at most
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,
    /// Only sessions with requests of this key, by its name
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Only sessions with requests on this user's account
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only sessions with requests for this model
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Only sessions that were used in this last stretch of time
    #[arg(long, value_name = "TIME", value_parser = args::span)]
    since: Option<Duration>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

const COLUMNS: [Column; 11] = [
    Column::Text("SESSION"),
    Column::Text("LAST"),
    Column::Number("REQUESTS"),
    Column::Number("FAILED"),
    Column::SpareNumber("REFUSED"),
    Column::Number("COST"),
    Column::SpareNumber("UNPRICED"),
    Column::SpareNumber("TOKENS"),
    Column::Spare("MODEL"),
    Column::Spare("KEY"),
    Column::Spare("USER"),
];

pub(crate) async fn run(sessions: Sessions) -> Result<Exit, Failure> {
    let client = Client::new(&sessions.gateway)?;
    let list = client.list(&path(&["logs", "sessions"]), &filters(&sessions), sessions.limit).await?;
    if list.items.is_empty() {
        host::say("no sessions yet, or none that match; clients name theirs in the header x-gateway-sessionid");
    }
    if list.more {
        host::say(&format!("only the first {} are shown; there are more, see --limit", sessions.limit));
    }
    sessions.output.format.print(&Value::Array(list.items), |value| match items(value, "") {
        [] => String::new(),
        rows => table::render(&COLUMNS, rows.iter().map(row), sessions.output.format.width()),
    })?;
    Ok(Exit::Done)
}

fn filters(sessions: &Sessions) -> Query {
    let since =
        sessions.since.map(|span| host::now_ms().saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)));
    let all = [
        ("search", sessions.search.clone()),
        ("key", sessions.key.clone()),
        ("user", sessions.user.clone()),
        ("model", sessions.model.clone()),
        ("since", since.map(|since| since.to_string())),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn row(session: &Value) -> Vec<String> {
    vec![
        text(session, "/session"),
        when(session, "/last_request_at"),
        number(session, "/requests").to_string(),
        number(session, "/failed").to_string(),
        number(session, "/refused").to_string(),
        cost(session),
        number(session, "/unpriced_requests").to_string(),
        format!("{}+{}", number(session, "/input_tokens"), number(session, "/output_tokens")),
        named(session, "models"),
        named(session, "keys"),
        named(session, "users"),
    ]
}

/// A sum without any price behind it is not zero dollars; it is not known. One with some is the least that it cost.
fn cost(session: &Value) -> String {
    match (session["cost_nano_usd"].as_i64().unwrap_or(0), number(session, "/unpriced_requests")) {
        (nano, 0) => dollars(nano),
        (0, _) => "-".to_owned(),
        (nano, _) => format!("{}+", dollars(nano)),
    }
}

/// `gpt-4o (+2)`
fn named(session: &Value, what: &str) -> String {
    let first = text(session, &format!("/{what}/most/0/name"));
    match number(session, &format!("/{what}/total")) {
        0 | 1 => dash(first),
        total => format!("{first} (+{})", total - 1),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_sums_a_session_up() {
        let names = |names: &[&str]| {
            let most: Vec<Value> = names.iter().map(|name| json!({"name": name, "requests": 1})).collect();
            json!({"total": names.len(), "most": most})
        };
        let session = json!({"session": "chat-1", "last_request_at": "2027-01-15T10:00:00.000Z", "requests": 3, "failed": 1,
            "refused": 0, "input_tokens": 20, "output_tokens": 5, "cost_nano_usd": 1_500_000, "unpriced_requests": 0,
            "models": names(&["a", "b", "c"]), "keys": names(&["app"]), "users": names(&[])});
        let row = row(&session);
        assert_eq!(row[2..], ["3", "1", "0", "$0.0015", "0", "20+5", "a (+2)", "app", "-"]);
    }

    #[test]
    fn a_session_without_a_price_costs_a_dash() {
        let told = |nano: i64, n_unpriced: u64| cost(&json!({"cost_nano_usd": nano, "unpriced_requests": n_unpriced}));
        for (nano, n_unpriced, expected) in
            [(0, 0, "$0.00"), (0, 2, "-"), (1_500_000, 2, "$0.0015+"), (1_500_000, 0, "$0.0015")]
        {
            assert_eq!(told(nano, n_unpriced), expected, "{nano} {n_unpriced}");
        }
    }
}
