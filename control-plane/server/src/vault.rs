//! Secrets at rest: AES-256-GCM envelopes under the key-encryption key. It seals and opens; it does not store.
//!
//! Each item's secrets are sealed together under a data key of their own; the data key is sealed under the key-encryption key
//! (KEK). The additional data names the item, so that an envelope moved to another item does not open.
//!
//! ```text
//! envelope = version (1) · id of the KEK (8) · nonce (12) · sealed data key (48) · nonce (12) · sealed secrets
//! ```

use std::collections::BTreeMap;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{digest, hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use gateway_model::secret::Secret;
use gateway_store::ItemKind;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const KEY_LEN: usize = 32;
const TAG_LEN: usize = 16;
const KEK_ID_LEN: usize = 8;
const WRAPPED_LEN: usize = KEY_LEN + TAG_LEN;

/// Seals and opens under one key-encryption key.
pub struct Vault {
    kek: RandomizedNonceKey,
    kek_id: [u8; KEK_ID_LEN],
    fingerprint: hmac::Key,
}

/// Why an envelope stays closed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    #[error(
        "the database was sealed with another key-encryption key (`{stored}`, the one in use is `{ours}`); \
         use the `kek.key` that belongs to this database; replicas share one with --kek-file"
    )]
    WrongKey { stored: String, ours: String },
    #[error("a sealed secret is damaged or belongs to another item; restore a backup of the database")]
    Damaged,
    #[error("the key-encryption key must be {KEY_LEN} bytes in base64; restore `kek.key` from a backup")]
    BadKey,
}

/// What an envelope is bound to: the item, the format, the kind, and (empty until there are any) the tenant.
pub fn aad(kind: ItemKind, id: &str) -> String {
    format!("{id}|{VERSION}|{}|", kind.name())
}

// === impl Vault ===

impl Vault {
    /// A new random key-encryption key, as it stands in its file.
    pub fn generate() -> Secret {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        rand::fill(&mut *key).expect("the system's random source works");
        Secret::new(BASE64.encode(*key))
    }

    pub fn new(kek: &Secret) -> Result<Self, Error> {
        let key = Zeroizing::new(BASE64.decode(kek.expose().trim_end_matches('=')).map_err(|_| Error::BadKey)?);
        if key.len() != KEY_LEN {
            return Err(Error::BadKey);
        }
        let mut id = digest::Context::new(&digest::SHA256);
        id.update(b"kek id|");
        id.update(&key);
        let mut kek_id = [0; KEK_ID_LEN];
        kek_id.copy_from_slice(&id.finish().as_ref()[..KEK_ID_LEN]);
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), b"fingerprints of secrets");
        Ok(Self {
            kek: RandomizedNonceKey::new(&AES_256_GCM, &key).map_err(|_| Error::BadKey)?,
            kek_id,
            fingerprint: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()),
        })
    }

    /// Names the key-encryption key without giving it away.
    pub fn kek_id(&self) -> String {
        hex(&self.kek_id)
    }

    /// Seals an item's secrets. `aad` is that of the item, see [`aad()`].
    pub fn seal(&self, aad: &str, secrets: &BTreeMap<String, Secret>) -> Vec<u8> {
        let mut data_key = Zeroizing::new([0; KEY_LEN]);
        rand::fill(&mut *data_key).expect("the system's random source works");
        let exposed: BTreeMap<&str, &str> =
            secrets.iter().map(|(path, secret)| (path.as_str(), secret.expose())).collect();
        let plain = Zeroizing::new(serde_json::to_vec(&exposed).expect("texts are JSON"));
        let data = RandomizedNonceKey::new(&AES_256_GCM, &*data_key).expect("the key has the cipher's length");
        let mut envelope = vec![VERSION];
        envelope.extend_from_slice(&self.kek_id);
        append_sealed(&mut envelope, &self.kek, aad, &*data_key);
        append_sealed(&mut envelope, &data, aad, &plain);
        envelope
    }

    /// Opens what [`Vault::seal`] made for the same `aad`.
    pub fn open(&self, aad: &str, envelope: &[u8]) -> Result<BTreeMap<String, Secret>, Error> {
        let rest = envelope.strip_prefix(&[VERSION]).ok_or(Error::Damaged)?;
        let (kek_id, rest) = rest.split_at_checked(KEK_ID_LEN).ok_or(Error::Damaged)?;
        if kek_id != self.kek_id {
            return Err(Error::WrongKey { stored: hex(kek_id), ours: self.kek_id() });
        }
        let (wrapped, sealed) = rest.split_at_checked(NONCE_LEN + WRAPPED_LEN).ok_or(Error::Damaged)?;
        let data_key = open(&self.kek, aad, wrapped)?;
        let data = RandomizedNonceKey::new(&AES_256_GCM, &data_key).map_err(|_| Error::Damaged)?;
        let plain = open(&data, aad, sealed)?;
        serde_json::from_slice(&plain).map_err(|_| Error::Damaged)
    }

    /// Tells whether two secrets are the same without keeping either: equal for the same item, path and secret.
    pub fn fingerprint(&self, aad: &str, path: &str, secret: &Secret) -> String {
        let mut context = hmac::Context::with_key(&self.fingerprint);
        for part in [aad, path, secret.expose()] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        hex(&context.sign().as_ref()[..16])
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("kek_id", &self.kek_id()).finish_non_exhaustive()
    }
}

