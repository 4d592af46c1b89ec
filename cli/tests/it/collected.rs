//! `up` with a collector of traces, named by flags or by OpenTelemetry's own variables; what that gets is read with the official
//! definitions of OTLP.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message as _;

use crate::local::Local;
use crate::support::World;

const PATIENCE: Duration = Duration::from_secs(60);

/// What came to it.
struct Sent {
    path: String,
    /// Of the header `x-tenant`.
    tenant: String,
    body: Vec<u8>,
}

/// Its URL, and what it is sent. It takes everything, until the test is over.
fn collector() -> (String, Receiver<Sent>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let (sender, sent) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let sender = sender.clone();
            std::thread::spawn(move || take(stream, &sender));
        }
    });
    (url, sent)
}

/// All requests of one connection.
fn take(stream: TcpStream, sender: &Sender<Sent>) {
    let mut answers = stream.try_clone().expect("one more handle");
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            match reader.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if line == "\r\n" => break,
                Ok(_) => head.push(line.trim_end().to_owned()),
            }
        }
        let header = |wanted: &str| {
            let mut lines = head.iter().filter_map(|line| line.split_once(": "));
            lines.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.to_owned())
        };
        let length = header("content-length").and_then(|length| length.parse().ok()).expect("a length");
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a whole body");
        let path = head[0].split(' ').nth(1).unwrap_or_default().to_owned();
        // Nobody listens any more where the test is over.
        let _ = sender.send(Sent { path, tenant: header("x-tenant").unwrap_or_default(), body });
        let _ = answers.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    }
}

/// The first traces, after one chat.
fn traced(local: &Local, sent: &Receiver<Sent>) -> (ResourceSpans, String) {
    let (status, text) = local.chat(local.text("virtual_key"), "demo/chat", false);
    assert_eq!(status, 200, "{text}");
    loop {
        let Sent { path, tenant, body } = sent.recv_timeout(PATIENCE).expect("traces in time");
        if path == "/v1/traces" {
            let request = ExportTraceServiceRequest::decode(body.as_slice()).expect("OTLP");
            return (request.resource_spans.into_iter().next().expect("spans"), tenant);
        }
    }
}

fn service_name(spans: &ResourceSpans) -> &str {
    let attributes = &spans.resource.as_ref().expect("a resource").attributes;
    let name = attributes.iter().find(|pair| pair.key == "service.name").and_then(|pair| pair.value.as_ref());
    match name.and_then(|name| name.value.as_ref()) {
        Some(Value::StringValue(name)) => name,
        other => panic!("{other:?}"),
    }
}

fn names(spans: &ResourceSpans) -> Vec<&str> {
    spans.scope_spans.iter().flat_map(|scope| &scope.spans).map(|span| span.name.as_str()).collect()
}

#[test]
fn a_gateway_on_one_machine_tells_the_collector_that_its_flags_name() {
    let (url, sent) = collector();
    let world = World::new();
    world.write("headers", "x-tenant=one\n");
    let flags = ["--otlp-endpoint", &url, "--otlp-headers-file", "headers", "--trace-ratio", "1"];
    let local = Local::start(world, &flags);
    let (spans, tenant) = traced(&local, &sent);
    assert_eq!((service_name(&spans), tenant.as_str()), ("gateway", "one"));
    assert!(names(&spans).contains(&"POST /v1/chat/completions"), "{spans:?}");
    assert!(names(&spans).iter().any(|name| name.starts_with("chat ")), "{spans:?}");
}

#[test]
fn a_gateway_on_one_machine_heeds_the_variables_of_opentelemetry() {
    let (url, sent) = collector();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=two"),
        ("OTEL_SERVICE_NAME", "edge"),
    ];
    let local = Local::start_with(World::new(), &variables, &["--trace-ratio", "1"]);
    let (spans, tenant) = traced(&local, &sent);
    assert_eq!((service_name(&spans), tenant.as_str()), ("edge", "two"));
}

#[test]
fn a_ratio_that_is_none_is_refused_before_anything_is_made() {
    let world = World::new();
    let outcome = world.run(&["up", "--trace-ratio", "2"]);
    assert_ne!(outcome.code, 0);
    assert!(outcome.stderr.contains("--trace-ratio is 2; it goes from 0 to 1"), "{outcome:?}");
    assert!(!world.path().join("gateway-data").exists());
}
