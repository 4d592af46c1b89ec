//! The names that other gateways give to what this one counts, for charts and alerts that were made with those: computed from the
//! exposition when somebody asks for them, so that nothing is counted twice. Labels that would name what clients choose are left out.

use std::collections::HashMap;
use std::fmt::Write as _;

use gateway_wire::metric::{Kind, Metric};

/// Whose names they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Lunargate,
    Nenya,
    GatewayLlm,
}

/// One name, and what it is made of.
pub struct Alias {
    pub dialect: Dialect,
    pub name: &'static str,
    pub kind: Kind,
    /// The metric of ours.
    pub of: &'static str,
    /// Those of its samples whose label has one of these values; all of them where none are named.
    only: (&'static str, &'static [&'static str]),
    /// Names of labels there, and where their values come from.
    pub labels: &'static [(&'static str, Take)],
    fold: Fold,
}

/// Where a label's value comes from.
#[derive(Clone, Copy, Debug)]
pub enum Take {
    /// Our label of this name.
    Label(&'static str),
    Fixed(&'static str),
    /// `2xx` of the label `status`.
    Class,
    /// `input` or `output` of the label `class`.
    Direction,
}

/// What becomes of several samples that have the same labels there.
#[derive(Clone, Copy, Debug)]
enum Fold {
    Sum,
    /// The sum of billionths.
    Nano,
    Max,
    /// 1 where one of them is 2.
    IsOpen,
}

const ALL: (&str, &[&str]) = ("", &[]);
/// What `gateway_upstream_attempts_total` says of an attempt that went well.
const OK: &str = "ok";
const TOKENS: (&str, &[&str]) = ("class", &["input", "cache_read", "cache_write", "output"]);
const STRANGERS: (&str, &[&str]) = ("code", &["missing_api_key", "invalid_api_key", "conflicting_credentials"]);
const PROVIDER: &[(&str, Take)] = &[("provider", Take::Label("provider"))];

const fn row(
    (dialect, name): (Dialect, &'static str),
    kind: Kind,
    (of, only): (&'static str, (&'static str, &'static [&'static str])),
    labels: &'static [(&'static str, Take)],
    fold: Fold,
) -> Alias {
    Alias { dialect, name, kind, of, only, labels, fold }
}

