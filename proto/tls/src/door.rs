//! From a TCP connection to a TLS one: bounded in time, and in how many are at it.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Where connections become TLS ones. Clones share their bounds.
#[derive(Clone)]
pub struct Door {
    acceptor: TlsAcceptor,
    places: Arc<Semaphore>,
}

/// Handshakes at a time, of peers that have begun to speak; others wait their turn.
const MAX_HANDSHAKES: usize = 256;
/// From the connection's start to the end of its handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// What a TLS client sends first begins with this byte (RFC 8446, section 5.1: the content type `handshake`).
const HANDSHAKE_RECORD: u8 = 22;
/// For a peer without TLS to hear why it is let go.
const LAST_WORDS: Duration = Duration::from_secs(1);

const WITHOUT_TLS: &str = r#"{"error":{"message":"this address speaks TLS; write https:// instead of http://","type":"invalid_request_error","param":null,"code":"tls_required"}}"#;

// === impl Door ===

impl Door {
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self { acceptor: TlsAcceptor::from(config), places: Arc::new(Semaphore::new(MAX_HANDSHAKES)) }
    }

    /// The handshake. `None` for a peer that is let go: it took too long, broke off or spoke something else; one that spoke
    /// HTTP has been told. Runs in the caller's task; dropped, it closes the connection.
    pub async fn let_in(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        timeout(HANDSHAKE, self.handshake(stream)).await.ok().flatten()
    }

    async fn handshake(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let mut first = [0];
        // A peer that says nothing takes no place.
        if stream.peek(&mut first).await.ok()? == 0 {
            return None;
        }
        if first[0] != HANDSHAKE_RECORD {
            let _ = timeout(LAST_WORDS, refuse(stream)).await;
            return None;
        }
        let _place = self.places.acquire().await.ok()?;
        match self.acceptor.accept(stream).await {
            Ok(stream) => Some(stream),
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "no TLS with a client");
                None
            }
        }
    }
}

/// Also the right answer to HTTP/2 without TLS: its clients report what they read instead of it.
async fn refuse(mut stream: TcpStream) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        WITHOUT_TLS.len()
    );
    stream.write_all(format!("{head}{WITHOUT_TLS}").as_bytes()).await?;
    stream.shutdown().await?;
    // Closed with bytes unread, the connection would be reset, and the answer lost.
    let mut rest = [0; 4096];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}
