//! Which client certificates the TLS layer lets through: those our authority has signed, also for a while after they have run
//! out, so that a node that was away can still renew. A caller may have none.

use std::sync::Arc;

use anyhow::Context as _;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use crate::authority::{Authority, GRACE_MS};

#[derive(Debug)]
pub(super) struct Verifier(Arc<dyn ClientCertVerifier>);

const GRACE_SECONDS: u64 = GRACE_MS.unsigned_abs() / 1000;

// === impl Verifier ===

impl Verifier {
    pub(super) fn new(authority: &Authority, provider: &Arc<CryptoProvider>) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate().clone()).context("using the fleet's authority")?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        Ok(Self(verifier.allow_unauthenticated().build().context("using the fleet's authority")?))
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.0.verify_client_cert(end_entity, intermediates, now);
        let Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) = &verified else {
            return verified;
        };
        if now.as_secs() > not_after.as_secs().saturating_add(GRACE_SECONDS) {
            return verified;
        }
        // Everything but the time is looked at again, as of the last moment that it was good.
        self.0.verify_client_cert(end_entity, intermediates, *not_after)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
