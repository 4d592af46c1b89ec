//! What is amiss on this node and does not stop it: shown by `/ready` and told to the control plane with each heartbeat.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One sentence per subject, for people; says what happened and what to do.
#[derive(Debug, Default)]
pub struct Warnings(Mutex<BTreeMap<&'static str, String>>);

// === impl Warnings ===

impl Warnings {
    /// Replaces what was said about this subject.
    pub fn set(&self, subject: &'static str, text: String) {
        self.lock().insert(subject, text);
    }

    /// All is well with this subject.
    pub fn clear(&self, subject: &'static str) {
        self.lock().remove(subject);
    }

    /// Everything that is amiss now; empty when all is well.
    pub fn list(&self) -> Vec<String> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_on_a_subject_stands() {
        let warnings = Warnings::default();
        warnings.set("disk", "full".to_owned());
        warnings.set("clock", "an hour off".to_owned());
        warnings.set("disk", "read-only".to_owned());
        assert_eq!(warnings.list(), ["an hour off", "read-only"]);
        warnings.clear("clock");
        assert_eq!(warnings.list(), ["read-only"]);
    }
}
