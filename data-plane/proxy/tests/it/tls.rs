//! The public listener with TLS: both versions of HTTP, a certificate that changes while it serves, peers that do not speak it.

use std::net::SocketAddr;
use std::path::Path;

use futures_util::StreamExt as _;
use gateway_fake::reply::openai;
use gateway_fake::{Gate, Script, Upstream};
use gateway_proxy::config::TlsFiles;
use http::Version;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::gateway::{Gateway, KEY, openai_at, within};

/// A certificate for loopback, written where a node reads it; it is its own authority.
pub(crate) fn certificate(directory: &Path) -> (TlsFiles, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("a certificate");
    let files = TlsFiles { certificate: directory.join("tls.pem"), key: directory.join("tls.key") };
    std::fs::write(&files.certificate, cert.pem()).expect("write the certificate");
    std::fs::write(&files.key, signing_key.serialize_pem()).expect("write the key");
    (files, cert.pem())
}

/// A client with connections of its own that trusts this authority and no other.
fn trusting(pem: &str) -> reqwest::ClientBuilder {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let root = reqwest::Certificate::from_pem(pem.as_bytes()).expect("a certificate");
    reqwest::Client::builder().no_proxy().tls_certs_only([root])
}

fn ask(stream: bool) -> Value {
    json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hi"}]})
}

async fn node(upstream: &Upstream, files: &TlsFiles) -> Gateway {
    let tls = Some(files.clone());
    Gateway::start_with(&openai_at(&upstream.url()), |options| options.tls = tls).await
}

#[tokio::test]
async fn both_versions_of_http_stream_over_tls() {
    let upstream = Upstream::start().await;
    let directory = tempfile::tempdir().expect("a directory");
    let (files, root) = certificate(directory.path());
    let gateway = node(&upstream, &files).await;
    assert!(gateway.url("/").starts_with("https://"), "{}", gateway.url("/"));
    for (client, version) in [(trusting(&root), Version::HTTP_2), (trusting(&root).http1_only(), Version::HTTP_11)] {
        let events = openai::stream("x", "one two three", 7);
        let gate = Gate::new();
        upstream.push(Script::sse_gated(&events, &gate));
        let client = client.build().expect("a client");
        let request = client.post(gateway.url("/v1/chat/completions")).bearer_auth(KEY).json(&ask(true));
        gate.release(1);
        let response = request.send().await.expect("an answer");
        assert_eq!((response.status().as_u16(), response.version()), (200, version));
        let mut body = response.bytes_stream();
        let first = body.next().await.expect("an event").expect("bytes");
        assert!(first.ends_with(b"\n\n"), "an event is sent on before the next one has come");
        gate.release(events.len());
        let mut n_bytes = 0;
        while let Some(piece) = body.next().await {
            n_bytes += piece.expect("bytes").len();
        }
        assert!(n_bytes > 0);
    }
}

#[tokio::test]
async fn a_new_certificate_is_taken_up_and_a_broken_one_is_not() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "hello"));
    let directory = tempfile::tempdir().expect("a directory");
    let (files, old_root) = certificate(directory.path());
    let gateway = node(&upstream, &files).await;
    let old = trusting(&old_root).build().expect("a client");
    let status = async |client: &reqwest::Client| {
        client.get(gateway.url("/ready")).send().await.map(|answer| answer.status().as_u16())
    };
    assert_eq!(status(&old).await.expect("an answer"), 200);
    let (_, new_root) = certificate(directory.path());
    within("the new certificate", async || {
        let new = trusting(&new_root).build().expect("a client");
        status(&new).await.ok()
    })
    .await;
    assert_eq!(status(&old).await.expect("the connection from before is still there"), 200);
    let stranger = trusting(&old_root).build().expect("a client");
    status(&stranger).await.expect_err("the old certificate is not shown any more");

    std::fs::write(&files.key, "-----BEGIN NONSENSE").expect("write the key");
    let new = trusting(&new_root).build().expect("a client");
    let warned = async |expected: bool| {
        within("what /ready says", async || {
            let told = new.get(gateway.url("/ready")).send().await.expect("an answer").text().await.expect("a body");
            (told.contains("holds no private key") == expected).then_some(())
        })
        .await;
    };
    warned(true).await;
    let another = trusting(&new_root).build().expect("a client");
    assert_eq!(status(&another).await.expect("an answer"), 200, "new connections are still taken");
    certificate(directory.path());
    warned(false).await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_stops_the_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let (files, _) = certificate(directory.path());
    let file = directory.path().join("gateway.yaml");
    std::fs::write(&file, "keys: []\n").expect("write the configuration");
    let missing = TlsFiles { key: directory.path().join("nothing.key"), ..files };
    let source = gateway_proxy::config::Source::File { path: file, watch: false };
    let options = gateway_proxy::config::Options { tls: Some(missing), ..gateway_proxy::config::Options::new(source) };
    let refused = gateway_proxy::start(options).await.map(drop).expect_err("no start").to_string();
    assert!(refused.contains("nothing.key"), "{refused}");
}

#[tokio::test]
async fn health_and_metrics_have_a_certificate_of_their_own() {
    let (directory, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let (tls, _) = certificate(directory.path());
    let (ops_tls, root) = certificate(other.path());
    // Free a moment ago; nobody else asks for it by number.
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("an address");
    let config = openai_at("http://127.0.0.1:1");
    let gateway = Gateway::start_with(&config, |options| {
        (options.tls, options.ops_tls, options.ops_listen) = (Some(tls), Some(ops_tls), Some(free));
    })
    .await;
    for (client, version) in [(trusting(&root), Version::HTTP_2), (trusting(&root).http1_only(), Version::HTTP_11)] {
        let client = client.build().expect("a client");
        let answer = client.get(format!("https://{free}/ready")).send().await.expect("an answer");
        assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
        client.get(gateway.url("/ready")).send().await.expect_err("the public API shows another one");
    }
    let mut silent = TcpStream::connect(free).await.expect("a connection");
    silent.write_all(b"GET /ready HTTP/1.1\r\n\r\n").await.expect("written");
    let mut answer = String::new();
    silent.read_to_string(&mut answer).await.expect("an end in good order");
    assert!(answer.contains("write https://"), "{answer}");
}

#[tokio::test]
async fn peers_without_tls_are_told() {
    let upstream = Upstream::start().await;
    let directory = tempfile::tempdir().expect("a directory");
    let (files, _) = certificate(directory.path());
    let gateway = node(&upstream, &files).await;
    let address = gateway.url("").trim_start_matches("https://").parse::<SocketAddr>().expect("an address");
    for (sent, told) in [
        ("GET /health HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 400 Bad Request"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 400 Bad Request"),
        ("\x16\x03\x01nonsense instead of a handshake", ""),
    ] {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(sent.as_bytes()).await.expect("written");
        stream.shutdown().await.expect("no more to say");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an end in good order");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with(told), "{sent:?}: {answer}");
        assert_eq!(answer.contains("write https://"), !told.is_empty(), "{answer}");
    }
}
