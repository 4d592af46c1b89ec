//! Spans of what is no plain request: what passes, sockets, the lines of batches, shadows.

use std::time::Duration;

use gateway_fake::reply::openai;
use gateway_fake::{Gate, Upstream};
use gateway_proxy::config::Otlp;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::json;

use super::{PARENT, TRACE, ask, attributes, collector, hex, spans_come};
use crate::gateway::{Gateway, KEY, read};
use crate::pass::{PLAIN, config};
use crate::{batches, realtime, sockets};

const INTERNAL: i32 = 1;
const SERVER: i32 = 2;
const CLIENT: i32 = 3;

/// A node that tells this collector of every trace.
async fn traced(yaml: &str, collector: &Upstream) -> Gateway {
    let otlp = Otlp { sample_ratio: 1.0, slow: Duration::from_secs(600), ..Otlp::new(collector.url()) };
    Gateway::start_with(yaml, |options| options.otlp = Some(otlp)).await
}

fn traceparent() -> String {
    format!("00-{TRACE}-{PARENT}-01")
}

/// What an upstream is told by a request with this span.
fn handed_on(span: &Span) -> String {
    format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id))
}

/// The span of this kind whose name begins so, and the one attempt below it.
fn pair<'s>(spans: &'s [Span], kind: i32, name: &str) -> (&'s Span, &'s Span) {
    let whole = spans.iter().find(|span| span.kind == kind && span.name.starts_with(name));
    let whole = whole.unwrap_or_else(|| panic!("no `{name}`: {spans:?}"));
    let attempt = spans.iter().find(|span| span.kind == CLIENT && span.parent_span_id == whole.span_id);
    let attempt = attempt.unwrap_or_else(|| panic!("no attempt of `{name}`: {spans:?}"));
    assert_eq!(attempt.trace_id, whole.trace_id);
    assert!(attempt.end_time_unix_nano <= whole.end_time_unix_nano);
    (whole, attempt)
}

#[tokio::test]
async fn what_passes_has_spans() {
    let (upstream, collector) = (Upstream::start().await, collector(&[]).await);
    upstream.respond_with(|received| openai::answer(received, "one two three"));
    let gateway = traced(&config("openai", &format!("{}/v1", upstream.url()), ""), &collector).await;
    let body = json!({"model": "own-name", "messages": [{"role": "user", "content": "hi"}]});
    let request = gateway.post("/proxy/up/v1/chat/completions", &body).header("traceparent", traceparent());
    assert_eq!(read(request).await.status, 200);
    let spans = spans_come(&collector, 2).await;
    let (whole, attempt) = pair(&spans, SERVER, "POST pass");
    assert_eq!((hex(&whole.trace_id), hex(&whole.parent_span_id)), (TRACE.to_owned(), PARENT.to_owned()));
    assert_eq!(attempt.name, "chat own-name");
    let of = attributes(&attempt.attributes);
    assert_eq!((&of["gen_ai.provider.name"], &of["http.response.status_code"]), (&json!("up"), &json!(200)));
    assert_eq!(of["gen_ai.usage.output_tokens"], json!(3), "{of:?}");
    assert_eq!(upstream.request(0).await.header("traceparent"), Some(handed_on(whole).as_str()));
    gateway.stop().await;
}

#[tokio::test]
async fn sockets_that_pass_have_spans() {
    let ((listener, url), collector) = (realtime::upstream().await, collector(&[]).await);
    let gateway = traced(&config("openai", &url, ""), &collector).await;
    let more = format!("traceparent: {}\r\n", traceparent());
    let mut client = realtime::upgrade(&gateway, PLAIN, "/v1/realtime?model=m", &more).await;
    let (vendor, asked) = realtime::accepted(&listener).await;
    assert!(realtime::head(&mut client).await.starts_with("HTTP/1.1 101 "));
    drop((client, vendor));
    let spans = spans_come(&collector, 2).await;
    let (whole, attempt) = pair(&spans, SERVER, "GET pass");
    assert_eq!(hex(&whole.parent_span_id), PARENT);
    assert_eq!(attempt.name, "realtime own-name");
    assert_eq!(attributes(&attempt.attributes)["http.response.status_code"], json!(101));
    assert!(asked.contains(&handed_on(whole)), "{asked}");
    gateway.stop().await;
}

