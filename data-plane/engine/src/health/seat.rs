//! A place at a target: taken by whoever is going to ask it, held until its reply has ended, and told what came of it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use gateway_ir::failure::{Code, Failure};
use gateway_ir::usage::Usage;

use super::{Health, Skip, cools_down, counts};
use crate::limits::bill::Bill;
use crate::limits::quota::{self, Quota};
use crate::limits::{self, Asked, Limits, Permit, Scopes, Settlement};
use crate::policy::Breaker;

/// Nobody knows when one of several requests at once ends.
const SOON: Duration = Duration::from_secs(1);

/// A place at a target, from the decision to ask it until its reply has ended.
#[derive(Debug)]
pub struct Seat {
    place: Place,
    /// The same at the key that goes with the request, where the provider has several. Boxed: few have.
    key: Option<Box<Place>>,
    /// What it takes of limits that whoever asks has of the credential. Boxed likewise.
    held: Option<Box<Held>>,
    /// What is set aside of the credential's budgets. Given back with the place, but for who has taken it out.
    bill: Bill,
    since: Instant,
    outcome: Outcome,
}

#[derive(Debug)]
struct Place {
    health: Arc<Health>,
    breaker: Option<Breaker>,
    taken: Taken,
    /// What it takes of the limits there.
    share: Option<quota::Taken>,
}

/// Settled when the seat is left; an estimate stands where nobody has said what was used.
#[derive(Debug)]
struct Held {
    permit: Permit,
    used: Option<Usage>,
}

/// How a place was come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// The breaker is closed.
    Free,
    /// The breaker is half open; one of the few.
    Trial,
    /// Nobody else was left.
    Forced,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Whoever asked has left before anything was known.
    Unknown,
    Answered,
    Failed,
}

// === impl Seat ===

impl Seat {
    /// Takes a place, where the target may be asked at all. `None` for `breaker`: always.
    pub fn take(health: &Arc<Health>, breaker: Option<Breaker>, now: Instant) -> Result<Self, Skip> {
        Ok(Self::at(Place::take(health, breaker, now)?, now))
    }

    /// Takes a place whatever is known of the target: nobody else is left.
    pub fn force(health: &Arc<Health>, breaker: Option<Breaker>, now: Instant) -> Self {
        Self::at(Place::new(health, breaker, Taken::Forced), now)
    }

    /// Takes a share of the limits there, if there are any.
    pub(crate) fn within(&mut self, quota: Option<&Arc<Quota>>, n_tokens: u64, now: Instant) -> Result<(), Skip> {
        self.place.share = share(quota, n_tokens, now)?;
        Ok(())
    }

    fn at(place: Place, now: Instant) -> Self {
        Self { place, key: None, held: None, bill: Bill::default(), since: now, outcome: Outcome::Unknown }
    }

    /// Takes a place at one of several keys as well, where that may be used. Keys cool down with or without a breaker: there are
    /// others.
    pub(crate) fn with_key(
        &mut self,
        key: &Arc<Health>,
        quota: Option<&Arc<Quota>>,
        n_tokens: u64,
        now: Instant,
    ) -> Result<(), Skip> {
        key.cooled(now)?;
        let mut place = Place::take(key, self.place.breaker, now)?;
        place.share = share(quota, n_tokens, now)?;
        self.key = Some(Box::new(place));
        Ok(())
    }

    /// The same whatever is known of the key, but not beyond its limits.
    pub(crate) fn with_forced_key(
        &mut self,
        key: &Arc<Health>,
        quota: Option<&Arc<Quota>>,
        n_tokens: u64,
        now: Instant,
    ) -> Result<(), Skip> {
        let mut place = Place::new(key, self.place.breaker, Taken::Forced);
        place.share = share(quota, n_tokens, now)?;
        self.key = Some(Box::new(place));
        Ok(())
    }

    /// Another key is looked at.
    pub(crate) fn without_key(&mut self) {
        let share = self.key.take().and_then(|mut key| key.share.take());
        share.into_iter().for_each(quota::Taken::give_back);
    }

    /// Takes what whoever asks may use of the credential: all of these limits or none.
    pub(crate) fn beside(
        &mut self,
        limits: impl Iterator<Item = Arc<Limits>>,
        asked: Asked,
        now: Instant,
    ) -> Result<(), Skip> {
        let limits: Vec<_> = limits.collect();
        if limits.is_empty() {
            return Ok(());
        }
        let admitted = limits::admit(Scopes::of_nobody().sharing(limits), asked, now);
        let permit = admitted.map_err(|refused| Skip::Full(refused.failure.retry_after.unwrap_or(SOON)))?;
        self.held = Some(Box::new(Held { permit, used: None }));
        Ok(())
    }

