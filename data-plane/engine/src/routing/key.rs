//! With which of a provider's several keys a target is asked. Those of one target count as one target: they differ in what the
//! vendor lets them do, not in who answers.

use std::sync::Arc;
use std::time::Instant;

use super::Choice;
use crate::health::{Seat, Skip};
use crate::shared::AtCredentials;
use crate::snapshot::Target;

/// What holds for whoever is chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    /// No other key will do.
    pub(super) only: Option<&'a str>,
    /// Of the request, as far as that is known.
    pub(super) n_tokens: u64,
    /// And of whoever asks.
    pub(super) beside: &'a AtCredentials,
    pub(super) now: Instant,
}

/// A target, and which of its keys have been looked at.
#[derive(Debug)]
pub(super) struct Tried {
    pub(super) target: Arc<Target>,
    /// One bit for each; there are 64 at most.
    seen: u64,
    last: usize,
}

// === impl Tried ===

impl Tried {
    pub(super) fn new(target: Arc<Target>) -> Self {
        Self { target, seen: 0, last: 0 }
    }

    /// Whether the key that was chosen last is left alone by now.
    pub(super) fn is_by_key(&self, now: Instant) -> bool {
        let last = self.target.by_key.get(self.last).and_then(|keyed| keyed.key_health.as_ref());
        last.is_some_and(|health| health.cooled(now).is_err())
    }

    fn see(&mut self, place: usize) -> bool {
        let is_new = self.seen & (1 << place) == 0;
        self.seen |= 1 << place;
        is_new
    }
}

/// A place at the target, with a key that has not been looked at: the one whose turn it is, else the next that is well. Who is
/// better left alone is added to `skipped`.
pub(super) fn take(tried: &mut Tried, terms: Terms<'_>, skipped: &mut Vec<(Arc<Target>, Skip)>) -> Option<Choice> {
    let target = Arc::clone(&tried.target);
    let taken = Seat::take(&target.health, target.breaker, terms.now);
    let within = |mut seat: Seat| {
        seat.within(target.provider.quota.as_ref(), terms.n_tokens, terms.now)?;
        Ok(seat)
    };
    let mut seat = match taken.and_then(within) {
        Ok(seat) => seat,
        Err(skip) => {
            skipped.push((target, skip));
            return None;
        }
    };
    let Some(keys) = &target.provider.keys else {
        return match terms.beside(&mut seat, &target) {
            Ok(()) => Some(Choice { target, seat }),
            Err(skip) => {
                seat.unused();
                skipped.push((target, skip));
                None
            }
        };
    };
    let first = if tried.seen == 0 { keys.turns.take() } else { 0 };
    for place in std::iter::once(first).chain(0..target.by_key.len()) {
        let keyed = &target.by_key[place];
        let Some(health) = keyed.key_health.as_ref().filter(|_| terms.want(keyed) && tried.see(place)) else {
            continue;
        };
        let taken = seat.with_key(health, keyed.provider.key_quota.as_ref(), terms.n_tokens, terms.now);
        match taken.and_then(|()| terms.beside(&mut seat, keyed)) {
            Ok(()) => {
                tried.last = place;
                return Some(Choice { target: Arc::clone(keyed), seat });
            }
            Err(skip) => {
                seat.without_key();
                skipped.push((Arc::clone(keyed), skip));
            }
        }
    }
    seat.unused();
    None
}

/// The same target with the same key once more, which has failed: unless its breaker has opened by that.
pub(super) fn again(target: Arc<Target>, terms: Terms<'_>) -> Result<Choice, Skip> {
    match target.look(terms.now) {
        Ok(()) => {}
        // The pause that it asked for is what has just been waited for.
        Err(Skip::CoolingDown(_)) => return forced(target, terms),
        Err(skip) => return Err(skip),
    }
    let mut seat = Seat::take(&target.health, target.breaker, terms.now)?;
    seat.within(target.provider.quota.as_ref(), terms.n_tokens, terms.now)?;
    let keyed = target.key_health.as_ref();
    let keyed = keyed.map(|key| seat.with_key(key, target.provider.key_quota.as_ref(), terms.n_tokens, terms.now));
    chosen(target, seat, keyed, terms)
}

/// A place whatever is known of the target, but not beyond its limits; with several keys by the one that may be used soonest.
pub(super) fn forced(target: Arc<Target>, terms: Terms<'_>) -> Result<Choice, Skip> {
    let mut seat = Seat::force(&target.health, target.breaker, terms.now);
    seat.within(target.provider.quota.as_ref(), terms.n_tokens, terms.now)?;
    let left = |keyed: &Arc<Target>| keyed.look(terms.now).err().and_then(Skip::left);
    let soonest = target.by_key.iter().filter(|keyed| terms.want(keyed)).min_by_key(|keyed| left(keyed));
    let target = soonest.cloned().unwrap_or(target);
    let keyed = target.key_health.as_ref();
    let quota = target.provider.key_quota.as_ref();
    let keyed = keyed.map(|key| seat.with_forced_key(key, quota, terms.n_tokens, terms.now));
    chosen(target, seat, keyed, terms)
}

fn chosen(
    target: Arc<Target>,
    mut seat: Seat,
    keyed: Option<Result<(), Skip>>,
    terms: Terms<'_>,
) -> Result<Choice, Skip> {
    match keyed.unwrap_or(Ok(())).and_then(|()| terms.beside(&mut seat, &target)) {
        Ok(()) => Ok(Choice { target, seat }),
        Err(skip) => {
            seat.unused();
            Err(skip)
        }
    }
}

// === impl Terms ===

impl Terms<'_> {
    fn beside(&self, seat: &mut Seat, target: &Target) -> Result<(), Skip> {
        let account = &target.provider.account;
        let bill = self.beside.pay(account, target.price.as_ref()).map_err(|refused| match refused.is_exhausted() {
            true => Skip::Spent(self.beside.left(&refused)),
            false => Skip::Unfunded,
        })?;
        match seat.beside(self.beside.of(account), self.beside.asked, self.now) {
            Ok(()) => {
                seat.funded(bill);
                Ok(())
            }
            Err(skip) => {
                bill.settle(0);
                Err(skip)
            }
        }
    }

    fn want(&self, keyed: &Target) -> bool {
        self.only.is_none_or(|only| keyed.provider.key.as_deref() == Some(only))
    }
}

#[cfg(test)]
mod tests;
