//! Where the official clients are: the environments that `make test` made. Without them their tests are skipped on a desk and
//! fail where `CI` is set.

use std::io::Write as _;
use std::path::PathBuf;

use gateway_checks::source::root;
use tokio::process::Command;

/// The interpreter that has the Python clients.
pub(crate) fn python() -> Option<Command> {
    there(".venv/bin/python", "Python").map(Command::new)
}

/// A Node that finds the clients by `NODE_CLIENTS`.
pub(crate) fn node() -> Option<Command> {
    let modules = there(".node/node_modules", "Node")?;
    let mut command = Command::new("node");
    command.env("NODE_CLIENTS", modules);
    Some(command)
}

/// The coding client that speaks Anthropic's language, as its package starts it.
pub(crate) fn claude_code() -> Option<Command> {
    let launcher = there(".node/node_modules/@anthropic-ai/claude-code/cli-wrapper.cjs", "Node")?;
    let mut command = Command::new("node");
    command.arg(launcher);
    Some(command)
}

fn there(path: &str, language: &str) -> Option<PathBuf> {
    let path = root().join(path);
    if !path.exists() {
        let message = format!("no official clients for {language} (`make test` installs them): their tests do not run");
        assert!(std::env::var_os("CI").is_none(), "{message}");
        // Straight to the terminal: the test runner would swallow it.
        let _ = std::io::stderr().write_all(format!("SKIPPED: {message}\n").as_bytes());
        return None;
    }
    Some(path)
}