    /// What is set aside for it of the credential's budgets.
    pub(crate) fn funded(&mut self, bill: Bill) {
        self.bill = bill;
    }

    pub fn bill(&self) -> &Bill {
        &self.bill
    }

    /// Whoever has it settles it, by what was used at this place.
    pub fn take_bill(&mut self) -> Bill {
        std::mem::take(&mut self.bill)
    }

    /// Nobody was asked: nothing was taken of any limit.
    pub fn unused(mut self) {
        if let Some(held) = self.held.take() {
            held.permit.give_back();
        }
        let places = std::iter::once(&mut self.place).chain(self.key.as_deref_mut());
        places.filter_map(|place| place.share.take()).for_each(quota::Taken::give_back);
    }

    /// How many tokens it was in the end.
    pub fn used(&mut self, n_tokens: u64) {
        let places = std::iter::once(&mut self.place).chain(self.key.as_deref_mut());
        places.filter_map(|place| place.share.as_mut()).for_each(|share| share.used(n_tokens));
    }

    /// What was used, of limits that tell prompts and replies apart. Asked again, the last word counts.
    pub fn spent(&mut self, usage: Usage) {
        if let Some(held) = &mut self.held {
            held.used = Some(usage);
        }
    }

    /// The whole reply is there.
    pub fn answered(&mut self, now: Instant) {
        self.heard(false, now);
    }

    /// The reply is a stream and has begun.
    pub fn begun(&mut self, now: Instant) {
        self.heard(true, now);
    }

    fn heard(&mut self, stream: bool, now: Instant) {
        for place in self.places() {
            place.health.answered(stream, now.saturating_duration_since(self.since), now);
        }
        self.outcome = Outcome::Answered;
    }

    /// The target, or the way to it, is at fault; or it has refused, which shows that it is there. What is said of a key
    /// concerns that key only, where there are several.
    pub fn failed(&mut self, failure: &Failure, now: Instant) {
        if self.outcome == Outcome::Unknown {
            // Nothing was made for it.
            self.used(0);
            self.spent(Usage::default());
        }
        if self.outcome == Outcome::Failed || self.place.breaker.is_none() && self.key.is_none() {
            return;
        }
        if counts(failure) || cools_down(failure) {
            self.outcome = Outcome::Failed;
            let random = rand::random();
            if let Some(key) = &self.key {
                key.health.failed(failure, key.breaker.as_ref(), now, random);
            }
            if self.key.is_none() || counts(failure) && self.place.breaker.is_some() {
                self.place.health.failed(failure, self.place.breaker.as_ref(), now, random);
            }
        } else if failure.code == Code::UpstreamRefused {
            self.outcome = Outcome::Answered;
        }
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        std::iter::once(&self.place).chain(self.key.as_deref())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // Nobody has answered, or nobody is charged for it.
        self.take_bill().settle(0);
        if let Some(held) = self.held.take()
            && let Held { permit, used: Some(usage) } = *held
        {
            permit.settle(Settlement { usage });
        }
        for place in self.places() {
            if self.outcome == Outcome::Answered && (place.breaker.is_some() || self.key.is_some()) {
                place.health.count(place.health.ms(self.since), false);
                place.health.succeeded(place.taken == Taken::Free);
            }
        }
    }
}

// === impl Place ===

impl Place {
    fn take(health: &Arc<Health>, breaker: Option<Breaker>, now: Instant) -> Result<Self, Skip> {
        health.look(breaker.as_ref(), now)?;
        let taken = match &breaker {
            Some(breaker) if health.open_until.load(Relaxed) != 0 => {
                let more = |n| (n < breaker.trials).then_some(n + 1);
                health.trials.fetch_update(Relaxed, Relaxed, more).map_err(|_| Skip::OnTrial)?;
                Taken::Trial
            }
            _ => Taken::Free,
        };
        Ok(Self::new(health, breaker, taken))
    }

    fn new(health: &Arc<Health>, breaker: Option<Breaker>, taken: Taken) -> Self {
        health.in_flight.fetch_add(1, Relaxed);
        Self { health: Arc::clone(health), breaker, taken, share: None }
    }
}

fn share(quota: Option<&Arc<Quota>>, n_tokens: u64, now: Instant) -> Result<Option<quota::Taken>, Skip> {
    quota.map(|quota| quota.take(n_tokens, now).map_err(Skip::Full)).transpose()
}

impl Drop for Place {
    fn drop(&mut self) {
        self.health.in_flight.fetch_sub(1, Relaxed);
        if self.taken == Taken::Trial {
            self.health.trials.fetch_sub(1, Relaxed);
        }
    }
}
