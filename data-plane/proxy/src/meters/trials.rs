//! What is tried out, in numbers: experiments by variant, shadows by challenger. Labels are names of the configuration.

use std::hash::Hash;
use std::sync::Arc;

use gateway_wire::v1;
use metrics::{Counter, Key, Label, Recorder as _};
use metrics_exporter_prometheus::PrometheusRecorder;
use papaya::{Equivalent, HashMap};

use super::METADATA;
use super::histograms::{Histogram, Histograms};

/// Configurations come and go; beyond so many names nothing more is told apart.
const MAX_ROWS: usize = 256;
const REST: &str = "other";

#[derive(Default)]
pub(super) struct Trials {
    /// By experiment and variant; shadows by challenger, under no experiment.
    rows: HashMap<Arm, Arc<Row>, ahash::RandomState>,
}

#[derive(PartialEq, Eq, Hash)]
struct Arm {
    experiment: Box<str>,
    variant: Box<str>,
}

/// As the arm, without owning anything.
#[derive(Clone, Copy, Hash)]
struct ArmRef<'a> {
    experiment: &'a str,
    variant: &'a str,
}

struct Row {
    answered: Counter,
    failed: Counter,
    duration: Histogram,
    cost: Counter,
}

// === impl Trials ===

impl Trials {
    /// A request has ended that a variant answered, or that was a shadow.
    pub(super) fn ended(&self, log: &v1::LogRecord, recorder: &PrometheusRecorder, histograms: &Histograms) {
        let arm = match &log.experiment {
            _ if !log.shadow_of.is_empty() => ArmRef { experiment: "", variant: &log.model },
            Some(arm) => ArmRef { experiment: &arm.name, variant: &arm.variant },
            None => return,
        };
        let row = self.row(arm, recorder, histograms);
        let has_failed = log.status >= 500 || !log.error_code.is_empty();
        if has_failed { &row.failed } else { &row.answered }.increment(1);
        row.duration.record_micros(log.total_us);
        row.cost.increment(u64::try_from(log.cost_nano_usd).unwrap_or_default());
    }

    fn row(&self, arm: ArmRef<'_>, recorder: &PrometheusRecorder, histograms: &Histograms) -> Arc<Row> {
        let rows = self.rows.pin();
        if let Some(row) = rows.get(&arm) {
            return Arc::clone(row);
        }
        let arm = if rows.len() < MAX_ROWS { arm } else { ArmRef { experiment: REST, variant: REST } };
        let owned = Arm { experiment: arm.experiment.into(), variant: arm.variant.into() };
        Arc::clone(rows.get_or_insert_with(owned, || Arc::new(Row::new(arm, recorder, histograms))))
    }
}

// === impl Row ===

impl Row {
    fn new(arm: ArmRef<'_>, recorder: &PrometheusRecorder, histograms: &Histograms) -> Self {
        let is_shadow = arm.experiment.is_empty();
        let of_shadow = [("model", arm.variant)];
        let of_experiment = [("experiment", arm.experiment), ("variant", arm.variant)];
        let named = if is_shadow { &of_shadow[..] } else { &of_experiment[..] };
        let labels = || named.iter().map(|(name, value)| Label::new(*name, (*value).to_owned())).collect::<Vec<_>>();
        let of = |experiment: &'static str, shadow: &'static str| if is_shadow { shadow } else { experiment };
        let requests = |outcome: &'static str| {
            let labels = [labels(), vec![Label::new("outcome", outcome)]].concat();
            let key = Key::from_parts(of("gateway_experiment_requests_total", "gateway_shadow_requests_total"), labels);
            recorder.register_counter(&key, &METADATA)
        };
        let duration = of("gateway_experiment_duration_seconds", "gateway_shadow_duration_seconds");
        let cost = of("gateway_experiment_cost_nano_usd_total", "gateway_shadow_cost_nano_usd_total");
        Self {
            answered: requests("answered"),
            failed: requests("failed"),
            duration: histograms.series(duration, named),
            cost: recorder.register_counter(&Key::from_parts(cost, labels()), &METADATA),
        }
    }
}

// === impl ArmRef ===

impl Equivalent<Arm> for ArmRef<'_> {
    fn equivalent(&self, arm: &Arm) -> bool {
        self.experiment == &*arm.experiment && self.variant == &*arm.variant
    }
}
