//! Tokens of other systems that are used as keys: verified once, remembered until they end, without a word to the control plane. Keys
//! of their issuers are fetched when a token names one that is not known, and no more often than every ten seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use gateway_engine::identity::{self, Caller, KeyTable};
use gateway_engine::issuers::{Issuer, Issuers, Keys, Place, Verified};
use gateway_engine::jws::{self, Key};
use gateway_ir::failure::{Code, Failure};
use http::{HeaderMap, Request, header};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::body::{Pieces, RequestBody};
use crate::clock;
use crate::upstream::{Client, Origin};

/// What a node knows of such tokens.
pub(crate) struct Tokens {
    tls: Arc<rustls::ClientConfig>,
    /// By the address of the keys. Those that the configuration has no more are few and small.
    sets: papaya::HashMap<Arc<str>, Arc<Set>>,
    good: Remembered<Verified>,
    /// Apart from the good ones, so that whoever makes up tokens pushes none of them out.
    bad: Remembered<Box<Failure>>,
}

/// The keys at one address, as they were fetched last.
#[derive(Default)]
struct Set {
    keys: ArcSwap<Vec<Key>>,
    /// Held while they are fetched.
    asked: Mutex<Asked>,
}

/// How its keys were asked for.
#[derive(Default)]
struct Asked {
    /// They were fetched once, because there were none.
    is_known: bool,
    /// When they were fetched because one was missing, or could not be.
    at: Option<Instant>,
}

/// What came of tokens, by their digests; each holds for the issuers that it was found with.
struct Remembered<T> {
    found: papaya::HashMap<[u8; 32], Found<T>>,
    n_found: AtomicUsize,
}

struct Found<T> {
    by: Arc<Issuers>,
    until: Instant,
    what: T,
}

const MAX_REMEMBERED: usize = 10_000;
/// A token that is good is looked at again after this long at the latest.
const GOOD_FOR: Duration = Duration::from_secs(5 * 60);
const BAD_FOR: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(3);
const WHOLE: Duration = Duration::from_secs(5);
const MAX_ANSWER: usize = 256 * 1024;

// === impl Tokens ===

impl Tokens {
    pub(crate) fn new(tls: Arc<rustls::ClientConfig>) -> Self {
        Self { tls, sets: papaya::HashMap::new(), good: Remembered::default(), bad: Remembered::default() }
    }

    /// Looks at the token that a request shows, if it shows one, so that [`Tokens::caller`] knows it. Waits only where the keys of its
    /// issuer have to be fetched.
    pub(crate) async fn look(&self, issuers: &Arc<Issuers>, headers: &HeaderMap) {
        let Ok(Some(token)) = identity::credential(headers) else { return };
        if !jws::is_like(token) {
            return;
        }
        let name = name(token);
        if self.good.has(&name, issuers) || self.bad.has(&name, issuers) {
            return;
        }
        let Some(issuer) = issuers.of(token) else { return };
        match self.verified(issuer, token).await {
            Ok(verified) => self.good.keep(name, issuers, GOOD_FOR, verified),
            Err(failure) => self.bad.keep(name, issuers, BAD_FOR, failure),
        }
    }

    /// Who calls with this token; `None` where it is of no issuer here, and so may be a key of ours.
    pub(crate) fn caller(
        &self,
        issuers: &Arc<Issuers>,
        token: &str,
        keys: &KeyTable,
    ) -> Option<Result<Arc<Caller>, Box<Failure>>> {
        if !jws::is_like(token) {
            return None;
        }
        let name = name(token);
        let caller = self.good.get(&name, issuers, |verified| verified.caller(keys, clock::unix_ms()));
        caller.or_else(|| self.bad.get(&name, issuers, |failure| Err(failure.clone())))
    }

    async fn verified(&self, issuer: &Issuer, token: &str) -> Result<Verified, Box<Failure>> {
        let now_s = clock::unix_ms() / 1000;
        match &issuer.keys {
            Keys::Here(keys) => issuer.verify(token, keys, now_s),
            Keys::At(place) => {
                let set = Arc::clone(self.sets.pin().get_or_insert_with(Arc::clone(&place.url), Arc::default));
                let mut keys = set.keys.load_full();
                if !issuer.knows(token, &keys) {
                    keys = self.fetched(&set, place).await?;
                }
                issuer.verify(token, &keys, now_s)
            }
        }
    }

