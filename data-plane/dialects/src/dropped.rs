//! The names of what could not be said, each once.

/// Collects names; few, so that comparing is cheaper than hashing, and capped.
#[derive(Debug, Default)]
pub(crate) struct Dropped {
    names: Vec<String>,
}

/// A client cannot make the list, which goes into a header and a log line, longer than this many names and letters each.
const MOST: usize = 32;
const LONGEST: usize = 80;

// === impl Dropped ===

impl Dropped {
    pub(crate) fn note(&mut self, name: impl Into<String>) {
        // Some names are the client's own member names, which can be anything.
        let name: String = name.into().chars().filter(|letter| matches!(letter, ' '..='~')).take(LONGEST).collect();
        if self.names.len() < MOST && !self.names.contains(&name) {
            self.names.push(name);
        }
    }

    pub(crate) fn note_if(&mut self, condition: bool, name: &str) {
        if condition {
            self.note(name);
        }
    }

    pub(crate) fn into_names(self) -> Vec<String> {
        self.names
    }
}
