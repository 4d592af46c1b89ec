//! `context`: gateways saved under names, so that commands need neither address nor key.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use gateway_model::secret::Secret;
use gateway_model::token::{self, Form, Prefix};
use serde_json::{Value, json};

use crate::args::{self, Gateway, Output};
use crate::client;
use crate::context::{self, Origin, saved};
use crate::exit::{Exit, Failure};
use crate::host::{self, terminal};
use crate::output::table::{self, Column, pairs};
use crate::output::{items, text};

/// Save gateways under names and choose between them
#[derive(Args, Debug)]
#[command(after_help = "The name `local` always means the gateway on this machine.

Examples:
  gatewayctl context add prod --admin-url https://admin.example.com --use
  gatewayctl context use local
  gatewayctl --context prod nodes")]
pub(crate) struct Contexts {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    Add(Add),
    Use(Use),
    List(List),
    Show(Show),
    Remove(Remove),
}

/// Save a gateway
#[derive(Args, Debug)]
#[command(
    after_help = "The master key is read from a file, typed at a prompt that does not show it, or taken from stdin; never from an \
    argument. It is kept in $XDG_CONFIG_HOME/gateway/contexts.json, which only this user can read.

Examples:
  gatewayctl context add prod --admin-url https://admin.example.com
  gatewayctl context add prod --admin-url https://admin.example.com --master-key-file key.txt --use
  pass show gateway | gatewayctl context add prod --admin-url https://admin.example.com"
)]
struct Add {
    /// Name of the context
    #[arg(value_parser = saved::name)]
    name: String,
    /// Address of its admin API
    #[arg(long, value_name = "URL", value_parser = args::address)]
    admin_url: String,
    /// File that holds its master key; `-` is stdin [default: asked for, or stdin]
    #[arg(long, value_name = "FILE")]
    master_key_file: Option<PathBuf>,
    /// Use it from now on
    #[arg(long = "use")]
    make_current: bool,
    /// Replace a context of that name
    #[arg(long)]
    replace: bool,
}

/// Choose the gateway that commands talk to when nothing else is said
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  gatewayctl context use prod
  gatewayctl context use local")]
struct Use {
    /// Name of a context, or `local`
    name: String,
}

/// List saved gateways
#[derive(Args, Debug)]
#[command(after_help = "The one that is used is marked with `*`. Keys are not shown.

Example:
  gatewayctl context list -o json | jq -r '.[].name'")]
struct List {
    #[command(flatten)]
    output: Output,
}

/// Show which gateway commands talk to, and why that one
#[derive(Args, Debug)]
#[command(after_help = "Takes flags and environment into account, as every other command does; asks nobody.

Examples:
  gatewayctl context show
  gatewayctl context show --context prod")]