/// All of them; rows of one name stand together.
#[rustfmt::skip]
pub const ALIASES: &[Alias] = {
    use self::Dialect::{GatewayLlm as Gl, Lunargate as Lg, Nenya as Ny};
    use self::Fold::*;
    use self::Take::{Class, Direction, Fixed, Label};
    use gateway_wire::metric::Kind::{Counter, Gauge, Histogram};
    &[
        row((Lg, "ai_router_requests_total"), Counter, ("gateway_requests_total", ALL), &[("provider", Label("provider")), ("status_code", Label("status"))], Sum),
        row((Lg, "ai_router_request_duration_seconds"), Histogram, ("gateway_request_duration_seconds", ALL), PROVIDER, Sum),
        row((Lg, "ai_router_tokens_total"), Counter, ("gateway_tokens_total", TOKENS), &[("provider", Label("provider")), ("direction", Direction)], Sum),
        row((Lg, "ai_router_cache_hits_total"), Counter, ("gateway_cache_hits_total", ALL), &[("status", Fixed("hit"))], Sum),
        row((Lg, "ai_router_cache_hits_total"), Counter, ("gateway_cache_misses_total", ALL), &[("status", Fixed("miss"))], Sum),
        row((Lg, "ai_router_provider_errors_total"), Counter, ("gateway_upstream_attempts_total", ("outcome!", &[OK])), &[("provider", Label("provider")), ("error_type", Label("outcome"))], Sum),
        row((Lg, "ai_router_fallbacks_used_total"), Counter, ("gateway_retries_total", ("kind", &["fallback"])), &[], Sum),
        row((Lg, "ai_router_circuit_breaker_state"), Gauge, ("gateway_breaker_state", ALL), PROVIDER, Max),
        row((Lg, "ai_router_active_requests"), Gauge, ("gateway_requests_in_flight", ALL), &[], Sum),
        row((Gl, "gatewayllm_requests_total"), Counter, ("gateway_requests_total", ALL), &[("provider", Label("provider")), ("status", Class)], Sum),
        row((Gl, "gatewayllm_request_duration_seconds"), Histogram, ("gateway_request_duration_seconds", ALL), PROVIDER, Sum),
        row((Gl, "gatewayllm_tokens_total"), Counter, ("gateway_tokens_total", TOKENS), &[("provider", Label("provider")), ("kind", Direction)], Sum),
        row((Gl, "gatewayllm_cost_usd_total"), Counter, ("gateway_cost_nano_usd_total", ALL), PROVIDER, Nano),
        row((Gl, "gatewayllm_cache_hit_total"), Counter, ("gateway_cache_hits_total", ALL), &[("type", Fixed("exact"))], Sum),
        row((Gl, "gatewayllm_cache_miss_total"), Counter, ("gateway_cache_misses_total", ALL), &[("type", Fixed("exact"))], Sum),
        row((Gl, "gatewayllm_circuit_breaker_open"), Gauge, ("gateway_breaker_state", ALL), &[("deployment", Label("model")), ("provider", Label("provider"))], IsOpen),
        row((Ny, "nenya_http_requests_total"), Counter, ("gateway_requests_total", ALL), &[("status", Label("status"))], Sum),
        row((Ny, "nenya_http_request_duration_seconds"), Histogram, ("gateway_request_duration_seconds", ALL), &[], Sum),
        row((Ny, "nenya_gateway_processing_duration_seconds"), Histogram, ("gateway_overhead_seconds", ALL), &[], Sum),
        row((Ny, "nenya_inflight_requests"), Gauge, ("gateway_requests_in_flight", ALL), &[], Sum),
        row((Ny, "nenya_upstream_requests_total"), Counter, ("gateway_upstream_attempts_total", ALL), PROVIDER, Sum),
        row((Ny, "nenya_upstream_errors_total"), Counter, ("gateway_upstream_attempts_total", ("outcome!", &[OK])), &[("provider", Label("provider")), ("code", Label("outcome"))], Sum),
        row((Ny, "nenya_error_kind_total"), Counter, ("gateway_upstream_attempts_total", ("outcome!", &[OK])), &[("kind", Label("outcome")), ("provider", Label("provider"))], Sum),
        row((Ny, "nenya_upstream_request_duration_seconds"), Histogram, ("gateway_upstream_duration_seconds", ALL), PROVIDER, Sum),
        row((Ny, "nenya_retries_total"), Counter, ("gateway_retries_total", ALL), &[("operation", Label("kind")), ("provider", Label("provider"))], Sum),
        row((Ny, "nenya_cache_read_tokens_total"), Counter, ("gateway_tokens_total", ("class", &["cache_read"])), PROVIDER, Sum),
        row((Ny, "nenya_cache_creation_tokens_total"), Counter, ("gateway_tokens_total", ("class", &["cache_write"])), PROVIDER, Sum),
        row((Ny, "nenya_cache_miss_tokens_total"), Counter, ("gateway_tokens_total", ("class", &["input"])), PROVIDER, Sum),
        row((Ny, "nenya_ratelimit_rpm_available"), Gauge, ("gateway_upstream_limit_remaining", ("kind", &["rpm"])), &[("host", Label("provider"))], Sum),
        row((Ny, "nenya_ratelimit_tpm_available"), Gauge, ("gateway_upstream_limit_remaining", ("kind", &["tpm"])), &[("host", Label("provider"))], Sum),
        row((Ny, "nenya_cache_hit_total"), Counter, ("gateway_cache_hits_total", ALL), &[("type", Fixed("exact"))], Sum),
        row((Ny, "nenya_cache_miss_total"), Counter, ("gateway_cache_misses_total", ALL), &[("type", Fixed("exact"))], Sum),
        row((Ny, "nenya_auth_failure_total"), Counter, ("gateway_failures_total", STRANGERS), &[("type", Label("code"))], Sum),
        row((Ny, "nenya_uptime_seconds"), Gauge, ("gateway_uptime_seconds", ALL), &[], Sum),
        row((Ny, "nenya_build_info"), Gauge, ("gateway_build_info", ALL), &[("version", Label("version"))], Max),
        row((Ny, "nenya_go_goroutines"), Gauge, ("gateway_runtime_tasks", ALL), &[], Sum),
    ]
};

