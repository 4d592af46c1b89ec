//! Credentials: the pepper, digests of virtual keys, new tokens, and the comparison of the master key.

use std::collections::BTreeMap;

use anyhow::Context as _;
use aws_lc_rs::{constant_time, digest, hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use gateway_model::secret::Secret;
use gateway_model::token::{self, Prefix};
use gateway_store::audit::AuditRow;
use gateway_store::revisions::{Commit, Edit, Op};
use gateway_store::{ItemKind, Store, StoredItem};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::vault::{self, Vault};

/// The key under which virtual keys are digested. It is an item of the configuration, sealed at rest, known to every node.
pub struct Pepper {
    version: u32,
    value: Zeroizing<Vec<u8>>,
    key: hmac::Key,
}

/// The master key, as far as it is needed to recognise it.
pub struct MasterKey {
    digest: digest::Digest,
}

/// Version of the pepper made with a new database.
const FIRST: u32 = 1;
const FIELD: &str = "value";
const PEPPER_LEN: usize = 32;

/// A new token of ours, with 256 random bits.
pub fn mint(prefix: Prefix) -> Secret {
    let mut entropy = Zeroizing::new([0; 32]);
    rand::fill(&mut *entropy).expect("the system's random source works");
    token::encode(prefix, &entropy)
}

/// A secret that a key had before it was rotated: its digest, and until when it is good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Earlier {
    /// In base64.
    digest: String,
    pub(crate) pepper_version: u32,
    pub(crate) until_ms: i64,
}

#[derive(Default, Serialize, Deserialize)]
struct EarlierSecrets {
    #[serde(default)]
    earlier: Vec<Earlier>,
}

// === impl Pepper ===

impl Pepper {
    /// The stored pepper; a new database gets one. Fails if it was sealed under another key-encryption key.
    pub async fn load_or_make(store: &Store, vault: &Vault, now_ms: i64) -> anyhow::Result<Self> {
        let id = FIRST.to_string();
        let heads = store.heads().await?;
        if let Some(item) = store.item(ItemKind::Pepper, &id).await? {
            return Ok(Self::open(vault, &item)?);
        }
        let mut value = Zeroizing::new(vec![0; PEPPER_LEN]);
        rand::fill(&mut value).expect("the system's random source works");
        let secrets = BTreeMap::from([(FIELD.to_owned(), Secret::new(BASE64.encode(&*value)))]);
        let item = StoredItem {
            kind: ItemKind::Pepper,
            sealed: Some(vault.seal(&vault::aad(ItemKind::Pepper, &id), &secrets)),
            name: id.clone(),
            id,
            revision: 0,
            document: "{}".to_owned(),
            secret_facts: "{}".to_owned(),
            digest: None,
            pepper_version: FIRST,
            created_at_ms: now_ms,
            updated_at_ms: now_ms,
            owner: None,
        };
        let audit = AuditRow {
            at_ms: now_ms,
            actor: "startup".to_owned(),
            action: "create".to_owned(),
            kind: ItemKind::Pepper.name().to_owned(),
            name: item.name.clone(),
            ..AuditRow::default()
        };
        let commit = Commit {
            // Of replicas that start at once on a new database, one makes the pepper.
            expected: Some(heads),
            edits: vec![Edit { op: Op::Upsert, item: item.clone() }],
            actor: audit.actor.clone(),
            summary: "pepper made".to_owned(),
            audit: vec![audit],
            at_ms: now_ms,
        };
        match store.commit(commit).await {
            Ok(_) => {}
            Err(gateway_store::Error::Conflict { .. }) => {
                let item = store.item(ItemKind::Pepper, &item.id).await?;
                let item = item.context("another process changed the database before it had a pepper; start again")?;
                return Ok(Self::open(vault, &item)?);
            }
            Err(error) => return Err(error).context("storing the pepper"),
        }
        Ok(Self::open(vault, &item)?)
    }

