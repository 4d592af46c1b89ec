//! `logs`: requests as they went, newest last; and what one of them asked and was answered, where that is kept.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use crate::args::{self, Gateway, Output};
use crate::client::{Client, Query, path};
use crate::exit::{Exit, Failure};
use crate::host;
use crate::output::table::{self, Column};
use crate::output::{Format, dash, items, number, text, time};

/// Show requests: who asked for what, where it went, how it ended
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  gatewayctl logs
  gatewayctl logs --follow
  gatewayctl logs --status 429 --since 1h -o json | jq -r '.[].id'
  gatewayctl logs team:core status:5xx min_duration:10s 'timed out'
  gatewayctl logs --body ID
  gatewayctl explain ID")]
pub(crate) struct Logs {
    /// Only requests that have all of this: words, or `field:value` as in team:core and status:5xx
    #[arg(value_name = "SEARCH")]
    search: Vec<String>,
    /// Go on showing requests as they end
    #[arg(long, conflicts_with = "limit")]
    follow: bool,
    /// What this request asked and was answered, where `log_bodies` had it kept; the reading is in the audit log
    #[arg(long, value_name = "ID", conflicts_with_all = ["follow", "limit", "key", "model", "provider", "status", "since"])]
    body: Option<String>,
    /// How many to show at most
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,
    /// Only requests with this key (name or id)
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Only requests for this model
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Only requests that this provider served
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Only requests that ended with this HTTP status: 429, 5xx, >=400
    #[arg(long, value_name = "CODE")]
    status: Option<String>,
    /// Only requests of this last stretch of time
    #[arg(long, value_name = "TIME", value_parser = args::span)]
    since: Option<Duration>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

const COLUMNS: [Column; 11] = [
    Column::Text("TIME"),
    Column::Text("ID"),
    Column::Spare("KEY"),
    Column::Text("MODEL"),
    Column::Spare("TARGET"),
    Column::Number("STATUS"),
    Column::Spare("ENDING"),
    Column::SpareNumber("TOKENS"),
    Column::SpareNumber("FIRST"),
    Column::SpareNumber("TOTAL"),
    Column::Spare("UNITS"),
];

pub(crate) async fn run(logs: Logs) -> Result<Exit, Failure> {
    let client = Client::new(&logs.gateway)?;
    if let Some(id) = &logs.body {
        let kept = client.get(&path(&["logs", id, "body"]), &Query::new()).await?;
        logs.output.format.print(&kept, bodies)?;
        return Ok(Exit::Done);
    }
    let query = filters(&logs);
    if logs.follow {
        return follow(&client, &query, logs.output.format).await;
    }
    let mut list = client.list(&path(&["logs"]), &query, logs.limit).await?;
    if list.items.is_empty() {
        host::say("no requests yet, or none that match");
    }
    if logs.output.format.is_for_people() {
        // The newest stands next to the prompt, as in `--follow`.
        list.items.reverse();
    }
    logs.output.format.print(&Value::Array(list.items), |value| match items(value, "") {
        [] => String::new(),
        records => table::render(&COLUMNS, records.iter().map(row), logs.output.format.width()),
    })?;
    Ok(Exit::Done)
}

fn bodies(kept: &Value) -> String {
    ["request", "response"].into_iter().map(|name| body(name, &kept[name])).collect()
}

fn body(name: &str, part: &Value) -> String {
    let is = |field: &str| part[field].as_bool().unwrap_or(false);
    let content = part["text"].as_str().or(part["base64"].as_str()).unwrap_or_default();
    let notes = [
        (part.is_null(), "not kept".to_owned()),
        (is("withheld"), "withheld: it could not be read well enough to redact it".to_owned()),
        (is("truncated"), "cut".to_owned()),
        (number(part, "/redacted") > 0, format!("{} redacted", number(part, "/redacted"))),
        (part["base64"].is_string(), "base64".to_owned()),
        (!part.is_null(), format!("{} bytes", number(part, "/bytes"))),
    ];
    let notes: Vec<String> = notes.into_iter().filter_map(|(is_so, note)| is_so.then_some(note)).collect();
    // Strangers wrote it, and a terminal obeys control characters.
    let shown: String = content.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    format!("{name} ({})\n{shown}{}", notes.join(", "), if shown.is_empty() { "" } else { "\n" })
}

async fn follow(client: &Client, query: &Query, format: Format) -> Result<Exit, Failure> {
    let mut events = client.follow(&path(&["logs", "follow"]), query).await?;
    while let Some(record) = events.next().await? {
        format.print_record(&record, |record| {
            let words = row(record).into_iter().filter(|word| !word.is_empty());
            format!("{}\n", words.collect::<Vec<_>>().join("  "))
        })?;
    }
    host::say("the gateway ended the list; it may be restarting");
    Ok(Exit::Done)
}

fn filters(logs: &Logs) -> Query {
    let since =
        logs.since.map(|span| host::now_ms().saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)));
    let all = [
        ("key", logs.key.clone()),
        ("model", logs.model.clone()),
        ("provider", logs.provider.clone()),
        ("status", logs.status.clone()),
        ("search", (!logs.search.is_empty()).then(|| line(&logs.search))),
        ("since", since.map(|since| since.to_string())),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// As one line. What the shell has taken as one word stays one.
fn line(words: &[String]) -> String {
    let quoted = |word: &String| {
        if !word.contains(char::is_whitespace) || word.contains('"') {
            return word.clone();
        }
        let end = word.find(|letter: char| !letter.is_ascii_lowercase() && letter != '_').unwrap_or(0);
        match word.split_at(end) {
            (name, value) if !name.is_empty() && value.starts_with(':') => format!("{name}:\"{}\"", &value[1..]),
            _ => format!("\"{word}\""),
        }
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

fn row(record: &Value) -> Vec<String> {
    let target = match (text(record, "/provider"), text(record, "/upstream_model")) {
        (provider, _) if provider.is_empty() => "-".to_owned(),
        (provider, model) => format!("{provider}/{model}"),
    };
    let error = text(record, "/error_code");
    let ending =
        if error.is_empty() { text(record, "/ending") } else { format!("{} ({error})", text(record, "/ending")) };
    let started = record.get("started_unix_ms").and_then(time::unix_ms).map(time::clock).unwrap_or_default();
    vec![
        started,
        text(record, "/id"),
        dash(text(record, "/key_name")),
        dash(text(record, "/model")),
        target,
        text(record, "/status"),
        ending,
        format!("{}+{}", read_tokens(record), number(record, "/tokens/output")),
        match number(record, "/first_byte_us") {
            0 => "-".to_owned(),
            first => time::length_us(first),
        },
        time::length_us(number(record, "/total_us")),
        units(record),
    ]
}

/// Everything the upstream read: fresh and from its cache. Audio and images are parts of it.
pub(crate) fn read_tokens(record: &Value) -> u64 {
    let classes = ["input", "cache_read", "cache_write", "cache_write_1h"];
    classes.into_iter().map(|class| number(record, &format!("/tokens/{class}"))).sum()
}

/// What was used that is charged by something else than tokens; empty where nothing was.
pub(crate) fn units(record: &Value) -> String {
    let kinds = [
        ("pictures_made", "pictures made"),
        ("pictures_read", "pictures read"),
        ("characters", "characters"),
        ("searches", "searches"),
    ];
    let counts = kinds.into_iter().map(|(kind, name)| (number(record, &format!("/units/{kind}")), name));
    let mut said: Vec<_> = counts.filter(|(n, _)| *n > 0).map(|(n, name)| format!("{n} {name}")).collect();
    let audio_ms = number(record, "/units/audio_ms");
    if audio_ms > 0 {
        said.push(format!("{}.{:03}s audio", audio_ms / 1000, audio_ms % 1000));
    }
    said.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_shell_takes_as_one_word_stays_one() {
        let words = ["team:core", "tag:b c", "timed out", "tag:\"x y\"", "plain"].map(str::to_owned);
        assert_eq!(line(&words), r#"team:core tag:"b c" "timed out" tag:"x y" plain"#);
    }

    #[test]
    fn units_are_said_where_there_are_any() {
        for (record, expected) in [
            (json!({"units": null, "tokens": {"input": 5}}), ""),
            (json!({"units": {"searches": 0}}), ""),
            (json!({"units": {"pictures_made": 2}}), "2 pictures made"),
            (
                json!({"units": {"audio_ms": 3_040, "characters": 7, "searches": 1}}),
                "7 characters, 1 searches, 3.040s audio",
            ),
        ] {
            assert_eq!(units(&record), expected, "{record}");
        }
        let parts = json!({"tokens": {"input": 5, "cache_read": 2, "input_audio": 3, "input_image": 2}});
        assert_eq!(read_tokens(&parts), 7, "audio and images are parts of the input");
    }
}
