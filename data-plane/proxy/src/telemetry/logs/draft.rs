//! A log record while its request lasts. Its memory goes round: who has written a record down gives it back empty, so that the next request
//! has room for its words without asking for it.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};

use gateway_wire::v1::LogRecord;
use prost::Message as _;

/// Filled by a request, then pushed once.
#[derive(Debug)]
pub(crate) struct Draft(Option<Box<LogRecord>>);

/// Records without anything in them.
#[derive(Debug, Default)]
pub(super) struct Blanks(VecDeque<Box<LogRecord>>);

/// Requests that a busy worker serves at once; more are made and freed.
const MAX_BLANKS: usize = 256;
/// Bytes of a word that a client chooses; what had room for more is not kept.
const MAX_WORD: usize = 256;

// === impl Draft ===

impl Draft {
    pub(super) fn new(record: Box<LogRecord>) -> Self {
        Self(Some(record))
    }

    /// What is put in afterwards is nobody's.
    pub(crate) fn finish(&mut self) -> Box<LogRecord> {
        self.0.take().unwrap_or_default()
    }
}

impl Deref for Draft {
    type Target = LogRecord;

    fn deref(&self) -> &LogRecord {
        self.0.as_ref().expect("a record is finished once, when its request is over")
    }
}

impl DerefMut for Draft {
    fn deref_mut(&mut self) -> &mut LogRecord {
        self.0.as_mut().expect("a record is finished once, when its request is over")
    }
}

// === impl Blanks ===

impl Blanks {
    pub(super) fn take(&mut self) -> Box<LogRecord> {
        self.0.pop_back().unwrap_or_default()
    }

    /// Empty from here on. The last one is the next that is taken, for it is still in the processor's caches.
    pub(super) fn put(&mut self, mut record: Box<LogRecord>) {
        if self.0.len() < MAX_BLANKS && is_small(&record) {
            record.clear();
            self.0.push_back(record);
        }
    }
}

fn is_small(record: &LogRecord) -> bool {
    let LogRecord { method, path, model, session_id, error_message, trace_id, .. } = record;
    [method, path, model, session_id, error_message, trace_id].iter().all(|word| word.capacity() <= MAX_WORD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_is_empty_and_small() {
        let record = |path: usize| {
            let record = LogRecord { id: "1".to_owned(), path: "x".repeat(path), status: 200, ..LogRecord::default() };
            Box::new(record)
        };
        let mut blanks = Blanks::default();
        blanks.put(record(10));
        blanks.put(record(MAX_WORD + 1));
        assert_eq!(blanks.0.len(), 1, "a long word is not kept");
        let blank = blanks.take();
        assert_eq!(*blank, LogRecord::default());
        assert!(blank.path.capacity() >= 10);
        assert_eq!(*blanks.take(), LogRecord::default());
        (0..2 * MAX_BLANKS).for_each(|_| blanks.put(record(1)));
        assert_eq!(blanks.0.len(), MAX_BLANKS);
    }
}