#[tokio::test]
async fn every_message_of_a_socket_has_spans() {
    let (upstream, collector) = (Upstream::start().await, collector(&[]).await);
    upstream.respond_with(|received| openai::answer(received, "hello"));
    let gateway = traced(&crate::gateway::openai_at(&upstream.url()), &collector).await;
    let handshake = traceparent();
    let mut client = sockets::connect(&gateway, KEY, &[("traceparent", &handshake)]).await.expect("a socket");
    for input in ["first", "second"] {
        client.said(input, None).await;
    }
    let spans = spans_come(&collector, 4).await;
    let messages: Vec<&Span> = spans.iter().filter(|span| span.kind == SERVER).collect();
    assert_eq!(messages.len(), 2, "{spans:?}");
    for (number, message) in messages.into_iter().enumerate() {
        assert_eq!((message.name.as_str(), hex(&message.parent_span_id)), ("GET /v1/responses", PARENT.to_owned()));
        assert!(spans.iter().any(|span| span.kind == CLIENT && span.parent_span_id == message.span_id));
        let sent = upstream.request(number).await;
        assert_eq!(sent.header("traceparent"), Some(handed_on(message).as_str()));
    }
    gateway.stop().await;
}

#[tokio::test]
async fn every_line_of_a_batch_has_spans() {
    let (upstream, collector) = (Upstream::start().await, collector(&[]).await);
    batches::echo(&upstream, &Gate::new());
    let gateway = traced(&config("anthropic", &upstream.url(), ""), &collector).await;
    let id = batches::made(&gateway, &[batches::line("a", "hello"), batches::line("b", "hello")], "24h").await;
    batches::when(&gateway, &id, "completed").await;
    let lines = crate::gateway::within("spans of both lines", || async {
        let mut spans = super::spans(&collector);
        spans.retain(|span| span.kind != SERVER);
        (spans.len() >= 4).then_some(spans)
    })
    .await;
    let (line, attempt) = pair(&lines, INTERNAL, "batch line /v1/chat/completions");
    assert!(line.parent_span_id.is_empty(), "nobody waits for it: {line:?}");
    assert_eq!(attempt.name, "chat own-name");
    let whole: Vec<&Span> = lines.iter().filter(|span| span.kind == INTERNAL).collect();
    assert!(whole.len() == 2 && whole[0].trace_id != whole[1].trace_id, "{whole:?}");
    let parents: Vec<_> =
        upstream.requests().iter().map(|sent| sent.header("traceparent").map(str::to_owned)).collect();
    assert!(whole.iter().all(|line| parents.contains(&Some(handed_on(line)))), "{parents:?}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_shadow_is_below_its_request() {
    let (upstream, collector) = (Upstream::start().await, collector(&[]).await);
    upstream.respond_with(|received| openai::answer(received, "hello"));
    let url = upstream.url();
    let yaml = format!(
        "providers:\n  - {{name: up, kind: openai-compatible, base_url: \"{url}/v1\", allow_private_networks: true}}\n\
         models:\n  - {{name: m, targets: [{{provider: up, model: own}}], shadow: {{model: challenger, percent: 100}}}}\n  \
         - {{name: challenger, targets: [{{provider: up, model: other}}]}}\nkeys:\n  - {{name: test, secret: {KEY}}}\n"
    );
    let gateway = traced(&yaml, &collector).await;
    assert_eq!(gateway.chat(&ask("m", false)).await.status, 200);
    let spans = spans_come(&collector, 4).await;
    let (request, _) = pair(&spans, SERVER, "POST /v1/chat/completions");
    let (shadow, attempt) = pair(&spans, INTERNAL, "shadow challenger");
    assert_eq!((&shadow.trace_id, &shadow.parent_span_id), (&request.trace_id, &request.span_id));
    assert_eq!(attempt.name, "chat other");
    let of = attributes(&shadow.attributes);
    assert_eq!(of["gateway.shadow_of"], attributes(&request.attributes)["gateway.request.id"]);
    let records = gateway.records(2).await;
    assert_eq!(records[0]["trace_id"], records[1]["trace_id"]);
    let sent = upstream.requests().into_iter().find(|sent| sent.json()["model"] == "other").expect("the shadow");
    assert_eq!(sent.header("traceparent"), Some(handed_on(shadow).as_str()));
    gateway.stop().await;
}