/// What of theirs is not told: what it counts is not there, or not counted apart.
#[rustfmt::skip]
pub const UNTOLD: &[(Dialect, &[&str])] = &[
    (Dialect::GatewayLlm, &["guardrail_block_total", "rate_limit_hit_total", "smart_route_decisions_total", "moat_requests_total", "moat_cost_usd_total", "moat_baseline_cost_usd_total", "moat_savings_usd_total", "moat_quality_score", "moat_judge_passes_total", "moat_routing_decisions_total"]),
    (Dialect::Nenya, &["panics_total", "tokens_estimated_total", "stream_blocked_total", "stream_stalled_total", "empty_stream_total", "stream_interrupts_total", "pipeline_redactions_total", "pipeline_compaction_applied_total", "pipeline_window_applied_total", "pipeline_interceptions_total", "interceptor_duration_seconds", "interceptor_applied_total", "interceptor_errors_total", "overflow_guard_triggers_total", "ollama_summarized_bytes_total", "context_limit_errors_total", "summarization_retries_total", "summarization_duration_seconds", "ratelimit_rejected_total", "agent_cooldowns_total", "agent_targets_exhausted_total", "agent_active_cooldowns", "backoff_increments_total", "session_active", "session_pin_changes_total", "cb_state", "cb_state_transitions_total", "cb_failures_total", "cb_successes_total", "account_selection_total", "billing_spend_usd", "billing_exhausted", "billing_utilization_ratio", "billing_quota_fetch_total", "billing_quota_fetch_errors_total", "billing_cost_limit_rejected_total", "billing_budget_limit_rejected_total", "semantic_cache_entries", "embedding_duration_seconds", "embedding_errors_total", "auth_success_total", "auth_denials_total", "mcp_tool_calls_total", "mcp_tool_call_duration_seconds", "mcp_auto_search_total", "mcp_auto_save_total", "mcp_loop_iterations_total", "mcp_loop_duration_seconds", "mcp_server_ready", "mcp_active_goroutines", "model_discovery_total", "ollama_enrichment_total", "ollama_enrichment_duration_seconds", "adapter_conversions_total", "secure_mem_init_failures_total", "secure_mem_seal_failures_total"]),
];

/// The dialects that a query asks for by `compat=lunargate,nenya`; an error is a word that is none.
pub(crate) fn asked(query: Option<&str>) -> Result<Vec<Dialect>, String> {
    let values = query.unwrap_or_default().split('&').filter_map(|pair| pair.strip_prefix("compat="));
    values
        .flat_map(|value| value.split(',').flat_map(|value| value.split("%2C")))
        .filter(|word| !word.is_empty())
        .map(|word| Dialect::ALL.into_iter().find(|dialect| dialect.name() == word).ok_or_else(|| word.to_owned()))
        .collect()
}

/// What these dialects make of an exposition of ours, in the same format.
pub fn of(text: &str, dialects: &[Dialect]) -> String {
    let mut samples: HashMap<&str, Vec<Sample<'_>>> = HashMap::new();
    for sample in text.lines().filter_map(Sample::of) {
        samples.entry(sample.name).or_default().push(sample);
    }
    let mut out = String::new();
    for family in ALIASES.chunk_by(|one, other| one.name == other.name) {
        let Alias { dialect, name, kind, of, .. } = family[0];
        if !dialects.contains(&dialect) {
            continue;
        }
        let lines: String = family.iter().map(|alias| alias.lines(&samples)).collect();
        if !lines.is_empty() {
            let about = format!("as `{of}`");
            let _ = writeln!(out, "# HELP {name} {about}\n# TYPE {name} {}\n{lines}", kind.name());
        }
    }
    out
}

/// The table of the documentation.
pub fn page() -> String {
    let mut page = "| metric | labels | made of |\n|---|---|---|\n".to_owned();
    for Alias { name, of, labels, .. } in ALIASES {
        let labels: Vec<String> = labels.iter().map(|(label, _)| format!("`{label}`")).collect();
        let _ = writeln!(page, "| `{name}` | {} | `{of}` |", labels.join(", "));
    }
    for (dialect, names) in UNTOLD {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(page, "\nNot told of `{}`: {}.", dialect.name(), names.join(", "));
    }
    page
}

