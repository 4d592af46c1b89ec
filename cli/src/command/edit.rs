//! `edit`: one resource in the user's editor, checked before anything changes.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use clap::Args;
use gateway_model::document;
use gateway_model::file;
use gateway_model::kind::Kind;
use gateway_model::problem::Problem;
use reqwest::Method;
use serde_json::{Value, json};
use similar::TextDiff;

use super::delete::warn_owned;
use super::describe::{spec, unnamed};
use super::get::single;
use crate::args::{self, Gateway, Output, Wait};
use crate::change;
use crate::client::{Client, Query, path};
use crate::exit::{Exit, Failure};
use crate::host::{self, variable};
use crate::output::{text, yaml};
use crate::write;

/// Edit a resource in $EDITOR
#[derive(Args, Debug)]
#[command(
    after_help = "Opens the resource as YAML, shows the difference and applies it. What cannot be applied is opened again with the \
    reasons as comments; leaving the text as it is gives up, and the file with it is kept. Secrets are not in the \
    text: absent they stay as they are, written they are replaced.

Examples:
  gatewayctl edit route search-team
  EDITOR='code --wait' gatewayctl edit model smart"
)]
pub(crate) struct Edit {
    /// provider, model, route, price, key or settings
    #[arg(value_parser = args::kind)]
    kind: Kind,
    /// Its name; keys also by id, settings have none
    name: Option<String>,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

/// A text that is still refused after this often is not getting better.
const MAX_OPENINGS: usize = 10;

pub(crate) async fn run(edit: Edit) -> Result<Exit, Failure> {
    let client = Client::new(&edit.gateway)?;
    let item = single(&client, edit.kind, edit.name.as_deref()).await?.ok_or_else(|| unnamed(edit.kind))?;
    let before = spec(&item);
    // `{}` would be in the way of whoever writes the first field.
    let shown = if before == json!({}) { String::new() } else { yaml::emit(&before) };
    let draft = Draft::new(edit.kind, shown);
    match edited(&edit, &client, &item, &draft).await {
        Err(failure) if draft.is_changed() => {
            let kept = format!("your text is kept in `{}`", draft.path.display());
            draft.keep();
            Err(failure.hint(kept))
        }
        outcome => outcome,
    }
}

async fn edited(edit: &Edit, client: &Client, item: &Value, draft: &Draft) -> Result<Exit, Failure> {
    let target = match edit.kind {
        Kind::Setting => path(&["settings"]),
        kind => path(&[kind.plural(), &text(item, "/name")]),
    };
    let Some(after) = wish(client, edit.kind, item, &target, draft).await? else {
        host::say("nothing changed");
        return Ok(Exit::Done);
    };
    host::say(difference(&yaml::emit(&spec(item)), &yaml::emit(&after)).trim_end());
    let now = client.get(&target, &Query::new()).await?;
    if now.get("revision") != item.get("revision") {
        let message = format!("{} {} was changed by somebody else meanwhile", edit.kind, text(item, "/name"));
        return Err(
            Failure::new(Exit::Refused, message).hint("nothing was applied; edit it again, from what it is now")
        );
    }
    let answer = write::send(client, Method::PUT, &target, edit.wait, Some(&after)).await?;
    edit.output.format.print(&answer, |answer| {
        write::outcome(&format!("{} {} changed", edit.kind, text(answer, "/name")), &answer["change"])
    })?;
    warn_owned(&text(item, "/owner"));
    Ok(change::exit(answer.pointer("/change/rollout").unwrap_or(&Value::Null)))
}

/// What the user wants the item to be, once the gateway would accept it; `None` when that is what it is.
async fn wish(
    client: &Client,
    kind: Kind,
    item: &Value,
    target: &str,
    draft: &Draft,
) -> Result<Option<Value>, Failure> {
    let before = spec(item);
    let mut shown = draft.original.clone();
    let mut problems = Vec::new();
    for _ in 0..MAX_OPENINGS {
        let edited = draft.open(&notes(kind, item, &problems), &shown)?;
        if edited == shown {
            break;
        }
        shown.clone_from(&edited);
        problems = match check(kind, &edited) {
            Ok(after) if after == before => return Ok(None),
            Ok(after) => match client.send(Method::PUT, target, &dry_run(), Some(&after), Duration::ZERO).await {
                Ok(_) => return Ok(Some(after)),
                Err(mut failure) if failure.exit == Exit::Refused => findings(&mut failure),
                Err(failure) => return Err(failure),
            },
            Err(problems) => problems,
        };
    }
    if problems.is_empty() {
        return Ok(None);
    }
    Err(Failure::problems("given up: the text is refused, and nothing was changed", problems))
}

fn dry_run() -> Query {
    vec![("dry_run", "true".to_owned())]
}

/// The edited text as a document of `kind`; secrets included where they were written.
fn check(kind: Kind, edited: &str) -> Result<Value, Vec<Problem>> {
    let value = match file::value("edited text", edited)? {
        Value::Null => json!({}),
        value => value,
    };
    document::decode(kind, value.clone())?;
    Ok(value)
}

/// What the gateway found wrong; a refusal without findings is one finding itself.
fn findings(failure: &mut Failure) -> Vec<Problem> {
    let problems = std::mem::take(failure.problems_mut());
    if !problems.is_empty() {
        return problems;
    }
    let message = failure.render(false).trim_end().to_owned();
    vec![Problem::error(gateway_model::problem::Code::InvalidValue, "", message)]
}

/// The comments above the text: why it is open again, and which secrets are not shown.
fn notes(kind: Kind, item: &Value, problems: &[Problem]) -> String {
    let mut notes = format!(
        "# {kind} {}. Save to apply, leave unchanged to give up. Comments are not kept.\n",
        text(item, "/name")
    );
    for field in item.get("secrets").and_then(Value::as_object).into_iter().flat_map(|secrets| secrets.keys()) {
        notes.push_str(&format!("# {field} is set and not shown; write it to replace it.\n"));
    }
    for problem in problems {
        for line in problem.to_string().lines() {
            notes.push_str(&format!("# {line}\n"));
        }
    }
    notes
}

fn difference(before: &str, after: &str) -> String {
    let (before, after) = (before.to_owned(), hide_secrets(after));
    TextDiff::from_lines(&before, &after).unified_diff().context_radius(2).header("before", "after").to_string()
}

/// A newly written secret is applied, not shown.
fn hide_secrets(text: &str) -> String {
    let paths = gateway_model::kind::ROWS.iter().flat_map(|row| row.secrets);
    let secrets: Vec<String> = paths.map(|path| format!("{}:", path.rsplit('.').next().unwrap_or(path))).collect();
    let mut lines = String::new();
    for line in text.lines() {
        // Whole words only, also in the middle of a line: `- {name: main, key: sk-…}`.
        let is_word = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-'));
        let found = |field: &String| line.match_indices(field.as_str()).find(|(at, _)| is_word(*at));
        match secrets.iter().filter_map(|field| Some(found(field)?.0 + field.len())).min() {
            Some(end) => lines.push_str(&format!("{} (new)\n", &line[..end])),
            None => lines.push_str(&format!("{line}\n")),
        }
    }
    lines
}

/// The file the editor works on, readable by this user only; gone when the command ends, unless it is kept.
struct Draft {
    path: PathBuf,
    editor: String,
    /// The text before any edit.
    original: String,
}

// === impl Draft ===

impl Draft {
    fn new(kind: Kind, original: String) -> Self {
        let editor = host::variable(variable::VISUAL)
            .or_else(|| host::variable(variable::EDITOR))
            .unwrap_or_else(|| "vi".to_owned());
        let name = format!("gatewayctl-{kind}-{}-{}.yaml", std::process::id(), host::now_ms());
        Self { path: std::env::temp_dir().join(name), editor, original }
    }

