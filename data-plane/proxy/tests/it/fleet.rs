//! A fleet's authority as a test wants it: who is let in, for how long, what is refused; and the listener on which a control
//! plane of that fleet is reached.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use gateway_model::secret::Secret;
use gateway_model::token::{Join, encode_join};
use gateway_wire::FLEET_SERVER_NAME;
use gateway_wire::v1::enrolment_server::Enrolment;
use gateway_wire::v1::{EnrolRequest, Membership, RenewRequest};
use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status};

/// Of tokens that let in.
const ENTROPY: [u8; 32] = [9; 32];
const WEEK_S: i64 = 7 * 24 * 60 * 60;

/// Cheap to clone; replicas share one.
#[derive(Clone)]
pub(crate) struct Fleet(Arc<Inner>);

struct Inner {
    issuer: Issuer<'static, KeyPair>,
    ca: CertificateDer<'static>,
    rules: Mutex<Rules>,
}

/// What holds from now on, and what has happened.
pub(crate) struct Rules {
    /// Ids that other nodes have.
    pub(crate) taken: Vec<String>,
    /// How long a first certificate lasts; what is negative ended so long ago.
    pub(crate) life_s: i64,
    /// How long a renewed one lasts.
    pub(crate) renewed_life_s: i64,
    /// Every certificate is refused, and so is renewing one.
    pub(crate) is_revoked: bool,
    /// How far this control plane's clock is ahead.
    pub(crate) skew_ms: i64,
    /// What was asked: `enrol <id>`, `renew <id>`, `fleet <id> #<number of its certificate>`.
    pub(crate) asked: Vec<String>,
    /// Handshakes that failed.
    pub(crate) n_strangers: usize,
    issued: Vec<Issued>,
}

#[derive(Clone)]
struct Issued {
    number: usize,
    der: Vec<u8>,
    node_id: String,
    ends: SystemTime,
}

/// Whoever is at the other end of a connection.
#[derive(Clone)]
pub(crate) struct Peer(Option<Vec<u8>>);

// === impl Fleet ===

