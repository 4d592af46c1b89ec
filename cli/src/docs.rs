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

The first of these that says anything decides:

1. a flag: `--context NAME`, `--admin-url URL`, or `--data-dir DIR` for a gateway on this machine;
2. the environment: `GATEWAY_ADMIN_URL`, `GATEWAY_CONTEXT`, `GATEWAY_DATA_DIR`, in this order;
3. the context that was chosen with `gatewayctl context use NAME`;
4. the gateway on this machine: `gatewayctl up` writes its address and master key into `context.json` (mode 0600) in its data
   directory for as long as it runs. It is looked for in `./gateway-data`, else in the data directory of the gateway that this
   user started last. Its name as a context is `local`.

`GATEWAY_MASTER_KEY` goes before the key that a context or a local gateway has of its own, unless a flag named that one. An
address that is given without a key takes the key that was saved with exactly this address. No key that is on disk is sent to
another address than the one it was saved with. `gatewayctl context show` says which gateway it is, `gatewayctl doctor` whether
it is well.

Contexts are saved in `$XDG_CONFIG_HOME/gateway/contexts.json` (else `~/.config/gateway/contexts.json`). The file holds master keys: it
is made with mode 0600, replaced as a whole, and refused when other users can read it.
";

const INSTALLING: &str = "## Completions and man pages

```sh
gatewayctl completions bash > ~/.local/share/bash-completion/completions/gatewayctl
gatewayctl completions zsh > \"${fpath[1]}/_gatewayctl\"
gatewayctl completions fish > ~/.config/fish/completions/gatewayctl.fish
gatewayctl man --out ~/.local/share/man/man1
```

The directories must exist; system-wide ones are `/etc/bash_completion.d`, `/usr/local/share/zsh/site-functions`,
`/usr/share/fish/vendor_completions.d` and `/usr/local/share/man/man1`.
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
    text.push_str(&format!("\n{FINDING}\n{INSTALLING}\n## Commands\n"));
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
        "the gateway's master key; only ever read from here or from a file, so that it shows in no process list",
    ),
    (variable::CONTEXT, "saved gateway to talk to, `local` for the one on this machine"),
    (variable::DATA_DIR, "data directory of a local gateway"),
    (variable::KEK_FILE, "file with the key-encryption key of `up` and `control-plane`"),
    (variable::LOGS_DATABASE, "address of the ClickHouse for the logs of requests, of `up` and `control-plane`"),
    (variable::JOIN_TOKEN, "with what a `data-plane` joins its fleet"),
    (variable::STATE_KEY, "seals `snapshot export`; a node opens the file with the same"),
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
