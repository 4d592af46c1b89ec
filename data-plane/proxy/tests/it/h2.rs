//! HTTP/2 as its clients see it: events leave one by one, a drain lets open replies end, floods and idle connections are ended.

use std::time::Duration;

use futures_util::StreamExt as _;
use gateway_fake::reply::openai;
use gateway_fake::{Gate, Script, Upstream};
use http::Version;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::gateway::{Gateway, KEY, openai_at};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Frame types of RFC 9113, section 6.
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM_AND_HEADERS: u8 = 5;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

async fn open(gateway: &Gateway) -> TcpStream {
    let address = gateway.url("").trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.expect("written");
    stream
}

/// The kinds of the frames that come until the connection ends, with the payload of the last `GOAWAY`.
async fn until_the_end(mut stream: TcpStream) -> (Vec<u8>, Vec<u8>) {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(gateway_fake::PATIENCE, stream.read_to_end(&mut bytes)).await;
    // The rest of a flood is not read, so that an end by reset is fine too.
    let _ = read.expect("the connection is ended");
    let (mut kinds, mut goaway, mut rest) = (Vec::new(), Vec::new(), bytes.as_slice());
    while rest.len() >= 9 {
        let length = usize::from(rest[1]) * 256 + usize::from(rest[2]);
        kinds.push(rest[3]);
        if rest[3] == GOAWAY {
            goaway = rest[9..].get(..length).unwrap_or_default().to_vec();
        }
        rest = rest.get(9 + length..).unwrap_or_default();
    }
    (kinds, goaway)
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().expect("a client")
}

#[tokio::test]
async fn many_streams_of_one_connection_and_a_drain() {
    let upstream = Upstream::start().await;
    let events = openai::stream("x", "one two three", 7);
    let gates: Vec<Gate> = (0..5).map(|_| Gate::new()).collect();
    for gate in &gates {
        upstream.push(Script::sse_gated(&events, gate));
        gate.release(1);
    }
    let gateway = Gateway::start(&openai_at(&upstream.url())).await;
    let client = client();
    let body = json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "hi"}]});
    let mut replies = Vec::new();
    for _ in &gates {
        let request = client.post(gateway.url("/v1/chat/completions")).bearer_auth(KEY).json(&body);
        let response = request.send().await.expect("an answer");
        assert_eq!((response.version(), response.status().as_u16()), (Version::HTTP_2, 200));
        replies.push(response.bytes_stream());
    }
    for reply in &mut replies {
        let first = reply.next().await.expect("an event").expect("bytes");
        assert!(first.ends_with(b"\n\n") && !first.windows(3).any(|word| word == b"two"), "one event at a time");
    }
    // The drain begins with all of them open; they end as they would have.
    let stopping = tokio::time::timeout(Duration::from_secs(20), gateway.stop());
    let reading = async {
        for gate in &gates {
            gate.open();
        }
        for reply in replies {
            let pieces: Vec<_> = reply.collect().await;
            let text: Vec<u8> = pieces.into_iter().flat_map(|piece| piece.expect("bytes")).collect();
            assert!(String::from_utf8_lossy(&text).ends_with("data: [DONE]\n\n"), "an open reply ends");
        }
    };
    let (stopped, ()) = tokio::join!(stopping, reading);
    stopped.expect("the node stops once they have ended");
}

#[tokio::test]
async fn an_idle_connection_is_told_to_go() {
    let config = format!("settings: {{server: {{idle_timeout: 200ms}}}}\n{}", openai_at("http://127.0.0.1:1"));
    let gateway = Gateway::start(&config).await;
    let (kinds, _) = until_the_end(open(&gateway).await).await;
    assert!(kinds.contains(&SETTINGS), "{kinds:?}");
    // One whose preface does not even end.
    let mut stream = TcpStream::connect(gateway.url("").trim_start_matches("http://")).await.expect("a connection");
    stream.write_all(&PREFACE[..18]).await.expect("written");
    until_the_end(stream).await;
}

#[tokio::test]
async fn clients_that_say_nothing_are_let_go() {
    let config = format!("settings: {{server: {{header_timeout: 200ms}}}}\n{}", openai_at("http://127.0.0.1:1"));
    let gateway = Gateway::start(&config).await;
    for said in ["", "PRI", "GET / HTTP/1.1\r\nhost"] {
        let mut stream = TcpStream::connect(gateway.url("").trim_start_matches("http://")).await.expect("a connection");
        stream.write_all(said.as_bytes()).await.expect("written");
        until_the_end(stream).await;
    }
}

/// CVE-2023-44487: streams that are opened and reset at once, so that they never count against the limit of open ones.
#[tokio::test]
async fn a_flood_of_resets_ends_the_connection() {
    let gateway = Gateway::start(&openai_at("http://127.0.0.1:1")).await;
    let mut stream = open(&gateway).await;
    // `:method GET`, `:scheme http`, `:path /` of the static table (RFC 7541, appendix A).
    let head = [0x82, 0x86, 0x84];
    let flood: Vec<u8> = (0..2000_u32)
        .flat_map(|n| {
            let id = 2 * n + 1;
            [frame(HEADERS, END_STREAM_AND_HEADERS, id, &head), frame(RST_STREAM, 0, id, &[0, 0, 0, 8])].concat()
        })
        .collect();
    // It may be ended before all of it is written.
    let _ = stream.write_all(&flood).await;
    let (kinds, goaway) = until_the_end(stream).await;
    assert!(kinds.contains(&GOAWAY), "{} frames", kinds.len());
    // ENHANCE_YOUR_CALM (RFC 9113, section 7).
    assert_eq!(goaway.get(4..8), Some([0, 0, 0, 11].as_slice()));
}
