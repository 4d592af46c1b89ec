//! The tools prove themselves: what a script says is what arrives, and a link does what it is told.

mod dead;
mod link;
mod upstream;

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A client that sends one request and can read piece by piece.
struct Client {
    stream: TcpStream,
}

impl Client {
    async fn post(addr: SocketAddr, body: &str) -> Self {
        let mut stream = TcpStream::connect(addr).await.expect("connects");
        let request = format!("POST /v1/x HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).await.expect("sends");
        Self { stream }
    }

    /// Reads until the text received so far contains `mark`.
    async fn read_until(&mut self, mark: &str) -> String {
        let mut got = Vec::new();
        while !String::from_utf8_lossy(&got).contains(mark) {
            let n_read = self.stream.read_buf(&mut got).await.expect("reads");
            assert!(n_read > 0, "the peer closed before {mark:?}: {:?}", String::from_utf8_lossy(&got));
        }
        String::from_utf8_lossy(&got).into_owned()
    }

    /// Everything until the end, or the kind of error that ended it.
    async fn read_all(&mut self) -> Result<String, std::io::ErrorKind> {
        let mut got = Vec::new();
        match self.stream.read_to_end(&mut got).await {
            Ok(_) => Ok(String::from_utf8_lossy(&got).into_owned()),
            Err(error) => Err(error.kind()),
        }
    }
}
