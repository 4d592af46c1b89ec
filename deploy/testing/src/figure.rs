//! Figures that tests measure, kept for reading: one line of JSON each, appended to `figures.jsonl` in the target directory.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

/// Notes what was measured, in words that stand alone (`p99 revocation to refusal`), and the most that it may be. The caller
/// asserts.
pub fn note(test: &str, what: &str, value: f64, unit: &str, limit: f64) {
    keep(test, what, value, unit, "most", limit);
}

/// Like [`note`], of a figure that must be at least `limit`.
pub fn note_at_least(test: &str, what: &str, value: f64, unit: &str, limit: f64) {
    keep(test, what, value, unit, "least", limit);
}

fn keep(test: &str, what: &str, value: f64, unit: &str, bound: &str, limit: f64) {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let figure = json!({"test": test, "what": what, "value": value, "unit": unit, bound: limit, "unix_s": at});
    eprintln!("figure: {test}: {what}: {value} {unit} (at {bound} {limit})");
    let written = path().and_then(|path| {
        let mut file = OpenOptions::new().create(true).append(true).open(path).ok()?;
        // One write per line, so that tests that run at the same time do not mix theirs.
        file.write_all(format!("{figure}\n").as_bytes()).ok()
    });
    if written.is_none() {
        eprintln!("the figure cannot be kept: the target directory is not writable");
    }
}

/// Tests run from `target/<profile>/deps`.
fn path() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    Some(program.parent()?.parent()?.parent()?.join("figures.jsonl"))
}
