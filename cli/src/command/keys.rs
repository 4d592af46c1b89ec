//! `keys`: virtual keys, which applications present.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use gateway_model::kind::Kind;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::delete::warn_owned;
use super::describe::whole;
use super::get::{self, Get};
use crate::args::{self, Gateway, Output, Wait};
use crate::change;
use crate::client::{Client, Query, path};
use crate::exit::{Exit, Failure};
use crate::host;
use crate::output::{joined, text};
use crate::write;

/// Make, list, rotate and revoke virtual keys
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  gatewayctl keys create demo
  gatewayctl keys list
  gatewayctl keys rotate demo --overlap 1h
  gatewayctl keys revoke demo")]
pub(crate) struct Keys {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    Create(Create),
    List(List),
    Describe(One),
    Rotate(Rotate),
    Revoke(Revoke),
}

/// Make a key and print it, once
#[derive(Args, Debug)]
#[command(
    after_help = "Only the key itself goes to stdout, so that a script can keep it. It is stored nowhere in readable form.

Examples:
  gatewayctl keys create demo
  KEY=$(gatewayctl keys create ci --model 'openai/*' --rpm 60 --expires-in 30d)
  gatewayctl keys create old --secret-file existing-key.txt"
)]
struct Create {
    /// Name of the key
    name: String,
    /// Model the key may use, `*` for any characters; may be repeated [default: every model]
    #[arg(long = "model", value_name = "PATTERN")]
    models: Vec<String>,
    /// Provider whose account the key may use as it is, `*` for any characters; may be repeated [default: none]
    #[arg(long, value_name = "PATTERN")]
    passthrough: Vec<String>,
    /// Requests per minute [default: no limit]
    #[arg(long, value_name = "N")]
    rpm: Option<u64>,
    /// The key ends this long from now
    #[arg(long, value_name = "TIME", value_parser = args::span, conflicts_with = "expires_at")]
    expires_in: Option<Duration>,
    /// The key ends then, in RFC 3339 form
    #[arg(long, value_name = "WHEN")]
    expires_at: Option<jiff::Timestamp>,
    /// A tag; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Anything worth knowing about the key; may be repeated
    #[arg(long = "metadata", value_name = "NAME=VALUE", value_parser = args::pair)]
    metadata: Vec<(String, String)>,
    /// Import the key in this file (`-` is stdin) instead of making one
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

/// List keys
#[derive(Args, Debug)]
#[command(after_help = "Example:
  gatewayctl keys list -o json | jq -r '.[] | select(.enabled) | .name'")]
struct List {
    /// How many to show at most
    #[arg(long, default_value_t = 500, value_name = "N")]
    limit: usize,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

/// Show everything about one key, except the key itself
#[derive(Args, Debug)]
#[command(after_help = "Example:
  gatewayctl keys describe demo")]
struct One {
    /// Its name or id
    key: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

/// Give a key a new secret and print it, once
#[derive(Args, Debug)]
#[command(
    after_help = "Both secrets work until the overlap ends, as one key with one set of limits. `--overlap 0s` ends the old one at once, \
    and all before it.

Example:
  KEY=$(gatewayctl keys rotate ci --overlap 1h)"
)]
struct Rotate {
    /// Its name or id
    key: String,
    /// How long the secret so far is good yet
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = args::span)]
    overlap: Duration,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

/// Make a key stop working at once
#[derive(Args, Debug)]
#[command(
    after_help = "The key stays listed as disabled, so that its usage keeps its name; `gatewayctl delete key NAME` removes it.

