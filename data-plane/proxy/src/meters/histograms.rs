//! Histograms of what is measured of every request. A record is two additions: the exporter's own histograms keep each sample by itself until
//! somebody asks or tidies up, and sorting them into buckets then cost a request more than all other metrics together.
//!
//! Source: Prometheus' text format, version 0.0.4, on histograms.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::table::row;
use super::{OVERHEAD_SECONDS, SECONDS};

/// All of a node.
#[derive(Default)]
pub(super) struct Histograms(Mutex<BTreeMap<&'static str, BTreeMap<Box<str>, Histogram>>>);

/// One series. Cheap to clone and to share.
#[derive(Clone)]
pub(super) struct Histogram(Arc<Series>);

struct Series {
    family: &'static Family,
    /// Of each bucket alone; the last has no bound.
    counts: Box<[AtomicU64]>,
    /// In the family's unit.
    sum: AtomicU64,
}

/// What values are told in, and what they are counted in: seconds are counted as nanoseconds, for whole numbers add up exactly.
struct Family {
    bounds: &'static [f64],
    scale: f64,
}

pub(super) const DURATION: &str = "gateway_upstream_duration_seconds";
pub(super) const TOKENS: &str = "gateway_request_tokens";

/// As the semantic conventions for generative AI recommend them, see `operations`.
const DURATION_BOUNDS: &[f64] =
    &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const TOKEN_BOUNDS: &[f64] = &[
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

const NANOSECONDS: f64 = 1e9;

// === impl Family ===

impl Family {
    fn of(name: &str) -> &'static Self {
        match name {
            "gateway_overhead_seconds" => &Self { bounds: OVERHEAD_SECONDS, scale: NANOSECONDS },
            DURATION => &Self { bounds: DURATION_BOUNDS, scale: NANOSECONDS },
            TOKENS => &Self { bounds: TOKEN_BOUNDS, scale: 1.0 },
            _ => &Self { bounds: SECONDS, scale: NANOSECONDS },
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "values stay far below 2^53: a hundred days in nanoseconds")]
    fn told(&self, value: u64) -> f64 {
        value as f64 / self.scale
    }
}

// === impl Histograms ===

impl Histograms {
    /// The series of these labels, made if there is none. For whoever keeps it: this waits for others who ask.
    pub(super) fn series(&self, name: &'static str, labels: &[(&str, &str)]) -> Histogram {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let mut families = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let series = families.entry(name).or_default().entry(labels.join(",").into());
        series.or_insert_with(|| Histogram::new(Family::of(name))).clone()
    }

    /// Appends what was recorded; a series of which nothing was is not told.
    pub(super) fn render(&self, text: &mut String) {
        let families = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, all) in &*families {
            let mut series = all.iter().filter(|(_, histogram)| histogram.0.total() > 0).peekable();
            if series.peek().is_some() {
                *text += &row(name).head();
                series.for_each(|(labels, histogram)| histogram.0.render(name, labels, text));
                text.push('\n');
            }
        }
    }
}

// === impl Histogram ===

impl Histogram {
    fn new(family: &'static Family) -> Self {
        let counts = (0..=family.bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Series { family, counts, sum: AtomicU64::new(0) }))
    }

    pub(super) fn record_micros(&self, micros: u64) {
        self.record(micros.saturating_mul(1000));
    }

    /// Nanoseconds, or how many.
    pub(super) fn record(&self, value: u64) {
        let told = self.0.family.told(value);
        let bucket = self.0.family.bounds.partition_point(|bound| *bound < told);
        self.0.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.0.sum.fetch_add(value, Ordering::Relaxed);
    }
}

// === impl Series ===

impl Series {
    fn total(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// While others record, so that the total is that of the buckets that are told, and not counted by itself.
    fn render(&self, name: &str, labels: &str, text: &mut String) {
        let bounds = self.family.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        let mut so_far = 0;
        for (bound, count) in bounds.zip(&self.counts) {
            so_far += count.load(Ordering::Relaxed);
            let comma = if labels.is_empty() { "" } else { "," };
            let _ = writeln!(text, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {so_far}");
        }
        let sum = self.family.told(self.sum.load(Ordering::Relaxed));
        let _ = writeln!(text, "{name}_sum{{{labels}}} {sum}");
        let _ = writeln!(text, "{name}_count{{{labels}}} {so_far}");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_is_told_as_prometheus_writes_it() {
        let histograms = Histograms::default();
        let overhead = |provider| histograms.series("gateway_overhead_seconds", &[("provider", provider)]);
        overhead("nothing of it");
        let odd = overhead("a\"b\\c\nd");
        // At a bound, between two, and beyond the last.
        for micros in [25, 26, 2_000_000] {
            odd.record_micros(micros);
        }
        overhead("a\"b\\c\nd").record(1);
        histograms.series(TOKENS, &[("provider", "p"), ("type", "input")]).record(4);
        let mut text = String::new();
        histograms.render(&mut text);
        let line = |line: &str| assert!(text.lines().any(|told| told == line), "{line}: {text}");
        for (bound, count) in [("0.000025", 2), ("0.00005", 3), ("1", 3), ("+Inf", 4)] {
            line(&format!(r#"gateway_overhead_seconds_bucket{{provider="a\"b\\c\nd",le="{bound}"}} {count}"#));
        }
        line(r#"gateway_overhead_seconds_sum{provider="a\"b\\c\nd"} 2.000051001"#);
        line(r#"gateway_overhead_seconds_count{provider="a\"b\\c\nd"} 4"#);
        line(r#"gateway_request_tokens_bucket{provider="p",type="input",le="1"} 0"#);
        line(r#"gateway_request_tokens_bucket{provider="p",type="input",le="4"} 1"#);
        line("# TYPE gateway_overhead_seconds histogram");
        assert!(!text.contains("nothing of it"), "{text}");
    }
}
