//! The machine around the command: environment, clock, terminal, files. The only module that reads any of them.
//!
//! It decides nothing about gateways.

pub(crate) mod private;
pub(crate) mod terminal;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::exit::{Exit, Failure};

/// Names of the environment variables that `gatewayctl` reads, one place for code and documentation.
pub(crate) mod variable {
    pub(crate) const ADMIN_URL: &str = "GATEWAY_ADMIN_URL";
    pub(crate) const MASTER_KEY: &str = "GATEWAY_MASTER_KEY";
    pub(crate) const CONTEXT: &str = "GATEWAY_CONTEXT";
    pub(crate) const DATA_DIR: &str = "GATEWAY_DATA_DIR";
    pub(crate) const KEK_FILE: &str = "GATEWAY_KEK_FILE";
    pub(crate) const LOGS_DATABASE: &str = "GATEWAY_LOGS_DATABASE";
    /// Read by nodes, in their own crate.
    pub(crate) const JOIN_TOKEN: &str = "GATEWAY_JOIN_TOKEN";
    /// Read by `snapshot export`, and by nodes in their own crate.
    pub(crate) const STATE_KEY: &str = "GATEWAY_STATE_KEY";
    pub(crate) const EDITOR: &str = "EDITOR";
    pub(crate) const VISUAL: &str = "VISUAL";
    /// Read by the commands that serve, in their own crates.
    pub(crate) const LOG: &str = "GATEWAY_LOG";
    pub(crate) const NO_COLOR: &str = "NO_COLOR";
    pub(crate) const CONFIG_HOME: &str = "XDG_CONFIG_HOME";
    pub(crate) const STATE_HOME: &str = "XDG_STATE_HOME";
    pub(crate) const HOME: &str = "HOME";
}

/// An environment variable; empty counts as unset.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Whether `out` wants colour when nobody said so: a terminal, without `NO_COLOR`.
pub(crate) fn wants_colour(out: &impl IsTerminal) -> bool {
    out.is_terminal() && variable(variable::NO_COLOR).is_none()
}

/// Where saved contexts are kept. `None` on a machine without a home.
pub(crate) fn contexts_file() -> Option<PathBuf> {
    let config = match variable(variable::CONFIG_HOME) {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(variable(variable::HOME)?).join(".config"),
    };
    Some(config.join("gateway").join("contexts.json"))
}

/// Where the data directory of the last local gateway is remembered, so that commands work from any directory.
/// `None` on a machine without a home.
pub(crate) fn last_gateway_file() -> Option<PathBuf> {
    let state = match variable(variable::STATE_HOME) {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(variable(variable::HOME)?).join(".local/state"),
    };
    Some(state.join("gateway").join("last"))
}

/// Writes data to stdout. A reader that went away (`| head`) ends the command quietly.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::silent(Exit::Done)),
        Err(error) => Err(Failure::new(Exit::Refused, format!("cannot write to stdout: {error}"))),
    }
}

/// Says something to the person on stderr. Nobody listening is no error.
pub(crate) fn say(line: &str) {
    // Talk that cannot be delivered has no other place to go.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Reads a text file; `-` is stdin. The error names the file.
pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    let text = if path == Path::new("-") { io::read_to_string(io::stdin()) } else { std::fs::read_to_string(path) };
    text.map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => "check the path",
            io::ErrorKind::InvalidData => "the file must be UTF-8 text",
            _ => "check that the file can be read by this user",
        };
        Failure::new(Exit::Refused, format!("cannot read `{}`: {error}", path.display())).hint(hint)
    })
}