impl Fleet {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "a fleet");
        let key = KeyPair::generate().expect("a key");
        let ca = params.self_signed(&key).expect("an authority").der().clone();
        let rules = Rules {
            taken: Vec::new(),
            life_s: WEEK_S,
            renewed_life_s: WEEK_S,
            is_revoked: false,
            skew_ms: 0,
            asked: Vec::new(),
            n_strangers: 0,
            issued: Vec::new(),
        };
        Self(Arc::new(Inner { issuer: Issuer::new(params, key), ca, rules: Mutex::new(rules) }))
    }

    pub(crate) fn rules(&self) -> MutexGuard<'_, Rules> {
        self.0.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that lets in.
    pub(crate) fn token(&self) -> Secret {
        self.token_of(ENTROPY)
    }

    /// One that names this fleet.
    pub(crate) fn token_of(&self, entropy: [u8; 32]) -> Secret {
        let pin = digest(&SHA256, &self.0.ca).as_ref().try_into().expect("32 bytes");
        encode_join(&Join { entropy, pin })
    }

    /// The certificate with this number is over.
    pub(crate) fn has_ended(&self, number: usize) -> bool {
        self.rules().issued[number].ends < SystemTime::now()
    }

    /// Connections of a new listener whose handshake has succeeded, for as long as somebody takes them.
    pub(crate) async fn listen(&self) -> (SocketAddr, mpsc::Receiver<Secured>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("its address");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(self.server_config()));
        let (sender, connections) = mpsc::channel(16);
        let fleet = self.clone();
        tokio::spawn(async move {
            loop {
                let stream = tokio::select! {
                    accepted = listener.accept() => accepted.expect("a connection").0,
                    () = sender.closed() => return,
                };
                stream.set_nodelay(true).expect("a TCP stream");
                match acceptor.accept(stream).await {
                    Ok(stream) => drop(sender.send(Secured(stream)).await),
                    Err(_) => fleet.rules().n_strangers += 1,
                }
            }
        });
        (addr, connections)
    }

    /// Only current members may use the fleet's own streams.
    pub(crate) fn admit(&self, request: Request<()>) -> Result<Request<()>, Status> {
        // Without the extension it is a pipe.
        if let Some(peer) = request.extensions().get::<Peer>() {
            let issued = self.member(peer)?;
            if issued.ends < SystemTime::now() {
                return Err(Status::unauthenticated("the certificate has expired"));
            }
            self.rules().asked.push(format!("fleet {} #{}", issued.node_id, issued.number));
        }
        Ok(request)
    }

    fn member(&self, peer: &Peer) -> Result<Issued, Status> {
        let rules = self.rules();
        if rules.is_revoked {
            return Err(Status::permission_denied("the node was revoked"));
        }
        let issued = rules.issued.iter().find(|issued| Some(&issued.der) == peer.0.as_ref());
        issued.cloned().ok_or_else(|| Status::unauthenticated("no certificate of this fleet"))
    }

    fn issue(&self, csr: Vec<u8>, node_id: &str, life_s: i64) -> Membership {
        let mut request =
            CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr)).expect("a request");
        let now = SystemTime::now();
        let ends = shifted(now, life_s);
        request.params.distinguished_name.push(DnType::CommonName, node_id);
        // As the real ones are: for nodes whose clocks are behind.
        request.params.not_before = shifted(now.min(ends), -24 * 60 * 60).into();
        request.params.not_after = ends.into();
        let der = request.signed_by(&self.0.issuer).expect("a certificate").der().to_vec();
        let mut rules = self.rules();
        let number = rules.issued.len();
        rules.issued.push(Issued { number, der: der.clone(), node_id: node_id.to_owned(), ends });
        let unix_ms = now.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis();
        Membership {
            node_id: node_id.to_owned(),
            certificate: der,
            ca: self.0.ca.to_vec(),
            not_after_unix_ms: 0,
            unix_ms: i64::try_from(unix_ms).expect("before the sun dies") + rules.skew_ms,
        }
    }

    fn server_config(&self) -> rustls::ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([FLEET_SERVER_NAME.to_owned()]).expect("a name");
        let leaf = params.signed_by(&key, &self.0.issuer).expect("a certificate");
        let chain = vec![leaf.der().clone(), self.0.ca.clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_client_cert_verifier(Arc::new(Anyone(provider)))
            .with_single_cert(chain, key)
            .expect("a certificate with its key");
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }
}

#[tonic::async_trait]
impl Enrolment for Fleet {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<Membership>, Status> {
        let request = request.into_inner();
        self.rules().asked.push(format!("enrol {}", request.node_id));
        if request.token != self.token().expose() {
            return Err(Status::permission_denied("the join token has expired"));
        }
        if self.rules().taken.contains(&request.node_id) {
            return Err(Status::already_exists("another node has this id"));
        }
        let life_s = self.rules().life_s;
        Ok(Response::new(self.issue(request.csr, &request.node_id, life_s)))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<Membership>, Status> {
        let peer = request.extensions().get::<Peer>().expect("only over TLS").clone();
        let issued = self.member(&peer)?;
        self.rules().asked.push(format!("renew {}", issued.node_id));
        let life_s = self.rules().renewed_life_s;
        Ok(Response::new(self.issue(request.into_inner().csr, &issued.node_id, life_s)))
    }
}

fn shifted(time: SystemTime, seconds: i64) -> SystemTime {
    let span = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { time - span } else { time + span }
}

/// Takes every certificate: what it is worth is for the service to say.
#[derive(Debug)]
struct Anyone(Arc<rustls::crypto::CryptoProvider>);

impl ClientCertVerifier for Anyone {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A connection that knows whose it is.
pub(crate) struct Secured(TlsStream<TcpStream>);

impl Connected for Secured {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        Peer(self.0.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(|leaf| leaf.to_vec()))
    }
}

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
