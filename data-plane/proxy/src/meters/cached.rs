//! What the cache of replies has done and has. It counts for itself; here that is named and told.

use metrics::{Key, Recorder as _, Unit};
use metrics_exporter_prometheus::PrometheusRecorder;

use super::{METADATA, Meters};

/// Totals by their names without prefix and suffix, as the cache tells them.
const TOTALS: [(&str, &str); 9] = [
    ("hits", "requests that were given a reply that was there"),
    ("misses", "requests that might have been, and made the reply"),
    ("bypassed", "requests whose client wanted a fresh answer"),
    ("coalesced", "hits that waited for the reply while another request made it"),
    ("stored", "replies that were kept"),
    ("unfit", "requests that depend on what is kept elsewhere"),
    ("evicted", "replies that gave way to others"),
    ("expired", "replies whose time was over"),
    ("saved_nano_usd", "what hits would have cost, in billionths of a US dollar"),
];

// === impl Meters ===

impl Meters {
    /// `totals` by their names without prefix and suffix; then replies and their bytes.
    #[expect(clippy::cast_precision_loss, reason = "sizes and counts stay far below 2^52")]
    pub(crate) fn cache(&self, totals: [(&'static str, u64); TOTALS.len()], (n_entries, n_bytes): (u64, u64)) {
        for (name, n) in totals {
            self.recorder.register_counter(&Key::from_name(full(name)), &METADATA).absolute(n);
        }
        self.gauge("gateway_cache_entries").set(n_entries as f64);
        self.gauge("gateway_cache_bytes").set(n_bytes as f64);
    }
}

fn full(name: &str) -> String {
    format!("gateway_cache_{name}_total")
}

pub(super) fn describe(recorder: &PrometheusRecorder) {
    for (name, about) in TOTALS {
        recorder.describe_counter(full(name).into(), Some(Unit::Count), about.into());
    }
    recorder.describe_gauge("gateway_cache_entries".into(), Some(Unit::Count), "replies that are kept".into());
    recorder.describe_gauge("gateway_cache_bytes".into(), Some(Unit::Bytes), "their size in memory".into());
}
