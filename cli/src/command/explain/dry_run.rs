//! `explain --dry-run`: a request is described, the control plane tells where it would go.

use std::path::Path;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::client::{Client, path};
use crate::exit::{Exit, Failure};
use crate::host;
use crate::output::table::{self, Column};
use crate::output::{Format, dash, dollars, items, text};

/// A request that is not sent.
#[derive(Args, Debug)]
pub(super) struct Described {
    /// Tell where a request would go, without sending it
    #[arg(long, conflicts_with = "id", requires = "data")]
    dry_run: bool,
    /// The request's JSON body, or a file with it; `-` reads stdin
    #[arg(short = 'd', long, value_name = "JSON|FILE", requires = "dry_run")]
    data: Option<String>,
    /// Path it would be sent to
    #[arg(long, value_name = "PATH", default_value = "/v1/chat/completions", requires = "dry_run")]
    path: String,
    /// Header it would have; can be given several times
    #[arg(long, value_name = "NAME: VALUE", value_parser = header, requires = "dry_run")]
    header: Vec<(String, String)>,
    /// Name or id of the key that would send it [default: one that may use everything]
    #[arg(long, value_name = "KEY", requires = "dry_run")]
    key: Option<String>,
    /// Public model that the token of a --key like `jwt:id?user=ada` allows; can be given several times
    #[arg(long, value_name = "MODEL", requires = "key")]
    token_model: Vec<String>,
}

pub(super) async fn run(client: &Client, described: &Described, format: Format) -> Result<Exit, Failure> {
    let data = described.data.as_deref().unwrap_or_default();
    let (name, body) = match data.trim_start().starts_with('{') {
        true => ("--data", data.to_owned()),
        false => (data, host::read(Path::new(data))?),
    };
    let body: Value = serde_json::from_str(&body)
        .map_err(|error| Failure::new(Exit::Usage, format!("{name} is not JSON: {error}")))?;
    let question = question(described, &body);
    let told = client.post(&path(&["explain"]), Some(&question)).await?;
    format.print(&told, |told| story(told, format.width()))?;
    if format.is_for_people() {
        for note in items(&told, "/notes").iter().filter_map(Value::as_str) {
            host::say(&format!("note: {note}"));
        }
    }
    Ok(Exit::Done)
}

fn question(described: &Described, body: &Value) -> Value {
    let headers: Map<String, Value> =
        described.header.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let mut question = json!({"path": described.path, "headers": headers, "body": body});
    if let Some(key) = &described.key {
        question["key"] = json!(key);
    }
    if !described.token_model.is_empty() {
        question["token_models"] = json!(described.token_model);
    }
    question
}

/// `x-tenant: acme`
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it like `x-tenant: acme`")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

const ROUTES: [Column; 2] = [Column::Text("ROUTE"), Column::Text("MATCHES")];

const CANDIDATES: [Column; 8] = [
    Column::Number("#"),
    Column::Text("TARGET"),
    Column::Number("GROUP"),
    Column::Text("STRATEGY"),
    Column::Number("WEIGHT"),
    Column::SpareNumber("SCORE"),
    Column::Number("COST"),
    Column::Text("PASSED OVER"),
];

fn story(told: &Value, width: Option<usize>) -> String {
    let mut parts = Vec::new();
    let routes = items(told, "/routes");
    if !routes.is_empty() {
        parts.push(table::render(&ROUTES, routes.iter().map(route), width));
    }
    let by = match text(told, "/route") {
        name if name.is_empty() && told.get("auto_choice").is_some_and(Value::is_object) => {
            "no route matches, so it goes where its prompt does".to_owned()
        }
        name if name.is_empty() => "no route matches, so it goes to the model it names".to_owned(),
        name => format!("route {name} matches"),
    };
    let model = text(told, "/model");
    if !model.is_empty() {
        let mut lines = vec![super::judged(told), super::tried(told)];
        lines.push(format!("{by}; model {model}, under topology revision {}", text(told, "/revision")));
        lines.retain(|line| !line.is_empty());
        parts.push(lines.join("\n") + "\n");
    }
    let candidates = items(told, "/candidates");
    if !candidates.is_empty() {
        parts.push(table::render(&CANDIDATES, (1..).zip(candidates).map(candidate), width));
    }
    let message = text(told, "/refused/message");
    if !message.is_empty() {
        let (status, code) = (text(told, "/refused/status"), text(told, "/refused/code"));
        parts.push(format!("refused: {message} ({status} {code})\n"));
    }
    parts.join("\n")
}

