//! Streams that end with their key (`revoke_mode: abort`), and what ends any stream before its end. Of other keys nothing is kept.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use gateway_engine::identity;
use gateway_ir::failure::{Code, Failure};
use gateway_model::access::RevokeMode;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::account::Account;
use crate::clock;
use crate::state::{Config, Live};

/// How often keys of open streams are looked at, all changes alike: what is removed, disabled or expired, and whose team is gone.
const LOOKS_EVERY: Duration = Duration::from_millis(250);

/// Keys with open streams that end with them.
#[derive(Debug, Default)]
pub(crate) struct Aborts(Mutex<HashMap<Arc<str>, Open>>);

/// One key's. All its streams share the word that ends them.
#[derive(Debug)]
struct Open {
    token: CancellationToken,
    n_streams: usize,
}

/// What ends a stream before its end: the node, and where the policy says so, the end of its key.
pub(crate) struct Halt {
    ending: CancellationToken,
    waiting: Pin<Box<WaitForCancellationFutureOwned>>,
    place: Option<Place>,
}

/// Of one stream among those of its key.
struct Place {
    aborts: Arc<Aborts>,
    key: Arc<str>,
    token: CancellationToken,
    waiting: Pin<Box<WaitForCancellationFutureOwned>>,
}

// === impl Aborts ===

impl Aborts {
    /// For a stream that this key has opened. `mode` is the key's own.
    pub(crate) fn halt(
        self: &Arc<Self>,
        (live, config): (&Live, &Config),
        (key, mode): (&str, Option<RevokeMode>),
        ending: &CancellationToken,
    ) -> Halt {
        let is_abort = mode.unwrap_or(config.snapshot.settings.revoke_mode) == RevokeMode::Abort;
        // Whom another system vouches for has no key here to revoke.
        let caller = if is_abort { live.keys.by_id(key) } else { None };
        let place = caller.map(|caller| self.enter(&caller.id));
        Halt { ending: ending.clone(), waiting: Box::pin(ending.clone().cancelled_owned()), place }
    }

    fn enter(self: &Arc<Self>, key: &Arc<str>) -> Place {
        let mut open = self.lock();
        let new = || Open { token: CancellationToken::new(), n_streams: 0 };
        let entry = open.entry(Arc::clone(key)).or_insert_with(new);
        entry.n_streams += 1;
        let token = entry.token.clone();
        let waiting = Box::pin(token.clone().cancelled_owned());
        Place { aborts: Arc::clone(self), key: Arc::clone(key), token, waiting }
    }

    /// Ends the streams of keys that may not ask any more. Never returns.
    pub(crate) async fn run(self: Arc<Self>, live: Arc<Live>) {
        let mut tick = interval(LOOKS_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.look(&live);
        }
    }

    fn look(&self, live: &Live) {
        let mut open = self.lock();
        if open.is_empty() {
            return;
        }
        let (config, now_ms) = (live.pin(), clock::unix_ms());
        open.retain(|key, entry| {
            let known = identity::still(key, &live.keys, now_ms);
            let may_call = known.and_then(|caller| Account::new(caller, &config.snapshot.tenants)).is_ok();
            if !may_call {
                entry.token.cancel();
            }
            may_call
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.aborts.lock();
        // One that was revoked is gone, and another may have begun under the same name.
        if !self.token.is_cancelled()
            && let Some(entry) = open.get_mut(&self.key)
        {
            entry.n_streams -= 1;
            if entry.n_streams == 0 {
                open.remove(&self.key);
            }
        }
    }
}

// === impl Halt ===

impl Halt {
    /// Why it ends now, if it does. May be asked again.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Box<Failure>> {
        let polled = |place: &mut Place| place.waiting.as_mut().poll(context).is_ready();
        if self.is_revoked() || self.place.as_mut().is_some_and(polled) {
            let message = "the API key of this request has been revoked";
            return Poll::Ready(Box::new(Failure::new(Code::InvalidCredential, message)));
        }
        if self.ending.is_cancelled() || self.waiting.as_mut().poll(context).is_ready() {
            let message = "the gateway is shutting down; please send the request again";
            return Poll::Ready(Box::new(Failure::new(Code::ShuttingDown, message)));
        }
        Poll::Pending
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.token.is_cancelled())
    }

    /// Returns when it ends. May be dropped while it waits.
    pub(crate) async fn halted(&mut self) -> Box<Failure> {
        std::future::poll_fn(|context| self.poll(context)).await
    }
}
