//! Keyed digests of credentials. The table of keys holds digests only, and without the pepper a stolen table is of no use.

use aws_lc_rs::hmac;

/// HMAC-SHA-256 of a credential.
pub type Digest = [u8; 32];

/// The digest keys, newest first: after a rotation old digests are still found until their keys have been re-digested.
#[derive(Default)]
pub struct Peppers {
    versions: Vec<(u32, hmac::Key)>,
}

/// A digest under an empty pepper would be a digest under no pepper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pepper version {version} is empty")]
pub struct EmptyPepper {
    pub version: u32,
}

// === impl Peppers ===

impl Peppers {
    /// Peppers by version; the highest version is the current one. An empty pepper is refused.
    pub fn new<P: AsRef<[u8]>>(peppers: impl IntoIterator<Item = (u32, P)>) -> Result<Self, EmptyPepper> {
        let mut versions = Vec::new();
        for (version, pepper) in peppers {
            if pepper.as_ref().is_empty() {
                return Err(EmptyPepper { version });
            }
            versions.push((version, hmac::Key::new(hmac::HMAC_SHA256, pepper.as_ref())));
        }
        versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
        Ok(Self { versions })
    }

    /// Version and digest under the current pepper; `None` without any pepper.
    pub fn digest(&self, credential: &str) -> Option<(u32, Digest)> {
        self.versions.first().map(|(version, key)| (*version, digest(key, credential)))
    }

    /// Digests under all peppers, the current one first; each is computed when it is asked for.
    pub(crate) fn digests(&self, credential: &str) -> impl Iterator<Item = Digest> {
        self.versions.iter().map(|(_, key)| digest(key, credential))
    }
}

/// Versions only.
impl std::fmt::Debug for Peppers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.versions.iter().map(|(version, _)| version)).finish()
    }
}

fn digest(key: &hmac::Key, credential: &str) -> Digest {
    hmac::sign(key, credential.as_bytes()).as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
}
