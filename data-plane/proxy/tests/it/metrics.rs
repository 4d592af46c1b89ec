//! What is declared is told, what is told is declared, and all of it moves: the table of metrics against nodes with traffic and faults.

mod compat;
mod faults;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use gateway_fake::Upstream;
use gateway_fake::reply::openai;
use gateway_proxy::meters::METRICS;
use gateway_proxy::meters::compat::{self as told_as, Dialect};
use gateway_testing::promtool;
use gateway_wire::metric::{self, Kind, Metric};
use serde_json::json;

use crate::gateway::{Gateway, client, openai_at, read, within};

/// What no traffic of a test can bring about, because it takes more requests than a test has time for: what a spool of 256 MiB and a
/// ring of thousands of records could not keep. Their ways into the exposition are tested in `meters`, their counts in `telemetry`.
const TOLD_ELSEWHERE: [&str; 3] =
    ["gateway_usage_dropped_total", "gateway_log_records_dropped_total", "gateway_log_bodies_dropped_total"];

pub(crate) async fn scrape(gateway: &Gateway) -> String {
    read(client().get(gateway.url("/metrics"))).await.text
}

/// The declared family that a series belongs to.
fn family(series: &str) -> &'static Metric {
    let name = series.split('{').next().unwrap_or_default();
    let of = |name: &str| METRICS.iter().find(|metric| metric.name == name);
    let parts = ["_bucket", "_sum", "_count"].iter().filter_map(|end| of(name.strip_suffix(end)?));
    let histogram = parts.into_iter().find(|metric| metric.kind == Kind::Histogram);
    of(name).or(histogram).unwrap_or_else(|| panic!("`{name}` is told and not declared"))
}

fn samples(text: &str) -> impl Iterator<Item = (&str, f64)> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        (series, value.parse().expect("a number"))
    })
}

#[tokio::test]
async fn every_declared_metric_moves() {
    let mut moved = BTreeSet::new();
    for text in [traffic::scrapes().await, Box::pin(faults::scrapes()).await].concat() {
        moved.extend(samples(&text).filter(|(_, value)| *value > 0.0).map(|(series, _)| family(series).name));
    }
    let declared = METRICS.iter().map(|metric| metric.name);
    let still: Vec<_> = declared.filter(|name| !moved.contains(name) && !TOLD_ELSEWHERE.contains(name)).collect();
    assert!(still.is_empty(), "declared, and nothing moves them: {still:?}");
}

/// Labels are those that the table has, in every sample of a node that has done everything.
#[tokio::test]
async fn every_label_is_declared() {
    for text in traffic::scrapes().await {
        for (series, _) in samples(&text) {
            let metric = family(series);
            let labels = series.split_once('{').map_or("", |(_, labels)| labels.trim_end_matches('}'));
            for label in labels.split("\",").filter_map(|label| label.split("=\"").next()).filter(|l| !l.is_empty()) {
                let is_declared = metric.labels.contains(&label) || label == "le" && metric.kind == Kind::Histogram;
                assert!(is_declared, "`{label}` of {series}");
            }
        }
    }
}

/// Clients may ask for any model of a provider. However many names they think of, the exposition stays as it is.
#[tokio::test]
async fn a_flood_of_model_names_makes_no_series() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "hello"));
    let gateway = Gateway::start(&openai_at(&upstream.url())).await;
    let ask = async |model: String, expected: u16| {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
        assert_eq!(gateway.chat(&body).await.status, expected, "{model}");
    };
    let series = async || {
        let text = scrape(&gateway).await;
        let names: BTreeSet<String> = samples(&text).map(|(series, _)| series.to_owned()).collect();
        names
    };
    ask("up/first".to_owned(), 200).await;
    ask("unknown-first".to_owned(), 404).await;
    gateway.records(2).await;
    let before = series().await;
    for n in 0..300 {
        ask(format!("up/flood-{n}"), 200).await;
        ask(format!("unknown-{n}"), 404).await;
    }
    gateway.records(602).await;
    let after = series().await;
    // A duration may fall into a range that had none; ranges are the histograms' own, and told all at once.
    let new: Vec<_> = after.difference(&before).collect();
    assert!(new.is_empty(), "{new:?}");
    assert!(!after.iter().any(|series| series.contains("flood-")), "{after:?}");
    gateway.stop().await;
}

