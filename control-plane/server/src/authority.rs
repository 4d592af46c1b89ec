//! The fleet's certificate authority: made once per database, its key sealed there, the same for every replica. It issues the
//! certificates of nodes and of the fleet listener; who may have one is decided elsewhere.
//!
//! ECDSA on P-256 throughout: every TLS stack has it, and signing is fast enough for a whole fleet that renews at once.

mod identity;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context as _;
use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use gateway_model::secret::Secret;
use gateway_store::Store;
use gateway_store::membership::AuthorityRow;
use gateway_wire::FLEET_SERVER_NAME;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;
use zeroize::Zeroizing;

pub use self::identity::Identity;

use crate::vault::{self, Vault};

/// Issues certificates. Its key never leaves it.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    pin: [u8; 32],
}

/// A node's new certificate.
#[derive(Debug)]
pub struct Issued {
    /// X.509, DER.
    pub certificate: Vec<u8>,
    pub identity: Identity,
}

/// A certificate with its key, for the fleet listener.
pub struct Leaf {
    /// The leaf and the authority, so that a node that holds only the pin can follow it.
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    pub not_after_ms: i64,
}

/// Why there is no certificate for a signing request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    #[error("the certificate signing request is no PKCS#10 in DER of at most {MAX_CSR} bytes")]
    Unreadable,
    #[error("the certificate signing request is not signed by its own key")]
    Unsigned,
    #[error("the key must be ECDSA on P-256 or P-384, or Ed25519")]
    Key,
    #[error("the authority cannot sign; the control plane's log says more")]
    Failed,
}

/// How long a node's certificate is good; nodes renew at two thirds of it.
pub const NODE_LIFE_MS: i64 = 7 * DAY_MS;
/// How long a node whose certificate has run out may still renew it.
pub const GRACE_MS: i64 = 30 * DAY_MS;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Clocks differ: what is issued now was good yesterday.
const BACKDATED_MS: i64 = DAY_MS;
const AUTHORITY_LIFE_MS: i64 = 3650 * DAY_MS;
const LISTENER_LIFE_MS: i64 = 90 * DAY_MS;
const MAX_CSR: usize = 16 << 10;
const SERIAL_LEN: usize = 16;
/// What the sealed key is bound to, and its place in the envelope.
const AAD: &str = "ca";
const FIELD: &str = "key";

// === impl Authority ===

impl Authority {
    /// The database's authority; a new database gets one. Replicas that start at once agree on one. Fails if it was sealed
    /// under another key-encryption key.
    pub async fn load_or_make(store: &Store, vault: &Vault, now_ms: i64) -> anyhow::Result<Self> {
        let row = match store.authority().await? {
            Some(row) => row,
            None => store.keep_authority(&made(vault, now_ms)?).await.context("storing the fleet's authority")?,
        };
        Self::open(vault, &row).context("opening the fleet's authority")
    }

