//! WebSockets that pass: both directions, what is told of usage, and what goes on of the handshake.

use std::time::Duration;

use gateway_fake::PATIENCE;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::gateway::{Gateway, KEY, UPSTREAM_KEY};
use crate::pass::{PLAIN, config};

const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Bytes up to and with the end of a head.
pub(crate) async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(PATIENCE, stream.read_u8()).await.expect("a head in time").expect("a head"));
    }
    String::from_utf8(head).expect("text")
}

async fn exactly(stream: &mut TcpStream, n_bytes: usize) -> Vec<u8> {
    let mut bytes = vec![0; n_bytes];
    timeout(PATIENCE, stream.read_exact(&mut bytes)).await.expect("bytes in time").expect("bytes");
    bytes
}

fn frame(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text").to_be_bytes();
    [&[0x81, 126][..], &length, text.as_bytes()].concat()
}

fn masked(text: &str) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let payload = text.bytes().zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask);
    [0x81, 0x80 | u8::try_from(text.len()).expect("a short text")].into_iter().chain(mask).chain(payload).collect()
}

fn done(usage: &Value) -> Vec<u8> {
    frame(&json!({"type": "response.done", "response": {"id": "r", "usage": usage}}).to_string())
}

pub(crate) async fn upgrade(gateway: &Gateway, key: &str, path: &str, more: &str) -> TcpStream {
    let address = gateway.url("");
    let mut stream = TcpStream::connect(address.trim_start_matches("http://")).await.expect("it listens");
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("it reads");
    stream
}

pub(crate) async fn accepted(listener: &TcpListener) -> (TcpStream, String) {
    let (mut stream, _) = timeout(PATIENCE, listener.accept()).await.expect("in time").expect("the gateway");
    let asked = head(&mut stream).await;
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {ACCEPT}\r\n\
         sec-websocket-protocol: realtime\r\nset-cookie: a=b\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await.expect("the gateway reads");
    (stream, asked)
}

pub(crate) async fn upstream() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/v1", listener.local_addr().expect("its address"));
    (listener, url)
}

#[tokio::test]
async fn realtime_passes_and_is_settled_once() {
    let (listener, url) = upstream().await;
    let prices = "prices:\n  - {provider: up, model: own-name, input_per_1m: 1000000, output_per_1m: 2000000}\n";
    let gateway = Gateway::start(&config("openai", &url, prices)).await;
    let more = format!(
        "sec-websocket-protocol: realtime, openai-insecure-api-key.{PLAIN}\r\nsec-websocket-extensions: permessage-deflate\r\n\
         openai-beta: realtime=v1\r\ncookie: a=b\r\n"
    );
    let mut client = upgrade(&gateway, PLAIN, "/v1/realtime?model=m&x=1", &more).await;
    let (mut vendor, asked) = accepted(&listener).await;
    assert!(asked.starts_with("GET /v1/realtime?model=own-name&x=1 HTTP/1.1\r\n"), "{asked}");
    for kept in [
        UPSTREAM_KEY,
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-protocol: realtime\r\n",
        "realtime=v1",
    ] {
        assert!(asked.contains(kept), "`{kept}` is missing: {asked}");
    }
    for dropped in [PLAIN, "cookie", "permessage-deflate"] {
        assert!(!asked.contains(dropped), "`{dropped}` went on: {asked}");
    }
    let answer = head(&mut client).await;
    assert!(
        answer.starts_with("HTTP/1.1 101 ") && answer.contains(ACCEPT) && !answer.contains("set-cookie"),
        "{answer}"
    );
    let question = masked("{\"type\":\"response.create\"}");
    client.write_all(&question).await.expect("it passes");
    assert_eq!(exactly(&mut vendor, question.len()).await, question);
    let usage = json!({"input_tokens": 10, "output_tokens": 4, "input_token_details": {"cached_tokens": 3, "audio_tokens": 2},
        "output_token_details": {"audio_tokens": 1}});
    for said in [frame("{\"type\":\"response.created\"}"), done(&usage), done(&usage)] {
        for piece in said.chunks(11) {
            vendor.write_all(piece).await.expect("the gateway reads");
        }
        assert_eq!(exactly(&mut client, said.len()).await, said);
    }
    drop(client);
    let mut rest = Vec::new();
    timeout(PATIENCE, vendor.read_to_end(&mut rest)).await.expect("the upstream is let go").expect("an end");
    drop(vendor);
    let record = &gateway.records(1).await[0];
    let found = [&record["model"], &record["upstream_model"], &record["settled_by"], &record["ending"]];
    assert_eq!(found, ["proxy:up", "own-name", "exact", "finished"], "{record}");
    let tokens = ["input", "cache_read", "output", "input_audio", "output_audio"].map(|class| &record["tokens"][class]);
    assert_eq!(tokens, [14, 6, 8, 4, 2], "{record}");
    assert!(record["cost_nano_usd"].as_u64().is_some_and(|cost| cost > 0), "{record}");
}