fn route(route: &Value) -> Vec<String> {
    let field = text(route, "/field");
    let why = match text(route, "/given") {
        _ if field.is_empty() => "yes".to_owned(),
        given if given.is_empty() => format!("no: {field} wants {}, and there is nothing", text(route, "/wanted")),
        given => format!("no: {field} wants {}, not {given}", text(route, "/wanted")),
    };
    vec![text(route, "/name"), why]
}

fn candidate((place, candidate): (usize, &Value)) -> Vec<String> {
    let is_asked = candidate.get("asked") == Some(&Value::Bool(true));
    let skip = match (text(candidate, "/skip"), is_asked) {
        (skip, true) if !skip.is_empty() => format!("{skip}, but asked when nobody else is left"),
        (skip, _) => skip,
    };
    let cost = candidate.get("cost_nano_usd").and_then(Value::as_i64).map(dollars);
    let score = candidate.get("score").and_then(Value::as_f64).map(|score| format!("{score:.3}"));
    vec![
        if is_asked { place.to_string() } else { "-".to_owned() },
        format!("{}/{}", text(candidate, "/provider"), text(candidate, "/model")),
        text(candidate, "/group"),
        text(candidate, "/strategy"),
        text(candidate, "/weight"),
        dash(score.unwrap_or_default()),
        dash(cost.unwrap_or_default()),
        dash(skip),
    ]
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::Explain;
    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        explain: Explain,
    }

    #[test]
    fn who_comes_with_a_token_is_asked_about_with_what_it_allows() {
        let asked = |more: &[&str]| {
            let words = [["explain", "--dry-run", "-d", "{}"].as_slice(), more].concat();
            Cli::try_parse_from(words).map(|cli| question(&cli.explain.described, &json!({"model": "m"})))
        };
        let plain = json!({"path": "/v1/chat/completions", "headers": {}, "body": {"model": "m"}});
        assert_eq!(asked(&[]).expect("understood"), plain);
        let told = asked(&["--key", "jwt:id?user=ada", "--token-model", "m", "--token-model", "n"]);
        let mut expected = plain;
        (expected["key"], expected["token_models"]) = (json!("jwt:id?user=ada"), json!(["m", "n"]));
        assert_eq!(told.expect("understood"), expected);
        assert!(asked(&["--token-model", "m"]).is_err(), "of nobody");
    }

    #[test]
    fn what_would_happen_reads_well() {
        let told = json!({"revision": 7, "route": "rest", "model": "smart", "refused": null, "notes": [],
            "routes": [
                {"name": "search", "matches": false, "field": "match.keys", "wanted": "search-*", "given": "demo"},
                {"name": "tools", "matches": false, "field": "match.needs", "wanted": "tools", "given": ""},
                {"name": "rest", "matches": true, "field": null, "wanted": null, "given": null}],
            "candidates": [
                {"provider": "a", "model": "x", "group": 0, "strategy": "cheapest", "weight": 1, "score": 1500.0,
                 "cost_nano_usd": 1_500_000, "asked": true, "skip": null},
                {"provider": "b", "model": "y", "group": 1, "strategy": "as listed", "weight": 1, "score": null,
                 "cost_nano_usd": null, "asked": false, "skip": "context_too_small"}]});
        assert_eq!(
            story(&told, None),
            "ROUTE   MATCHES\n\
             search  no: match.keys wants search-*, not demo\n\
             tools   no: match.needs wants tools, and there is nothing\n\
             rest    yes\n\
             \n\
             route rest matches; model smart, under topology revision 7\n\
             \n\
             #  TARGET  GROUP  STRATEGY   WEIGHT     SCORE     COST  PASSED OVER\n\
             1  a/x         0  cheapest        1  1500.000  $0.0015  -\n\
             -  b/y         1  as listed       1         -        -  context_too_small\n"
        );
        let chosen = json!({"revision": 7, "route": null, "model": "small", "refused": null, "auto_choice": {"model": "small",
            "bucket": "simple", "percent": 20, "tier": "2-3", "score": 2, "skill": "default", "signals": ["maths"]}});
        assert_eq!(
            story(&chosen, None),
            "judged simple (0.20), tier 2-3 with a score of 2 by its maths, skill default; so it went to model small\n\
             no route matches, so it goes where its prompt does; model small, under topology revision 7\n"
        );
        let refused =
            json!({"refused": {"status": 404, "code": "model_not_found", "message": "no model is named `x`"}});
        assert_eq!(story(&refused, None), "refused: no model is named `x` (404 model_not_found)\n");
    }
}