    fn open(vault: &Vault, row: &AuthorityRow) -> anyhow::Result<Self> {
        let secrets = vault.open(AAD, &row.sealed)?;
        let text = secrets.get(FIELD).ok_or(vault::Error::Damaged)?;
        let key = Zeroizing::new(BASE64.decode(text.expose()).map_err(|_| vault::Error::Damaged)?);
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(&key[..]), &PKCS_ECDSA_P256_SHA256)?;
        let certificate = CertificateDer::from(row.certificate.clone());
        let pin = sha256(&certificate);
        Ok(Self { issuer: Issuer::from_ca_cert_der(&certificate, key)?, certificate, pin })
    }

    /// X.509, DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// SHA-256 of the certificate's DER. It stands in join tokens, so that a node's first contact is authenticated.
    pub fn pin(&self) -> &[u8; 32] {
        &self.pin
    }

    /// A certificate for a node. Of the signing request only the public key is used, once its signature has shown that the
    /// node holds the private one. `node_id` must be ASCII.
    pub fn issue(&self, csr: &[u8], node_id: &str, epoch: &str, now_ms: i64) -> Result<Issued, BadRequest> {
        let key = public_key(csr)?;
        let mut params = params(node_id, now_ms, NODE_LIFE_MS);
        let uri = Ia5String::try_from(format!("spiffe://gateway/{epoch}/node/{node_id}"));
        params.subject_alt_names = vec![SanType::URI(uri.map_err(|_| BadRequest::Failed)?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "the fleet's authority cannot sign");
            BadRequest::Failed
        })?;
        let certificate = certificate.der().to_vec();
        let identity = Identity::of(&certificate).ok_or(BadRequest::Failed)?;
        Ok(Issued { certificate, identity })
    }

    /// A certificate with a key of its own for the fleet listener, good for 90 days under the name that all nodes ask for, and
    /// under `hosts` (names or addresses).
    pub fn leaf(&self, hosts: &[String], now_ms: i64) -> anyhow::Result<Leaf> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = params(FLEET_SERVER_NAME, now_ms, LISTENER_LIFE_MS);
        for host in std::iter::once(FLEET_SERVER_NAME).chain(hosts.iter().map(String::as_str)) {
            params.subject_alt_names.push(match host.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(
                    Ia5String::try_from(host).with_context(|| format!("`{host}` cannot stand in a certificate"))?,
                ),
            });
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = params.signed_by(&key, &self.issuer).context("signing the fleet listener's certificate")?;
        Ok(Leaf {
            chain: vec![leaf.der().clone(), self.certificate.clone()],
            key: PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
            not_after_ms: seconds(now_ms) * 1000 + LISTENER_LIFE_MS,
        })
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("pin", &vault::hex(&self.pin)).finish_non_exhaustive()
    }
}

/// A new authority, as it is stored.
fn made(vault: &Vault, now_ms: i64) -> anyhow::Result<AuthorityRow> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("making the fleet's authority")?;
    // A name of its own, so that a certificate of another fleet is told from one that is forged.
    let name =
        format!("gateway fleet {}", ulid::Ulid::from_parts(u64::try_from(now_ms).unwrap_or(0), ::rand::random()));
    let mut params = params(&name, now_ms, AUTHORITY_LIFE_MS);
    // It signs leaves and nothing below them.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).context("making the fleet's authority")?;
    let pkcs8 = Zeroizing::new(key.serialize_der());
    let secrets = BTreeMap::from([(FIELD.to_owned(), Secret::new(BASE64.encode(&*pkcs8)))]);
    let sealed = vault.seal(AAD, &secrets);
    Ok(AuthorityRow { certificate: certificate.der().to_vec(), sealed, created_at_ms: now_ms })
}

/// What all certificates have in common: a name, a life, a random serial.
fn params(name: &str, now_ms: i64, life_ms: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let at = |ms: i64| epoch + Duration::from_secs(u64::try_from(seconds(ms)).unwrap_or(0));
    params.not_before = at(now_ms - BACKDATED_MS);
    params.not_after = at(now_ms + life_ms);
    let mut serial = [0; SERIAL_LEN];
    rand::fill(&mut serial).expect("the system's random source works");
    // Positive, and of one length.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params
}

/// The key of a signing request, proven to be held by who made it.
fn public_key(csr: &[u8]) -> Result<SubjectPublicKeyInfo, BadRequest> {
    if csr.len() > MAX_CSR {
        return Err(BadRequest::Unreadable);
    }
    let (rest, csr) = X509CertificationRequest::from_der(csr).map_err(|_| BadRequest::Unreadable)?;
    if !rest.is_empty() {
        return Err(BadRequest::Unreadable);
    }
    csr.verify_signature().map_err(|_| BadRequest::Unsigned)?;
    let key = SubjectPublicKeyInfo::from_der(csr.certification_request_info.subject_pki.raw);
    let key = key.map_err(|_| BadRequest::Key)?;
    let allowed = [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519];
    if allowed.contains(&key.algorithm()) { Ok(key) } else { Err(BadRequest::Key) }
}

