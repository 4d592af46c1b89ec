//! What the files of a class are called.

use gateway_wire::v1::Class;

/// Newest first.
pub(super) struct Names {
    pub(super) snapshots: [String; 2],
    pub(super) journals: [String; 2],
    /// Not there yet, or left behind by a process that died.
    pub(super) next_snapshot: String,
    pub(super) next_journal: String,
    pub(super) merged: String,
}

// === impl Names ===

impl Names {
    pub(super) fn of(class: Class) -> Self {
        let name = |suffix: &str| format!("{}.{suffix}", class.word());
        Self {
            snapshots: [name("snapshot"), name("snapshot.1")],
            journals: [name("journal"), name("journal.1")],
            next_snapshot: name("snapshot.tmp"),
            next_journal: name("journal.tmp"),
            merged: name("snapshot.merged"),
        }
    }
}
