//! Opens connections to upstreams. The destination guard sits here, at the address that is really dialled, so that no route,
//! endpoint or redirect can miss it, and a name that resolves differently the second time gains nothing.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use gateway_ir::failure::{Code, Failure};
use gateway_providers::destination;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::Origin;

/// An open transport, plain or encrypted.
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// TLS towards upstreams: the system's roots, or the bundled ones where the system has none.
pub(crate) fn tls_client_config() -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider supports the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// Resolves, checks every address, dials the checked ones in order, and performs the TLS handshake. The caller bounds the time.
pub(super) async fn connect(origin: &Origin, tls: &Arc<rustls::ClientConfig>) -> Result<Transport, Box<Failure>> {
    let addresses = resolve(origin).await?;
    let mut last_error = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return handshake(origin, stream, tls).await,
            Err(error) => last_error = Some(error),
        }
    }
    let reason = last_error.map_or_else(|| "the name has no address".to_owned(), |error| error.to_string());
    Err(unreachable(origin, &reason))
}

async fn resolve(origin: &Origin) -> Result<Vec<SocketAddr>, Box<Failure>> {
    let host = origin.host.trim_start_matches('[').trim_end_matches(']');
    let found: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, origin.port)],
        Err(_) => match tokio::net::lookup_host((host, origin.port)).await {
            Ok(found) => found.collect(),
            Err(error) => return Err(unreachable(origin, &format!("the name does not resolve ({error})"))),
        },
    };
    for address in &found {
        let allowed = match origin.tls {
            _ if origin.is_metadata_server => destination::allowed_for_tokens(address.ip()),
            true => destination::allowed(address.ip(), origin.allow_private),
            false => destination::allowed_in_clear(address.ip(), origin.allow_private),
        };
        if let Err(denied) = allowed {
            let message = format!("the upstream's name resolves to an address that may not be called: {denied}");
            return Err(failed(origin, Code::DestinationRefused, message));
        }
    }
    Ok(found)
}

async fn handshake(
    origin: &Origin,
    stream: TcpStream,
    tls: &Arc<rustls::ClientConfig>,
) -> Result<Transport, Box<Failure>> {
    // Small writes (one SSE event, one request head) must not wait for an acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        return Err(unreachable(origin, &error.to_string()));
    }
    if !origin.tls {
        return Ok(Transport::Plain(stream));
    }
    let name = match ServerName::try_from(origin.host.to_string()) {
        Ok(name) => name,
        Err(_) => return Err(unreachable(origin, "the host is no valid TLS server name")),
    };
    let mut tls = Arc::clone(tls);
    if origin.only_h1 {
        Arc::make_mut(&mut tls).alpn_protocols = vec![b"http/1.1".to_vec()];
    }
    match tokio_rustls::TlsConnector::from(tls).connect(name, stream).await {
        Ok(stream) => Ok(Transport::Tls(Box::new(stream))),
        Err(error) => Err(unreachable(origin, &format!("TLS failed ({error})"))),
    }
}

pub(super) fn unreachable(origin: &Origin, reason: &str) -> Box<Failure> {
    failed(origin, Code::UpstreamUnreachable, format!("could not reach the upstream: {reason}"))
}

/// Callers are told what happened; where upstreams are is in the configuration and in the log, and is nothing to callers.
pub(super) fn failed(origin: &Origin, code: Code, message: String) -> Box<Failure> {
    tracing::debug!(host = &*origin.host, port = origin.port, "{message}");
    Box::new(Failure::new(code, message))
}

// === impl Transport ===

impl Transport {
    /// Whether the two sides agreed on HTTP/2.
    pub(super) fn is_h2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }

    pub(super) fn into_io(self) -> TokioIo<Self> {
        TokioIo::new(self)
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(tls: bool, host: &str, port: u16, allow_private: bool) -> Origin {
        Origin {
            tls,
            host: host.into(),
            authority: bytes::Bytes::copy_from_slice(host.as_bytes()),
            port,
            allow_private,
            only_h1: false,
            is_metadata_server: false,
        }
    }

    #[tokio::test]
    async fn the_guard_judges_the_address_that_is_dialled() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let port = listener.local_addr().expect("its address").port();
        let tls = tls_client_config();
        // `localhost` stands for any name that resolves to an address that may not be called.
        for (secure, host) in
            [(true, "127.0.0.1"), (true, "localhost"), (false, "127.0.0.1"), (true, "[::1]"), (true, "0.0.0.0")]
        {
            let failure = connect(&origin(secure, host, port, false), &tls).await.err().expect("refused");
            assert_eq!(failure.code, Code::DestinationRefused, "{host}: {failure}");
        }
        assert!(connect(&origin(false, "127.0.0.1", port, true), &tls).await.is_ok());
        let other = Origin { is_metadata_server: true, ..origin(false, "127.0.0.1", port, true) };
        let failure = connect(&other, &tls).await.err().expect("refused");
        assert_eq!(failure.code, Code::DestinationRefused, "{failure}");
        let metadata = connect(&origin(false, "169.254.169.254", 80, true), &tls).await.err().expect("refused");
        assert_eq!(metadata.code, Code::DestinationRefused, "{metadata}");
        let refused_by_peer = {
            drop(listener);
            connect(&origin(false, "127.0.0.1", port, true), &tls).await.err().expect("nobody listens")
        };
        assert_eq!(refused_by_peer.code, Code::UpstreamUnreachable);
    }
}
