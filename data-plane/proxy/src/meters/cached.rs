//! What the cache of replies has done and has. It counts for itself; here that is named and told.

use metrics::{Key, Recorder as _};

use super::{METADATA, Meters};

/// As many totals as the cache tells.
const N_TOTALS: usize = 9;

// === impl Meters ===

impl Meters {
    /// `totals` by their names without prefix and suffix; then replies and their bytes.
    #[expect(clippy::cast_precision_loss, reason = "sizes and counts stay far below 2^52")]
    pub(crate) fn cache(&self, totals: [(&'static str, u64); N_TOTALS], (n_entries, n_bytes): (u64, u64)) {
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
