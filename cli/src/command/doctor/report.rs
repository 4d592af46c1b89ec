//! The findings of `doctor`, as they are collected and shown.

use serde_json::{Value, json};

use crate::exit::Failure;
use crate::output::table::visible;

/// How a thing is; the worse one is the greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    #[default]
    Ok,
    Warn,
    Fail,
}

/// One line.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) state: State,
    pub(super) found: String,
    /// What to do about it.
    pub(super) advice: Vec<String>,
}

/// All lines, in the order of looking.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) checks: Vec<Check>,
}

// === impl Report ===

impl Report {
    pub(super) fn ok(&mut self, name: &'static str, found: impl Into<String>) {
        self.checks.push(Check { name, state: State::Ok, found: found.into(), advice: Vec::new() });
    }

    pub(super) fn warn(&mut self, name: &'static str, found: impl Into<String>, advice: impl Into<String>) {
        self.checks.push(Check { name, state: State::Warn, found: found.into(), advice: vec![advice.into()] });
    }

    pub(super) fn fail(&mut self, name: &'static str, found: impl Into<String>, advice: impl Into<String>) {
        self.checks.push(Check { name, state: State::Fail, found: found.into(), advice: vec![advice.into()] });
    }

    /// What another command would have said.
    pub(super) fn failed(&mut self, name: &'static str, failure: &Failure) {
        let (found, advice) = (failure.message().to_owned(), failure.hints().to_vec());
        self.checks.push(Check { name, state: State::Fail, found, advice });
    }

    pub(super) fn worst(&self) -> State {
        self.checks.iter().map(|check| check.state).max().unwrap_or_default()
    }

    pub(super) fn value(&self) -> Value {
        let checks = self.checks.iter().map(|check| {
            json!({"name": check.name, "state": check.state.word(), "found": check.found, "advice": check.advice})
        });
        json!({"state": self.worst().word(), "checks": checks.collect::<Vec<_>>()})
    }

    /// A line per finding, what to do about it below, and a last line that sums up.
    pub(super) fn draw(&self, colour: bool) -> String {
        let width = self.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
        let mut text = String::new();
        for check in &self.checks {
            let (word, found) = (check.state.drawn(colour), visible(check.found.clone()));
            text.push_str(&format!("{word}  {:width$}  {found}\n", check.name));
            for advice in &check.advice {
                text.push_str(&format!("      {:width$}  -> {}\n", "", visible(advice.clone())));
            }
        }
        let count = |state: State| self.checks.iter().filter(|check| check.state == state).count();
        let summary = match (count(State::Fail), count(State::Warn)) {
            (0, 0) => "all is well".to_owned(),
            (n_fail, n_warn) => format!("{n_fail} failed, {n_warn} to look at"),
        };
        text + "\n" + &summary + "\n"
    }
}

// === impl State ===

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }

    /// The word in four columns.
    fn drawn(self, colour: bool) -> String {
        let code = match self {
            Self::Ok => "32",
            Self::Warn => "33",
            Self::Fail => "1;31",
        };
        let word = format!("{:4}", self.word());
        if colour { format!("\x1b[{code}m{word}\x1b[0m") } else { word }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_line_up_and_the_worst_decides() {
        let mut report = Report::default();
        assert_eq!((report.worst(), report.draw(false).as_str()), (State::Ok, "\nall is well\n"));
        report.ok("gateway", "found");
        report.warn("disk", "800 MiB free", "make room");
        assert_eq!(
            report.draw(false),
            "ok    gateway  found\nwarn  disk     800 MiB free\n               -> make room\n\n0 failed, 1 to look at\n"
        );
        report.fail("x", "a\x1b[2J", "b");
        assert_eq!(report.worst(), State::Fail);
        assert!(!report.draw(false).contains('\x1b'));
        assert!(report.draw(true).contains("\x1b[1;31mfail\x1b[0m"));
        assert_eq!(report.value()["checks"][1]["state"], "warn");
    }
}
