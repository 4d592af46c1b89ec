//! Prometheus' own tool over what `/metrics` says.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// Nothing is to be said about an exposition.
///
/// # Panics
/// Where the tool finds something, or finds nothing in what is known to be bad.
pub fn check(text: &str) {
    let Some((is_clean, said)) = run(text) else { return };
    assert!(is_clean && said.is_empty(), "{said}\n{text}");
    // It is no yes-man.
    let (is_clean, said) = run("# TYPE bad counter\nbad 1\n").expect("it is there");
    assert!(!is_clean, "{said}");
}

/// Whether it is content, and what it said; `None` where it is not installed.
fn run(text: &str) -> Option<(bool, String)> {
    let spawned = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut tool) = spawned else {
        crate::missing("promtool is not installed (package `prometheus`)");
        return None;
    };
    tool.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    let output = tool.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}
