//! Keys under which files are sealed. They cannot be printed, and are overwritten when they are dropped.

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use zeroize::Zeroizing;

/// What a key is for; the same secrets give unrelated keys for different purposes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// What a node keeps on its own disk.
    NodeState,
    /// A configuration that is carried to another machine.
    Export,
}

/// A key that seals files. Each file gets one of its own from it.
pub struct Key(Prk);

pub(super) const FILE_ID_LEN: usize = 16;
pub(super) const PROOF_LEN: usize = 16;
pub(super) type FileId = [u8; FILE_ID_LEN];

const SALT: &[u8] = b"gateway sealed configuration";

// === impl Key ===

impl Key {
    /// HKDF-SHA-256 over all parts, in this order. Each part is a secret of at least 16 random bytes; or else the key is as
    /// weak as the strongest of them.
    pub fn derive(parts: &[&[u8]], purpose: Purpose) -> Self {
        let len = parts.iter().map(|part| size_of::<u64>() + part.len()).sum();
        // Of its full size from the start: a buffer that grew would leave copies behind.
        let mut secret = Zeroizing::new(Vec::with_capacity(len));
        for part in parts {
            secret.extend_from_slice(&(part.len() as u64).to_be_bytes());
            secret.extend_from_slice(part);
        }
        let extracted = Salt::new(HKDF_SHA256, SALT).extract(&secret);
        let info = [purpose.label().as_bytes()];
        Self(extracted.expand(&info, HKDF_SHA256).map(Prk::from).expect("the length is that of the hash"))
    }

    /// The key of one file.
    pub(super) fn of_file(&self, id: &FileId) -> LessSafeKey {
        let info: [&[u8]; 2] = [b"file", id];
        let key = self.0.expand(&info, &AES_256_GCM).map(UnboundKey::from);
        LessSafeKey::new(key.expect("the length is that of the cipher's key"))
    }

    /// Tells a wrong key from a damaged file, and gives nothing away.
    pub(super) fn proof(&self, id: &FileId) -> [u8; PROOF_LEN] {
        let info: [&[u8]; 2] = [b"proof", id];
        let mut proof = [0; PROOF_LEN];
        let filled = self.0.expand(&info, Len(PROOF_LEN)).and_then(|expanded| expanded.fill(&mut proof));
        filled.expect("the length is far below the bound of HKDF");
        proof
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

// === impl Purpose ===

impl Purpose {
    fn label(self) -> &'static str {
        match self {
            Self::NodeState => "node state",
            Self::Export => "export",
        }
    }
}

/// A length for HKDF.
struct Len(usize);

impl aws_lc_rs::hkdf::KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}
