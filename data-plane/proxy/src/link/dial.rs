//! One connection to a control plane: address, TCP, TLS. Who answers is decided by the certificate alone.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gateway_wire::FLEET_SERVER_NAME;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, OtherError};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::FleetUrl;

/// For one address, until it speaks TLS.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Of one name.
const MAX_ADDRESSES: usize = 8;

/// Why an address is no way to the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) url: FleetUrl,
    pub(crate) reason: Reason,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Nothing answers, or nothing that speaks TLS.
    Unreachable(String),
    /// Somebody else answers: the certificate is not one of this fleet.
    Foreign(String),
    /// The certificate is not valid at this time of day.
    Time(String),
}

/// Connects to this address. Nothing of ours is sent before the other side has proved who it is.
pub(crate) async fn dial(url: &FleetUrl, tls: &Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, Failure> {
    let failed = |reason| Failure { url: url.clone(), reason };
    let unreachable = |error: &io::Error| failed(Reason::Unreachable(error.to_string()));
    let resolved = tokio::time::timeout(TIMEOUT, tokio::net::lookup_host((url.host.as_str(), url.port))).await;
    let addresses =
        resolved.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|error| unreachable(&error))?;
    let mut last = failed(Reason::Unreachable("the name has no address".to_owned()));
    for address in addresses.take(MAX_ADDRESSES) {
        match tokio::time::timeout(TIMEOUT, connect(address, tls)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = failed(Reason::of(&error)),
            Err(_) => last = failed(Reason::Unreachable(format!("no answer within {TIMEOUT:?}"))),
        }
    }
    Err(last)
}

async fn connect(address: SocketAddr, tls: &Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    // A revocation is one small message and must not wait for another.
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(FLEET_SERVER_NAME).expect("a constant that is a host name");
    TlsConnector::from(Arc::clone(tls)).connect(name, stream).await
}

// === impl Reason ===

impl Reason {
    fn of(error: &io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let Some(rustls::Error::InvalidCertificate(certificate)) = tls else {
            return Self::Unreachable(error.to_string());
        };
        match certificate {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Self::Time(certificate.to_string()),
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                Self::Foreign("another authority made its certificate".to_owned())
            }
            CertificateError::Other(OtherError(reason)) => Self::Foreign(reason.to_string()),
            other => Self::Foreign(other.to_string()),
        }
    }
}

// === impl Failure ===

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = &self.url;
        match &self.reason {
            Reason::Unreachable(reason) => write!(f, "`{url}` cannot be reached: {reason}"),
            Reason::Foreign(reason) => write!(f, "`{url}` is not a control plane of this fleet: {reason}"),
            Reason::Time(reason) => {
                write!(
                    f,
                    "the certificate of `{url}` is not valid now, so a clock is wrong, most likely this node's: {reason}"
                )
            }
        }
    }
}
