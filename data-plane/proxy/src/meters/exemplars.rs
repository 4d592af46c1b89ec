//! For each range of a duration the last request in it that is traced, so that a chart leads to a trace. Only traced requests come
//! here; nothing waits for anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gateway_wire::v1::LogRecord;
use papaya::HashMap;

use super::{SECONDS, seconds};

/// By provider. As many as the configuration has had, for the provider is one of its names.
#[derive(Default)]
pub(super) struct Exemplars {
    rows: HashMap<Option<Arc<str>>, Arc<Row>, ahash::RandomState>,
}

/// Of the two families that have exemplars.
struct Row {
    duration: [Slot; SECONDS.len() + 1],
    first_token: [Slot; SECONDS.len() + 1],
}

/// Written and read without a lock; who reads while somebody writes sees that by the last number and takes nothing.
#[derive(Default)]
struct Slot {
    trace: [AtomicU64; 2],
    /// A double's bits.
    seconds: AtomicU64,
    unix_ms: AtomicU64,
    check: AtomicU64,
}

// === impl Exemplars ===

impl Exemplars {
    /// A traced request has ended.
    pub(super) fn note(&self, provider: &Option<Arc<str>>, log: &LogRecord) {
        let Some(trace) = halves(&log.trace_id) else { return };
        let rows = self.rows.pin();
        let row = rows.get_or_insert_with(provider.clone(), Arc::default);
        let unix_ms = u64::try_from(log.started_unix_ms).unwrap_or_default() + log.total_us / 1000;
        for (slots, micros) in [(&row.duration, log.total_us), (&row.first_token, log.first_token_us)] {
            if micros > 0 {
                let value = seconds(micros);
                slots[SECONDS.partition_point(|bound| *bound < value)].write(trace, value, unix_ms);
            }
        }
    }

    /// As it stands behind a bucket with this upper bound: `{trace_id="…"} 0.03 1767225600.123`.
    pub(super) fn of(&self, family: &str, provider: &str, bound: f64) -> Option<String> {
        let rows = self.rows.pin();
        let row = rows.get(&Some(provider).filter(|name| !name.is_empty()).map(Arc::from))?;
        let slots = match family {
            "gateway_request_duration_seconds" => &row.duration,
            "gateway_time_to_first_token_seconds" => &row.first_token,
            _ => return None,
        };
        slots[SECONDS.partition_point(|upper| *upper < bound)].read()
    }
}

// === impl Row ===

impl Default for Row {
    fn default() -> Self {
        Self {
            duration: std::array::from_fn(|_| Slot::default()),
            first_token: std::array::from_fn(|_| Slot::default()),
        }
    }
}

// === impl Slot ===

impl Slot {
    fn write(&self, [high, low]: [u64; 2], seconds: f64, unix_ms: u64) {
        let store = |to: &AtomicU64, value: u64| to.store(value, Ordering::Relaxed);
        store(&self.trace[0], high);
        store(&self.trace[1], low);
        store(&self.seconds, seconds.to_bits());
        store(&self.unix_ms, unix_ms);
        store(&self.check, check([high, low], seconds.to_bits(), unix_ms));
    }

    fn read(&self) -> Option<String> {
        let load = |from: &AtomicU64| from.load(Ordering::Relaxed);
        let (trace, bits, unix_ms) =
            ([load(&self.trace[0]), load(&self.trace[1])], load(&self.seconds), load(&self.unix_ms));
        let is_whole = unix_ms > 0 && load(&self.check) == check(trace, bits, unix_ms);
        let [high, low] = trace;
        is_whole.then(|| {
            let (seconds, millis) = (unix_ms / 1000, unix_ms % 1000);
            format!("{{trace_id=\"{high:016x}{low:016x}\"}} {} {seconds}.{millis:03}", f64::from_bits(bits))
        })
    }
}

fn check([high, low]: [u64; 2], bits: u64, unix_ms: u64) -> u64 {
    high ^ low.rotate_left(7) ^ bits.rotate_left(19) ^ unix_ms.rotate_left(37)
}

/// 32 hexadecimal digits as two numbers.
fn halves(trace_id: &str) -> Option<[u64; 2]> {
    let (high, low) = trace_id.split_at_checked(16)?;
    Some([u64::from_str_radix(high, 16).ok()?, u64::from_str_radix(low, 16).ok()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_is_half_written_tells_nothing() {
        let slot = Slot::default();
        assert_eq!(slot.read(), None);
        slot.write([1, 2], 0.25, 1_767_225_600_123);
        assert_eq!(slot.read().as_deref(), Some("{trace_id=\"00000000000000010000000000000002\"} 0.25 1767225600.123"));
        slot.trace[0].store(9, Ordering::Relaxed);
        assert_eq!(slot.read(), None);
    }
}