/// A line of an exposition. Values of labels are as they stand there.
struct Sample<'t> {
    name: &'t str,
    labels: Vec<(&'t str, &'t str)>,
    value: f64,
}

// === impl Dialect ===

impl Dialect {
    pub const ALL: [Self; 3] = [Self::Lunargate, Self::Nenya, Self::GatewayLlm];

    pub fn name(self) -> &'static str {
        match self {
            Self::Lunargate => "lunargate",
            Self::Nenya => "nenya",
            Self::GatewayLlm => "gateway-llm",
        }
    }
}

// === impl Alias ===

impl Alias {
    /// Our own row.
    pub fn metric(&self) -> &'static Metric {
        super::row(self.of)
    }

    fn lines(&self, samples: &HashMap<&str, Vec<Sample<'_>>>) -> String {
        let ends: &[&str] = if self.kind == Kind::Histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
        let (mut order, mut values): (Vec<String>, HashMap<String, f64>) = (Vec::new(), HashMap::new());
        for end in ends {
            let ours = samples.get(format!("{}{end}", self.of).as_str()).into_iter().flatten();
            for sample in ours.filter(|sample| self.takes(sample)) {
                let series = self.series(end, sample);
                let value = values.entry(series.clone()).or_insert_with(|| {
                    order.push(series);
                    0.0
                });
                *value = match self.fold {
                    Fold::Sum => *value + sample.value,
                    Fold::Nano => *value + sample.value / 1e9,
                    Fold::Max => value.max(sample.value),
                    Fold::IsOpen => value.max(if sample.value >= 2.0 { 1.0 } else { 0.0 }),
                };
            }
        }
        order.iter().fold(String::new(), |mut lines, series| {
            let _ = writeln!(lines, "{series} {}", values[series]);
            lines
        })
    }

    fn takes(&self, sample: &Sample<'_>) -> bool {
        let (label, values) = self.only;
        match label.strip_suffix('!') {
            Some(label) => !values.contains(&sample.label(label)),
            None => values.is_empty() || values.contains(&sample.label(label)),
        }
    }

    fn series(&self, end: &str, sample: &Sample<'_>) -> String {
        let mut labels: Vec<String> =
            self.labels.iter().map(|(name, take)| format!("{name}=\"{}\"", take.value(sample))).collect();
        if end == "_bucket" {
            labels.push(format!("le=\"{}\"", sample.label("le")));
        }
        let name = self.name;
        if labels.is_empty() { format!("{name}{end}") } else { format!("{name}{end}{{{}}}", labels.join(",")) }
    }
}

// === impl Take ===

impl Take {
    fn value(self, sample: &Sample<'_>) -> String {
        match self {
            Self::Label(label) => sample.label(label).to_owned(),
            Self::Fixed(value) => value.to_owned(),
            Self::Class => format!("{}xx", sample.label("status").get(..1).unwrap_or("0")),
            Self::Direction => if sample.label("class") == "output" { "output" } else { "input" }.to_owned(),
        }
    }
}

// === impl Sample ===

impl<'t> Sample<'t> {
    fn of(line: &'t str) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        let (series, value) = line.rsplit_once(' ')?;
        let value = value.parse().ok()?;
        let Some((name, mut rest)) = series.split_once('{') else {
            return Some(Self { name: series, labels: Vec::new(), value });
        };
        let mut labels = Vec::new();
        while let Some((label, quoted)) = rest.split_once("=\"") {
            let mut is_escaped = false;
            let end = quoted.bytes().position(|byte| {
                let is_end = byte == b'"' && !is_escaped;
                is_escaped = byte == b'\\' && !is_escaped;
                is_end
            })?;
            labels.push((label.trim_start_matches(','), &quoted[..end]));
            rest = &quoted[end + 1..];
        }
        Some(Self { name, labels, value })
    }

    fn label(&self, name: &str) -> &'t str {
        self.labels.iter().find(|(label, _)| *label == name).map_or("", |(_, value)| value)
    }
}
