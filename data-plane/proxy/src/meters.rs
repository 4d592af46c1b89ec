//! The node's metrics: one documented set, bounded labels, handles resolved once per label set and worker's use.
//!
//! Names and meanings are rows of `meters/table.rs`.

mod table;
mod histograms;
mod models;
mod trials;
mod cached;
mod course;
pub(crate) mod operations;
mod exemplars;
pub(crate) mod process;
pub(crate) mod openmetrics;
pub mod compat;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gateway_engine::limits::purse::Totals;
use gateway_engine::snapshot::Target;
use gateway_ir::failure::Failure;
use gateway_ir::legal::Breach;
use gateway_wire::v1;
use metrics::{Counter, Gauge, Recorder as _};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use papaya::HashMap;
use serde_json::{Value, json};

use self::histograms::{Histogram, Histograms};
pub use self::table::METRICS;
pub(crate) use self::table::row;
use crate::state::standing::Standing;

/// Upper bounds in seconds, from what a gateway adds to what a long stream takes.
const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
    600.0,
];
const OVERHEAD_SECONDS: &[f64] =
    &[0.000_025, 0.000_05, 0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 1.0];

/// Upper bounds in microseconds of the latency histogram that goes to the control plane.
pub(crate) const FRAME_BOUNDS_US: &[u64] = &[
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];

static METADATA: metrics::Metadata<'static> =
    metrics::Metadata::new("gateway", metrics::Level::INFO, Some("gateway_proxy::meters"));

/// All meters of one node. Cheap to share; every update is one atomic operation.
pub struct Meters {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    inflight: Gauge,
    streams: Gauge,
    histograms: Histograms,
    frame: Frame,
    requests: HashMap<RequestLabels, Arc<RequestMeters>, ahash::RandomState>,
    attempts: HashMap<AttemptLabels, AttemptMeter, ahash::RandomState>,
    models: models::Models,
    operations: operations::Operations,
    trials: trials::Trials,
    exemplars: exemplars::Exemplars,
}

/// Totals for the control plane's frame.
#[derive(Default)]
struct Frame {
    requests: AtomicU64,
    errors: AtomicU64,
    inflight: AtomicU64,
    open_streams: AtomicU64,
    latency: [AtomicU64; FRAME_BOUNDS_US.len() + 1],
    input_tokens: AtomicU64,
    output_tokens: AtomicU64,
}

/// Bounded: dialects × providers × endings × statuses. Model names are chosen by clients and never become labels.
#[derive(Clone, PartialEq, Eq, Hash)]
struct RequestLabels {
    dialect: &'static str,
    provider: Option<Arc<str>>,
    status: u16,
    ending: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct AttemptLabels {
    provider: Arc<str>,
    outcome: &'static str,
}

/// A counter of the recorder can be added to and not read.
struct AttemptMeter {
    counter: Counter,
    n: AtomicU64,
}

struct RequestMeters {
    requests: Counter,
    duration: Histogram,
    overhead: Histogram,
    first_byte: Histogram,
    first_token: Histogram,
    inter_token: Histogram,
    input: Counter,
    cache_read: Counter,
    cache_write: Counter,
    output: Counter,
    reasoning: Counter,
    cost: Counter,
    unpriced: Counter,
}

// === impl Meters ===

impl Meters {
    pub fn new() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        table::describe(&recorder);
        let gauge = |name: &'static str| recorder.register_gauge(&name.into(), &METADATA);
        let (inflight, streams) = (gauge("gateway_requests_in_flight"), gauge("gateway_streams_open"));
        Self {
            recorder,
            handle,
            inflight,
            streams,
            histograms: Histograms::default(),
            frame: Frame::default(),
            requests: HashMap::default(),
            attempts: HashMap::default(),
            models: models::Models::default(),
            operations: operations::Operations::default(),
            trials: trials::Trials::default(),
            exemplars: exemplars::Exemplars::default(),
        }
    }

    /// Prometheus text.
    pub fn render(&self) -> String {
        let mut text = self.handle.render();
        self.histograms.render(&mut text);
        text
    }