    /// Lets the user edit `notes` and `text`; returns the text without comment lines.
    fn open(&self, notes: &str, text: &str) -> Result<String, Failure> {
        let unusable = |error: std::io::Error| {
            Failure::new(Exit::Refused, format!("cannot use `{}`: {error}", self.path.display()))
        };
        let mut file = host::private::create(&self.path).map_err(unusable)?;
        file.write_all(notes.as_bytes()).and_then(|()| file.write_all(text.as_bytes())).map_err(unusable)?;
        drop(file);
        self.edit()?;
        std::fs::read_to_string(&self.path).map(|text| without_comments(&text)).map_err(unusable)
    }

    /// Whether there is anything in the file that the user would miss.
    fn is_changed(&self) -> bool {
        std::fs::read_to_string(&self.path).is_ok_and(|text| without_comments(&text) != self.original)
    }

    /// Leaves the file where it is.
    fn keep(mut self) {
        self.path = PathBuf::new();
    }

    /// Runs the editor through the shell, as its setting may hold arguments.
    fn edit(&self) -> Result<(), Failure> {
        let script = format!("{} \"$1\"", self.editor);
        let status = Command::new("sh").arg("-c").arg(script).arg("sh").arg(&self.path).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Failure::new(Exit::Refused, format!("the editor `{}` ended with {status}", self.editor))
                .hint("nothing was changed; set EDITOR to an editor of yours")),
            Err(error) => {
                Err(Failure::new(Exit::Refused, format!("cannot start the editor `{}`: {error}", self.editor)))
            }
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It may hold a new secret; a file that is already gone is as good.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn without_comments(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with('#')).fold(String::new(), |text, line| text + line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_secret_is_not_shown_in_the_difference() {
        let shown = difference("name: a\nkind: openai\n", "name: a\nkind: openai\napi_key: sk-canary\n");
        assert!(shown.contains("+api_key: (new)"), "{shown}");
        let listed = difference(
            "name: a\n",
            "name: a\naws:\n  session_token: sk-canary\napi_keys: [{name: b, key: sk-canary}]\n",
        );
        assert!(listed.contains("[{name: b, key: (new)") && !listed.contains("canary"), "{listed}");
        assert!(!shown.contains("sk-canary"), "{shown}");
    }
}
