//! The control plane's metrics. Labels are bounded: never a name that people choose.
//!
//! Names and meanings are rows of `meters/table.rs`.

mod table;

use gateway_store::Error;
use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder as _};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

pub use self::table::METRICS;

/// Upper bounds in seconds, from a read to a change that waited for its nodes.
const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

static METADATA: Metadata<'static> = Metadata::new("gateway", Level::INFO, Some("gateway_server::meters"));

/// A recorder of its own, not the process's: both planes may live in one process and each shows its own numbers.
pub struct Meters {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

// === impl Meters ===

impl Meters {
    pub fn new() -> Self {
        let builder = PrometheusBuilder::new().set_buckets(SECONDS).expect("the bounds are not empty");
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        table::describe(&recorder);
        Self { recorder, handle }
    }

    /// Prometheus text.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Bounds the memory of histograms; to be called every few seconds.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// `method` is one of the standard ones, `status` that of the answer.
    pub(crate) fn admin_request(&self, method: &'static str, status: u16, seconds: f64) {
        let labels = vec![Label::from_static_parts("method", method), Label::new("status", status.to_string())];
        self.register_counter("gateway_admin_requests_total", labels).increment(1);
        self.histogram("gateway_admin_request_seconds", ("method", method)).record(seconds);
    }

    /// `with`: `key`, `password` or `oidc`. `outcome`: `ok` or the code of the refusal.
    pub(crate) fn sign_in(&self, with: &'static str, outcome: &'static str) {
        self.counter("gateway_sign_ins_total", &[("with", with), ("outcome", outcome)]).increment(1);
    }

    /// `outcome`: `applied`, `unchanged`, `dry_run` or `refused`.
    pub(crate) fn config_change(&self, outcome: &'static str) {
        self.counter("gateway_config_changes_total", &[("outcome", outcome)]).increment(1);
    }

    /// The place of the newest entry, which count up without gaps.
    pub(crate) fn audited(&self, seq: u64) {
        self.counter("gateway_audit_events_total", &[]).absolute(seq);
    }

    pub(crate) fn revision(&self, class: &'static str, revision: u64) {
        self.gauge("gateway_config_revision", &[("class", class)]).set(float(revision));
    }

    /// What this replica has for nodes, how often there was something new, and how far the last of them is behind.
    pub(crate) fn published(&self, class: &'static str, revision: u64, n_times: u64, lag: u64) {
        let class = [("class", class)];
        self.gauge("gateway_config_published_revision", &class).set(float(revision));
        self.counter("gateway_config_published_total", &class).absolute(n_times);
        self.gauge("gateway_config_lag_revisions", &class).set(float(lag));
    }

    /// A node refused a revision of this class.
    pub(crate) fn config_nack(&self, class: &'static str) {
        self.counter("gateway_config_nacks_total", &[("class", class)]).increment(1);
    }

    /// `form`: `delta` or `snapshot`.
    pub(crate) fn config_sent(&self, class: &'static str, form: &'static str) {
        self.counter("gateway_config_sent_total", &[("class", class), ("form", form)]).increment(1);
    }

    /// A node serves by what it was sent so long ago.
    pub(crate) fn config_applied(&self, class: &'static str, seconds: f64) {
        self.histogram("gateway_config_apply_seconds", ("class", class)).record(seconds);
    }

    pub(crate) fn nodes(&self, state: &'static str, n_nodes: usize) {
        self.gauge("gateway_nodes", &[("state", state)]).set(n_nodes as f64);
    }

    pub(crate) fn nodes_connected(&self, n_nodes: usize) {
        self.gauge("gateway_nodes_connected", &[]).set(n_nodes as f64);
    }

    pub(crate) fn replicas(&self, n_replicas: u64) {
        self.gauge("gateway_replicas", &[]).set(float(n_replicas));
    }

    /// A batch of a class came from a node. `outcome`: `stored`, `failed` or `invalid`.
    pub(crate) fn batch(&self, class: &'static str, outcome: &'static str) {
        self.counter("gateway_ingest_batches_total", &[("class", class), ("outcome", outcome)]).increment(1);
    }

    /// Records of a class were taken from a node.
    pub(crate) fn ingested(&self, class: &'static str, n_records: usize, seconds: f64) {
        self.batch(class, "stored");
        self.counter("gateway_ingested_total", &[("class", class)]).increment(n_records as u64);
        self.histogram("gateway_ingest_seconds", ("class", class)).record(seconds);
    }

