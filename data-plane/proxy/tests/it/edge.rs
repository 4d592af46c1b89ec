//! What HTTP asks of any server: methods, origins, heads without bodies, refusals that arrive, on both versions of it.

use std::io::Write as _;
use std::time::Duration;

use gateway_fake::Upstream;
use gateway_fake::reply::openai;
use http::{Method, Version};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::gateway::{Gateway, KEY, openai_at, read};

fn clients() -> [(reqwest::Client, Version); 2] {
    let builder = || {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        reqwest::Client::builder().no_proxy()
    };
    let (old, new) = (builder().http1_only().build(), builder().http2_prior_knowledge().build());
    [(old.expect("a client"), Version::HTTP_11), (new.expect("a client"), Version::HTTP_2)]
}

#[tokio::test]
async fn methods_are_told() {
    let gateway = Gateway::start(&openai_at("http://127.0.0.1:1")).await;
    let cases = [
        ("GET", "/v1/chat/completions", 405, Some("POST, OPTIONS")),
        ("HEAD", "/v1/chat/completions", 405, Some("POST, OPTIONS")),
        ("BREW", "/v1/embeddings", 405, Some("POST, OPTIONS")),
        ("DELETE", "//v1///messages", 405, Some("POST, OPTIONS")),
        ("POST", "/health", 405, Some("GET, HEAD, OPTIONS")),
        ("PUT", "/v1/models", 405, Some("GET, HEAD, OPTIONS")),
        ("OPTIONS", "/v1/rerank", 204, Some("POST, OPTIONS")),
        ("OPTIONS", "/health", 204, Some("GET, HEAD, OPTIONS")),
        ("OPTIONS", "/nothing", 404, None),
        ("HEAD", "/nothing", 404, None),
        ("GET", "/nothing", 404, None),
        ("GET", "//health", 200, None),
        ("HEAD", "/health", 200, None),
        ("HEAD", "/metrics", 200, None),
        ("HEAD", "/v1/models", 200, None),
    ];
    for (client, version) in clients() {
        for (method, path, status, allow) in cases {
            let method: Method = method.parse().expect("a method");
            let request = client.request(method.clone(), gateway.url(path)).bearer_auth(KEY);
            let response =
                request.send().await.unwrap_or_else(|error| panic!("{version:?} {method} {path}: {error:?}"));
            let named = response.headers().get("allow").map(|allow| allow.to_str().expect("text").to_owned());
            let given = response.headers().get("content-length").cloned();
            let told = (response.version(), response.status().as_u16());
            assert_eq!((told, named.as_deref()), ((version, status), allow), "{method} {path}");
            let body = response.bytes().await.expect("a body");
            if method == Method::HEAD {
                let given: u64 = given.expect("a length").to_str().expect("text").parse().expect("a number");
                assert!(body.is_empty() && given > 0, "{version:?} HEAD {path}: {} of {given} bytes", body.len());
            } else if status >= 400 {
                let error: Value =
                    serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{method} {path}: {body:?}"));
                assert!(error["error"]["message"].is_string(), "{version:?} {method} {path}: {error}");
            }
        }
    }
}

/// Sends bytes as they stand and reads to the end.
async fn raw(gateway: &Gateway, sent: &[u8]) -> String {
    let mut stream = TcpStream::connect(gateway.url("").trim_start_matches("http://")).await.expect("a connection");
    stream.write_all(sent).await.expect("the gateway takes what it will not read");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(gateway_fake::PATIENCE, stream.read_to_end(&mut answer)).await;
    read.expect("an end in time").expect("an end in good order");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn requests_to_the_server_itself_and_several_at_once() {
    let gateway = Gateway::start(&openai_at("http://127.0.0.1:1")).await;
    let whole = raw(&gateway, b"OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(whole.starts_with("HTTP/1.1 204") && whole.contains("DELETE"), "{whole}");
    let several = raw(
        &gateway,
        b"GET /health HTTP/1.1\r\nhost: x\r\n\r\nGET /nothing HTTP/1.1\r\nhost: x\r\n\r\n\
          GET /ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    )
    .await;
    let statuses: Vec<&str> = several.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "404", "200"], "{several}");
}

/// A client that sends on is read from for a while, so that its machine does not throw the answer away.
#[tokio::test]
async fn refusals_reach_clients_that_still_send() {
    let config = format!("settings: {{server: {{max_body: 64KiB}}}}\n{}", openai_at("http://127.0.0.1:1"));
    let gateway = Gateway::start(&config).await;
    let json = "content-type: application/json";
    let cases = [
        ("/nothing", "", "404"),
        ("/v1/chat/completions", "", "401"),
        ("/v1/chat/completions", json, "413"),
        ("/v1/embeddings", "content-type: text/csv", "415"),
        ("/v1/models", "", "405"),
    ];
    for (path, header, status) in cases {
        let key = if status == "401" { "x-nothing: 1".to_owned() } else { format!("authorization: Bearer {KEY}") };
        let header = if header.is_empty() { "x-other: 1" } else { header };
        let n_bytes = if status == "415" { 60_000 } else { 8_000_000 };
        let mut sent =
            format!("POST {path} HTTP/1.1\r\nhost: x\r\n{key}\r\n{header}\r\ncontent-length: {n_bytes}\r\n\r\n")
                .into_bytes();
        sent.resize(sent.len() + n_bytes, b'x');
        let answer = raw(&gateway, &sent).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
        assert!(answer.contains("connection: close"), "{path}: the next request must go elsewhere: {answer}");
    }
}

#[tokio::test]
async fn a_refused_body_is_not_asked_for() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "hello"));
    let config = format!("settings: {{server: {{max_body: 64KiB}}}}\n{}", openai_at(&upstream.url()));
    let gateway = Gateway::start(&config).await;
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).to_string();
    let head = |key: &str, n_bytes: usize| {
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
             content-length: {n_bytes}\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n"
        )
    };
    for (key, n_bytes, first) in [
        (KEY, body.len(), "HTTP/1.1 100"),
        (KEY, 1_000_000, "HTTP/1.1 413"),
        ("nobody-0123456789", body.len(), "HTTP/1.1 401"),
    ] {
        let mut stream = TcpStream::connect(gateway.url("").trim_start_matches("http://")).await.expect("a connection");
        stream.write_all(head(key, n_bytes).as_bytes()).await.expect("written");
        let mut line = [0; 12];
        tokio::time::timeout(Duration::from_secs(10), stream.read_exact(&mut line))
            .await
            .expect("in time")
            .expect("a line");
        assert_eq!(String::from_utf8_lossy(&line), first);
        if first.ends_with("100") {
            stream.write_all(body.as_bytes()).await.expect("written");
            let mut rest = String::new();
            stream.read_to_string(&mut rest).await.expect("an answer");
            assert!(rest.contains("HTTP/1.1 200") && rest.contains("hello"), "{rest}");
        }
    }
}

