//! Whom this node trusts: before it is a member, the authority whose fingerprint is in its token; afterwards that authority
//! alone. Names and addresses prove nothing.

use std::sync::Arc;
use std::time::Duration;

use ::aws_lc_rs::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme, version,
};

use super::certificate::{Certificate, Credentials};
use crate::link::Access;

/// SHA-256 of the authority's certificate.
pub(super) type Pin = [u8; 32];

pub(super) fn fingerprint(ca: &CertificateDer<'_>) -> Pin {
    let mut pin = Pin::default();
    pin.copy_from_slice(digest(&SHA256, ca).as_ref());
    pin
}

/// For the first contact: shows nothing, trusts what the token names.
pub(super) fn stranger(pin: Pin) -> Access {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(Pinned { pin, algorithms: provider.signature_verification_algorithms });
    let config = builder(provider).dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    finished(config)
}

/// For a member: shows its certificate, trusts its authority.
pub(super) fn access(credentials: &Credentials) -> Result<Access, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let roots = Arc::new(roots(&credentials.ca)?);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
    let verifier = verifier.map_err(|error| format!("it is no authority's certificate ({error})"))?;
    let key = PrivateKeyDer::from_pem_slice(credentials.key.pem().as_bytes()).map_err(|_| "the key is damaged")?;
    let chain = vec![credentials.certificate.der.clone()];
    let config = builder(provider).with_webpki_verifier(verifier).with_client_auth_cert(chain, key);
    config.map(finished).map_err(|error| format!("certificate and key cannot be used ({error})"))
}

/// That this authority made this certificate, whenever it is valid.
pub(super) fn check_issuer(ca: &CertificateDer<'_>, certificate: &Certificate) -> Result<(), String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), provider).build();
    let verifier = verifier.map_err(|error| format!("its authority cannot be used ({error})"))?;
    let middle = certificate.not_before_ms / 2 + certificate.not_after_ms / 2;
    let then = UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(middle).unwrap_or(0)));
    let verified = verifier.verify_client_cert(&certificate.der, &[], then);
    verified.map(|_| ()).map_err(|error| format!("the authority that came with it did not make it ({error})"))
}

fn roots(ca: &CertificateDer<'_>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone().into_owned()).map_err(|error| format!("it is no authority's certificate ({error})"))?;
    Ok(roots)
}

fn builder(provider: Arc<CryptoProvider>) -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])
        .expect("the provider supports TLS 1.3")
}

fn finished(mut config: ClientConfig) -> Access {
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would go on under the certificate it began with.
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Accepts a chain that ends in the authority with this fingerprint, for our fleet's name.
#[derive(Debug)]
struct Pinned {
    pin: Pin,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug, thiserror::Error)]
#[error("the authority of its certificate is not the one that the join token names")]
struct NotPinned;

// === impl Pinned ===

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let foreign = || Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(NotPinned))));
        let (ca, between) = intermediates.split_last().ok_or_else(foreign)?;
        if fingerprint(ca) != self.pin {
            return Err(foreign());
        }
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let end = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&end, &roots, between, now, self.algorithms.all)?;
        verify_server_name(&end, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
