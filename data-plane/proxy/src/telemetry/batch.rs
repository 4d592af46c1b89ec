//! Records on their way into one message: consecutive numbers of one lane, bounded in count and bytes.

use prost::Message;

pub(super) const MAX_RECORDS: usize = 1000;
const MAX_BYTES: usize = 256 * 1024;

/// Collects one batch. What does not fit any more is kept for the next.
#[derive(Debug)]
pub(super) struct Collector<M> {
    first_seq: u64,
    records: Vec<M>,
    n_bytes: usize,
    /// Belongs to the batch after this one.
    held: Option<(u64, M)>,
}

// === impl Collector ===

impl<M> Default for Collector<M> {
    fn default() -> Self {
        Self { first_seq: 0, records: Vec::new(), n_bytes: 0, held: None }
    }
}

impl<M: Message> Collector<M> {
    /// True when the batch is complete and must be taken before more is added.
    pub(super) fn push(&mut self, seq: u64, record: M) -> bool {
        let n_bytes = record.encoded_len();
        let follows = self.records.is_empty() || seq == self.first_seq + self.records.len() as u64;
        // One that is larger than a batch goes alone.
        let fits = self.records.is_empty() || self.n_bytes + n_bytes <= MAX_BYTES;
        if !follows || !fits {
            self.held = Some((seq, record));
            return true;
        }
        if self.records.is_empty() {
            self.first_seq = seq;
        }
        self.n_bytes += n_bytes;
        self.records.push(record);
        self.records.len() >= MAX_RECORDS
    }

    /// What has been collected, after the number of its first; the next batch begins with what was held back.
    pub(super) fn take(&mut self) -> Option<(u64, Vec<M>)> {
        let batch = (self.first_seq, std::mem::take(&mut self.records));
        self.n_bytes = 0;
        if let Some((seq, record)) = self.held.take() {
            self.push(seq, record);
        }
        (!batch.1.is_empty()).then_some(batch)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use gateway_wire::v1::UsageEvent;

    use super::*;

    #[test]
    fn a_gap_and_a_bound_begin_a_new_batch() {
        let event = |id: u64| UsageEvent { id: id.to_string(), ..UsageEvent::default() };
        let mut collector = Collector::default();
        assert!(!collector.push(1, event(1)) && !collector.push(2, event(2)) && collector.push(4, event(4)));
        let (first_seq, events) = collector.take().expect("two events");
        assert_eq!((first_seq, events.len()), (1, 2));
        let (first_seq, events) = collector.take().expect("the one held back");
        assert_eq!((first_seq, events[0].id.as_str()), (4, "4"));
        assert!(collector.take().is_none());
        let large =
            |id: &str| UsageEvent { id: id.to_owned(), route: "x".repeat(MAX_BYTES / 2 + 1), ..UsageEvent::default() };
        assert!(!collector.push(5, large("5")) && collector.push(6, large("6")));
        assert_eq!(collector.take().expect("one").1.len(), 1);
        assert_eq!(collector.take().expect("the other").0, 6);
    }
}
