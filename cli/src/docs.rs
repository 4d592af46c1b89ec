//! The command line's reference, written from the commands themselves: docs/cli.md. A test keeps the file current.

use clap::{Args, CommandFactory, ValueEnum};

use crate::exit::{self, Exit, Failure};
use crate::host::{self, variable};

/// Print generated documentation
#[derive(Args, Debug)]
pub(crate) struct Docs {
    /// Which document
    #[arg(value_enum)]
    document: Document,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Document {
    Cli,
}

const INTRODUCTION: &str = "# The command line

Generated from the commands; edit those, not this file.

Standard output is data, standard error is talk. `-o json` and `-o yaml` are for scripts; tables are for people and may change.
Colour is used only on a terminal, never with `NO_COLOR`, and never carries a meaning alone.
";

const FINDING: &str = "## Which gateway

1. `--admin-url` or `GATEWAY_ADMIN_URL`, with the master key from `GATEWAY_MASTER_KEY`.
2. Otherwise the local gateway: `gatewayctl up` writes its address and master key into `context.json` (mode 0600) in its data
   directory for as long as it runs. It is looked for in `--data-dir` or `GATEWAY_DATA_DIR`, else in `./gateway-data`, else in
   the data directory of the gateway that this user started last.

The master key of a local gateway is never sent to another address.
";

pub(crate) fn run<C: CommandFactory>(docs: Docs) -> Result<Exit, Failure> {
    match docs.document {
        Document::Cli => host::print(&cli(&mut C::command()))?,
    }
    Ok(Exit::Done)
}

/// The whole reference as Markdown.
fn cli(root: &mut clap::Command) -> String {
    let mut text = format!("{INTRODUCTION}\n## Exit codes\n\n| code | meaning |\n|---|---|\n");
    for (exit, meaning) in exit::TABLE {
        text.push_str(&format!("| {} | {meaning} |\n", *exit as u8));
    }
    text.push_str("\n## Environment\n\n| variable | meaning |\n|---|---|\n");
    for (name, meaning) in VARIABLES {
        text.push_str(&format!("| `{name}` | {meaning} |\n"));
    }
    text.push_str(&format!("\n{FINDING}\n## Commands\n"));
    let mut root = std::mem::take(root).term_width(110).disable_help_subcommand(true);
    root.build();
    for command in root.get_subcommands_mut().filter(|command| !command.is_hide_set()) {
        describe(command, 3, &mut text);
    }
    text
}

const VARIABLES: &[(&str, &str)] = &[
    (variable::ADMIN_URL, "address of the admin API"),
    (
        variable::MASTER_KEY,
        "the gateway's master key; only ever read from the environment, so that it shows in no process list",
    ),
    (variable::DATA_DIR, "data directory of a local gateway"),
    (variable::VISUAL, "editor for `edit`; `EDITOR` if unset, `vi` if that is unset too"),
    (variable::LOG, "how much `up`, `control-plane` and `data-plane` say on stderr: `warn`, `info`, `debug` …"),
    (variable::NO_COLOR, "no colour, whatever its value"),
];

fn describe(command: &mut clap::Command, depth: usize, text: &mut String) {
    let name = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    let help = command.render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    text.push_str(&format!("\n{} `{name}`\n\n```text\n{}\n```\n", "#".repeat(depth), help.join("\n").trim_end()));
    for inner in command.get_subcommands_mut().filter(|command| !command.is_hide_set()) {
        describe(inner, depth + 1, text);
    }
}