struct Show {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

/// Forget a saved gateway and its key
#[derive(Args, Debug)]
#[command(after_help = "Example:
  gatewayctl context remove prod")]
struct Remove {
    /// Name of the context
    name: String,
}

// === impl Contexts ===

impl Contexts {
    /// Whether the action takes [`Gateway`]; the others name contexts themselves.
    pub(crate) fn talks_to_a_gateway(&self) -> bool {
        matches!(self.action, Action::Show(_))
    }
}

pub(crate) fn run(contexts: Contexts) -> Result<Exit, Failure> {
    match contexts.action {
        Action::Add(action) => add(&action),
        Action::Use(action) => choose(&action.name),
        Action::List(action) => list(action),
        Action::Show(action) => show(&action),
        Action::Remove(action) => remove(&action.name),
    }
}

fn add(add: &Add) -> Result<Exit, Failure> {
    if add.name == saved::LOCAL {
        return Err(Failure::new(Exit::Usage, "`local` is the gateway on this machine; choose another name"));
    }
    // Before the key is asked for: an answer that could not be kept is a nuisance.
    refuse_existing(&saved::load()?, add)?;
    let master_key = match &add.master_key_file {
        Some(file) => Secret::new(host::read(file)?.trim()),
        None => terminal::secret("master key")?,
    };
    check(&master_key)?;
    saved::change(|saved| {
        refuse_existing(saved, add)?;
        let entry = saved::Entry { admin_url: add.admin_url.clone(), master_key };
        saved.contexts.insert(add.name.clone(), entry);
        if add.make_current {
            saved.current = Some(add.name.clone());
        }
        Ok(())
    })?;
    host::say(&format!("saved context {} ({})", add.name, add.admin_url));
    if client::is_plain(&add.admin_url) {
        host::say("warning: http to another machine sends the master key readable; use https");
    }
    if !add.make_current {
        host::say(&format!(
            "`gatewayctl context use {0}` makes it the default; `--context {0}` names it once",
            add.name
        ));
    }
    Ok(Exit::Done)
}

fn refuse_existing(saved: &saved::Saved, add: &Add) -> Result<(), Failure> {
    if saved.contexts.contains_key(&add.name) && !add.replace {
        return Err(Failure::new(Exit::Refused, format!("there is a context `{}` already", add.name))
            .hint("`--replace` replaces it"));
    }
    Ok(())
}

/// Tells a key that cannot be one now, rather than by a refusal later.
fn check(key: &Secret) -> Result<(), Failure> {
    let why = match token::check(key.expose()) {
        Form::Ours(Prefix::Master) => return Ok(()),
        Form::Ours(Prefix::VirtualKey) => "that is a virtual key, which applications use; the master key is needed",
        Form::Ours(Prefix::Join) => "that is a join token, which nodes use; the master key is needed",
        Form::BadChecksum => "that key is mistyped or cut short: its checksum is wrong",
        // A gateway's master key may have been chosen by people.
        Form::Foreign if key.expose().contains(char::is_whitespace) => "a master key is one word",
        Form::Foreign if key.expose().is_empty() => "the file is empty",
        Form::Foreign => return Ok(()),
    };
    Err(Failure::new(Exit::Refused, why).hint("a gateway writes its master key into its data directory and ready file"))
}

fn choose(name: &str) -> Result<Exit, Failure> {
    let target = saved::change(|saved| {
        let target = if name == saved::LOCAL { None } else { Some(saved.get(name)?.admin_url.clone()) };
        saved.current = target.is_some().then(|| name.to_owned());
        Ok(target)
    })?;
    let target = target.unwrap_or_else(|| "the gateway on this machine".to_owned());
    host::say(&format!("commands now talk to {name} ({target})"));
    Ok(Exit::Done)
}

fn list(list: List) -> Result<Exit, Failure> {
    let saved = saved::load()?;
    let local = context::local::find(None).ok();
    let here = json!({"name": saved::LOCAL, "admin_url": local.as_ref().map(|local| &local.admin_url),
        "current": saved.current.is_none(), "master_key_last4": local.as_ref().map(|local| local.master_key.last4())});
    let others = saved.contexts.iter().map(|(name, entry)| {
        json!({"name": name, "admin_url": entry.admin_url, "current": saved.current.as_ref() == Some(name),
            "master_key_last4": entry.master_key.last4()})
    });
    let all: Vec<Value> = std::iter::once(here).chain(others).collect();
    let columns = [Column::Text(""), Column::Text("NAME"), Column::Text("ADMIN API"), Column::Text("MASTER KEY")];
    list.output.format.print(&Value::Array(all), |all| {
        let rows = items(all, "").iter().map(|one| {
            let mark = if one["current"] == true { "*" } else { "" };
            let (url, key) = match text(one, "/admin_url") {
                url if url.is_empty() => ("(not running)".to_owned(), "-".to_owned()),
                url => (url, format!("…{}", text(one, "/master_key_last4"))),
            };
            vec![mark.to_owned(), text(one, "/name"), url, key]
        });
        table::render(&columns, rows, list.output.format.width())
    })?;
    Ok(Exit::Done)
}

fn show(show: &Show) -> Result<Exit, Failure> {
    let context = context::find(&show.gateway)?;
    let file = saved::place().filter(|file| file.exists());
    let (name, why) = match &context.origin {
        Origin::Url => (String::new(), "named by --admin-url or GATEWAY_ADMIN_URL".to_owned()),
        Origin::Saved(name) => (name.clone(), format!("saved as `{name}`")),
        Origin::Local(data_dir) => (saved::LOCAL.to_owned(), format!("found in {}", data_dir.display())),
    };
    let value = json!({"name": name, "admin_url": context.admin_url, "why": why,
        "master_key_last4": context.master_key.last4(), "file": file});
    show.output.format.print(&value, |value| {
        pairs(&[
            ("Context", text(value, "/name")),
            ("Admin API", text(value, "/admin_url")),
            ("Chosen as", text(value, "/why")),
            ("Master key", format!("…{}", text(value, "/master_key_last4"))),
            ("Saved in", text(value, "/file")),
        ])
    })?;
    Ok(Exit::Done)
}

fn remove(name: &str) -> Result<Exit, Failure> {
    let was_current = saved::change(|saved| {
        saved.get(name)?;
        saved.contexts.remove(name);
        let was_current = saved.current.as_deref() == Some(name);
        if was_current {
            saved.current = None;
        }
        Ok(was_current)
    })?;
    host::say(&format!("removed context {name}"));
    if was_current {
        host::say("commands talk to the gateway on this machine again");
    }
    Ok(Exit::Done)
}