    /// Opens a stored item of kind pepper.
    pub fn open(vault: &Vault, item: &StoredItem) -> Result<Self, vault::Error> {
        let sealed = item.sealed.as_deref().ok_or(vault::Error::Damaged)?;
        let secrets = vault.open(&vault::aad(item.kind, &item.id), sealed)?;
        let text = secrets.get(FIELD).ok_or(vault::Error::Damaged)?;
        let value = Zeroizing::new(BASE64.decode(text.expose()).map_err(|_| vault::Error::Damaged)?);
        // An empty HMAC key would verify for everybody.
        if value.len() < PEPPER_LEN {
            return Err(vault::Error::Damaged);
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, &value);
        Ok(Self { version: item.pepper_version, value, key })
    }

    pub fn version(&self) -> u32 {
        self.version
    }

    /// For the nodes. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &[u8] {
        &self.value
    }

    /// What is stored of a virtual key.
    pub fn digest(&self, secret: &str) -> Vec<u8> {
        hmac::sign(&self.key, secret.as_bytes()).as_ref().to_vec()
    }
}

impl std::fmt::Debug for Pepper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pepper").field("version", &self.version).finish_non_exhaustive()
    }
}

// === impl Earlier ===

impl Earlier {
    pub(crate) fn new(digest: &[u8], pepper_version: u32, until_ms: i64) -> Self {
        Self { digest: BASE64.encode(digest), pepper_version, until_ms }
    }

    /// `None` where what is stored is no digest.
    pub(crate) fn digest(&self) -> Option<Vec<u8>> {
        BASE64.decode(&self.digest).ok()
    }
}

/// The secrets that a key had before, the oldest first. They stand where other kinds have what is known of their secrets.
pub(crate) fn earlier(item: &StoredItem) -> Vec<Earlier> {
    serde_json::from_str::<EarlierSecrets>(&item.secret_facts).unwrap_or_default().earlier
}

/// As [`earlier`] reads it.
pub(crate) fn earlier_facts(earlier: Vec<Earlier>) -> String {
    serde_json::to_string(&EarlierSecrets { earlier }).expect("texts and numbers are JSON")
}

// === impl MasterKey ===

impl MasterKey {
    pub fn new(secret: &Secret) -> Self {
        Self { digest: digest::digest(&digest::SHA256, secret.expose().as_bytes()) }
    }

    /// Takes the same time whatever the credential: digests have one length and are compared whole.
    pub fn is(&self, credential: &str) -> bool {
        let other = digest::digest(&digest::SHA256, credential.as_bytes());
        constant_time::verify_slices_are_equal(self.digest.as_ref(), other.as_ref()).is_ok()
    }
}

impl MasterKey {
    /// What is kept of a secret that was given to who had shown this key. Under another master key it is nobody's.
    pub fn seal(&self, secret: &str) -> Vec<u8> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.digest.as_ref());
        hmac::sign(&key, secret.as_bytes()).as_ref().to_vec()
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_master_key_is_itself_only() {
        let master = MasterKey::new(&Secret::new("gw_master_0123456789"));
        for (credential, expected) in
            [("gw_master_0123456789", true), ("gw_master_0123456788", false), ("gw_master_", false), ("", false)]
        {
            assert_eq!(master.is(credential), expected, "{credential}");
        }
    }

    #[tokio::test]
    async fn the_pepper_stays_with_its_database() {
        let store = Store::open("sqlite::memory:").await.expect("a database");
        let vault = Vault::new(&Vault::generate()).expect("our own key");
        let first = Pepper::load_or_make(&store, &vault, 1).await.expect("made");
        let again = Pepper::load_or_make(&store, &vault, 2).await.expect("read");
        assert_eq!(first.digest("x"), again.digest("x"));
        assert_ne!(first.digest("x"), first.digest("y"));
        assert_eq!(store.heads().await.expect("heads").identity, 1);
        let other = Vault::new(&Vault::generate()).expect("our own key");
        let refused = Pepper::load_or_make(&store, &other, 3).await.expect_err("another key").to_string();
        assert!(refused.contains("another key-encryption key"), "{refused}");
    }
}
