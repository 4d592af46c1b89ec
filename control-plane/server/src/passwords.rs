//! Passwords: how they are kept, and how often they may be tried. Argon2id with the parameters of its authors' second recommendation as
//! OWASP gives them (19 MiB, two passes); whoever floods the sign-in costs two hashes at a time and no more.

mod throttle;

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use gateway_model::secret::Secret;
use tokio::sync::Semaphore;

use self::throttle::Throttle;

/// Whoever signs in, one try at a time.
#[derive(Debug)]
pub struct Passwords {
    hashing: Arc<Semaphore>,
    /// Who may wait for one of those, itself included.
    waiting: Arc<Semaphore>,
    throttle: Throttle,
}

/// Why nothing was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany {
    pub(crate) retry_after_s: u64,
}

/// Hashes at once: what more of them cost, requests would not get.
const MAX_HASHING: usize = 2;
const MAX_WAITING: usize = 16;
/// In characters. The longest is there so that hashing it costs what any other does.
pub(crate) const LENGTHS: std::ops::RangeInclusive<usize> = 10..=256;

/// Of nobody: who has no password takes as long to refuse as who has another.
static NOBODYS: LazyLock<String> = LazyLock::new(|| hashed("nobody has this one").unwrap_or_default());

// === impl Passwords ===

impl Passwords {
    /// Whether this is the password that was hashed. Takes as long without a hash, and then is not.
    pub(crate) async fn are_same(&self, password: Secret, hash: Option<String>) -> Result<bool, TooMany> {
        self.beside(move || {
            let (hash, is_there) = hash.map_or_else(|| (NOBODYS.clone(), false), |hash| (hash, true));
            let parsed = PasswordHash::new(&hash);
            let is_same =
                parsed.is_ok_and(|hash| Argon2::default().verify_password(password.expose().as_bytes(), &hash).is_ok());
            is_same && is_there
        })
        .await
    }

    /// As it is kept: in PHC form, with a salt of its own. `None` where the system's random source fails.
    pub(crate) async fn hash(&self, password: Secret) -> Result<Option<String>, TooMany> {
        self.beside(move || hashed(password.expose())).await
    }

    /// Takes one try of whoever this is, from there.
    pub(crate) fn take(&self, ip: Option<IpAddr>, email: &str) -> Result<(), TooMany> {
        self.throttle.take(ip, email)
    }

    /// It was the right one: what it took comes back.
    pub(crate) fn give_back(&self, ip: Option<IpAddr>, email: &str) {
        self.throttle.give_back(ip, email);
    }

    /// Does the work where no request waits for it.
    async fn beside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, TooMany> {
        const BUSY: TooMany = TooMany { retry_after_s: 1 };
        let _waiting = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| BUSY)?;
        let hashing = Arc::clone(&self.hashing).acquire_owned().await.map_err(|_| BUSY)?;
        // The permit goes with the work: a caller who goes away does not make room for more of it.
        let work = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(hashing);
            done
        });
        work.await.map_err(|_| BUSY)
    }
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            hashing: Arc::new(Semaphore::new(MAX_HASHING)),
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
            throttle: Throttle::default(),
        }
    }
}

fn hashed(password: &str) -> Option<String> {
    let hash: PasswordHash = Argon2::default().hash_password(password.as_bytes()).ok()?;
    Some(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_itself_only() {
        let passwords = Passwords::default();
        let hash = passwords.hash(Secret::new("correct horse")).await.expect("room").expect("random numbers");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        for (password, hash, expected) in [
            ("correct horse", Some(hash.clone()), true),
            ("correct horsf", Some(hash), false),
            ("nobody has this one", None, false),
            ("correct horse", Some("not a hash".to_owned()), false),
        ] {
            assert_eq!(passwords.are_same(Secret::new(password), hash).await, Ok(expected), "{password}");
        }
    }

    #[tokio::test]
    async fn a_flood_waits_for_two_hashes_and_is_sent_away() {
        let passwords = Passwords::default();
        let tries = (0..200).map(|_| passwords.are_same(Secret::new("guess"), None));
        let answers = futures_util::future::join_all(tries).await;
        let n_tried = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(n_tried, MAX_WAITING, "the others are told to come back");
        assert_eq!(passwords.are_same(Secret::new("guess"), None).await, Ok(false), "there is room again");
    }
}
