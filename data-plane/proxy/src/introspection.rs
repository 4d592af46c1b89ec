//! Tokens that another system has to be asked about (RFC 7662). What is a key of ours never comes here; what it says of a token is remembered
//! for the whole node, for a short while; many who show the same token at once have it asked about once; where it does not answer,
//! nobody is let in, and is told that it is not their token's fault.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gateway_engine::identity::{Caller, KeyTable};
use gateway_engine::issuers::{Introspector, Verified};
use gateway_ir::failure::{Code, Failure};
use http::{HeaderValue, Request, StatusCode, header};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::body::{Pieces, RequestBody};
use crate::clock;
use crate::foreign::{self, Name, Remembered};
use crate::upstream::Client;

/// What a node knows of such tokens.
pub(crate) struct Introspections {
    good: Remembered<Introspector, Verified>,
    /// Apart from the good ones, so that whoever makes up tokens pushes none of them out.
    bad: Remembered<Introspector, Box<Failure>>,
    /// Who asks about a token holds the one of its digest: the same token is asked about once, and no more questions are under way than
    /// there are of these.
    turns: [Mutex<()>; MAX_ASKING],
    n_waiting: AtomicUsize,
    /// By address: when one did not answer; then it is left alone for a moment, and nobody waits for it.
    away: papaya::HashMap<Arc<str>, Instant>,
}

/// Counts as waiting until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

const MAX_ASKING: usize = 64;
/// Requests that wait for an answer, or for their turn to ask.
const MAX_WAITING: usize = 1_024;
const PAUSE: Duration = Duration::from_secs(1);

// === impl Introspections ===

impl Introspections {
    /// Has it asked about, unless that was done a moment ago.
    pub(crate) async fn look(&self, client: &Client, introspector: &Arc<Introspector>, token: &str) {
        let name = foreign::name(token);
        if self.knows(&name, introspector) {
            return;
        }
        let found = match self.asked(client, introspector, token, &name).await {
            Some(found) => found,
            // Somebody else asked meanwhile.
            None => return,
        };
        let (max_age, negative_age) = introspector.ages();
        match found {
            Ok(verified) => self.good.keep(name, introspector, max_age, verified),
            Err(failure) if failure.code == Code::IssuerAway => self.bad.keep(name, introspector, PAUSE, failure),
            Err(failure) => self.bad.keep(name, introspector, negative_age, failure),
        }
    }

    /// Who calls with this token, once it has been looked at.
    pub(crate) fn caller(
        &self,
        introspector: &Arc<Introspector>,
        token: &str,
        keys: &KeyTable,
    ) -> Result<Arc<Caller>, Box<Failure>> {
        let (name, is_same) = (foreign::name(token), same(introspector));
        let caller = self.good.get(&name, is_same, |verified| verified.caller(keys, clock::unix_ms()));
        let refused = || self.bad.get(&name, same(introspector), |failure| Err(failure.clone()));
        // With a lifetime of nothing, or among a flood of others, what was found may be forgotten by now.
        caller.or_else(refused).unwrap_or_else(|| Err(away(introspector, "too many ask at once")))
    }

    fn knows(&self, name: &Name, introspector: &Arc<Introspector>) -> bool {
        self.good.has(name, same(introspector)) || self.bad.has(name, same(introspector))
    }

    async fn asked(
        &self,
        client: &Client,
        introspector: &Arc<Introspector>,
        token: &str,
        name: &Name,
    ) -> Option<Result<Verified, Box<Failure>>> {
        let Some(_waiting) = Waiting::new(&self.n_waiting) else {
            return Some(Err(away(introspector, "too many tokens are being asked about")));
        };
        let whole = introspector.timeout();
        let turn = &self.turns[usize::from(name[0]) % MAX_ASKING];
        let Ok(_turn) = timeout(whole, turn.lock()).await else {
            return Some(Err(away(introspector, "too many tokens are being asked about")));
        };
        if self.knows(name, introspector) {
            return None;
        }
        let place = &introspector.place;
        if self.away.pin().get(&place.url).is_some_and(|since| since.elapsed() < PAUSE) {
            return Some(Err(away(introspector, "it did not answer a moment ago")));
        }
        let Some(form) = Introspector::question(token) else {
            let message = "this credential is no key, and too long to be a token";
            return Some(Err(Box::new(Failure::new(Code::InvalidCredential, message))));
        };
        let found = ask(client, introspector, form, whole).await;
        if let Err(failure) = &found
            && failure.code == Code::IssuerAway
        {
            tracing::warn!(introspector = introspector.name(), %failure, "tokens cannot be asked about; nobody is let in by one that is not remembered");
            self.away.pin().insert(Arc::clone(&place.url), Instant::now());
        }
        Some(found)
    }
}

impl Default for Introspections {
    fn default() -> Self {
        Self {
            good: Remembered::default(),
            bad: Remembered::default(),
            turns: [const { Mutex::const_new(()) }; MAX_ASKING],
            n_waiting: AtomicUsize::new(0),
            away: papaya::HashMap::new(),
        }
    }
}

async fn ask(
    client: &Client,
    introspector: &Introspector,
    form: String,
    whole: Duration,
) -> Result<Verified, Box<Failure>> {
    let unasked = |_| away(introspector, "it cannot be asked; look at its settings");
    let mut authorization = HeaderValue::try_from(introspector.authorization().expose()).map_err(|_| unasked(()))?;
    authorization.set_sensitive(true);
    let request = Request::post(introspector.place.path.as_str())
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::AUTHORIZATION, authorization)
        .body(RequestBody::from(Pieces::from(Bytes::from(form))))
        .map_err(|_| unasked(()))?;
    let answered = foreign::answer(client, &introspector.place, request, whole).await;
    let (status, answer) = answered.map_err(|why| away(introspector, &why))?;
    if status != StatusCode::OK {
        return Err(away(introspector, &format!("it answers {status}")));
    }
    let now_s = clock::unix_ms() / 1000;
    introspector.verdict(&answer, now_s).map_err(|nonsense| away(introspector, &nonsense.to_string()))?
}

/// A new revision of the configuration asks again only where the introspector is another one in it.
fn same(now: &Arc<Introspector>) -> impl Fn(&Arc<Introspector>) -> bool {
    move |then| Arc::ptr_eq(then, now) || then.is_same(now)
}

fn away(introspector: &Introspector, why: &str) -> Box<Failure> {
    let message = format!("whether this token is good is not known now: `{}`: {why}", introspector.name());
    Box::new(Failure::new(Code::IssuerAway, message).with_retry_after(Some(PAUSE)))
}

// === impl Waiting ===

impl<'a> Waiting<'a> {
    fn new(n_waiting: &'a AtomicUsize) -> Option<Self> {
        let waiting = Self(n_waiting);
        // Dropping it counts it out again where there are too many.
        (n_waiting.fetch_add(1, Ordering::Relaxed) < MAX_WAITING).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
