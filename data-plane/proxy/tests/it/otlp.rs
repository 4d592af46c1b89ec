//! Traces and metrics as a collector gets them, read with the official definitions of OTLP.

mod behind;

use std::collections::BTreeMap;
use std::time::Duration;

use gateway_fake::reply::openai;
use gateway_fake::{Script, Upstream};
use gateway_model::secret::Secret;
use gateway_proxy::config::Otlp;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{HistogramDataPoint, Metric, number_data_point};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::{Value, json};

use crate::gateway::{Gateway, KEY, client, read, within};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A collector that takes everything, once it has answered with these.
async fn collector(first: &[u16]) -> Upstream {
    let collector = Upstream::start().await;
    first.iter().for_each(|status| collector.push(Script::json(*status, &json!({}))));
    collector.respond_with(|_| Script::text(200, "application/x-protobuf", ""));
    collector
}

/// A node that tells the collector of this part of its traces; model `m` is well, `ill` is not, `again` tries one and the other.
async fn node(collector: &Upstream, sample_ratio: f64) -> (Upstream, Gateway) {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| match received.json()["model"].as_str() {
        Some("well") => openai::answer(received, "one two three"),
        _ => Script::json(500, &openai::error("server_error", "out of order")),
    });
    let url = upstream.url();
    let yaml = format!(
        "providers:\n  - {{name: up, kind: openai-compatible, base_url: \"{url}/v1\", allow_private_networks: true, \
         retry: {{max_attempts: 2}}, breaker: {{enabled: false}}}}\nmodels:\n  \
         - {{name: m, targets: [{{provider: up, model: well}}]}}\n  - {{name: ill, targets: [{{provider: up, model: ill}}]}}\n  \
         - {{name: again, strategy: priority, targets: [{{provider: up, model: ill}}, {{provider: up, model: well}}]}}\n\
         keys:\n  - {{name: test, secret: {KEY}}}\n"
    );
    let otlp = Otlp {
        headers: Some(Secret::new("x-tenant=one, authorization=Bearer collector-key")),
        sample_ratio,
        slow: Duration::from_secs(600),
        metrics_every: Duration::from_millis(300),
        service_name: "edge".to_owned(),
        ..Otlp::new(collector.url())
    };
    (upstream, Gateway::start_with(&yaml, |options| options.otlp = Some(otlp)).await)
}

fn ask(model: &str, stream: bool) -> Value {
    json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": "a secret of the prompt"}]})
}