#[tokio::test]
async fn pages_of_other_origins() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "hello"));
    let app = "https://app.example.com";
    let local = "http://localhost:3000";
    let (any, own) = ("", "server: {cors_origins: [\"https://App.example.com\"]}");
    let cases = [
        (any, app, Some("*"), 200),
        (own, app, Some(app), 200),
        (own, "https://evil.example.com", None, 200),
        ("server: {cors_origins: []}", app, None, 200),
        ("auth: off", app, None, 403),
        ("auth: off", "null", None, 403),
        ("auth: off", "http://localhost.evil.example.com", None, 403),
        ("auth: off", local, Some(local), 200),
        ("auth: off", "http://[::1]:5173", Some("http://[::1]:5173"), 200),
        ("auth: off, server: {cors_origins: [\"https://app.example.com\"]}", app, Some(app), 200),
    ];
    for (settings, origin, told, status) in cases {
        let gateway = Gateway::start(&format!("settings: {{{settings}}}\n{}", openai_at(&upstream.url()))).await;
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        let answer = read(gateway.post("/v1/chat/completions", &body).header("origin", origin)).await;
        let given = (answer.status, answer.header("access-control-allow-origin"));
        assert_eq!(given, (status, told), "{settings} {origin}: {}", answer.text);
        assert_eq!(answer.header("vary").is_some(), told.is_some_and(|told| told != "*"), "{settings} {origin}");
        let preflight = gateway.client().request(Method::OPTIONS, gateway.url("/v1/messages"));
        let preflight = preflight.header("origin", origin).header("access-control-request-method", "POST");
        let preflight = read(preflight.header("access-control-request-headers", "authorization,x-own")).await;
        let given = (preflight.status, preflight.header("access-control-allow-headers"));
        let expected = (if status == 403 { 403 } else { 204 }, told.map(|_| "authorization,x-own"));
        assert_eq!(given, expected, "{settings} {origin}");
        assert_eq!(preflight.header("access-control-allow-origin"), told, "{settings} {origin}");
        assert_eq!(preflight.header("access-control-allow-methods"), told.map(|_| "POST, OPTIONS"));
    }
}

#[tokio::test]
async fn compressed_bodies_where_they_are_taken() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "hello"));
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).to_string();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(body.as_bytes()).expect("written");
    let gzip = gzip.finish().expect("compressed");
    let zstd = zstd::encode_all(body.as_bytes(), 1).expect("compressed");
    let bomb = zstd::encode_all(vec![b' '; 20_000_000].as_slice(), 1).expect("compressed");
    let (off, on) = ("compressed_bodies: false", "compressed_bodies: true");
    let cases = [
        (off, "gzip", &gzip, 415, "settings.server.compressed_bodies"),
        (on, "gzip", &gzip, 200, "hello"),
        (on, "zstd", &zstd, 200, "hello"),
        (on, "br", &gzip, 415, "gzip, zstd"),
        (on, "gzip", &zstd, 400, "not what its content-encoding says"),
        (on, "zstd", &bomb, 413, "100 times"),
    ];
    for (setting, coding, body, status, told) in cases {
        let settings = format!("settings: {{server: {{{setting}}}}}\n");
        let gateway =
            Gateway::start(&crate::pass::config("openai", &format!("{}/v1", upstream.url()), &settings)).await;
        for path in ["/v1/chat/completions", "/proxy/up/v1/chat/completions"] {
            let request = gateway.client().post(gateway.url(path)).bearer_auth(KEY);
            let request = request.header("content-type", "application/json").header("content-encoding", coding);
            let answer = read(request.body(body.clone())).await;
            assert!(
                answer.status == status && answer.text.contains(told),
                "{path} {setting} {coding}: {}",
                answer.text
            );
        }
    }
    for received in upstream.requests() {
        assert_eq!((received.header("content-encoding"), received.json()["messages"].is_array()), (None, true));
    }
}
