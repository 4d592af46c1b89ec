//! The control plane's metrics. Labels are bounded: never a name that people choose.

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder as _, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

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
        for (name, about) in [
            ("gateway_admin_requests_total", "answered requests to the admin listener, by method and status"),
            ("gateway_config_changes_total", "changes of the configuration, by outcome"),
            ("gateway_ingested_total", "records taken from nodes, by class"),
            ("gateway_config_nacks_total", "revisions that a node refused, by class"),
            ("gateway_config_sent_total", "changes and whole snapshots sent to nodes, by class and form"),
        ] {
            recorder.describe_counter(name.into(), None, about.into());
        }
        for (name, about) in [
            ("gateway_config_revision", "newest revision, by class"),
            ("gateway_nodes_connected", "nodes with an open channel"),
        ] {
            recorder.describe_gauge(name.into(), None, about.into());
        }
        let about = "time to answer a request to the admin listener, by method";
        recorder.describe_histogram("gateway_admin_request_seconds".into(), Some(Unit::Seconds), about.into());
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
        self.counter("gateway_admin_requests_total", labels).increment(1);
        let labels = vec![Label::from_static_parts("method", method)];
        self.histogram("gateway_admin_request_seconds", labels).record(seconds);
    }

    /// `outcome`: `applied`, `unchanged`, `dry_run` or `refused`.
    pub(crate) fn config_change(&self, outcome: &'static str) {
        self.counter("gateway_config_changes_total", vec![Label::from_static_parts("outcome", outcome)]).increment(1);
    }

    pub(crate) fn revision(&self, class: &'static str, revision: u64) {
        // Exact up to 2^53.
        self.gauge("gateway_config_revision", vec![Label::from_static_parts("class", class)]).set(revision as f64);
    }

    /// A node refused a revision of this class.
    pub(crate) fn config_nack(&self, class: &'static str) {
        self.counter("gateway_config_nacks_total", vec![Label::from_static_parts("class", class)]).increment(1);
    }

    /// `form`: `delta` or `snapshot`.
    pub(crate) fn config_sent(&self, class: &'static str, form: &'static str) {
        let labels = vec![Label::from_static_parts("class", class), Label::from_static_parts("form", form)];
        self.counter("gateway_config_sent_total", labels).increment(1);
    }

    pub(crate) fn nodes_connected(&self, n_nodes: usize) {
        self.gauge("gateway_nodes_connected", Vec::new()).set(n_nodes as f64);
    }

    /// Records of a class were taken from a node.
    pub(crate) fn ingested(&self, class: &'static str, n_records: usize) {
        let labels = vec![Label::from_static_parts("class", class)];
        self.counter("gateway_ingested_total", labels).increment(n_records as u64);
    }

    fn counter(&self, name: &'static str, labels: Vec<Label>) -> Counter {
        self.recorder.register_counter(&Key::from_parts(name, labels), &METADATA)
    }

    fn gauge(&self, name: &'static str, labels: Vec<Label>) -> Gauge {
        self.recorder.register_gauge(&Key::from_parts(name, labels), &METADATA)
    }

    fn histogram(&self, name: &'static str, labels: Vec<Label>) -> Histogram {
        self.recorder.register_histogram(&Key::from_parts(name, labels), &METADATA)
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
