//! For each range of a duration the last request in it that is traced, so that a chart leads to a trace. Only traced requests come
//! here; nothing waits for anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gateway_wire::v1::LogRecord;
use papaya::HashMap;

use super::{OVERHEAD_SECONDS, SECONDS, course, seconds};

/// The families that have exemplars, with their bounds: those that measure a request and are told by nothing but its provider, so that the
/// trace behind a bucket is of a request in it.
const FAMILIES: [(&str, &[f64]); 6] = [
    ("gateway_request_duration_seconds", SECONDS),
    ("gateway_overhead_seconds", OVERHEAD_SECONDS),
    ("gateway_time_to_first_byte_seconds", SECONDS),
    ("gateway_time_to_first_token_seconds", SECONDS),
    ("gateway_inter_token_seconds", SECONDS),
    ("gateway_queue_seconds", SECONDS),
];
const QUEUE: usize = 5;

/// By provider. As many as the configuration has had, for the provider is one of its names.
#[derive(Default)]
pub(super) struct Exemplars {
    rows: HashMap<Option<Arc<str>>, Arc<Row>, ahash::RandomState>,
}

/// One slot for each bucket of each family.
struct Row([Box<[Slot]>; FAMILIES.len()]);

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
        let row_of = |provider| rows.get_or_insert_with(provider, Arc::default);
        let unix_ms = u64::try_from(log.started_unix_ms).unwrap_or_default() + log.total_us / 1000;
        let row = row_of(provider.clone());
        for (family, value) in values(log).into_iter().enumerate() {
            if let Some(value) = value {
                row.slot(family, value).write(trace, value, unix_ms);
            }
        }
        // Waiting is counted at the provider that was waited for.
        for attempt in log.attempts.iter().filter(|attempt| attempt.queued_us > 0) {
            let value = seconds(attempt.queued_us);
            row_of(Some(Arc::from(&*attempt.provider))).slot(QUEUE, value).write(trace, value, unix_ms);
        }
    }

    /// As it stands behind a bucket with this upper bound: `{trace_id="…"} 0.03 1767225600.123`.
    pub(super) fn of(&self, family: &str, provider: &str, bound: f64) -> Option<String> {
        let family = FAMILIES.iter().position(|(name, _)| *name == family)?;
        let rows = self.rows.pin();
        let row = rows.get(&Some(provider).filter(|name| !name.is_empty()).map(Arc::from))?;
        row.slot(family, bound).read()
    }
}

/// What a request is counted as, in the order of the families; of waiting see there.
fn values(log: &LogRecord) -> [Option<f64>; QUEUE] {
    let nanoseconds = |nanos: u64| Duration::from_nanos(nanos).as_secs_f64();
    let some = |micros: u64| (micros > 0).then(|| seconds(micros));
    let first_token = some(log.first_token_us);
    [
        Some(seconds(log.total_us)),
        Some(seconds(log.overhead_us)),
        some(log.first_byte_us),
        first_token,
        first_token.and_then(|_| course::between_tokens(log)).map(nanoseconds),
    ]
}

// === impl Row ===

impl Row {
    /// Of the bucket that a value falls into, or that has this upper bound.
    fn slot(&self, family: usize, value: f64) -> &Slot {
        &self.0[family][FAMILIES[family].1.partition_point(|bound| *bound < value)]
    }
}

impl Default for Row {
    fn default() -> Self {
        Self(FAMILIES.map(|(_, bounds)| (0..=bounds.len()).map(|_| Slot::default()).collect()))
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
    use gateway_wire::v1::{Attempt, TokenUsage};

    use super::*;

    /// Each family by its own bounds, and waiting at whoever was waited for.
    #[test]
    fn each_family_has_the_trace_in_the_bucket_of_its_value() {
        let attempt =
            |provider: &str, queued_us| Attempt { provider: provider.to_owned(), queued_us, ..Attempt::default() };
        let log = LogRecord {
            trace_id: "00000000000000010000000000000002".to_owned(),
            started_unix_ms: 1_767_225_600_000,
            total_us: 2_000_000,
            overhead_us: 120,
            first_byte_us: 300_000,
            first_token_us: 1_000_000,
            tokens: Some(TokenUsage { output: 11, ..TokenUsage::default() }),
            attempts: vec![attempt("busy", 3_000), attempt("p", 0)],
            ..LogRecord::default()
        };
        let exemplars = Exemplars::default();
        exemplars.note(&Some(Arc::from("p")), &log);
        for (family, provider, bound, value) in [
            ("gateway_request_duration_seconds", "p", 2.5, "2"),
            ("gateway_overhead_seconds", "p", 0.000_25, "0.00012"),
            ("gateway_time_to_first_byte_seconds", "p", 0.5, "0.3"),
            ("gateway_time_to_first_token_seconds", "p", 1.0, "1"),
            ("gateway_inter_token_seconds", "p", 0.1, "0.1"),
            ("gateway_queue_seconds", "busy", 0.005, "0.003"),
        ] {
            let told = exemplars.of(family, provider, bound).unwrap_or_else(|| panic!("none of {family}"));
            let expected = format!("{{trace_id=\"{}\"}} {value} 1767225602.000", log.trace_id);
            assert_eq!(told, expected, "{family}");
        }
        assert_eq!(exemplars.of("gateway_queue_seconds", "p", 0.005), None, "nobody waited for it");
        assert_eq!(exemplars.of("gateway_upstream_duration_seconds", "p", 2.56), None);
    }

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