/// All spans so far, by way of whoever was answered with 200, or anything.
fn spans(collector: &Upstream) -> Vec<Span> {
    let sent = collector.requests().into_iter().filter(|request| request.target == "/v1/traces");
    let requests = sent.map(|request| ExportTraceServiceRequest::decode(request.body).expect("OTLP"));
    let scopes = requests.flat_map(|request| request.resource_spans).flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

async fn spans_come(collector: &Upstream, n: usize) -> Vec<Span> {
    within("spans", || async { Some(spans(collector)).filter(|spans| spans.len() >= n) }).await
}

fn attributes(given: &[KeyValue]) -> BTreeMap<&str, Value> {
    let value = |pair: &KeyValue| match pair.value.clone()?.value? {
        Any::StringValue(text) => Some(json!(text)),
        Any::IntValue(number) => Some(json!(number)),
        Any::DoubleValue(number) => Some(json!(number)),
        Any::BoolValue(is_so) => Some(json!(is_so)),
        _ => None,
    };
    given.iter().map(|pair| (pair.key.as_str(), value(pair).expect("a value"))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The last that was sent of this name.
fn metric(collector: &Upstream, name: &str) -> Option<Metric> {
    let sent = collector.requests().into_iter().rfind(|request| request.target == "/v1/metrics")?;
    let request = ExportMetricsServiceRequest::decode(sent.body).expect("OTLP");
    let scopes = request.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
    scopes.flat_map(|scope| scope.metrics).find(|metric| metric.name == name)
}

#[tokio::test]
async fn otlp_traces_and_metrics() {
    let collector = collector(&[]).await;
    let (upstream, gateway) = node(&collector, 0.0).await;
    let request = gateway.post("/v1/chat/completions", &ask("again", true));
    let request = request.header("traceparent", format!("00-{TRACE}-{PARENT}-01")).header("tracestate", "a=b");
    assert_eq!(read(request).await.status, 200);
    let spans = spans_come(&collector, 3).await;
    let [server, first, second] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!((hex(&server.trace_id), hex(&server.parent_span_id)), (TRACE.to_owned(), PARENT.to_owned()));
    assert_eq!((server.kind, server.name.as_str(), &server.status), (2, "POST /v1/chat/completions", &None));
    let of = attributes(&server.attributes);
    let record = gateway.records(1).await.remove(0);
    assert_eq!(
        (&of["http.response.status_code"], &of["gen_ai.request.model"]),
        (&json!(200), &json!("again")),
        "{of:?}"
    );
    assert_eq!((&of["gateway.request.id"], &record["trace_id"]), (&record["id"], &json!(TRACE)));
    for client in [first, second] {
        assert_eq!((&client.trace_id, &client.parent_span_id, client.kind), (&server.trace_id, &server.span_id, 3));
        assert!(client.start_time_unix_nano >= server.start_time_unix_nano);
        assert!(
            client.end_time_unix_nano <= server.end_time_unix_nano
                && client.end_time_unix_nano >= client.start_time_unix_nano
        );
    }
    assert_ne!(first.span_id, second.span_id);
    let (ill, well) = (attributes(&first.attributes), attributes(&second.attributes));
    assert_eq!((first.name.as_str(), second.name.as_str()), ("chat ill", "chat well"));
    assert_eq!((first.status.as_ref().map(|status| status.code), &second.status), (Some(2), &None));
    assert_eq!(ill["error.type"], record["attempts"][0]["error_code"]);
    assert_eq!((&ill["http.response.status_code"], &record["attempts"][0]["status"]), (&json!(500), &json!(500)));
    for (name, expected) in [
        ("gen_ai.operation.name", json!("chat")),
        ("gen_ai.provider.name", json!("up")),
        ("gen_ai.request.model", json!("well")),
        ("gen_ai.usage.input_tokens", record["tokens"]["input"].clone()),
        ("gen_ai.usage.output_tokens", record["tokens"]["output"].clone()),
    ] {
        assert_eq!(well[name], expected, "{name}");
    }
    assert!(well["gen_ai.response.time_to_first_chunk"].as_f64() > Some(0.0), "{well:?}");
    // Whoever is asked behind us is told of the same trace, and of our part in it.
    let sent = upstream.requests();
    let handed_on = format!("00-{TRACE}-{}-01", hex(&server.span_id));
    assert_eq!((sent[0].header("traceparent"), sent[0].header("tracestate")), (Some(handed_on.as_str()), Some("a=b")));

    let requests = within("metrics", || async { metric(&collector, "gateway_spans_total") }).await;
    let Some(Data::Sum(sum)) = requests.data else { panic!("{requests:?}") };
    assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
    assert_eq!(sum.data_points[0].value, Some(number_data_point::Value::AsDouble(1.0)));
    let first = metric(&collector, "gen_ai.server.time_to_first_token").expect("it is among them");
    let Some(Data::Histogram(histogram)) = first.data else { panic!("{first:?}") };
    let point = &histogram.data_points[0];
    assert_eq!((point.count, point.bucket_counts.iter().sum::<u64>()), (1, 1));
    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
    assert_eq!(
        (attributes(&point.attributes)["gen_ai.provider.name"].clone(), first.unit.as_str()),
        (json!("up"), "s")
    );
    conventional_metrics(&collector, &record["tokens"]);
    for sent in collector.requests() {
        assert_eq!(
            (sent.header("x-tenant"), sent.header("authorization")),
            (Some("one"), Some("Bearer collector-key"))
        );
        assert_eq!(sent.header("content-type"), Some("application/x-protobuf"));
        let text = String::from_utf8_lossy(&sent.body);
        assert!(!text.contains("secret of the prompt") && !text.contains(KEY) && text.contains("edge"), "{text}");
    }
    gateway.stop().await;
}

/// Of one request with two attempts.
fn conventional_metrics(collector: &Upstream, tokens: &Value) {
    let points = |name: &str| {
        let metric = metric(collector, name).unwrap_or_else(|| panic!("`{name}` is among them"));
        let Some(Data::Histogram(histogram)) = metric.data else { panic!("{name}") };
        (metric.unit, histogram.data_points)
    };
    let (unit, durations) = points("gen_ai.client.operation.duration");
    let errors: Vec<_> =
        durations.iter().map(|point| attributes(&point.attributes).get("error.type").cloned()).collect();
    assert_eq!((unit.as_str(), durations.len()), ("s", 2), "{durations:?}");
    assert!(errors.contains(&None) && errors.contains(&Some(json!("upstream_error"))), "{errors:?}");
    let (unit, used) = points("gen_ai.client.token.usage");
    assert_eq!(unit, "{token}");
    for (kind, expected) in [("input", &tokens["input"]), ("output", &tokens["output"])] {
        let of = |point: &&HistogramDataPoint| attributes(&point.attributes)["gen_ai.token.type"] == kind;
        let point = used.iter().find(of).expect(kind);
        assert_eq!((point.count, point.sum), (1, expected.as_f64()), "{kind}");
        assert_eq!(point.explicit_bounds[..3], [1.0, 4.0, 16.0]);
        let of = attributes(&point.attributes);
        assert_eq!((&of["gen_ai.operation.name"], &of["gen_ai.provider.name"]), (&json!("chat"), &json!("up")));
    }
}

#[tokio::test]
async fn failures_are_told_of_whatever_the_ratio_and_a_parent_that_says_no_is_heeded() {
    let collector = collector(&[]).await;
    let (upstream, gateway) = node(&collector, 0.0).await;
    assert_eq!(gateway.chat(&ask("m", false)).await.status, 200);
    assert_eq!(gateway.chat(&ask("ill", false)).await.status / 100, 5);
    let no = format!("00-{TRACE}-{PARENT}-00");
    let request = gateway.post("/v1/chat/completions", &ask("ill", false)).header("traceparent", &no);
    assert_eq!(read(request).await.status / 100, 5);
    let n_asked = upstream.requests().len();
    assert_eq!(upstream.requests()[n_asked - 1].header("traceparent"), Some(no.as_str()), "it goes on as it came");
    gateway.stop().await;
    // What waited when the node stopped has been sent.
    let spans = spans(&collector);
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["POST /v1/chat/completions", "chat ill", "chat ill"], "the one failure that nobody forbids");
    assert_eq!(spans[0].status.as_ref().map(|status| status.code), Some(2));
    assert!(spans[0].parent_span_id.is_empty() && hex(&spans[0].trace_id) != TRACE);
}

#[tokio::test]
async fn a_collector_that_is_ill_holds_nobody_up() {
    for (first, outcome) in [(&[503, 429][..], "exported"), (&[400], "dropped")] {
        let collector = Upstream::start().await;
        let answers = std::sync::Mutex::new(first.to_vec());
        collector.respond_with(move |received| {
            let mut answers = answers.lock().expect("no panic");
            let is_first = received.target == "/v1/traces" && !answers.is_empty();
            let status = if is_first { answers.remove(0) } else { 200 };
            Script::text(status, "application/x-protobuf", "")
        });
        let (_upstream, gateway) = node(&collector, 1.0).await;
        assert_eq!(gateway.chat(&ask("m", false)).await.status, 200);
        let line = format!("gateway_spans_total{{outcome=\"{outcome}\"}} 1");
        within(&line, || async {
            let text = read(client().get(gateway.url("/metrics"))).await.text;
            text.contains(&line).then_some(())
        })
        .await;
        assert_eq!(gateway.chat(&ask("m", false)).await.status, 200);
        gateway.stop().await;
        let n_tries = collector.requests().iter().filter(|request| request.target == "/v1/traces").count();
        assert_eq!(n_tries, first.len() + if outcome == "exported" { 2 } else { 1 }, "{outcome}");
    }
}

/// A collector that is not there costs its spans, not the stop.
#[tokio::test]
async fn a_stop_waits_for_no_collector() {
    let collector = collector(&[]).await;
    collector.respond_with(|_| Script::new().hang());
    let (_upstream, gateway) = node(&collector, 1.0).await;
    assert_eq!(gateway.chat(&ask("m", false)).await.status, 200);
    let stopped = tokio::time::timeout(Duration::from_secs(30), gateway.stop()).await;
    assert!(stopped.is_ok(), "it ends");
}
