//! A machine that joins over the network: a key of its own, TLS with the control plane, the calls of a node.

use std::net::SocketAddr;
use std::sync::Arc;

use gateway_server::ControlPlane;
use gateway_wire::FLEET_SERVER_NAME;
use gateway_wire::v1::enrolment_client::EnrolmentClient;
use gateway_wire::v1::fleet_client::FleetClient;
use gateway_wire::v1::{EnrolRequest, Hello, Membership, RenewRequest};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::node::{Node, hello};

pub(crate) struct Machine {
    address: SocketAddr,
    authority: CertificateDer<'static>,
    key: KeyPair,
    pub(crate) certificate: Option<CertificateDer<'static>>,
    pub(crate) node_id: String,
}

// === impl Machine ===

impl Machine {
    /// Before it has joined.
    pub(crate) fn new(control: &ControlPlane) -> Self {
        Self {
            address: control.fleet_addr().unwrap(),
            authority: control.app().members.authority().certificate().clone(),
            key: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(),
            certificate: None,
            node_id: String::new(),
        }
    }

    /// After it has.
    pub(crate) async fn member(control: &ControlPlane, node_id: &str) -> Self {
        let mut machine = Self::new(control);
        machine.enrol(control.join_token().unwrap().expose(), node_id).await.unwrap();
        machine
    }

    /// With a certificate that was issued at some time, unknown to the database.
    pub(crate) fn issued(control: &ControlPlane, node_id: &str, at_ms: i64) -> Self {
        let mut machine = Self::new(control);
        let issued = control.app().members.authority().issue(&machine.csr(), node_id, "e", at_ms).unwrap();
        machine.certificate = Some(issued.certificate.into());
        machine.node_id = node_id.to_owned();
        machine
    }

    /// The same machine, calling another address.
    pub(crate) fn calling(self, address: SocketAddr) -> Self {
        Self { address, ..self }
    }

    pub(crate) fn csr(&self) -> Vec<u8> {
        CertificateParams::default().serialize_request(&self.key).unwrap().der().to_vec()
    }

    pub(crate) fn request(&self, token: &str, node_id: &str) -> EnrolRequest {
        EnrolRequest {
            token: token.to_owned(),
            csr: self.csr(),
            node_id: node_id.to_owned(),
            version: "1.2.3".to_owned(),
            ..EnrolRequest::default()
        }
    }

    pub(crate) async fn enrol(&mut self, token: &str, node_id: &str) -> Result<Membership, Status> {
        let request = self.request(token, node_id);
        let answered = EnrolmentClient::new(self.channel()).enrol(request).await;
        let membership = answered?.into_inner();
        self.take(&membership);
        Ok(membership)
    }

    pub(crate) async fn renew(&mut self) -> Result<Membership, Status> {
        let answered = EnrolmentClient::new(self.channel()).renew(RenewRequest { csr: self.csr() }).await;
        let membership = answered?.into_inner();
        self.take(&membership);
        Ok(membership)
    }

    /// What it is told when it opens the stream of its configuration.
    pub(crate) async fn sync(&self, hello: Hello) -> Result<Node, Status> {
        Node::over(self.channel(), hello).await
    }

    pub(crate) fn hello(&self) -> Hello {
        Hello { node_id: self.node_id.clone(), ..hello("boot1") }
    }

    pub(crate) fn fleet(&self) -> FleetClient<Channel> {
        FleetClient::new(self.channel())
    }

    /// A new connection, made with the first call.
    pub(crate) fn channel(&self) -> Channel {
        let (address, config) = (self.address, Arc::new(self.config()));
        let connector = tower::service_fn(move |_| {
            let connector = TlsConnector::from(Arc::clone(&config));
            async move {
                let stream = TcpStream::connect(address).await?;
                let stream = connector.connect(ServerName::try_from(FLEET_SERVER_NAME).unwrap(), stream).await?;
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        });
        Endpoint::from_static("http://control-plane").connect_with_connector_lazy(connector)
    }

    pub(crate) fn config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]);
        let config = config.unwrap().with_root_certificates(roots);
        let key = || PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let mut config = match &self.certificate {
            Some(certificate) => config.with_client_auth_cert(vec![certificate.clone()], key()).unwrap(),
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }

    fn take(&mut self, membership: &Membership) {
        self.certificate = Some(membership.certificate.clone().into());
        self.node_id.clone_from(&membership.node_id);
    }
}
