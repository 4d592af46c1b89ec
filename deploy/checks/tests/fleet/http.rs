//! A plain HTTP/1.1 client that keeps its connection and retries nothing: what goes wrong is told, not mended.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A whole reply.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    addr: SocketAddr,
    sender: SendRequest<Full<Bytes>>,
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

// === impl Connection ===

impl Connection {
    pub(crate) async fn open(addr: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect(addr).await.map_err(|error| format!("cannot connect: {error}"))?;
        let _ = stream.set_nodelay(true);
        let shaken = handshake(TokioIo::new(stream)).await.map_err(|error| format!("cannot speak HTTP: {error}"))?;
        let (sender, connection) = shaken;
        tokio::spawn(connection);
        Ok(Self { addr, sender })
    }

    /// The head of the reply; its body is still coming.
    pub(crate) async fn begin(
        &mut self,
        method: &str,
        path: &str,
        bearer: &str,
        body: String,
    ) -> Result<Response<Incoming>, String> {
        let request = Request::builder().method(method).uri(path).header("host", self.addr.to_string());
        let request = request.header("authorization", format!("Bearer {bearer}"));
        let request = request.header("content-type", "application/json").body(Full::new(Bytes::from(body)));
        let request = request.expect("a valid request");
        let sent = async {
            // The last reply's end may still be on its way through the connection's task.
            self.sender.ready().await?;
            self.sender.send_request(request).await
        };
        let reply = timeout(crate::PATIENCE, sent).await.map_err(|_| "no reply in time".to_owned())?;
        reply.map_err(|error| format!("no reply: {error}"))
    }

    pub(crate) async fn send(&mut self, method: &str, path: &str, bearer: &str, body: String) -> Result<Reply, String> {
        let (parts, body) = self.begin(method, path, bearer, body).await?.into_parts();
        let body =
            timeout(crate::PATIENCE, body.collect()).await.map_err(|_| "no end of the reply in time".to_owned())?;
        let body = body.map_err(|error| format!("the reply broke off: {error}"))?.to_bytes();
        Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}

/// One request on a connection of its own.
pub(crate) async fn send(
    addr: SocketAddr,
    method: &str,
    path: &str,
    bearer: &str,
    body: String,
) -> Result<Reply, String> {
    Connection::open(addr).await?.send(method, path, bearer, body).await
}

/// One request with these headers and no others.
pub(crate) async fn send_with(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: String,
) -> Result<Reply, String> {
    let mut connection = Connection::open(addr).await?;
    let mut request = Request::builder().method(method).uri(path).header("host", addr.to_string());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body))).expect("a valid request");
    let reply = timeout(crate::PATIENCE, connection.sender.send_request(request)).await;
    let reply = reply.map_err(|_| "no reply in time".to_owned())?.map_err(|error| format!("no reply: {error}"))?;
    let (parts, body) = reply.into_parts();
    let body = timeout(crate::PATIENCE, body.collect()).await.map_err(|_| "no end of the reply in time".to_owned())?;
    let body = body.map_err(|error| format!("the reply broke off: {error}"))?.to_bytes();
    Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
}
