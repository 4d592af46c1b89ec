//! `providers`: whether one is reached with its key, and which models it has.

use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use crate::args::{Gateway, Output};
use crate::client::{Client, Query, path};
use crate::exit::{Exit, Failure};
use crate::output::{items, number, text};

/// Try the accounts behind the gateway
#[derive(Args, Debug)]
#[command(after_help = "Providers are resources: `gatewayctl get providers` shows them, `gatewayctl apply` makes them.

Example:
  gatewayctl providers test openai")]
pub(crate) struct Providers {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    Test(Test),
}

/// Ask a provider for its models, from the control plane and with the key that is stored
///
/// Costs nothing there. Exits 1 unless it answers with a list of models. Some providers list them to anybody: then it says nothing of
/// the key.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  gatewayctl providers test openai
  gatewayctl providers test openai --key spare
  gatewayctl providers test openai -o json")]
struct Test {
    /// One of them
    #[arg(value_name = "NAME")]
    provider: String,
    /// One of its `api_keys`, where it has several; the first that is enabled by default
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

/// Names in a line for people.
const MAX_NAMES: usize = 10;

pub(crate) async fn run(providers: Providers) -> Result<Exit, Failure> {
    match providers.action {
        Action::Test(action) => test(action).await,
    }
}

async fn test(test: Test) -> Result<Exit, Failure> {
    let client = Client::new(&test.gateway)?;
    client.say_target();
    let (target, query) = (path(&["providers", &test.provider, "test"]), test.key.map(|key| ("key", key)));
    let query: Query = query.into_iter().collect();
    let tried = client.send(Method::POST, &target, &query, Some(&json!({})), Duration::ZERO).await?;
    test.output.format.print(&tried, line)?;
    Ok(if tried["ok"] == true { Exit::Done } else { Exit::Refused })
}

fn line(tried: &Value) -> String {
    let provider = text(tried, "/provider");
    if tried["ok"] != true {
        return format!("{provider}: {}\n", text(tried, "/error"));
    }
    let n_models = number(tried, "/n_models");
    let names: Vec<&str> = items(tried, "/models").iter().take(MAX_NAMES).filter_map(Value::as_str).collect();
    let rest = if items(tried, "/models").len() > names.len() || tried["more"] == true { " …" } else { "" };
    format!("{provider}: {n_models} models after {} ms: {}{rest}\n", number(tried, "/took_ms"), names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_it_went() {
        let good =
            json!({"provider": "up", "ok": true, "n_models": 2, "models": ["a", "b"], "more": false, "took_ms": 7});
        assert_eq!(line(&good), "up: 2 models after 7 ms: a, b\n");
        let many: Vec<String> = (0..20).map(|number| format!("m{number}")).collect();
        let many = json!({"provider": "up", "ok": true, "n_models": 700, "models": many, "more": false, "took_ms": 7});
        assert!(line(&many).ends_with("m8, m9 …\n"), "{}", line(&many));
        let bad = json!({"provider": "up", "ok": false, "error": "it answers 401 Unauthorized"});
        assert_eq!(line(&bad), "up: it answers 401 Unauthorized\n");
    }
}
