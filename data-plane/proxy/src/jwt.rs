//! Tokens of other systems that are used as keys: verified once, remembered until they end, without a word to the control plane. Keys
//! of their issuers are fetched when a token names one that is not known, and no more often than every ten seconds. Where they cannot be,
//! whether the token is good is not known: it is refused with a 503, and not as one that is bad.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use gateway_engine::identity::{self, Caller, KeyTable, Peppers};
use gateway_engine::issuers::{Issuer, Issuers, Keys, Place, Verified};
use gateway_engine::jws::{self, Key};
use gateway_ir::failure::{Code, Failure};
use http::{HeaderMap, Request, header};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::body::{Pieces, RequestBody};
use crate::clock;
use crate::foreign::{self, Remembered};
use crate::introspection::Introspections;
use crate::meters::Meters;
use crate::upstream::Client;

/// What a node knows of such tokens.
pub(crate) struct Tokens {
    /// Of this worker: what is rare must not wait behind requests.
    client: Client,
    /// What other systems have to be asked about; one for the whole node.
    introspections: Arc<Introspections>,
    /// By the address of the keys. Those that the configuration has no more are few and small.
    sets: papaya::HashMap<Arc<str>, Arc<Set>>,
    good: Remembered<Issuers, Verified>,
    /// Apart from the good ones, so that whoever makes up tokens pushes none of them out.
    bad: Remembered<Issuers, Box<Failure>>,
    meters: Arc<Meters>,
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
    /// Why they could not be, the last time.
    why: Option<String>,
}

/// A token that is good is looked at again after this long at the latest.
const GOOD_FOR: Duration = Duration::from_secs(5 * 60);
const BAD_FOR: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(10);
const WHOLE: Duration = Duration::from_secs(5);

// === impl Tokens ===

impl Tokens {
    pub(crate) fn new(
        tls: Arc<rustls::ClientConfig>,
        introspections: Arc<Introspections>,
        meters: Arc<Meters>,
    ) -> Self {
        let client = Client::new(tls);
        Self {
            client,
            introspections,
            sets: papaya::HashMap::new(),
            good: Remembered::default(),
            bad: Remembered::default(),
            meters,
        }
    }

    /// Looks at the token that a request shows, if it shows one, so that [`Tokens::caller`] knows it. Waits only where the keys of its
    /// issuer have to be fetched, or somebody has to be asked about it.
    pub(crate) async fn look(&self, issuers: &Arc<Issuers>, headers: &HeaderMap, keys: &KeyTable, peppers: &Peppers) {
        let Ok(Some(token)) = identity::credential(headers) else { return };
        if let Some(issuer) = issuers.of(token) {
            let name = foreign::name(token);
            if self.good.has(&name, same(issuers)) || self.bad.has(&name, same(issuers)) {
                return;
            }
            return match self.verified(issuer, token).await {
                Ok(verified) => self.good.keep(name, issuers, GOOD_FOR, verified),
                Err(failure) => self.bad.keep(name, issuers, BAD_FOR, failure),
            };
        }
        if let Some(introspector) = issuers.asked_about(token)
            && !identity::is_key(token, keys, peppers)
        {
            self.introspections.look(&self.client, introspector, token).await;
        }
    }

    /// Who calls with this token, which is counted where they are refused; `None` where it is of no issuer here, and so may be a key of ours.
    pub(crate) fn caller(
        &self,
        issuers: &Arc<Issuers>,
        token: &str,
        keys: &KeyTable,
        peppers: &Peppers,
    ) -> Option<Result<Arc<Caller>, Box<Failure>>> {
        if jws::is_like(token) {
            let name = foreign::name(token);
            let caller = self.good.get(&name, same(issuers), |verified| verified.caller(keys, clock::unix_ms()));
            let caller = caller.or_else(|| self.bad.get(&name, same(issuers), |failure| Err(failure.clone())));
            if let Some(Ok(_)) = caller {
                return caller;
            }
            let issuer = issuers.of(token);
            if let (Some(Err(failure)), Some(issuer)) = (&caller, issuer) {
                self.meters.token_refused(issuer.name(), failure.code.name());
            }
            if caller.is_some() || issuer.is_some() {
                return caller;
            }
        }
        let introspector = issuers.asked_about(token)?;
        let is_key = identity::is_key(token, keys, peppers);
        let caller = (!is_key).then(|| self.introspections.caller(introspector, token, keys))?;
        if let Err(failure) = &caller {
            self.meters.token_refused(introspector.name(), failure.code.name());
        }
        Some(caller)
    }

    async fn verified(&self, issuer: &Issuer, token: &str) -> Result<Verified, Box<Failure>> {
        let now_s = clock::unix_ms() / 1000;
        match &issuer.keys {
            Keys::Here(keys) => issuer.verify(token, keys, now_s),
            Keys::At(place) => {
                let set = Arc::clone(self.sets.pin().get_or_insert_with(Arc::clone(&place.url), Arc::default));
                let mut keys = set.keys.load_full();
                if !issuer.knows(token, &keys) {
                    keys = self.fetched(&set, (issuer.name(), place)).await?;
                }
                issuer.verify(token, &keys, now_s)
            }
        }
    }

    /// As they are now, unless they were fetched a moment ago. Many who wait for them wait for one fetch.
    async fn fetched(&self, set: &Set, (name, place): (&str, &Place)) -> Result<Arc<Vec<Key>>, Box<Failure>> {
        let mut asked = set.asked.lock().await;
        if asked.at.is_none_or(|at| at.elapsed() >= PAUSE) {
            let is_first = !asked.is_known;
            // Also where it fails: an issuer that is down is not asked for every token.
            asked.at = Some(Instant::now());
            let fetched = fetch(&self.client, place).await;
            self.meters.keys_fetched(name, if fetched.is_ok() { "fetched" } else { "failed" });
            asked.why = None;
            match fetched {
                Ok(keys) => {
                    set.keys.store(Arc::new(keys));
                    asked.is_known = true;
                    if is_first {
                        asked.at = None;
                    }
                }
                Err(why) => {
                    tracing::warn!(url = %place.url, %why, "the keys of an issuer of tokens cannot be fetched; those from before serve on");
                    asked.why = Some(why);
                }
            }
        }
        match &asked.why {
            Some(why) => Err(away(name, why)),
            None => Ok(set.keys.load_full()),
        }
    }
}

async fn fetch(client: &Client, place: &Place) -> Result<Vec<Key>, String> {
    let request = Request::get(place.path.as_str()).header(header::ACCEPT, "application/json");
    let request =
        request.body(RequestBody::from(Pieces::from(Bytes::new()))).map_err(|_| "its address is no path".to_owned())?;
    let (status, answer) = foreign::answer(client, place, request, WHOLE).await?;
    if !status.is_success() {
        return Err(format!("it answers {status}"));
    }
    jws::keys(&answer).ok_or_else(|| "what it answers is no key set".to_owned())
}

fn away(issuer: &str, why: &str) -> Box<Failure> {
    let message = format!(
        "whether this token is good is not known now: the key that signed it is not known here, and the keys of `{issuer}` cannot be fetched: {why}"
    );
    Box::new(Failure::new(Code::IssuerAway, message).with_retry_after(Some(PAUSE)))
}

/// With another revision of the configuration every token is looked at again.
fn same(now: &Arc<Issuers>) -> impl Fn(&Arc<Issuers>) -> bool {
    move |then| Arc::ptr_eq(then, now)
}