    /// The same and what else is told, as OpenMetrics, with the traces of some of the requests that are counted in it.
    pub(crate) fn open(&self, text: &str) -> String {
        openmetrics::of(text, |family, provider, bound| self.exemplars.of(family, provider, bound))
    }

    /// A gauge outside the request path.
    pub fn gauge(&self, name: &'static str) -> Gauge {
        self.recorder.register_gauge(&name.into(), &METADATA)
    }

    /// What waits for the control plane, and what was lost on the way.
    #[expect(clippy::cast_precision_loss, reason = "sizes and counts stay far below 2^52")]
    pub(crate) fn spool(&self, state: &v1::SpoolState) {
        self.gauge("gateway_usage_spool_bytes").set(state.usage_bytes as f64);
        self.gauge("gateway_usage_pending").set(state.usage_pending as f64);
        self.gauge("gateway_log_records_pending").set(state.logs_pending as f64);
        self.counter("gateway_usage_dropped_total").absolute(state.usage_dropped);
        self.gauge("gateway_log_bodies_pending").set(state.bodies_pending as f64);
        self.counter("gateway_log_bodies_dropped_total").absolute(state.bodies_dropped);
        self.counter("gateway_log_records_dropped_total").absolute(state.logs_dropped);
    }

    /// How far the configuration has come and how current it is.
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    pub(crate) fn standing(&self, standing: &Standing) {
        let counts = standing.counts();
        self.gauge("gateway_limits_shared_by").set(f64::from(standing.n_nodes().max(1)));
        if let Some(stale) = standing.stale() {
            self.gauge("gateway_config_stale_seconds").set(stale.as_secs_f64());
        }
        self.gauge("gateway_config_unkept").set(counts.unkept as f64);
        self.counter("gateway_config_drift_total").absolute(counts.drifted);
        self.counter("gateway_config_damaged_files_total").absolute(counts.damaged);
        self.counter("gateway_config_quarantined_total").absolute(counts.quarantined);
    }