#[tokio::test]
async fn passthrough_websocket_upgrade() {
    let (listener, url) = upstream().await;
    let gateway = Gateway::start(&config("openai", &url, "settings: {timeouts: {total: 300ms}}\n")).await;
    let mut client = upgrade(&gateway, KEY, "/proxy/up/some/socket", "").await;
    let (mut vendor, asked) = accepted(&listener).await;
    assert!(asked.starts_with("GET /some/socket HTTP/1.1\r\n"), "{asked}");
    assert!(head(&mut client).await.starts_with("HTTP/1.1 101 "));
    vendor.write_all(&frame("hello")).await.expect("the gateway reads");
    assert_eq!(exactly(&mut client, frame("hello").len()).await, frame("hello"));
    // The time is over: the client is told, in a frame of its own.
    assert_eq!(exactly(&mut client, 4).await, [0x88, 2, 0x03, 0xe9]);
    let record = &gateway.records(1).await[0];
    assert_eq!([&record["ending"], &record["error_code"]], ["timeout", "total_timeout"], "{record}");
}

#[tokio::test]
async fn sockets_that_do_not_open() {
    let (listener, url) = upstream().await;
    let other = "  - {name: narrow-1, secret: sk-narrow-1-0123456789abcdef, models: [other]}\n".to_owned();
    let other = format!("{other}settings: {{server: {{cors_origins: [\"https://ours.example\"]}}}}\n");
    let gateway = Gateway::start(&config("openai", &url, &other)).await;
    let mut page = upgrade(&gateway, PLAIN, "/v1/realtime?model=m", "origin: https://evil.example\r\n").await;
    assert!(head(&mut page).await.starts_with("HTTP/1.1 403 "), "a page that nobody named");
    for (key, path, status) in [
        (PLAIN, "/v1/realtime?model=nobody", 404),
        (PLAIN, "/v1/realtime", 400),
        (PLAIN, "/v1/realtime?model=m&model=n", 400),
        (PLAIN, "/proxy/up/some/socket", 403),
        ("sk-narrow-1-0123456789abcdef", "/v1/realtime?model=m", 403),
        ("sk-nobody-0123456789abcdef", "/v1/realtime?model=m", 401),
    ] {
        let mut client = upgrade(&gateway, key, path, "").await;
        let answer = head(&mut client).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
    }
    let plain =
        crate::gateway::read(gateway.client().get(gateway.url("/v1/realtime?model=m")).bearer_auth(PLAIN)).await;
    assert_eq!(plain.status, 426, "{}", plain.text);
    assert!(timeout(Duration::from_millis(1), listener.accept()).await.is_err(), "the upstream was asked");
    // The upstream's own no passes as it is.
    let mut client = upgrade(&gateway, PLAIN, "/v1/realtime?model=m", "").await;
    let (mut vendor, _) = timeout(PATIENCE, listener.accept()).await.expect("in time").expect("the gateway");
    head(&mut vendor).await;
    vendor.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").await.expect("the gateway reads");
    assert!(head(&mut client).await.starts_with("HTTP/1.1 403 "));
    assert_eq!(exactly(&mut client, 2).await, b"no");
}
