//! Every metric of a node. What is not in here cannot be told: the lines `HELP` and `TYPE` come from it, docs/metrics.md is made of
//! it, and a test fails for a row that nothing moves.
//!
//! Names of models stand in labels only where the configuration names them; what clients choose is counted in `/statsz`, which has
//! a bound of its own.

use gateway_wire::metric::{Kind, Metric};
use metrics::Recorder as _;
use metrics_exporter_prometheus::PrometheusRecorder;

const PROVIDER: &[&str] = &["provider"];
const ARM: &[&str] = &["experiment", "variant"];

/// All of them, in the order of docs/metrics.md.
#[rustfmt::skip]
pub const METRICS: &[Metric] = &[
    Metric::counter("gateway_requests_total", &["dialect", "provider", "status", "ending"], "requests answered"),
    Metric::gauge("gateway_requests_in_flight", &[], "requests being served now"),
    Metric::gauge("gateway_streams_open", &[], "replies that are being streamed now"),
    Metric::histogram("gateway_request_duration_seconds", PROVIDER, "from arrival to the last byte of the reply"),
    Metric::histogram("gateway_overhead_seconds", PROVIDER, "duration without the time spent waiting for upstreams"),
    Metric::histogram("gateway_time_to_first_byte_seconds", PROVIDER, "from arrival to the head of the upstream's reply"),
    Metric::histogram("gateway_time_to_first_token_seconds", PROVIDER, "from arrival to the first content of a streamed reply"),
    Metric::histogram("gateway_inter_token_seconds", PROVIDER, "mean time from one token of a streamed reply to the next"),
    Metric::histogram("gateway_queue_seconds", PROVIDER, "time spent waiting for a place at a provider that takes only so many at once, of requests that waited"),
    Metric::histogram("gateway_upstream_duration_seconds", &["provider", "operation", "outcome"], "from an attempt's beginning to its end, which is that of the reply for the one that answers"),
    Metric::histogram("gateway_request_tokens", &["provider", "operation", "type"], "tokens of one request: `input`, what caches had among it, and `output`"),
    Metric::counter("gateway_tokens_total", &["provider", "class"], "tokens used"),
    Metric::counter("gateway_cost_nano_usd_total", PROVIDER, "cost in billionths of a US dollar"),
    Metric::counter("gateway_unpriced_requests_total", PROVIDER, "requests whose cost nobody knows"),
    Metric::counter("gateway_failures_total", &["code"], "requests that ended with a failure, refused ones among them: limits, budgets, permissions, upstreams"),
    Metric::counter("gateway_foreign_tokens_refused_total", &["issuer", "code"], "requests with a token of another system that were refused for it, by whoever speaks for it (`jwt`, `introspection`): `token_unverified` where its keys, or it, could not be asked"),
    Metric::counter("gateway_key_set_fetches_total", &["issuer", "outcome"], "key sets of systems that sign tokens: `fetched` or `failed`"),
    Metric::counter("gateway_upstream_attempts_total", &["provider", "outcome"], "attempts at upstreams"),
    Metric::counter("gateway_retries_total", &["provider", "kind"], "attempts after a request's first: `retry` at the same target, `fallback` at another, `hedge` beside one that has not answered, `continuation` of a stream that broke off"),
    Metric::counter("gateway_passed_over_total", &["provider", "reason"], "targets that were not asked although it was their turn"),
    Metric::gauge("gateway_breaker_state", &["provider", "model", "key"], "0 closed, 1 half open, 2 open; by provider and upstream model, and by key of several"),
    Metric::gauge("gateway_probe_up", PROVIDER, "1 where the last probe of a provider went well"),
    Metric::gauge("gateway_provider_concurrency", &["provider", "what"], "requests at a provider that takes only so many at once: its limit, under way, waiting"),
    Metric::gauge("gateway_upstream_limit", &["provider", "key", "kind"], "what an upstream may be asked for per minute; by provider, and by key of several"),
    Metric::gauge("gateway_upstream_limit_remaining", &["provider", "key", "kind"], "what is left of it now"),
    Metric::counter("gateway_stream_breaches_total", &["provider", "rule"], "rules of event streams that upstreams broke"),
    Metric::counter("gateway_continuations_total", &["outcome"], "streams that broke off under a continuation policy"),
    Metric::counter("gateway_experiment_requests_total", &["experiment", "variant", "outcome"], "requests that a variant was given"),
    Metric::histogram("gateway_experiment_duration_seconds", ARM, "from their arrival to the last byte of the reply"),
    Metric::counter("gateway_experiment_cost_nano_usd_total", ARM, "their cost in billionths of a US dollar"),
    Metric::counter("gateway_shadow_requests_total", &["model", "outcome"], "requests that a challenger was given too"),
    Metric::histogram("gateway_shadow_duration_seconds", &["model"], "from a shadow's beginning to its last byte"),
    Metric::counter("gateway_shadow_cost_nano_usd_total", &["model"], "their cost in billionths of a US dollar, which is charged to nobody"),
    Metric::counter("gateway_cache_hits_total", &[], "requests that were given a reply that was there"),
    Metric::counter("gateway_cache_misses_total", &[], "requests that might have been, and made the reply"),
    Metric::counter("gateway_cache_bypassed_total", &[], "requests whose client wanted a fresh answer"),
    Metric::counter("gateway_cache_coalesced_total", &[], "hits that waited for the reply while another request made it"),
    Metric::counter("gateway_cache_stored_total", &[], "replies that were kept"),
    Metric::counter("gateway_cache_unfit_total", &[], "replies that were not kept: too large, or no answer"),
    Metric::counter("gateway_cache_evicted_total", &[], "replies that gave way to others"),
    Metric::counter("gateway_cache_expired_total", &[], "replies whose time was over"),
    Metric::counter("gateway_cache_saved_nano_usd_total", &[], "what hits would have cost, in billionths of a US dollar"),
    Metric::gauge("gateway_cache_entries", &[], "replies that are kept"),
    Metric::gauge("gateway_cache_bytes", &[], "their size in memory"),
    Metric::gauge("gateway_limits_shared_by", &[], "nodes that share rates and places"),
    Metric::gauge("gateway_limit_parts", &["rule"], "users, keys and others that a limit with `per` tells apart on this node; of more than 100,000 those beyond share one"),
    Metric::gauge("gateway_limit_store_away", &[], "1 while the store of limits does not answer and `when_away` holds"),
    Metric::gauge("gateway_budgets", &[], "budgets that this node has been asked for"),
    Metric::gauge("gateway_budget_open_requests", &[], "requests that have money reserved"),
    Metric::gauge("gateway_budget_spent_nano_usd", &[], "what requests of this node have spent of budgets, in billionths of a US dollar"),
    Metric::gauge("gateway_budget_held_nano_usd", &[], "what this node may still spend without asking, in billionths of a US dollar"),
    Metric::gauge("gateway_config_revision", &[], "the revision of topology that serves"),
    Metric::gauge("gateway_config_stale_seconds", &[], "time since a control plane confirmed what serves"),
    Metric::gauge("gateway_config_unkept", &[], "1 while the disk does not take the configuration"),
    Metric::counter("gateway_config_drift_total", &[], "times that what serves was not what its revision says"),
    Metric::counter("gateway_config_damaged_files_total", &[], "files of the configuration on disk that could not be used"),
    Metric::counter("gateway_config_quarantined_total", &[], "keys that could not be read and are denied"),
    Metric::gauge("gateway_usage_spool_bytes", &[], "size of the usage spool on disk"),
    Metric::gauge("gateway_usage_pending", &[], "usage events that the control plane has not acknowledged"),
    Metric::counter("gateway_usage_dropped_total", &[], "usage events that the spool could not keep"),
    Metric::gauge("gateway_log_records_pending", &[], "log records that wait for the control plane"),
    Metric::counter("gateway_log_records_dropped_total", &[], "log records that reached no sink"),
    Metric::gauge("gateway_log_bodies_pending", &[], "bodies of requests that wait for the control plane"),
    Metric::counter("gateway_log_bodies_dropped_total", &[], "bodies of requests that were to be kept and could not be"),
    Metric::counter("gateway_receipts_lost_total", &[], "receipts that could not be written"),
    Metric::counter("gateway_spans_total", &["outcome"], "requests whose spans an OTLP collector has taken (`exported`), or that it got none of (`dropped`)"),
    Metric::gauge("gateway_warnings", &[], "what is amiss and stops nothing; `/ready` has the words"),
    Metric::gauge("gateway_uptime_seconds", &[], "time since the process began"),
    Metric::gauge("gateway_build_info", &["version"], "1; the label says which version this is"),
    Metric::gauge("gateway_runtime_tasks", &["runtime"], "tasks that are not over, by runtime: one per worker, and the one behind them"),
    Metric::counter("gateway_runtime_busy_seconds_total", &["runtime"], "time that a runtime's threads were not waiting"),
    Metric::counter("process_cpu_seconds_total", &[], "time on processors, the kernel's for this process included"),
    Metric::gauge("process_resident_memory_bytes", &[], "memory that is not swapped out"),
    Metric::gauge("process_open_fds", &[], "open files and sockets"),
    Metric::gauge("process_start_time_seconds", &[], "when the process began, in seconds since 1970"),
];

