//! Events on their way into one message: consecutive numbers of one lane, bounded in count and bytes.

use gateway_wire::v1::{UsageBatch, UsageEvent};
use prost::Message as _;

pub(super) const MAX_EVENTS: usize = 1000;
const MAX_BYTES: usize = 256 * 1024;

/// Collects one batch. What does not fit any more is kept for the next.
#[derive(Debug, Default)]
pub(super) struct Collector {
    first_seq: u64,
    events: Vec<UsageEvent>,
    n_bytes: usize,
    /// Belongs to the batch after this one.
    held: Option<(u64, UsageEvent)>,
}

// === impl Collector ===

impl Collector {
    /// True when the batch is complete and must be taken before more is added.
    pub(super) fn push(&mut self, seq: u64, event: UsageEvent) -> bool {
        let n_bytes = event.encoded_len();
        let follows = self.events.is_empty() || seq == self.first_seq + self.events.len() as u64;
        let fits = self.events.is_empty() || self.n_bytes + n_bytes <= MAX_BYTES;
        if !follows || !fits {
            self.held = Some((seq, event));
            return true;
        }
        if self.events.is_empty() {
            self.first_seq = seq;
        }
        self.n_bytes += n_bytes;
        self.events.push(event);
        self.events.len() >= MAX_EVENTS
    }

    /// What has been collected; the next batch begins with what was held back.
    pub(super) fn take(&mut self, lane: u32) -> Option<UsageBatch> {
        let events = std::mem::take(&mut self.events);
        let batch = UsageBatch { lane, first_seq: self.first_seq, events, ..UsageBatch::default() };
        self.n_bytes = 0;
        if let Some((seq, event)) = self.held.take() {
            self.push(seq, event);
        }
        (!batch.events.is_empty()).then_some(batch)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_and_a_bound_begin_a_new_batch() {
        let event = |id: u64| UsageEvent { id: id.to_string(), ..UsageEvent::default() };
        let mut collector = Collector::default();
        assert!(!collector.push(1, event(1)) && !collector.push(2, event(2)) && collector.push(4, event(4)));
        let batch = collector.take(7).expect("two events");
        assert_eq!((batch.lane, batch.first_seq, batch.events.len()), (7, 1, 2));
        let batch = collector.take(7).expect("the one held back");
        assert_eq!((batch.first_seq, batch.events[0].id.as_str()), (4, "4"));
        assert!(collector.take(7).is_none());
        let large =
            |id: &str| UsageEvent { id: id.to_owned(), route: "x".repeat(MAX_BYTES / 2 + 1), ..UsageEvent::default() };
        assert!(!collector.push(5, large("5")) && collector.push(6, large("6")));
        assert_eq!(collector.take(0).expect("one").events.len(), 1);
        assert_eq!(collector.take(0).expect("the other").first_seq, 6);
    }
}
