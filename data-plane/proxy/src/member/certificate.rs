//! What makes a node a member: a key that it made itself, the certificate for it, the authority of the fleet. What is held
//! here has been checked to belong together.

use std::fmt;

use gateway_model::secret::Secret;
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// A certificate, as far as the node reads it.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    pub(super) der: CertificateDer<'static>,
    pub(super) node_id: String,
    pub(super) not_before_ms: i64,
    pub(super) not_after_ms: i64,
    /// SubjectPublicKeyInfo, DER.
    public_key: Vec<u8>,
}

/// The node's own key. Its text is wiped when it goes.
#[derive(Clone)]
pub(super) struct Key(Secret);

#[derive(Clone, Debug)]
pub(super) struct Credentials {
    pub(super) ca: CertificateDer<'static>,
    pub(super) certificate: Certificate,
    pub(super) key: Key,
}

// === impl Certificate ===

impl Certificate {
    pub(super) fn parse(der: CertificateDer<'static>) -> Result<Self, String> {
        let (rest, parsed) =
            X509Certificate::from_der(&der).map_err(|error| format!("it is no X.509 certificate ({error})"))?;
        if !rest.is_empty() {
            return Err("something follows the certificate".to_owned());
        }
        let name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let node_id = name.filter(|name| !name.is_empty()).ok_or("it names no node")?.to_owned();
        let validity = parsed.validity();
        let (not_before_ms, not_after_ms) =
            (validity.not_before.timestamp().saturating_mul(1000), validity.not_after.timestamp().saturating_mul(1000));
        let public_key = parsed.public_key().raw.to_vec();
        Ok(Self { node_id, not_before_ms, not_after_ms, public_key, der })
    }
}

// === impl Key ===

impl Key {
    pub(super) fn generate() -> Result<Self, String> {
        let pair = KeyPair::generate().map_err(|error| format!("no key could be made ({error})"))?;
        Ok(Self(Secret::new(pair.serialize_pem())))
    }

    pub(super) fn from_pem(text: Secret) -> Result<Self, String> {
        KeyPair::from_pem(text.expose()).map_err(|error| format!("it is no private key ({error})"))?;
        Ok(Self(text))
    }

    pub(super) fn pem(&self) -> &str {
        self.0.expose()
    }

    /// PKCS#10, DER. Only the key in it counts: the control plane names the node.
    pub(super) fn request(&self) -> Result<Vec<u8>, String> {
        let unusable = |error: rcgen::Error| format!("no certificate can be asked for ({error})");
        let request = CertificateParams::default().serialize_request(&self.pair()?).map_err(unusable)?;
        Ok(request.der().to_vec())
    }

    pub(super) fn belongs_to(&self, certificate: &Certificate) -> bool {
        self.pair().is_ok_and(|pair| pair.subject_public_key_info() == certificate.public_key)
    }

    fn pair(&self) -> Result<KeyPair, String> {
        KeyPair::from_pem(self.pem()).map_err(|error| format!("the key is damaged ({error})"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}