/// The row of this name.
///
/// # Panics
/// Where there is none, which the first scrape of any test shows.
pub(crate) fn row(name: &str) -> &'static Metric {
    METRICS
        .iter()
        .find(|metric| metric.name == name)
        .unwrap_or_else(|| panic!("`{name}` is not in the table of metrics"))
}

/// Tells the recorder all that it may be asked to record.
pub(super) fn describe(recorder: &PrometheusRecorder) {
    for Metric { name, kind, about, .. } in METRICS {
        let (name, about) = ((*name).into(), (*about).into());
        match kind {
            Kind::Counter => recorder.describe_counter(name, None, about),
            Kind::Gauge => recorder.describe_gauge(name, None, about),
            // They are told beside what the recorder does.
            Kind::Histogram => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use gateway_wire::v1::SpoolState;

    use crate::meters::Meters;

    /// It takes tens of thousands of requests to lose one; what is lost is told all the same.
    #[test]
    fn what_was_lost_is_told() {
        let meters = Meters::new();
        meters.spool(&SpoolState { usage_dropped: 3, logs_dropped: 4, bodies_dropped: 5, ..SpoolState::default() });
        let text = meters.render();
        for line in [
            "gateway_usage_dropped_total 3",
            "gateway_log_records_dropped_total 4",
            "gateway_log_bodies_dropped_total 5",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}: {text}");
        }
    }
}
