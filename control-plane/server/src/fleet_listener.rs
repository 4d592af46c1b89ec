//! The fleet listener: TCP to TLS 1.3 to HTTP/2, for nodes on other machines. It finds out who calls; what a caller may do is
//! the services' to say.
//!
//! Strangers have to be let in far enough to show a join token, so everything they can take is bounded: handshakes at a time,
//! the time of each, connections without a certificate and how long such a one may last.

mod certificate;
mod verifier;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rustls::ServerConfig;
use rustls::version::TLS13;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use self::certificate::Renewing;
use crate::authority::{Authority, Identity};
use crate::enrolment::EnrolmentService;
use crate::members::Members;
use crate::peer::{Contact, Link, Peer};
use crate::sync::FleetService;
use crate::task::Job;

/// A running listener; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct FleetListener {
    address: SocketAddr,
    bounds: Bounds,
    _jobs: Vec<Job>,
}

/// What may be open at a time.
#[derive(Clone, Debug)]
struct Bounds {
    handshakes: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    members: Arc<Semaphore>,
}

/// What a handshake needs.
struct Door {
    acceptor: TlsAcceptor,
    bounds: Bounds,
    members: Arc<Members>,
}

type Connection = Link<TlsStream<TcpStream>>;

const MAX_HANDSHAKES: usize = 256;
const HANDSHAKE: Duration = Duration::from_secs(5);
const MAX_STRANGERS: usize = 256;
/// To enrol takes two round trips and a signature.
const STRANGER: Duration = Duration::from_secs(30);
const MAX_MEMBERS: usize = 10_000;
/// A node that was put out is told so before its connection ends.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Connections that wait to be taken over.
const BACKLOG: usize = 64;
/// After a failed accept, such as one for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

// === impl FleetListener ===

impl FleetListener {
    /// Binds and returns the socket; connections wait until [`FleetListener::serve`].
    pub(crate) async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
        TcpListener::bind(address).await.map_err(|error| {
            let advice = match error.kind() {
                io::ErrorKind::AddrInUse => {
                    "something else listens there; stop it, or choose another address with --fleet-listen"
                }
                io::ErrorKind::PermissionDenied => "this user may not; choose a port above 1023 with --fleet-listen",
                _ => "choose another address with --fleet-listen",
            };
            anyhow::Error::new(error).context(format!("cannot listen on {address} for the fleet: {advice}"))
        })
    }

    /// `hosts` are names under which nodes call it, beside the one they all ask for.
    pub(crate) fn serve(
        listener: TcpListener,
        members: Arc<Members>,
        hosts: &[String],
        fleet: FleetService,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let address = listener.local_addr().context("asking for the fleet listener's address")?;
        let certificate = Arc::new(Renewing::new(Arc::clone(&members), hosts)?);
        let acceptor = TlsAcceptor::from(Arc::new(config(members.authority(), Arc::clone(&certificate))?));
        let bounds = Bounds {
            handshakes: Arc::new(Semaphore::new(MAX_HANDSHAKES)),
            strangers: Arc::new(Semaphore::new(MAX_STRANGERS)),
            members: Arc::new(Semaphore::new(MAX_MEMBERS)),
        };
        let (links, incoming) = mpsc::channel(BACKLOG);
        let (fleet, enrolment) =
            (fleet.with_members(Arc::clone(&members)), EnrolmentService::new(Arc::clone(&members)));
        let serve = async move {
            if let Err(error) = fleet.serve_members(enrolment, ReceiverStream::new(incoming)).await {
                tracing::error!(error = &error as &dyn std::error::Error, "the fleet listener has ended");
            }
        };
        let door = Door { acceptor, bounds: bounds.clone(), members };
        let jobs = vec![
            Job::spawn(async move { door.accept(listener, links, stop).await }),
            Job::spawn(serve),
            Job::spawn(async move { certificate.run().await }),
        ];
        Ok(Self { address, bounds, _jobs: jobs })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Handshakes that run, strangers and members that are connected.
    pub(crate) fn open(&self) -> [usize; 3] {
        let Bounds { handshakes, strangers, members } = &self.bounds;
        [
            MAX_HANDSHAKES - handshakes.available_permits(),
            MAX_STRANGERS - strangers.available_permits(),
            MAX_MEMBERS - members.available_permits(),
        ]
    }
}

fn config(authority: &Authority, certificate: Arc<Renewing>) -> anyhow::Result<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = verifier::Verifier::new(authority, &provider)?;
    let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13])?;
    let mut config = config.with_client_cert_verifier(Arc::new(verifier)).with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would bring back a certificate that nobody has looked at since.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(config)
}

// === impl Door ===

impl Door {
    /// All handshakes are part of this one job, so that none can outlive it.
    async fn accept(
        &self,
        listener: TcpListener,
        links: mpsc::Sender<io::Result<Connection>>,
        stop: CancellationToken,
    ) {
        let mut handshakes = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(link) = handshakes.next(), if !handshakes.is_empty() => {
                    if let Some(link) = link && links.send(Ok(link)).await.is_err() {
                        return;
                    }
                }
                accepted = listener.accept(), if self.bounds.handshakes.available_permits() > 0 => match accepted {
                    Ok((stream, address)) => handshakes.extend(self.place().map(|place| self.handshake(stream, address, place))),
                    Err(error) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "cannot accept a fleet connection");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
            }
        }
    }

    fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.bounds.handshakes).try_acquire_owned().ok()
    }

    /// `None` for a caller that is let go: it may speak something else, take too long, or show a certificate that is not good.
    async fn handshake(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        place: OwnedSemaphorePermit,
    ) -> Option<Connection> {
        // Small messages go out at once; a socket that cannot do that still works.
        let _ = stream.set_nodelay(true);
        let stream = match tokio::time::timeout(HANDSHAKE, self.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%address, error = &error as &dyn std::error::Error, "no TLS with a caller of the fleet listener");
                return None;
            }
            Err(_) => {
                tracing::debug!(%address, "a caller of the fleet listener takes too long");
                return None;
            }
        };
        drop(place);
        let link = self.link(stream, address.ip().to_string());
        if link.is_none() {
            tracing::warn!(%address, "the fleet listener has no place for another connection");
        }
        link
    }

    fn link(&self, stream: TlsStream<TcpStream>, ip: String) -> Option<Connection> {
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let Some(certificate) = certificate else {
            let place = Arc::clone(&self.bounds.strangers).try_acquire_owned().ok()?;
            return Some(Link::new(stream, Contact { peer: Peer::Joining, ip }, place, tokio::time::sleep(STRANGER)));
        };
        let identity = Identity::of(certificate)?;
        let place = Arc::clone(&self.bounds.members).try_acquire_owned().ok()?;
        let (members, node_id) = (Arc::clone(&self.members), identity.node_id.clone());
        let end = async move {
            members.until_revoked(&node_id).await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        Some(Link::new(stream, Contact { peer: Peer::Member(identity), ip }, place, end))
    }
}