/// A chart leads to a trace: scrapers that take OpenMetrics are told of requests that are recorded elsewhere.
#[tokio::test]
async fn exemplars_name_the_trace() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "one two three"));
    let gateway = Gateway::start(&openai_at(&upstream.url())).await;
    let body = json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "hi"}]});
    let trace = |sampled: bool| {
        format!("00-{}-00f067aa0ba902b7-0{}", if sampled { SAMPLED } else { UNSAMPLED }, u8::from(sampled))
    };
    for sampled in [true, false] {
        let request = gateway.post("/v1/chat/completions", &body).header("traceparent", trace(sampled));
        assert_eq!(read(request.header("tracestate", "vendor=1")).await.status, 200);
    }
    let records = gateway.records(2).await;
    assert_eq!((&records[0]["trace_id"], &records[1]["trace_id"]), (&json!(SAMPLED), &json!(UNSAMPLED)));
    assert!(records[0]["first_token_us"].as_u64() > Some(0), "{}", records[0]);
    let sent = upstream.requests();
    let header = |name: &str| sent[0].header(name).map(str::to_owned);
    assert_eq!((header("traceparent"), header("tracestate")), (Some(trace(true)), Some("vendor=1".to_owned())));
    let wants = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    let answer = read(client().get(gateway.url("/metrics")).header("accept", wants)).await;
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text")));
    assert!(answer.text.ends_with("# EOF\n") && !answer.text.contains("\n\n"), "{}", answer.text);
    for family in [
        "gateway_request_duration_seconds",
        "gateway_overhead_seconds",
        "gateway_time_to_first_byte_seconds",
        "gateway_time_to_first_token_seconds",
        "gateway_inter_token_seconds",
    ] {
        let of = |line: &&str| {
            line.starts_with(&format!("{family}_bucket")) && line.contains(&format!("# {{trace_id=\"{SAMPLED}\"}} "))
        };
        assert_eq!(answer.text.lines().filter(of).count(), 1, "{family}: {}", answer.text);
    }
    assert!(!answer.text.contains(UNSAMPLED), "nobody has recorded it");
    assert!(answer.text.contains("# TYPE gateway_requests counter\n"), "{}", answer.text);
    let plain = scrape(&gateway).await;
    assert!(!plain.contains("trace_id") && plain.contains("# TYPE gateway_requests_total counter\n"));
    gateway.stop().await;
}

const SAMPLED: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const UNSAMPLED: &str = "4bf92f3577b34da6a3ce929d0e0e4737";

/// The row of the list of features: Prometheus' own tool finds nothing to say about a node that has done everything.
#[tokio::test]
async fn promtool_check_metrics() {
    for text in traffic::scrapes().await {
        promtool::check(&text);
        promtool::check(&told_as::of(&text, &Dialect::ALL));
    }
}

#[test]
fn docs_list_every_metric() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    gateway_testing::generated::section(&page, "nodes", &metric::page(METRICS));
}

#[test]
fn the_table_is_sound() {
    let names: BTreeMap<_, _> = METRICS.iter().map(|metric| (metric.name, metric)).collect();
    assert_eq!(names.len(), METRICS.len(), "a name is there twice");
    for Metric { name, kind, about, .. } in METRICS {
        assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
        assert_eq!(
            *kind == Kind::Histogram,
            name.ends_with("_request_tokens")
                || name.ends_with("_seconds")
                    && !name.contains("uptime")
                    && !name.contains("stale")
                    && !name.contains("start_time"),
            "{name}"
        );
        assert!(name.starts_with("gateway_") || name.starts_with("process_"), "{name}");
        assert!(!about.is_empty() && !about.contains('\n') && !about.contains('|'), "{name}");
    }
}

/// Waits until the sample of this series is more than nothing, and returns all that is told then.
pub(crate) async fn moved(gateway: &Gateway, series: &str) -> String {
    within(series, || async {
        let text = scrape(gateway).await;
        let is_moved = samples(&text).any(|(name, value)| name.starts_with(series) && value > 0.0);
        is_moved.then_some(text)
    })
    .await
}