    /// So many have come again since the start.
    pub(crate) fn duplicates(&self, class: &'static str, n_records: u64) {
        self.counter("gateway_ingest_duplicates_total", &[("class", class)]).absolute(n_records);
    }

    pub(crate) fn log_followers(&self, n_followers: usize) {
        self.gauge("gateway_log_followers", &[]).set(n_followers as f64);
    }

    /// `outcome`: `taken`, `refused` or `again`.
    pub(crate) fn export_call(&self, of: &'static str, outcome: &'static str) {
        self.counter("gateway_export_calls_total", &[("type", of), ("outcome", outcome)]).increment(1);
    }

    pub(crate) fn exported(&self, of: &'static str, n_delivered: u64, n_failed: u64) {
        for (outcome, n_records) in [("delivered", n_delivered), ("failed", n_failed)] {
            self.counter("gateway_exported_total", &[("type", of), ("outcome", outcome)]).increment(n_records);
        }
    }

    /// Of all exporters of a type.
    pub(crate) fn export_backlog(&self, of: &'static str, n_behind: u64, age_ms: i64, n_dropped: u64) {
        let of = [("type", of)];
        self.gauge("gateway_export_behind_records", &of).set(float(n_behind));
        self.gauge("gateway_export_behind_age", &of).set(age_ms.max(0) as f64 / 1000.0);
        self.gauge("gateway_export_dropped_records", &of).set(float(n_dropped));
    }

    /// `outcome`: `taken` or `failed`.
    pub(crate) fn alert_message(&self, outcome: &'static str) {
        self.counter("gateway_alert_messages_total", &[("outcome", outcome)]).increment(1);
    }

    /// Connections to the database, of `max` that there may be.
    pub(crate) fn pool(&self, pool: &'static str, n_used: usize, n_idle: usize, max: u32) {
        let connections = |state| self.gauge("gateway_database_connections", &[("pool", pool), ("state", state)]);
        connections("used").set(n_used as f64);
        connections("idle").set(n_idle as f64);
        self.gauge("gateway_database_connections_max", &[("pool", pool)]).set(f64::from(max));
    }

    /// A part wanted something of the database and did not get it. What is an answer, as a conflict is, does not count.
    pub(crate) fn database_failed(&self, part: &'static str, error: &Error) {
        if let Some(kind) = error.failure() {
            self.database_failure(part, kind);
        }
    }

    pub(crate) fn database_failure(&self, part: &'static str, kind: &'static str) {
        self.counter("gateway_database_errors_total", &[("part", part), ("kind", kind)]).increment(1);
    }

    /// `outcome`: `done`, `cut_off`, `elsewhere` or `failed`.
    pub(crate) fn job_ran(&self, job: &'static str, outcome: &'static str) {
        self.counter("gateway_job_runs_total", &[("job", job), ("outcome", outcome)]).increment(1);
        let has_lease = matches!(outcome, "done" | "cut_off");
        self.gauge("gateway_job_lease", &[("job", job)]).set(f64::from(u8::from(has_lease)));
    }

    pub(crate) fn job_took(&self, job: &'static str, seconds: f64) {
        self.histogram("gateway_job_seconds", ("job", job)).record(seconds);
    }

    /// The process itself.
    pub(crate) fn process(&self, uptime_ms: i64) {
        self.gauge("gateway_uptime_seconds", &[]).set(uptime_ms.max(0) as f64 / 1000.0);
        self.gauge("gateway_build_info", &[("version", env!("CARGO_PKG_VERSION"))]).set(1.0);
    }

    fn counter(&self, name: &'static str, labels: &[(&'static str, &'static str)]) -> Counter {
        self.register_counter(name, fixed(labels))
    }

    fn register_counter(&self, name: &'static str, labels: Vec<Label>) -> Counter {
        self.recorder.register_counter(&Key::from_parts(name, labels), &METADATA)
    }

    fn gauge(&self, name: &'static str, labels: &[(&'static str, &'static str)]) -> Gauge {
        self.recorder.register_gauge(&Key::from_parts(name, fixed(labels)), &METADATA)
    }

    fn histogram(&self, name: &'static str, label: (&'static str, &'static str)) -> Histogram {
        self.recorder.register_histogram(&Key::from_parts(name, fixed(&[label])), &METADATA)
    }
}

impl Default for Meters {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meters")
    }
}

fn fixed(labels: &[(&'static str, &'static str)]) -> Vec<Label> {
    labels.iter().map(|(name, value)| Label::from_static_parts(name, value)).collect()
}

/// Exact up to 2^53.
fn float(count: u64) -> f64 {
    count as f64
}
