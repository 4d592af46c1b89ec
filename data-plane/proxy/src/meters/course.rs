//! What a request went through on its way, beside how it ended: further attempts, targets that were passed over, waits for a place.
//! Most requests have none of it, so that its counters are looked up when there is something to count.

use gateway_wire::v1::{Attempt, LogRecord};
use metrics::{Key, Label, Recorder as _};

use super::{METADATA, Meters};

// === impl Meters ===

impl Meters {
    /// Of a request that has ended.
    pub(super) fn course(&self, log: &LogRecord) {
        for pair in log.attempts.windows(2) {
            let labels = vec![
                Label::new("provider", pair[1].provider.clone()),
                Label::from_static_parts("kind", kind(&pair[0], &pair[1])),
            ];
            self.count("gateway_retries_total", labels);
        }
        for attempt in log.attempts.iter().filter(|attempt| attempt.queued_us > 0) {
            let waits = self.histograms.series("gateway_queue_seconds", &[("provider", &attempt.provider)]);
            waits.record_micros(attempt.queued_us);
        }
        for passed_over in &log.passed_over {
            let labels = vec![
                Label::new("provider", passed_over.provider.clone()),
                Label::new("reason", passed_over.reason.clone()),
            ];
            self.count("gateway_passed_over_total", labels);
        }
        if !log.error_code.is_empty() {
            self.count("gateway_failures_total", vec![Label::new("code", log.error_code.clone())]);
        }
    }

    fn count(&self, name: &'static str, labels: Vec<Label>) {
        self.recorder.register_counter(&Key::from_parts(name, labels), &METADATA).increment(1);
    }
}

/// What an attempt is to the one before.
fn kind(before: &Attempt, this: &Attempt) -> &'static str {
    if this.hedge {
        "hedge"
    } else if this.continuation {
        "continuation"
    } else if (&before.provider, &before.model) == (&this.provider, &this.model) {
        "retry"
    } else {
        "fallback"
    }
}

/// Mean time from one token of a stream to the next, in nanoseconds; `None` where there were not two.
pub(super) fn between_tokens(log: &LogRecord) -> Option<u64> {
    let n_tokens = log.tokens.as_ref()?.output.checked_sub(1).filter(|n_tokens| *n_tokens > 0)?;
    Some(log.total_us.saturating_sub(log.first_token_us).saturating_mul(1000) / n_tokens)
}
