//! `spend reconcile`: what a provider says it charges, by day, beside what the gateway has counted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::args::{Gateway, Output};
use crate::client::{Client, Query, path};
use crate::exit::{Exit, Failure};
use crate::host;
use crate::output::table::{self, Column};
use crate::output::{dollars, number, text};

/// Hold the sums against a provider's own cost report
#[derive(Args, Debug)]
#[command(
    after_help = "FILE is what the provider exports: JSON of OpenAI's `GET /v1/organization/costs` or of Anthropic's
`GET /v1/organizations/cost_report` (pages of it one after the other in a list are fine), or CSV with a day and a cost in dollars.
Days are UTC. Only days that the report has are compared.

Examples:
  gatewayctl spend reconcile costs.json --provider openai
  gatewayctl spend reconcile cost.csv --provider anthropic -o json"
)]
pub(crate) struct Reconcile {
    /// The provider's report
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Whose it is, by its name in the gateway
    #[arg(long, value_name = "NAME")]
    provider: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

/// Nano-dollars by day, `2027-01-31`.
type Days = BTreeMap<String, i64>;

/// Days of a report at most, twice as many as ten years have.
const MAX_DAYS: usize = 7_300;

pub(super) async fn run(reconcile: Reconcile) -> Result<Exit, Failure> {
    let shown = reconcile.file.display().to_string();
    let unreadable = |error| Failure::new(Exit::NotFound, format!("`{shown}` cannot be read: {error}"));
    let report = std::fs::read_to_string(&reconcile.file).map_err(unreadable)?;
    let theirs = read(&report).map_err(|why| Failure::new(Exit::Refused, format!("`{shown}`: {why}")))?;
    let (Some((from, _)), Some((to, _))) = (theirs.first_key_value(), theirs.last_key_value()) else {
        host::say("the report has no costs");
        return Ok(Exit::Done);
    };
    let query: Query = vec![
        ("group_by", "day".to_owned()),
        ("from", from.clone()),
        ("to", to.clone()),
        ("provider", reconcile.provider.clone()),
    ];
    let client = Client::new(&reconcile.gateway)?;
    let ours = client.list(&path(&["spend"]), &query, MAX_DAYS).await?.items;
    let rows = Value::Array(compared(&theirs, &ours));
    reconcile.output.format.print(&rows, |rows| {
        let rows = rows.as_array().map_or(&[][..], Vec::as_slice);
        table::render(&COLUMNS, rows.iter().map(line), reconcile.output.format.width())
    })?;
    Ok(Exit::Done)
}

const COLUMNS: [Column; 5] = [
    Column::Text("DAY"),
    Column::Number("PROVIDER"),
    Column::Number("GATEWAY"),
    Column::Number("DIFFERENCE"),
    Column::Number("UNPRICED"),
];

/// A row for each day of the report, and their sum.
fn compared(theirs: &Days, ours: &[Value]) -> Vec<Value> {
    let row = |day: &str, theirs: i64, ours: i64, n_unpriced: u64| {
        json!({"day": day, "provider_nano_usd": theirs, "gateway_nano_usd": ours,
            "difference_nano_usd": ours.saturating_sub(theirs), "unpriced_requests": n_unpriced})
    };
    let (mut sums, mut rows) = ((0_i64, 0_i64, 0), Vec::new());
    for (day, theirs) in theirs {
        let counted = ours.iter().find(|row| text(row, "/day") == *day);
        let nano = counted.and_then(|row| row.get("cost_nano_usd")).and_then(Value::as_i64).unwrap_or(0);
        let n_unpriced = counted.map_or(0, |row| number(row, "/unpriced_requests"));
        sums = (sums.0.saturating_add(*theirs), sums.1.saturating_add(nano), sums.2 + n_unpriced);
        rows.push(row(day, *theirs, nano, n_unpriced));
    }
    rows.push(row("total", sums.0, sums.1, sums.2));
    rows
}

fn line(row: &Value) -> Vec<String> {
    let nano = |name: &str| row.get(name).and_then(Value::as_i64).unwrap_or(0);
    let (theirs, difference) = (nano("provider_nano_usd"), nano("difference_nano_usd"));
    let part =
        if theirs == 0 { String::new() } else { format!(" ({}%)", i128::from(difference) * 100 / i128::from(theirs)) };
    vec![
        text(row, "/day"),
        dollars(theirs),
        dollars(nano("gateway_nano_usd")),
        format!("{}{part}", dollars(difference)),
        text(row, "/unpriced_requests"),
    ]
}

fn read(report: &str) -> Result<Days, String> {
    match serde_json::from_str::<Value>(report) {
        Ok(value) => read_json(&value),
        Err(_) if report.trim_start().starts_with(['{', '[']) => Err("is no whole JSON".to_owned()),
        Err(_) => read_csv(report),
    }
}

fn read_json(value: &Value) -> Result<Days, String> {
    let pages = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    let mut days = Days::new();
    for bucket in
        pages.iter().map(|page| &page["data"]).map(Value::as_array).flat_map(|data| data.into_iter().flatten())
    {
        let day = match (bucket["start_time"].as_i64(), bucket["starting_at"].as_str()) {
            (Some(seconds), _) => day_of(seconds)?,
            (None, Some(moment)) => moment.chars().take(10).collect(),
            (None, None) => return Err("has a bucket without `start_time` or `starting_at`".to_owned()),
        };
        let results = bucket["results"].as_array().ok_or("has a bucket without `results`")?;
        let mut currencies = BTreeSet::new();
        for result in results {
            // OpenAI tells dollars, Anthropic cents.
            let (amount, currency, shift) = match &result["amount"] {
                Value::Object(amount) => (amount.get("value"), amount.get("currency"), 0),
                amount => (Some(amount), result.get("currency"), -2),
            };
            currencies.extend(currency.and_then(Value::as_str).map(str::to_ascii_lowercase));
            let amount = match amount {
                Some(Value::String(amount)) => amount.clone(),
                Some(Value::Number(amount)) => amount.to_string(),
                _ => return Err(format!("has no amount on {day}")),
            };
            add(&mut days, &day, &amount, shift)?;
        }
        if currencies.iter().any(|currency| currency != "usd") {
            return Err(format!("is in {}, not in dollars", currencies.into_iter().collect::<Vec<_>>().join(", ")));
        }
        days.entry(day).or_default();
    }
    Ok(days)
}

const DAY_COLUMNS: [&str; 5] = ["usage_date_utc", "start_time_iso", "date", "day", "start_time"];
const COST_COLUMNS: [&str; 4] = ["amount_value", "cost_usd", "cost", "amount"];

fn read_csv(report: &str) -> Result<Days, String> {
    let mut lines = report.lines().filter(|line| !line.trim().is_empty());
    let head = cells(lines.next().ok_or("is empty")?);
    let column = |names: &[&str]| {
        let found = names.iter().find_map(|name| head.iter().position(|cell| cell.trim().eq_ignore_ascii_case(name)));
        found.ok_or_else(|| format!("has none of the columns {}", names.join(", ")))
    };
    let (day, cost) = (column(&DAY_COLUMNS)?, column(&COST_COLUMNS)?);
    let mut days = Days::new();
    for line in lines {
        let cells = cells(line);
        let (Some(day), Some(cost)) = (cells.get(day), cells.get(cost)) else {
            return Err(format!("has a line that is too short: {line}"));
        };
        let day = match day.parse() {
            Ok(seconds) => day_of(seconds)?,
            Err(_) => day.chars().take(10).collect(),
        };
        add(&mut days, &day, cost.trim_start_matches('$'), 0)?;
    }
    Ok(days)
}

/// A line's cells, without the quotes around them.
fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut is_quoted) = (vec![String::new()], false);
    for character in line.chars() {
        match character {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => cells.push(String::new()),
            _ => cells.last_mut().expect("there is always one").push(character),
        }
    }
    cells
}