    /// As they are now, unless they were fetched a moment ago. Many who wait for them wait for one fetch.
    async fn fetched(&self, set: &Set, place: &Place) -> Result<Arc<Vec<Key>>, Box<Failure>> {
        let mut asked = set.asked.lock().await;
        if asked.at.is_none_or(|at| at.elapsed() >= PAUSE) {
            let is_first = !asked.is_known;
            // Also where it fails: an issuer that is down is not asked for every token.
            asked.at = Some(Instant::now());
            match fetch(&self.tls, place).await {
                Ok(keys) => {
                    set.keys.store(Arc::new(keys));
                    asked.is_known = true;
                    if is_first {
                        asked.at = None;
                    }
                }
                Err(failure) => {
                    tracing::warn!(url = %place.url, %failure, "the keys of an issuer of tokens cannot be fetched; those from before serve on");
                    return Err(failure);
                }
            }
        }
        Ok(set.keys.load_full())
    }
}

/// Over a connection of its own: it is rare, and must not wait behind requests.
async fn fetch(tls: &Arc<rustls::ClientConfig>, place: &Place) -> Result<Vec<Key>, Box<Failure>> {
    let failed = |what: &str| {
        let message = format!("the keys of the issuer of this token cannot be fetched: {what}");
        Box::new(Failure::new(Code::InvalidCredential, message))
    };
    let origin = Origin {
        tls: place.tls,
        host: Arc::clone(&place.host),
        authority: Bytes::from(place.authority.clone()),
        port: place.port,
        allow_private: place.allow_private,
        only_h1: true,
        is_metadata_server: false,
    };
    let request = Request::get(place.path.as_str()).header(header::ACCEPT, "application/json");
    let request =
        request.body(RequestBody::from(Pieces::from(Bytes::new()))).map_err(|_| failed("its address is no path"))?;
    let client = Client::new(Arc::clone(tls));
    let asked = timeout(WHOLE, async {
        let response =
            client.send(&origin, Box::new(request), CONNECT).await.map_err(|failure| failed(&failure.to_string()))?;
        if !response.status().is_success() {
            return Err(failed(&format!("it answers {}", response.status())));
        }
        let (mut body, mut answer) = (response.into_body(), Vec::new());
        while let Some(bytes) = body.data().await {
            answer.extend_from_slice(&bytes.map_err(|_| failed("its answer broke off"))?);
            if answer.len() > MAX_ANSWER {
                return Err(failed("its answer is too large"));
            }
        }
        Ok(answer)
    });
    let answer = asked.await.unwrap_or_else(|_| Err(failed("it does not answer")))?;
    jws::keys(&answer).ok_or_else(|| failed("what it answers is no key set"))
}

/// What is remembered of a token, in place of itself.
fn name(token: &str) -> [u8; 32] {
    let digest = digest(&SHA256, token.as_bytes());
    digest.as_ref().try_into().unwrap_or_default()
}

// === impl Remembered ===

impl<T> Remembered<T> {
    fn has(&self, name: &[u8; 32], by: &Arc<Issuers>) -> bool {
        self.get(name, by, |_| ()).is_some()
    }

    fn get<R>(&self, name: &[u8; 32], by: &Arc<Issuers>, read: impl FnOnce(&T) -> R) -> Option<R> {
        let found = self.found.pin();
        let found = found.get(name).filter(|found| Arc::ptr_eq(&found.by, by) && Instant::now() < found.until)?;
        Some(read(&found.what))
    }

    fn keep(&self, name: [u8; 32], by: &Arc<Issuers>, how_long: Duration, what: T) {
        let found = self.found.pin();
        if self.n_found.load(Ordering::Relaxed) >= MAX_REMEMBERED {
            let now = Instant::now();
            found.retain(|_, one| now < one.until && Arc::ptr_eq(&one.by, by));
            if found.len() >= MAX_REMEMBERED {
                found.clear();
            }
            self.n_found.store(found.len(), Ordering::Relaxed);
        }
        if found.insert(name, Found { by: Arc::clone(by), until: Instant::now() + how_long, what }).is_none() {
            self.n_found.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self { found: papaya::HashMap::new(), n_found: AtomicUsize::new(0) }
    }
}
