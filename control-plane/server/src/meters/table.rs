//! Every metric of a control plane. What is not in here cannot be told: the lines `HELP` and `TYPE` come from it, docs/metrics.md is
//! made of it, and a test fails for a row that nothing moves.

use gateway_wire::metric::{Kind, Metric};
use metrics::{Recorder as _, Unit};
use metrics_exporter_prometheus::PrometheusRecorder;

const CLASS: &[&str] = &["class"];
const POOL: &[&str] = &["pool"];

/// All of them, in the order of docs/metrics.md.
#[rustfmt::skip]
pub const METRICS: &[Metric] = &[
    Metric::counter("gateway_admin_requests_total", &["method", "status"], "answered requests to the admin listener"),
    Metric::histogram("gateway_admin_request_seconds", &["method"], "time to answer a request to the admin listener"),
    Metric::counter("gateway_sign_ins_total", &["with", "outcome"], "tries to sign in, with the master key (`key`), a `password` or an identity provider (`oidc`); `ok`, or the code of the refusal"),
    Metric::counter("gateway_config_changes_total", &["outcome"], "changes of the configuration: `applied`, `unchanged`, `dry_run` or `refused`"),
    Metric::counter("gateway_audit_events_total", &[], "entries of the audit log, whichever replica wrote them"),
    Metric::gauge("gateway_config_revision", CLASS, "newest revision in the database"),
    Metric::gauge("gateway_config_published_revision", CLASS, "newest revision that this replica sends to nodes; lower than that in the database for as long as it has not heard of it"),
    Metric::gauge("gateway_config_lag_revisions", CLASS, "revisions that the connected node which is furthest behind has yet to take"),
    Metric::counter("gateway_config_published_total", CLASS, "times that this replica had something new for nodes; changes that come together count once"),
    Metric::counter("gateway_config_sent_total", &["class", "form"], "changes (`delta`) and whole snapshots sent to nodes"),
    Metric::histogram("gateway_config_apply_seconds", CLASS, "from the first thing sent to a node to its word that it serves by it"),
    Metric::counter("gateway_config_nacks_total", CLASS, "revisions that a node refused"),
    Metric::gauge("gateway_nodes_connected", &[], "nodes with an open channel"),
    Metric::gauge("gateway_nodes", &["state"], "nodes that this replica speaks with or has spoken with in the last hour: `current`, `behind`, `refusing` what is new, `away`"),
    Metric::gauge("gateway_replicas", &[], "control planes on this database; told with a fleet listener only"),
    Metric::counter("gateway_ingest_batches_total", &["class", "outcome"], "batches from nodes: `stored`, `failed` for want of the database (they come again), `invalid`"),
    Metric::counter("gateway_ingested_total", CLASS, "records in batches that were stored"),
    Metric::counter("gateway_ingest_duplicates_total", CLASS, "those among them that had been stored before"),
    Metric::histogram("gateway_ingest_seconds", CLASS, "time to store a batch"),
    Metric::gauge("gateway_log_followers", &[], "who follows the log records as they come"),
    Metric::counter("gateway_alert_messages_total", &["outcome"], "messages about budgets: `taken` by their destination, or `failed`"),
    Metric::counter("gateway_export_calls_total", &["type", "outcome"], "batches of records sent to exporters: `taken`, `refused` for good, or to be sent `again`"),
    Metric::counter("gateway_exported_total", &["type", "outcome"], "records of those batches: `delivered`, or `failed` where they were refused"),
    Metric::gauge("gateway_export_behind_records", &["type"], "stored records that exporters of this type have not been sent yet, counted up to 100,000 of each; told by the replica that sends"),
    Metric::gauge("gateway_export_behind_age", &["type"], "seconds since the oldest of them was stored"),
    Metric::gauge("gateway_export_dropped_records", &["type"], "records that were deleted by age or number before the exporters that there are had been sent them"),
    Metric::gauge("gateway_database_connections", &["pool", "state"], "connections to the database that are `used` or `idle`, for writing and for reading"),
    Metric::gauge("gateway_database_connections_max", POOL, "as many there may be"),
    Metric::counter("gateway_database_errors_total", &["part", "kind"], "what could not be done for want of the database, by who wanted it"),
    Metric::counter("gateway_job_runs_total", &["job", "outcome"], "times that it was time for a job: `done`, `cut_off`, `elsewhere` where another replica has its lease, `failed`"),
    Metric::histogram("gateway_job_seconds", &["job"], "time that a job took"),
    Metric::gauge("gateway_job_lease", &["job"], "1 where this replica has the lease of a job"),
    Metric::gauge("gateway_uptime_seconds", &[], "time since the process began"),
    Metric::gauge("gateway_build_info", &["version"], "1; the label says which version this is"),
];

/// Tells the recorder all that it may be asked to record.
pub(super) fn describe(recorder: &PrometheusRecorder) {
    for Metric { name, kind, about, .. } in METRICS {
        let (name, about) = ((*name).into(), (*about).into());
        match kind {
            Kind::Counter => recorder.describe_counter(name, None, about),
            Kind::Gauge => recorder.describe_gauge(name, None, about),
            Kind::Histogram => recorder.describe_histogram(name, Some(Unit::Seconds), about),
        }
    }
}
