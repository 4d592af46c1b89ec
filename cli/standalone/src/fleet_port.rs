//! The address that is kept for the fleet's channel. Nodes cannot join over the network in this version: whoever calls is
//! told so in gRPC's own words, and the port cannot be taken by another program meanwhile.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;
use http::{HeaderValue, Response};
use http_body_util::Empty;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

/// gRPC status 12: the operation is not implemented.
const UNIMPLEMENTED: HeaderValue = HeaderValue::from_static("12");
const MESSAGE: HeaderValue = HeaderValue::from_static("nodes cannot join over the network in this version");
/// One caller at a time, none of them for longer than this: there is nothing to wait for.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) struct FleetPort {
    listener: TcpListener,
}

// === impl FleetPort ===

impl FleetPort {
    /// Loopback only: nothing that is not authenticated listens to the outside.
    pub(crate) async fn bind(address: SocketAddr) -> anyhow::Result<Self> {
        ensure!(
            address.ip().is_loopback(),
            "{address} is no loopback address; nodes cannot join over the network in this version, leave out --fleet-listen"
        );
        Ok(Self { listener: TcpListener::bind(address).await? })
    }

    /// Answers until it is dropped.
    pub(crate) async fn refuse(&self) -> Infallible {
        loop {
            let Ok((stream, _)) = self.listener.accept().await else {
                // Out of file descriptors, most likely; trying again at once would only burn time.
                tokio::time::sleep(PATIENCE).await;
                continue;
            };
            let answer = service_fn(|_| async { Ok::<_, Infallible>(unimplemented()) });
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            // A caller that leaves early or speaks something else gets no better answer.
            let _ = tokio::time::timeout(PATIENCE, connection.serve_connection(TokioIo::new(stream), answer)).await;
        }
    }
}

fn unimplemented() -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", UNIMPLEMENTED);
    headers.insert("grpc-message", MESSAGE);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn callers_are_told_in_grpcs_words() {
        let port = FleetPort::bind("127.0.0.1:0".parse().expect("an address")).await.expect("a port");
        let address = port.listener.local_addr().expect("an address");
        let ask = async {
            let stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
            let client = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
            let (mut sender, connection) = client.handshake(TokioIo::new(stream)).await.expect("it speaks HTTP/2");
            let request = http::Request::post("http://fleet/gateway.v1.Fleet/Sync")
                .body(Empty::<Bytes>::new())
                .expect("a request");
            tokio::select! {
                response = sender.send_request(request) => response.expect("an answer"),
                _ = connection => panic!("closed without an answer"),
            }
        };
        let response = tokio::select! {
            response = ask => response,
            never = port.refuse() => match never {},
        };
        assert_eq!(response.headers()["grpc-status"], UNIMPLEMENTED);
    }

    #[tokio::test]
    async fn the_outside_is_refused() {
        let refused = FleetPort::bind("0.0.0.0:0".parse().expect("an address")).await.err().expect("refused");
        assert!(refused.to_string().contains("--fleet-listen"), "{refused}");
    }
}
