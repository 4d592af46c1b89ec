//! `completions` and `man`: what shells and `man` need to know of the commands, written from the commands themselves.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::exit::{Exit, Failure};
use crate::host;

/// Print the completions for a shell
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  gatewayctl completions bash > /etc/bash_completion.d/gatewayctl
  gatewayctl completions bash > ~/.local/share/bash-completion/completions/gatewayctl
  gatewayctl completions zsh > \"${fpath[1]}/_gatewayctl\"
  gatewayctl completions fish > ~/.config/fish/completions/gatewayctl.fish
  gatewayctl completions powershell >> $PROFILE")]
pub(crate) struct Completions {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Write the man pages, one per command
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  gatewayctl man --out ~/.local/share/man/man1 && man gatewayctl-apply
  sudo gatewayctl man --out /usr/local/share/man/man1")]
pub(crate) struct Man {
    /// The directory to write to; made where it is missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(crate) fn run<C: CommandFactory>(completions: Completions) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    let mut command = C::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(completions.shell, &mut command, name, &mut script);
    host::print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

/// `gatewayctl node token` has the page gatewayctl-node-token(1).
pub(crate) fn man<C: CommandFactory>(man: Man) -> Result<Exit, Failure> {
    let out = &man.out;
    let root = C::command().disable_help_subcommand(true);
    let written = std::fs::create_dir_all(out).and_then(|()| clap_mangen::generate_to(root, out));
    written.map_err(|error| {
        Failure::new(Exit::Refused, format!("cannot write into `{}`: {error}", out.display()))
            .hint("name a directory of yours with --out")
    })?;
    host::say(&format!("wrote the man pages to `{}`", out.display()));
    Ok(Exit::Done)
}
