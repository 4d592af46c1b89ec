//! Where the official clients are, and a browser: what `make test` installed. Without them their tests are skipped on a desk and
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

/// A browser without a screen.
pub(crate) fn browser() -> Option<PathBuf> {
    const PROGRAMS: [&str; 3] = ["chromium-headless-shell", "chromium", "google-chrome"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let found = PROGRAMS.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let found = found.into_iter().find(|program| program.is_file());
    if found.is_none() {
        missing("no Chromium is installed (`make packages` does it): no page is looked at");
    }
    found
}

fn there(path: &str, language: &str) -> Option<PathBuf> {
    let path = root().join(path);
    if !path.exists() {
        missing(&format!("no official clients for {language} (`make test` installs them): their tests do not run"));
        return None;
    }
    Some(path)
}

fn missing(what: &str) {
    assert!(std::env::var_os("CI").is_none(), "{what}");
    // Straight to the terminal: the test runner would swallow it.
    let _ = std::io::stderr().write_all(format!("SKIPPED: {what}\n").as_bytes());
}
