//! The result of one measured window: what the load generator prints and the runner reads.

use serde::{Deserialize, Serialize};

/// Figures of one window; times in microseconds, memory in KiB. Zero where a mode does not measure the thing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Window {
    pub seconds: f64,
    pub n_requests: u64,
    pub n_errors: u64,
    /// The first error's text, to tell a broken run from a slow one.
    pub error: Option<String>,
    pub n_events: u64,
    pub latency: Quantiles,
    /// From the request's first byte to the reply's first body byte.
    pub first_byte: Quantiles,
    /// User and system time of the target process within the window.
    pub cpu_us: u64,
    /// Proportional set size of the target before the load and at the window's end.
    pub pss_before: u64,
    pub pss_after: u64,
    /// Streams open at the window's end (`hold` only).
    pub n_open: u64,
    /// CPU that neither target nor upstream nor this program used, in cores: how far the machine was not ours.
    pub other_cores: f64,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Quantiles {
    pub p50: u64,
    pub p99: u64,
    pub p999: u64,
}

// === impl Window ===

impl Window {
    pub fn requests_per_second(&self) -> f64 {
        self.n_requests as f64 / self.seconds
    }

    pub fn cpu_per_request(&self) -> f64 {
        self.cpu_us as f64 / self.n_requests as f64
    }

    pub fn is_sound(&self) -> bool {
        self.n_errors == 0 && (self.n_requests > 0 || self.n_open > 0)
    }
}

// === impl Quantiles ===

impl From<&hdrhistogram::Histogram<u64>> for Quantiles {
    fn from(histogram: &hdrhistogram::Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self { p50: at(0.5), p99: at(0.99), p999: at(0.999) }
    }
}
