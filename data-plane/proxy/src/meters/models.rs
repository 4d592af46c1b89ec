//! What `/statsz` tells of each model: totals since the start and how long requests took. A handful of atomic additions per request.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gateway_engine::snapshot::Target;
use gateway_wire::v1;
use papaya::{Equivalent, HashMap};
use serde_json::{Value, json};

/// Clients may name any model of a provider: so many combinations are told apart, the rest is told as one.
const MAX_ROWS: usize = 1000;
const REST: &str = "other";

/// Latencies of up to 64 µs are one slot; from there each doubling has eight, up to 18 minutes.
const SHORTEST: u32 = 6;
const PER_DOUBLING: usize = 8;
const N_SLOTS: usize = 24 * PER_DOUBLING;

#[derive(Default)]
pub(super) struct Models {
    rows: HashMap<Key, Row, ahash::RandomState>,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    asked: Box<str>,
    provider: Arc<str>,
    model: Arc<str>,
}

/// As the key, without owning anything.
#[derive(Hash)]
struct KeyRef<'a> {
    asked: &'a str,
    provider: &'a str,
    model: &'a str,
}

struct Row {
    requests: AtomicU64,
    errors: AtomicU64,
    /// All that was read, from caches or not.
    input: AtomicU64,
    output: AtomicU64,
    reasoning: AtomicU64,
    cache_hit: AtomicU64,
    cache_miss: AtomicU64,
    cache_creation: AtomicU64,
    latency: [AtomicU64; N_SLOTS],
}

// === impl Models ===

impl Models {
    /// A request that reached this target has ended.
    pub(super) fn ended(&self, log: &v1::LogRecord, target: &Target) {
        let rows = self.rows.pin();
        let key = KeyRef { asked: &log.model, provider: &target.provider.name, model: &target.model };
        if let Some(row) = rows.get(&key) {
            return row.add(log);
        }
        let key = if rows.len() < MAX_ROWS {
            let (provider, model) = (Arc::clone(&target.provider.name), Arc::clone(&target.model));
            Key { asked: log.model.as_str().into(), provider, model }
        } else {
            Key { asked: REST.into(), provider: REST.into(), model: REST.into() }
        };
        rows.get_or_insert_with(key, Row::default).add(log);
    }

    /// By the name that clients asked for.
    pub(super) fn totals(&self) -> Value {
        let mut all: BTreeMap<Box<str>, [u64; 8]> = BTreeMap::new();
        for (key, row) in &self.rows.pin() {
            let sums = all.entry(key.asked.clone()).or_default();
            for (sum, counter) in sums.iter_mut().zip(row.counters()) {
                *sum += counter.load(Ordering::Relaxed);
            }
        }
        let shown = all.into_iter().map(|(name, [requests, errors, input, output, reasoning, hit, miss, creation])| {
            let row = json!({
                "requests": requests, "errors": errors, "input_tokens": input, "output_tokens": output,
                "reasoning_tokens": reasoning, "cache_hit_tokens": hit, "cache_miss_tokens": miss,
                "cache_creation_tokens": creation,
            });
            (name.into_string(), row)
        });
        Value::Object(shown.collect())
    }

    /// By `provider/model`, in seconds.
    pub(super) fn latency(&self) -> Value {
        let mut all: BTreeMap<String, [u64; N_SLOTS]> = BTreeMap::new();
        for (key, row) in &self.rows.pin() {
            let sums = all.entry(format!("{}/{}", key.provider, key.model)).or_insert([0; N_SLOTS]);
            for (sum, slot) in sums.iter_mut().zip(&row.latency) {
                *sum += slot.load(Ordering::Relaxed);
            }
        }
        let shown = all.into_iter().map(|(name, slots)| {
            let at = |percent| percentile(&slots, percent);
            (name, json!({"p50": at(50), "p95": at(95), "p99": at(99), "count": slots.iter().sum::<u64>()}))
        });
        Value::Object(shown.collect())
    }
}

// === impl Row ===

impl Row {
    fn add(&self, log: &v1::LogRecord) {
        let add = |counter: &AtomicU64, n: u64| {
            if n > 0 {
                counter.fetch_add(n, Ordering::Relaxed);
            }
        };
        add(&self.requests, 1);
        add(&self.errors, u64::from(log.status >= 400 || !log.error_code.is_empty()));
        add(&self.latency[slot(log.total_us)], 1);
        if let Some(tokens) = &log.tokens {
            let creation = tokens.cache_write + tokens.cache_write_1h;
            add(&self.input, tokens.input + tokens.cache_read + creation);
            add(&self.output, tokens.output);
            add(&self.reasoning, tokens.reasoning);
            add(&self.cache_hit, tokens.cache_read);
            add(&self.cache_miss, tokens.input);
            add(&self.cache_creation, creation);
        }
    }

    fn counters(&self) -> [&AtomicU64; 8] {
        let Self { requests, errors, input, output, reasoning, cache_hit, cache_miss, cache_creation, .. } = self;
        [requests, errors, input, output, reasoning, cache_hit, cache_miss, cache_creation]
    }
}

impl Default for Row {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            requests: zero(),
            errors: zero(),
            input: zero(),
            output: zero(),
            reasoning: zero(),
            cache_hit: zero(),
            cache_miss: zero(),
            cache_creation: zero(),
            latency: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

// === impl KeyRef ===

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.asked == &*key.asked && self.provider == &*key.provider && self.model == &*key.model
    }
}

fn slot(micros: u64) -> usize {
    let micros = micros.max(1 << SHORTEST);
    let doubling = micros.ilog2();
    let part = (micros >> (doubling - 3)) as usize % PER_DOUBLING;
    ((doubling - SHORTEST) as usize * PER_DOUBLING + part).min(N_SLOTS - 1)
}

/// The middle of a slot, in seconds; no sample in it is farther off than a sixteenth.
#[expect(clippy::cast_precision_loss, reason = "microseconds of a request fit a double exactly")]
fn middle(slot: usize) -> f64 {
    let width = 1_u64 << (slot / PER_DOUBLING + SHORTEST as usize - 3);
    let lower = (PER_DOUBLING + slot % PER_DOUBLING) as u64 * width;
    (lower as f64 + width as f64 / 2.0) / 1e6
}

/// What so many of a hundred requests took at most; `null` where there was none.
fn percentile(slots: &[u64; N_SLOTS], percent: u64) -> Option<f64> {
    let count: u64 = slots.iter().sum();
    let rank = (count * percent).div_ceil(100);
    let mut seen = 0;
    let found = slots.iter().position(|n| {
        seen += n;
        seen >= rank && rank > 0
    });
    found.map(middle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_near_what_was_measured() {
        let mut slots = [0; N_SLOTS];
        assert_eq!(percentile(&slots, 50), None);
        for millis in 1..=1000_u64 {
            slots[slot(millis * 1000)] += 1;
        }
        for (percent, expected) in [(50, 0.5), (95, 0.95), (99, 0.99), (100, 1.0)] {
            let found = percentile(&slots, percent).expect("there are samples");
            assert!((found / expected - 1.0).abs() < 0.1, "p{percent} is {found}");
        }
    }

    #[test]
    fn every_latency_has_a_slot() {
        for micros in [0, 1, 63, 64, 65, 1_000, u64::from(u32::MAX), u64::MAX] {
            assert!(slot(micros) < N_SLOTS, "{micros}");
        }
        assert!((0..N_SLOTS - 1).all(|slot| middle(slot) < middle(slot + 1)));
    }
}
