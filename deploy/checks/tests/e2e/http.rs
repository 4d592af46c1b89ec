//! A plain HTTP/1.1 client: one connection a request, streams piece by piece, and raw bytes for what no client would send.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A whole reply.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A reply whose body is still coming.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) status: u16,
    body: Incoming,
}

// === impl Reply ===

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }
}

// === impl Stream ===

impl Stream {
    /// Reads until what came since the last call contains `mark`.
    pub(crate) async fn read_until(&mut self, mark: &str) -> String {
        let mut got = String::new();
        while !got.contains(mark) {
            let frame = tokio::time::timeout(crate::PATIENCE, self.body.frame()).await;
            let frame = frame.unwrap_or_else(|_| panic!("{mark:?} did not come; so far: {got}"));
            let frame =
                frame.unwrap_or_else(|| panic!("the stream ended before {mark:?}: {got}")).expect("a stream in order");
            got.push_str(&String::from_utf8_lossy(frame.data_ref().map_or(&[], |data| data)));
        }
        got
    }

    /// The rest, or what broke it off.
    pub(crate) async fn rest(self) -> Result<String, hyper::Error> {
        Ok(String::from_utf8_lossy(&self.body.collect().await?.to_bytes()).into_owned())
    }
}

/// Sends a request and reads the whole reply.
pub(crate) async fn send(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Reply {
    let (parts, body) = exchange(addr, method, path, headers, body.into()).await.into_parts();
    let body = body.collect().await.expect("a whole reply").to_bytes();
    Reply { status: parts.status.as_u16(), headers: parts.headers, body }
}

/// Sends a request and returns when the reply's head is there.
pub(crate) async fn open(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Stream {
    let (parts, body) = exchange(addr, method, path, headers, body.into()).await.into_parts();
    Stream { status: parts.status.as_u16(), body }
}

/// Sends bytes as they are and reads until the peer closes or falls silent after a whole head.
pub(crate) async fn raw(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.expect("connects");
    // The peer may refuse before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut got = Vec::new();
    while let Ok(Ok(n_read)) = tokio::time::timeout(crate::PATIENCE, stream.read_buf(&mut got)).await {
        let text = String::from_utf8_lossy(&got);
        let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| body.len() >= content_length(head));
        if n_read == 0 || whole {
            break;
        }
    }
    String::from_utf8_lossy(&got).into_owned()
}

fn content_length(head: &str) -> usize {
    let head = head.to_ascii_lowercase();
    let value = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(usize::MAX)
}

async fn exchange(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> http::Response<Incoming> {
    let stream = TcpStream::connect(addr).await.unwrap_or_else(|error| panic!("cannot connect to {addr}: {error}"));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header("host", addr.to_string());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body)).expect("a valid request");
    let reply = tokio::time::timeout(crate::PATIENCE, sender.send_request(request)).await;
    let reply = reply.unwrap_or_else(|_| panic!("no reply to {method} {path}"));
    reply.unwrap_or_else(|error| panic!("{method} {path} failed: {error}"))
}