Example:
  gatewayctl keys revoke demo"
)]
struct Revoke {
    /// Its name or id
    key: String,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

pub(crate) async fn run(keys: Keys) -> Result<Exit, Failure> {
    match keys.action {
        Action::Create(action) => create(action).await,
        Action::List(List { limit, output, gateway }) => {
            get::run(Get { kind: Kind::Key, name: None, limit, output, gateway }).await
        }
        Action::Describe(action) => describe(action).await,
        Action::Rotate(action) => rotate(action).await,
        Action::Revoke(action) => revoke(action).await,
    }
}

async fn create(create: Create) -> Result<Exit, Failure> {
    let client = Client::new(&create.gateway)?;
    let body = body(&create)?;
    let answer = write::send(&client, Method::POST, &path(&["keys"]), create.wait, Some(&body)).await?;
    create.output.format.print(&answer, |answer| match text(answer, "/key") {
        made if made.is_empty() => String::new(),
        made => format!("{made}\n"),
    })?;
    let rollout = answer.pointer("/change/rollout").unwrap_or(&Value::Null);
    let (name, id, models) = (text(&answer, "/name"), text(&answer, "/id"), joined(&answer, "/models"));
    host::say(&format!("created key {name} ({id}) for {models}; it is not shown again"));
    write::say_rollout(rollout);
    Ok(change::exit(rollout))
}

fn body(create: &Create) -> Result<Value, Failure> {
    let mut key = Map::from_iter([("name".to_owned(), json!(create.name))]);
    if !create.models.is_empty() {
        key.insert("models".to_owned(), json!(create.models));
    }
    if !create.passthrough.is_empty() {
        key.insert("passthrough".to_owned(), json!(create.passthrough));
    }
    if let Some(rpm) = create.rpm {
        key.insert("limits".to_owned(), json!({"rpm": rpm}));
    }
    if let Some(at) = create.expires_at {
        key.insert("expires_at".to_owned(), json!(at.to_string()));
    }
    if let Some(span) = create.expires_in {
        let milliseconds = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let at = jiff::Timestamp::from_millisecond(host::now_ms().saturating_add(milliseconds)).map_err(|_| {
            Failure::new(Exit::Usage, "--expires-in reaches beyond the calendar")
                .hint("leave it out for a key without end")
        })?;
        key.insert("expires_at".to_owned(), json!(at.to_string()));
    }
    if !create.tags.is_empty() {
        key.insert("tags".to_owned(), json!(create.tags));
    }
    if !create.metadata.is_empty() {
        let metadata = create.metadata.iter().map(|(name, value)| (name.clone(), json!(value)));
        key.insert("metadata".to_owned(), Value::Object(metadata.collect()));
    }
    if let Some(file) = &create.secret_file {
        key.insert("secret".to_owned(), json!(host::read(file)?.trim()));
    }
    Ok(Value::Object(key))
}

async fn describe(one: One) -> Result<Exit, Failure> {
    let client = Client::new(&one.gateway)?;
    let item = client.get(&path(&["keys", &one.key]), &Query::new()).await?;
    one.output.format.print(&item, whole)?;
    Ok(Exit::Done)
}

async fn rotate(rotate: Rotate) -> Result<Exit, Failure> {
    let client = Client::new(&rotate.gateway)?;
    let body = json!({"overlap": format!("{}ms", rotate.overlap.as_millis())});
    let target = path(&["keys", &rotate.key, "rotate"]);
    let answer = write::send(&client, Method::POST, &target, rotate.wait, Some(&body)).await?;
    rotate.output.format.print(&answer, |answer| format!("{}\n", text(answer, "/key")))?;
    let old = match text(&answer, "/earlier_secret_until") {
        until if until.is_empty() => "the old secret works no more".to_owned(),
        until => format!("the old secret works until {until}"),
    };
    host::say(&format!(
        "rotated key {} ({}); {old}; the new one is not shown again",
        text(&answer, "/name"),
        text(&answer, "/id")
    ));
    let rollout = answer.pointer("/change/rollout").unwrap_or(&Value::Null);
    write::say_rollout(rollout);
    Ok(change::exit(rollout))
}

async fn revoke(revoke: Revoke) -> Result<Exit, Failure> {
    let client = Client::new(&revoke.gateway)?;
    let target = path(&["keys", &revoke.key]);
    let body = json!({"enabled": false});
    let answer = write::send(&client, Method::PATCH, &target, revoke.wait, Some(&body)).await?;
    let rollout = answer.pointer("/change/rollout").unwrap_or(&Value::Null);
    revoke.output.format.print(&answer, |answer| {
        write::outcome(&format!("key {} ({}) revoked", text(answer, "/name"), text(answer, "/id")), &answer["change"])
    })?;
    warn_owned(&text(&answer, "/owner"));
    Ok(change::exit(rollout))
}
