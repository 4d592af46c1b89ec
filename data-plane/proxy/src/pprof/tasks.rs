//! The tasks and threads of the process, in place of goroutines. The runtime does not tell what a task is in the middle of; it tells
//! how many there are, and the kernel what each thread does.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use tokio::runtime::Handle;

/// So many of one kind.
pub(super) struct Line {
    what: &'static str,
    of: String,
    pub(super) count: i64,
}

/// Tasks of each runtime; threads by name and state.
pub(super) fn dump(runtimes: &[(String, Handle)]) -> Vec<Line> {
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let tasks = runtimes.iter().map(|(name, runtime)| {
        let n_alive = runtime.metrics().num_alive_tasks();
        Line { what: "task", of: name.clone(), count: count(n_alive) }
    });
    let threads = threads().into_iter().map(|(of, n)| Line { what: "thread", of, count: count(n) });
    tasks.chain(threads).collect()
}

pub(super) fn as_text(lines: &[Line]) -> String {
    let mut text = String::new();
    for Line { what, of, count } in lines {
        writeln!(text, "{count:6} {what}s of {of}").expect("a string takes everything");
    }
    text
}

// === impl Line ===

impl Line {
    /// Innermost first.
    pub(super) fn stack(&self) -> Vec<String> {
        vec![self.of.clone(), self.what.to_owned()]
    }
}

/// From `/proc`; none where there is none.
fn threads() -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let entries = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    // `12 (name) S …`: the name may hold anything, a bracket too.
    for stat in entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok()) {
        let (Some(open), Some(close)) = (stat.find('('), stat.rfind(')')) else { continue };
        let state = match stat[close + 1..].trim_start().chars().next() {
            Some('R') => "running",
            Some('S' | 'I') => "waiting",
            Some('D') => "waiting for a device",
            _ => "in another state",
        };
        *found.entry(format!("{}, {state}", &stat[open + 1..close])).or_default() += 1;
    }
    found
}