/// Certificates know whole seconds only.
fn seconds(unix_ms: i64) -> i64 {
    unix_ms.div_euclid(1000)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_800_000_000_123;

    async fn authority() -> (Store, Vault, Authority) {
        let store = Store::open("sqlite::memory:").await.expect("a database");
        let vault = Vault::new(&Vault::generate()).expect("our own key");
        let authority = Authority::load_or_make(&store, &vault, NOW_MS).await.expect("made");
        (store, vault, authority)
    }

    fn csr(algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let mut params = CertificateParams::new(vec!["evil.example.com".to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, "node_somebody_else");
        params.serialize_request(&key).expect("a request").der().to_vec()
    }

    #[tokio::test]
    async fn there_is_one_per_database_and_key() {
        let (store, vault, first) = authority().await;
        let again = Authority::load_or_make(&store, &vault, NOW_MS + 1).await.expect("read");
        assert_eq!(first.pin(), again.pin());
        // Another process was faster: its authority is the one.
        let late = store.keep_authority(&made(&vault, NOW_MS).expect("made")).await.expect("kept");
        assert_eq!(sha256(&late.certificate), *first.pin());
        let other = Vault::new(&Vault::generate()).expect("our own key");
        let refused = format!("{:#}", Authority::load_or_make(&store, &other, NOW_MS).await.expect_err("another key"));
        assert!(refused.contains("another key-encryption key"), "{refused}");
        assert!(!format!("{first:?}").contains("BEGIN"));
    }

    #[tokio::test]
    async fn of_a_request_only_the_key_is_used() {
        let (_, _, authority) = authority().await;
        for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
            let issued = authority.issue(&csr(algorithm), "node_1", "epoch-1", NOW_MS).expect("issued");
            let identity = &issued.identity;
            assert_eq!(
                (identity.node_id.as_str(), identity.not_after_ms),
                ("node_1", 1_800_000_000_000 + NODE_LIFE_MS)
            );
            assert_eq!(identity.serial.len(), 2 * SERIAL_LEN);
            let (_, read) = x509_parser::parse_x509_certificate(&issued.certificate).expect("ours");
            let names = read.subject_alternative_name().expect("readable").expect("there").value.general_names.clone();
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            assert_eq!(names, ["URI(spiffe://gateway/epoch-1/node/node_1)"]);
            assert!(!read.is_ca());
        }
    }

    #[tokio::test]
    async fn a_bad_request_is_refused() {
        let (_, _, authority) = authority().await;
        let good = csr(&rcgen::PKCS_ECDSA_P256_SHA256);
        let mut forged = good.clone();
        let last = forged.len() - 1;
        forged[last] ^= 1;
        let long = vec![0x30; MAX_CSR + 1];
        for (request, expected) in [
            (&b""[..], BadRequest::Unreadable),
            (b"not DER at all", BadRequest::Unreadable),
            (&good[..good.len() / 2], BadRequest::Unreadable),
            (&long, BadRequest::Unreadable),
            (&[&good[..], b"more"].concat(), BadRequest::Unreadable),
            (&forged, BadRequest::Unsigned),
        ] {
            assert_eq!(authority.issue(request, "node_1", "e", NOW_MS).map(drop), Err(expected), "{}", request.len());
        }
    }

    #[tokio::test]
    async fn the_listener_goes_by_the_name_nodes_ask_for() {
        let (_, _, authority) = authority().await;
        let hosts = ["gateway.example.com".to_owned(), "10.0.0.7".to_owned()];
        let leaf = authority.leaf(&hosts, NOW_MS).expect("a leaf");
        assert_eq!(leaf.chain[1], *authority.certificate());
        let (_, read) = x509_parser::parse_x509_certificate(&leaf.chain[0]).expect("ours");
        let names = read.subject_alternative_name().expect("readable").expect("there");
        assert_eq!(names.value.general_names.len(), 3);
        assert_eq!(read.validity().not_after.timestamp() * 1000, leaf.not_after_ms);
        assert!(authority.leaf(&["naïve".to_owned()], NOW_MS).is_err());
    }
}
