//! `gatewayctl`: a client of the admin API, nothing more; with the feature `server` it can also be the gateway.
//!
//! Arguments → `command` → `client` → `output`. Stdout is data, stderr is talk, the exit code is in `exit`.

mod exit;
mod host;
mod output;
mod args;
mod context;
mod client;
mod change;
mod write;
mod source;
mod docs;
mod command;

use std::process::ExitCode;

use clap::Parser;

/// The whole program: reads the arguments, runs the command, tells what went wrong.
pub fn main() -> ExitCode {
    let cli = command::Cli::parse();
    // One crypto provider for the whole process; a second installation would only repeat the first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match cli.run() {
        Ok(code) => code,
        Err(failure) => {
            let told = failure.render(host::wants_colour(&std::io::stderr()));
            if !told.is_empty() {
                host::say(told.trim_end());
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}
