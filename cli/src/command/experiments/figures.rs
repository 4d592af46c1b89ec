//! Records of requests, summed up.

use serde_json::{Value, json};

use crate::output::{number, text};

/// What can be said of the requests of one variant.
#[derive(Debug, Default)]
pub(super) struct Figures {
    errors: u64,
    cost_nano_usd: i64,
    unpriced: u64,
    /// Ascending.
    total_us: Vec<u64>,
}

// === impl Figures ===

impl Figures {
    /// An error is what failed or broke off, whoever was at fault but the client.
    pub(super) fn of<'a>(records: impl Iterator<Item = &'a Value>) -> Self {
        let mut figures = Self::default();
        for record in records {
            let has_failed = number(record, "/status") >= 500 || !text(record, "/error_code").is_empty();
            figures.errors += u64::from(has_failed);
            figures.unpriced += u64::from(record.get("priced") != Some(&Value::Bool(true)));
            figures.cost_nano_usd += record.get("cost_nano_usd").and_then(Value::as_i64).unwrap_or_default();
            figures.total_us.push(number(record, "/total_us"));
        }
        figures.total_us.sort_unstable();
        figures
    }

    pub(super) fn told(&self) -> Value {
        json!({
            "requests": self.total_us.len(),
            "errors": self.errors,
            "unpriced_requests": self.unpriced,
            "cost_nano_usd": self.cost_nano_usd,
            "median_us": self.percentile(50),
            "p95_us": self.percentile(95),
        })
    }

    /// What so many of a hundred took at most; `None` where there was none.
    fn percentile(&self, percent: usize) -> Option<u64> {
        let rank = (self.total_us.len() * percent).div_ceil(100);
        self.total_us.get(rank.checked_sub(1)?).copied()
    }
}