fn append_sealed(envelope: &mut Vec<u8>, key: &RandomizedNonceKey, aad: &str, plain: &[u8]) {
    let mut buffer = Zeroizing::new(plain.to_vec());
    // Room for the tag first: growing later would leave a copy of the plain text behind.
    buffer.reserve_exact(TAG_LEN);
    let nonce =
        key.seal_in_place_append_tag(Aad::from(aad), &mut *buffer).expect("far below the cipher's limit of length");
    envelope.extend_from_slice(nonce.as_ref());
    envelope.extend_from_slice(&buffer);
}

fn open(key: &RandomizedNonceKey, aad: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or(Error::Damaged)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Error::Damaged)?;
    let mut buffer = Zeroizing::new(sealed.to_vec());
    let length = key.open_in_place(nonce, Aad::from(aad), &mut buffer).map_err(|_| Error::Damaged)?.len();
    buffer.truncate(length);
    Ok(buffer)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> BTreeMap<String, Secret> {
        BTreeMap::from([
            ("api_key".to_owned(), Secret::new("sk-canary-0123456789")),
            ("other".to_owned(), Secret::new("ü")),
        ])
    }

    #[test]
    fn what_is_sealed_opens_for_its_item_only() {
        let vault = Vault::new(&Vault::generate()).expect("our own key");
        let envelope = vault.seal("a", &secrets());
        assert_eq!(vault.open("a", &envelope), Ok(secrets()));
        assert_eq!(vault.open("b", &envelope), Err(Error::Damaged));
        assert_ne!(vault.seal("a", &secrets()), envelope, "two envelopes never share a key or a nonce");
        assert!(!envelope.windows(6).any(|window| window == b"canary"));
    }

    #[test]
    fn every_damage_is_noticed() {
        let vault = Vault::new(&Vault::generate()).expect("our own key");
        let envelope = vault.seal("a", &secrets());
        for position in 0..envelope.len() {
            let mut flipped = envelope.clone();
            flipped[position] ^= 1;
            assert!(vault.open("a", &flipped).is_err(), "byte {position}");
            assert!(vault.open("a", &envelope[..position]).is_err(), "cut at {position}");
        }
    }

    #[test]
    fn another_key_is_named() {
        let (ours, theirs) = (Vault::new(&Vault::generate()), Vault::new(&Vault::generate()));
        let (ours, theirs) = (ours.expect("a key"), theirs.expect("a key"));
        let refused = ours.open("a", &theirs.seal("a", &secrets())).expect_err("another key");
        assert_eq!(refused, Error::WrongKey { stored: theirs.kek_id(), ours: ours.kek_id() });
        for bad in ["", "AAAA", "not base64 at all!"] {
            assert_eq!(Vault::new(&Secret::new(bad)).expect_err("no key"), Error::BadKey);
        }
    }

    #[test]
    fn fingerprints_tell_secrets_apart_and_nothing_else() {
        let vault = Vault::new(&Vault::generate()).expect("our own key");
        let print = |aad, path, secret| vault.fingerprint(aad, path, &Secret::new(secret));
        assert_eq!(print("a", "api_key", "x"), print("a", "api_key", "x"));
        for (aad, path, secret) in [("b", "api_key", "x"), ("a", "api_keyx", ""), ("a", "api_key", "y")] {
            assert_ne!(print("a", "api_key", "x"), print(aad, path, secret));
        }
    }
}
