//! Staying a member: a new key and certificate when two thirds of the old one's life are over, or when the control plane no
//! longer takes it. What it refuses stops no traffic: the node says so and asks again from time to time.

use std::sync::Arc;
use std::time::Duration;

use gateway_wire::v1::RenewRequest;
use rand::RngExt as _;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Shared;
use super::call::{self, Trouble, checked};
use super::certificate::{Credentials, Key};
use super::tls;
use crate::backoff::Backoff;
use crate::clock;
use crate::link::{Access, Link};

/// Clocks are looked at this often: a process that was suspended does not notice otherwise.
const LONGEST_SLEEP: Duration = Duration::from_secs(60 * 60);
/// Before a control plane that refused is asked again.
const AFTER_REFUSAL: Duration = Duration::from_secs(5 * 60);

/// A certificate in use, and when to replace it.
pub(super) struct Held {
    pub(super) credentials: Credentials,
    pub(super) access: Access,
    /// By the control plane's clock.
    due_ms: i64,
    /// What to add to our clock to get the control plane's, as far as is known.
    offset_ms: i64,
}

// === impl Held ===

impl Held {
    /// From disk. When it was made is not in it; its beginning is early enough.
    pub(super) fn stored(credentials: Credentials) -> Result<Self, String> {
        let from_ms = credentials.certificate.not_before_ms;
        Self::since(credentials, from_ms, 0)
    }

    /// Just received, at these times of both clocks.
    pub(super) fn received(credentials: Credentials, ours_ms: i64, theirs_ms: i64) -> Result<Self, String> {
        Self::since(credentials, theirs_ms, theirs_ms.saturating_sub(ours_ms))
    }

    fn since(credentials: Credentials, from_ms: i64, offset_ms: i64) -> Result<Self, String> {
        let life_ms = credentials.certificate.not_after_ms.saturating_sub(from_ms).max(0);
        // Not all nodes that joined together come back together.
        let early_ms = rand::rng().random_range(0..=life_ms / 20);
        let due_ms = from_ms.saturating_add(life_ms / 3 * 2 - early_ms);
        Ok(Self { access: tls::access(&credentials)?, credentials, due_ms, offset_ms })
    }

    fn due_in(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.due_ms.saturating_sub(self.now_ms())).unwrap_or(0))
    }

    fn is_expired(&self) -> bool {
        self.now_ms() >= self.credentials.certificate.not_after_ms
    }

    fn now_ms(&self) -> i64 {
        clock::unix_ms().saturating_add(self.offset_ms)
    }
}

/// Runs until the node stops.
pub(super) async fn keep(shared: &Shared, link: &Link, mut held: Held) {
    let Some(mut refusals) = link.refusals() else { return };
    // One that has expired is renewed before it is shown to anybody else.
    if !held.is_expired() {
        shared.show(&held);
    }
    let (mut backoff, mut renewed) = (Backoff::default(), Instant::now());
    loop {
        let is_refused = wanted(&held, &mut refusals).await;
        if is_refused {
            // A certificate that is refused however new it is must not be renewed in a circle.
            tokio::time::sleep(backoff.next(renewed.elapsed())).await;
        }
        held = replacement(shared, &held).await;
        shared.show(&held);
        renewed = Instant::now();
        if is_refused {
            link.leave();
            refusals.mark_unchanged();
        }
    }
}

/// Returns when the certificate is to be replaced; true where that is because the control plane does not take it.
async fn wanted(held: &Held, refusals: &mut watch::Receiver<String>) -> bool {
    loop {
        let due_in = held.due_in();
        if due_in.is_zero() {
            return false;
        }
        tokio::select! {
            () = tokio::time::sleep(due_in.min(LONGEST_SLEEP)) => {}
            changed = refusals.changed() => if changed.is_ok() {
                let words = refusals.borrow_and_update().clone();
                tracing::warn!("the control plane does not take this node's certificate, asking for another: {words}");
                return true;
            }
        }
    }
}

/// Tries until there is one.
async fn replacement(shared: &Shared, held: &Held) -> Held {
    let (mut backoff, mut turn) = (Backoff::default(), 0_usize);
    loop {
        let pause = match attempt(shared, held, turn).await {
            Ok(next) => return next,
            Err(Trouble::Away(reason)) => {
                if held.is_expired() {
                    shared.standing.expired(held.credentials.certificate.not_after_ms, &reason);
                } else {
                    tracing::info!("the certificate is not renewed yet, trying again: {reason}");
                }
                backoff.next(Duration::ZERO)
            }
            Err(Trouble::Refused(reason)) => {
                shared.standing.refused(&reason);
                AFTER_REFUSAL.mul_f64(rand::rng().random_range(0.8..1.2))
            }
            Err(Trouble::Taken) => AFTER_REFUSAL,
        };
        // Whether it is good for anything else is for the control plane to say: it may be our clock that is wrong.
        shared.show(held);
        tokio::time::sleep(pause).await;
        turn = turn.wrapping_add(1);
    }
}

async fn attempt(shared: &Shared, held: &Held, turn: usize) -> Result<Held, Trouble> {
    let connected = call::connect(&shared.remote.urls, turn, &held.access).await;
    let mut client = connected.map_err(|none| Trouble::Away(none.reasons))?;
    let key = Key::generate().map_err(Trouble::Away)?;
    let csr = key.request().map_err(Trouble::Away)?;
    let membership = call::answer(client.renew(RenewRequest { csr })).await?;
    let (ours_ms, theirs_ms) = (clock::unix_ms(), membership.unix_ms);
    let wrong = |what: String| Trouble::Away(format!("its answer cannot be used: {what}"));
    let credentials = checked(membership, key).map_err(wrong)?;
    let (old, new) = (&held.credentials.certificate.node_id, &credentials.certificate.node_id);
    if old != new {
        return Err(wrong(format!("it is for `{new}` and this is `{old}`")));
    }
    let next = Held::received(credentials, ours_ms, theirs_ms).map_err(wrong)?;
    shared.took(&next);
    tracing::info!("the certificate is renewed");
    Ok(next)
}

// === impl Shared ===

impl Shared {
    /// Keeps what the control plane gave.
    pub(super) fn took(&self, held: &Held) {
        self.identity.adopt(&held.credentials.certificate.node_id);
        self.standing.good();
        self.standing.clocks(clock::unix_ms(), clock::unix_ms().saturating_add(held.offset_ms));
        self.standing.kept(self.files.save(&held.credentials));
    }

    /// From now on, every connection that is opened shows this.
    fn show(&self, held: &Held) {
        self.access.send_if_modified(|shown| {
            let is_new = shown.as_ref().is_none_or(|shown| !Arc::ptr_eq(shown, &held.access));
            *shown = Some(Arc::clone(&held.access));
            is_new
        });
    }
}