    /// What this node has of budgets.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a gauge is a double; billionths of a dollar are exact up to nine million dollars"
    )]
    pub(crate) fn budgets(&self, totals: &Totals) {
        self.gauge("gateway_budgets").set(totals.n_purses as f64);
        self.gauge("gateway_budget_open_requests").set(totals.n_open as f64);
        self.gauge("gateway_budget_spent_nano_usd").set(totals.spent as f64);
        self.gauge("gateway_budget_held_nano_usd").set(totals.left as f64);
    }

    /// A counter outside the request path.
    pub fn counter(&self, name: &'static str) -> Counter {
        self.recorder.register_counter(&name.into(), &METADATA)
    }

    pub(crate) fn request_began(&self) {
        self.inflight.increment(1.0);
        self.frame.inflight.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stream_opened(&self) {
        self.streams.increment(1.0);
        self.frame.open_streams.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stream_closed(&self) {
        self.streams.decrement(1.0);
        self.frame.open_streams.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn attempt(&self, target: &Target, status: u16, failure: Option<&Failure>) {
        let outcome = failure.map_or(if status < 400 { "ok" } else { "error" }, |failure| failure.code.name());
        let labels = AttemptLabels { provider: Arc::clone(&target.provider.name), outcome };
        let attempts = self.attempts.pin();
        let meter = attempts.get_or_insert_with(labels.clone(), || self.attempt_meter(&labels));
        meter.counter.increment(1);
        meter.n.fetch_add(1, Ordering::Relaxed);
    }

    /// An upstream broke a rule of event streams. Rare, so the counter is looked up each time.
    pub(crate) fn breached(&self, target: &Target, breach: Breach) {
        let labels = vec![
            metrics::Label::new("provider", target.provider.name.to_string()),
            metrics::Label::new("rule", breach.name()),
        ];
        let key = metrics::Key::from_parts("gateway_stream_breaches_total", labels);
        self.recorder.register_counter(&key, &METADATA).increment(1);
    }

    /// A stream broke off and was gone on with, or why it was not. Rare, like a breach.
    pub(crate) fn continuation(&self, outcome: &'static str) {
        let key =
            metrics::Key::from_parts("gateway_continuations_total", vec![metrics::Label::new("outcome", outcome)]);
        self.recorder.register_counter(&key, &METADATA).increment(1);
    }

    /// Requests whose spans were taken by a collector, or were not.
    pub(crate) fn spans(&self, outcome: &'static str, n: u64) {
        let key = metrics::Key::from_parts("gateway_spans_total", vec![metrics::Label::new("outcome", outcome)]);
        self.recorder.register_counter(&key, &METADATA).increment(n);
    }

    /// A token of another system was refused. Looked up each time: who comes with bad tokens may wait for it.
    pub(crate) fn token_refused(&self, issuer: &str, code: &'static str) {
        let labels = vec![metrics::Label::new("issuer", issuer.to_owned()), metrics::Label::new("code", code)];
        let key = metrics::Key::from_parts("gateway_foreign_tokens_refused_total", labels);
        self.recorder.register_counter(&key, &METADATA).increment(1);
    }

    /// Somebody was asked for the keys with which they sign tokens. Rare, like a breach.
    pub(crate) fn keys_fetched(&self, issuer: &str, outcome: &'static str) {
        let labels = vec![metrics::Label::new("issuer", issuer.to_owned()), metrics::Label::new("outcome", outcome)];
        let key = metrics::Key::from_parts("gateway_key_set_fetches_total", labels);
        self.recorder.register_counter(&key, &METADATA).increment(1);
    }

    /// A receipt could not be written. Rare, like a breach.
    pub(crate) fn receipt_lost(&self) {
        let key = metrics::Key::from_name("gateway_receipts_lost_total");
        self.recorder.register_counter(&key, &METADATA).increment(1);
    }

    pub(crate) fn request_ended(
        &self,
        log: &v1::LogRecord,
        (dialect, ending): (&'static str, &'static str),
        target: Option<&Target>,
        is_traced: bool,
    ) {
        self.inflight.decrement(1.0);
        self.trials.ended(log, &self.recorder, &self.histograms);
        // Nobody waited for it: it is in no figure of what clients got.
        if !log.shadow_of.is_empty() {
            self.frame.inflight.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let labels = RequestLabels {
            dialect,
            provider: target.map(|target| Arc::clone(&target.provider.name)),
            status: u16::try_from(log.status).unwrap_or_default(),
            ending,
        };
        self.course(log);
        self.operations.ended(log, target.map(|target| &*target.provider.name), &self.histograms);
        let requests = self.requests.pin();
        let meters = requests.get_or_insert_with(labels.clone(), || Arc::new(self.request_meters(&labels)));
        meters.requests.increment(1);
        meters.duration.record_micros(log.total_us);
        meters.overhead.record_micros(log.overhead_us);
        if log.first_byte_us > 0 {
            meters.first_byte.record_micros(log.first_byte_us);
        }
        if log.first_token_us > 0 {
            meters.first_token.record_micros(log.first_token_us);
            if let Some(between) = course::between_tokens(log) {
                meters.inter_token.record(between);
            }
        }
        if is_traced {
            self.exemplars.note(&labels.provider, log);
        }
        if let Some(tokens) = &log.tokens {
            meters.input.increment(tokens.input);
            meters.output.increment(tokens.output);
            meters.cache_read.increment(tokens.cache_read);
            meters.cache_write.increment(tokens.cache_write + tokens.cache_write_1h);
            meters.reasoning.increment(tokens.reasoning);
        }
        meters.cost.increment(u64::try_from(log.cost_nano_usd).unwrap_or_default());
        if log.tokens.is_some() && !log.priced {
            meters.unpriced.increment(1);
        }
        self.frame.ended(log);
        if let Some(target) = target {
            self.models.ended(log, target);
        }
    }

    /// What `/statsz` tells beside the process' own age.
    pub(crate) fn statistics(&self) -> Value {
        let mut providers: BTreeMap<String, BTreeMap<&str, u64>> = BTreeMap::new();
        for (labels, meter) in &self.attempts.pin() {
            let outcomes = providers.entry(labels.provider.to_string()).or_default();
            outcomes.insert(labels.outcome, meter.n.load(Ordering::Relaxed));
        }
        json!({
            "models": self.models.totals(),
            "latency": self.models.latency(),
            "provider_health": providers,
            "in_flight": self.frame.inflight.load(Ordering::Relaxed),
            "open_streams": self.frame.open_streams.load(Ordering::Relaxed),
        })
    }

    /// Requests that have begun and are not over.
    pub(crate) fn n_in_flight(&self) -> u64 {
        self.frame.inflight.load(Ordering::Relaxed)
    }

    /// What the control plane is told.
    pub(crate) fn frame(&self) -> v1::MetricFrame {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        v1::MetricFrame {
            unix_ms: crate::clock::unix_ms(),
            requests: read(&self.frame.requests),
            errors: read(&self.frame.errors),
            open_streams: read(&self.frame.open_streams),
            inflight: read(&self.frame.inflight),
            latency_bounds_us: FRAME_BOUNDS_US.to_vec(),
            latency_counts: self.frame.latency.iter().map(read).collect(),
            input_tokens: read(&self.frame.input_tokens),
            output_tokens: read(&self.frame.output_tokens),
            resident_bytes: process::resident_bytes(),
            ..v1::MetricFrame::default()
        }
    }

    fn attempt_meter(&self, labels: &AttemptLabels) -> AttemptMeter {
        let labels = vec![
            metrics::Label::new("provider", labels.provider.to_string()),
            metrics::Label::new("outcome", labels.outcome),
        ];
        let key = metrics::Key::from_parts("gateway_upstream_attempts_total", labels);
        AttemptMeter { counter: self.recorder.register_counter(&key, &METADATA), n: AtomicU64::new(0) }
    }

    fn request_meters(&self, labels: &RequestLabels) -> RequestMeters {
        let provider = labels.provider.as_deref().unwrap_or_default().to_owned();
        let by_outcome = vec![
            metrics::Label::new("dialect", labels.dialect),
            metrics::Label::new("provider", provider.clone()),
            metrics::Label::new("status", labels.status.to_string()),
            metrics::Label::new("ending", labels.ending),
        ];
        let by_provider = || vec![metrics::Label::new("provider", provider.clone())];
        let counter = |name: &'static str, labels| {
            self.recorder.register_counter(&metrics::Key::from_parts(name, labels), &METADATA)
        };
        let histogram = |name: &'static str| self.histograms.series(name, &[("provider", &provider)]);
        let tokens = |class: &'static str| {
            let labels = vec![metrics::Label::new("provider", provider.clone()), metrics::Label::new("class", class)];
            counter("gateway_tokens_total", labels)
        };
        RequestMeters {
            requests: counter("gateway_requests_total", by_outcome),
            duration: histogram("gateway_request_duration_seconds"),
            overhead: histogram("gateway_overhead_seconds"),
            first_byte: histogram("gateway_time_to_first_byte_seconds"),
            first_token: histogram("gateway_time_to_first_token_seconds"),
            inter_token: histogram("gateway_inter_token_seconds"),
            input: tokens("input"),
            cache_read: tokens("cache_read"),
            cache_write: tokens("cache_write"),
            output: tokens("output"),
            reasoning: tokens("reasoning"),
            cost: counter("gateway_cost_nano_usd_total", by_provider()),
            unpriced: counter("gateway_unpriced_requests_total", by_provider()),
        }
    }
}

impl Default for Meters {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Frame ===

impl Frame {
    fn ended(&self, log: &v1::LogRecord) {
        self.inflight.fetch_sub(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        if log.status >= 500 || !log.error_code.is_empty() {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        let slot = FRAME_BOUNDS_US.partition_point(|bound| *bound < log.total_us);
        self.latency[slot].fetch_add(1, Ordering::Relaxed);
        if let Some(tokens) = &log.tokens {
            let input = tokens.input + tokens.cache_read + tokens.cache_write + tokens.cache_write_1h;
            self.input_tokens.fetch_add(input, Ordering::Relaxed);
            self.output_tokens.fetch_add(tokens.output, Ordering::Relaxed);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a request fit a double exactly")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}
