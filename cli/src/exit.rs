//! How a command ends: the exit codes, and the error that carries one. The table is part of `--help` and of docs/cli.md.

use std::fmt::Write;

use gateway_model::problem::Problem;

/// What a script can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Done = 0,
    Refused = 1,
    /// Made by the argument parser itself.
    Usage = 2,
    Unreachable = 3,
    NotFound = 4,
    Partly = 5,
}

/// Every code with what it means.
pub(crate) const TABLE: &[(Exit, &str)] = &[
    (Exit::Done, "done"),
    (Exit::Refused, "refused or invalid: nothing was changed"),
    (Exit::Usage, "wrong arguments"),
    (Exit::Unreachable, "the gateway cannot be reached, or does not accept the master key"),
    (Exit::NotFound, "there is no such thing"),
    (Exit::Partly, "stored, but a node rejected it or did not confirm it in time"),
];

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    message: String,
    problems: Vec<Problem>,
    hints: Vec<String>,
}

// === impl Failure ===

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), problems: Vec::new(), hints: Vec::new() }
    }

    /// Ends the command without a word.
    pub(crate) fn silent(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    /// A configuration that was refused for these reasons.
    pub(crate) fn problems(message: impl Into<String>, problems: Vec<Problem>) -> Self {
        Self { problems, ..Self::new(Exit::Refused, message) }
    }

    /// What to do about it, shown apart; may be said several times.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The sentence alone.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it; empty where nothing was said.
    pub(crate) fn hints(&self) -> &[String] {
        &self.hints
    }

    /// The findings, for commands that show or place them themselves.
    pub(crate) fn problems_mut(&mut self) -> &mut Vec<Problem> {
        &mut self.problems
    }

    /// For people: findings first, the sentence that sums them up, then the hint. Empty when there is nothing to say.
    pub(crate) fn render(&self, colour: bool) -> String {
        let (red, cyan, plain) = if colour { ("\x1b[1;31m", "\x1b[36m", "\x1b[0m") } else { ("", "", "") };
        let mut text = String::new();
        for problem in &self.problems {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{problem}");
        }
        if !self.message.is_empty() {
            let _ = writeln!(text, "{red}error{plain}: {}", self.message);
        }
        for hint in &self.hints {
            let _ = writeln!(text, "{cyan}hint{plain}: {hint}");
        }
        text
    }
}

impl From<anyhow::Error> for Failure {
    /// The whole chain in one line: what was tried, then why it did not work.
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Refused, format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use gateway_model::problem::Code;

    use super::*;

    #[test]
    fn a_failure_reads_problems_first_then_the_sentence_then_the_hint() {
        let problem =
            Problem::error(Code::UnknownReference, "models[smart].targets[0].provider", "no provider is named `x`");
        let failure = Failure::problems("`gateway.yaml` is refused", vec![problem]).hint("add the provider");
        assert_eq!(
            failure.render(false),
            "error: models[smart].targets[0].provider: no provider is named `x` (unknown_reference)\n\
             error: `gateway.yaml` is refused\nhint: add the provider\n"
        );
        assert_eq!(Failure::silent(Exit::Done).render(true), "");
    }

    #[test]
    fn the_table_lists_every_code_once_and_in_order() {
        for (position, (exit, _)) in TABLE.iter().enumerate() {
            assert_eq!(*exit as usize, position);
        }
    }
}