fn day_of(unix_seconds: i64) -> Result<String, String> {
    let moment = jiff::Timestamp::from_second(unix_seconds).map_err(|_| format!("`{unix_seconds}` is no time"))?;
    Ok(moment.to_string().chars().take(10).collect())
}

fn add(days: &mut Days, day: &str, amount: &str, shift: i32) -> Result<(), String> {
    let is_day = day.len() == 10 && day.parse::<jiff::civil::Date>().is_ok();
    let nano = nano(amount.trim(), shift)
        .filter(|_| is_day)
        .ok_or_else(|| format!("has `{amount}` on `{day}`, which is no cost of a day"))?;
    let sum = days.entry(day.to_owned()).or_default();
    *sum = sum.saturating_add(nano);
    Ok(())
}

/// A decimal number, `-1.5` or `12e-7`, times ten to the `shift`, in nano-dollars; what is less is cut off.
fn nano(text: &str, shift: i32) -> Option<i64> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or((1, mantissa), |rest| (-1, rest));
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.len() + part.len() == 0 || !whole.bytes().chain(part.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let places = exponent.parse::<i32>().ok()?.checked_add(shift + 9)?;
    let wanted = i32::try_from(whole.len()).ok()?.checked_add(places)?;
    let digits = whole.bytes().chain(part.bytes()).chain(std::iter::repeat(b'0'));
    let mut nano = 0_i64;
    for digit in digits.take(usize::try_from(wanted).unwrap_or(0)) {
        nano = nano.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
    }
    Some(sign * nano)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        let cases = [
            ("0.06", 0, Some(60_000_000)),
            ("1.2e-5", 0, Some(12_000)),
            ("123.78912", -2, Some(1_237_891_200)),
            ("5", -2, Some(50_000_000)),
            ("-0.5", 0, Some(-500_000_000)),
            ("0.0000000019", 0, Some(1)),
            (".5", 0, Some(500_000_000)),
            ("1e400", 0, None),
            ("99999999999999", 0, None),
            ("", 0, None),
            (".", 0, None),
            ("1,5", 0, None),
            ("much", 0, None),
            ("1e99999999999", 0, None),
        ];
        for (text, shift, expected) in cases {
            assert_eq!(nano(text, shift), expected, "{text:?}");
        }
    }

    #[test]
    fn reports_of_both_vendors_and_tables_are_read() {
        let openai = json!({"object": "page", "data": [
            {"object": "bucket", "start_time": 1_735_689_600, "end_time": 1_735_776_000, "results": [
                {"amount": {"value": 0.06, "currency": "usd"}, "line_item": "gpt-4o, input"},
                {"amount": {"value": 0.04, "currency": "usd"}, "line_item": null}]},
            {"start_time": 1_735_776_000, "results": []}]});
        let anthropic = json!([{"data": [{"starting_at": "2025-01-01T00:00:00Z", "results": [
            {"currency": "USD", "amount": "6.0"}, {"currency": "USD", "amount": "4"}]},
            {"starting_at": "2025-01-02T00:00:00Z", "results": []}], "has_more": false}]);
        let csv = "usage_date_utc,model,cost_usd\n2025-01-01,\"a, b\",0.06\n2025-01-01,c,0.04\r\n2025-01-02,c,0\n";
        let expected = Days::from([("2025-01-01".to_owned(), 100_000_000), ("2025-01-02".to_owned(), 0)]);
        for report in [openai.to_string(), anthropic.to_string(), csv.to_owned()] {
            assert_eq!(read(&report), Ok(expected.clone()), "{report}");
        }
        let wrong = [
            ("{\"data\": [", "no whole JSON"),
            ("{\"data\": [{\"results\": []}]}", "without `start_time`"),
            (
                "{\"data\": [{\"start_time\": 0, \"results\": [{\"amount\": {\"value\": 1, \"currency\": \"eur\"}}]}]}",
                "in eur",
            ),
            ("{\"data\": [{\"starting_at\": \"today\", \"results\": [{\"amount\": \"1\"}]}]}", "no cost of a day"),
            ("a,b\n1,2\n", "none of the columns"),
            ("date,cost\n2025-01-01\n", "too short"),
        ];
        for (report, why) in wrong {
            assert!(read(report).is_err_and(|reason| reason.contains(why)), "{report}");
        }
    }

    #[test]
    fn days_are_held_against_each_other() {
        let theirs = Days::from([("2025-01-01".to_owned(), 100), ("2025-01-02".to_owned(), 50)]);
        let ours = [json!({"day": "2025-01-01", "cost_nano_usd": 90, "unpriced_requests": 2})];
        let rows = compared(&theirs, &ours);
        let differences: Vec<_> = rows.iter().map(|row| row["difference_nano_usd"].as_i64()).collect();
        assert_eq!(differences, [Some(-10), Some(-50), Some(-60)]);
        assert_eq!((&rows[2]["day"], &rows[2]["unpriced_requests"]), (&json!("total"), &json!(2)));
    }
}
