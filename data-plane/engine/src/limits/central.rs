//! Limits that somebody counts for all nodes in one place: what a request takes there, what came of it, and what is known of it here
//! while that place is away. Whoever keeps it is asked by another; nothing waits here.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gateway_ir::failure::Failure;
use gateway_model::limits::Measure;
pub use gateway_model::limits::WhenAway;

use super::{Asked, COUNT, Limits, Permit, Rates, Scopes, Settlement, limited, rate};

/// How whoever counts is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// A request waits no longer for an answer.
    pub deadline: Duration,
    pub when_away: WhenAway,
}

/// Hears what is known later than a request was admitted. Never blocks.
pub trait Keeper: fmt::Debug + Send + Sync {
    /// So many more of the rate at this position were used than it counted; fewer where negative.
    fn correct(&self, limits: &Arc<Limits>, rate: usize, n: i64);
    /// A request of these has ended.
    fn left(&self, limits: &Arc<Limits>);
}

/// A request whose rates are still to be taken. Its places on this node are taken, and free again when this is dropped.
#[derive(Debug)]
#[must_use = "dropped, nothing is taken"]
pub struct Entered {
    scopes: Option<Scopes>,
    asked: Asked,
    keeper: Arc<dyn Keeper>,
}

/// What a request wants of one rate of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// `rpm`
    pub rate: &'static str,
    pub amount: u64,
    /// Nanoseconds that one of it occupies.
    pub interval: u64,
    pub n: u64,
}

/// Of a permit whose limits are counted elsewhere.
#[derive(Debug)]
pub(super) struct Kept {
    keeper: Arc<dyn Keeper>,
    /// It was admitted by what this node lets pass alone.
    is_here: bool,
}

/// Within what this node can tell: the size of one request, and places that it has given out itself. What is refused has taken nothing.
pub fn enter(scopes: Scopes, asked: Asked, keeper: Arc<dyn Keeper>) -> Result<Entered, Box<Failure>> {
    // Places are for all nodes together, and this one may have all of them.
    let alone = Asked { n_nodes: 1, yields: false, away: None, ..asked };
    let enter = |limits: &Arc<Limits>| limits.fits(alone).and_then(|()| limits.enter(alone));
    let refused = scopes.each().enumerate().find_map(|(position, limits)| Some((position, enter(limits).err()?)));
    if let Some((position, failure)) = refused {
        scopes.each().take(position).for_each(|limits| leave(limits, &*keeper));
        return Err(failure);
    }
    Ok(Entered { scopes: Some(scopes), asked: Asked { yields: false, away: None, ..asked }, keeper })
}

/// By what this node lets pass alone, which is its part of limits that do not say otherwise; whoever counts for all hears of it when
/// there is a way.
pub fn admit_here(
    scopes: Scopes,
    asked: Asked,
    when_away: WhenAway,
    now: Instant,
    keeper: Arc<dyn Keeper>,
) -> Result<Permit, Box<Failure>> {
    let asked = Asked { yields: false, away: Some(when_away), ..asked };
    let mut permit = super::admit(scopes, asked, now).map_err(|refused| refused.failure)?;
    taken(&permit.scopes, asked, &*keeper);
    if let Some(shown) = &mut permit.shown {
        shown.is_degraded = true;
    }
    permit.kept = Some(Box::new(Kept { keeper, is_here: true }));
    Ok(permit)
}

/// For what was admitted in an earlier request: see [`super::owed`].
pub fn owed(scopes: Scopes, asked: Asked, now: Instant, keeper: Arc<dyn Keeper>) -> Permit {
    let mut permit = super::owed(scopes, Asked { yields: false, ..asked }, now);
    permit.kept = Some(Box::new(Kept { keeper, is_here: false }));
    permit
}

fn taken(scopes: &Scopes, asked: Asked, keeper: &dyn Keeper) {
    for limits in scopes.each() {
        for (position, want) in limits.wants(asked).enumerate() {
            keeper.correct(limits, position, signed(want.n));
        }
    }
}

fn leave(limits: &Arc<Limits>, keeper: &dyn Keeper) {
    limits.leave();
    keeper.left(limits);
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

// === impl Scopes ===

impl Scopes {
    /// Everybody who has any, in the order in which they are taken.
    pub fn limited(&self) -> impl Iterator<Item = &Arc<Limits>> {
        self.each().filter(|limits| !limits.rates.is_empty() || limits.concurrency.is_some())
    }

    /// Refused where one of them lets nothing pass while whoever counts for all nodes is away.
    #[cold]
    pub(super) fn closed(&self, default: WhenAway) -> Option<Box<Failure>> {
        let closed = self.limited().find(|limits| limits.when_away.unwrap_or(default) == WhenAway::Closed)?;
        let message =
            format!("the limits of {} are counted for all nodes by one that does not answer; try again", closed.owner);
        Some(limited(message, "limit_store", Duration::from_secs(1)))
    }
}

// === impl Limits ===

impl Limits {
    /// What a request takes of each rate, in their order.
    pub fn wants(&self, asked: Asked) -> impl Iterator<Item = Want> {
        self.rates.iter().map(move |limit| Want {
            rate: limit.written().name(),
            amount: limit.rate.limit(),
            interval: limit.rate.interval(),
            n: limit.wanted(asked).min(limit.rate.limit()),
        })
    }

    /// Requests at once that there may be.
    pub fn places(&self) -> Option<u64> {
        self.concurrency
    }

    /// How many requests run here, and a number that grows with each change of that, modulo 2^32.
    pub fn open_here(&self) -> (u64, u64) {
        let open = self.open.load(Ordering::Relaxed);
        (open >> 32, open & COUNT)
    }

    /// What is occupied of each rate by what is known here, in nanoseconds, in their order.
    pub fn occupied(&self, now: Instant) -> impl Iterator<Item = u64> {
        let now = rate::moment(now);
        self.rates.iter().map(move |limit| limit.rate.occupied(now))
    }

    /// Whoever counts for all nodes is away, and meanwhile all passes.
    pub(super) fn passes(&self, asked: Asked) -> bool {
        asked.away.is_some_and(|default| self.when_away.unwrap_or(default) == WhenAway::Open)
    }

    /// So much of each rate is occupied on all nodes together: what this node goes on from, should it have to let pass alone.
    fn mirror(&self, occupied: &mut impl Iterator<Item = u64>, asked: Asked, now: u64, shown: &mut Rates) {
        for (limit, occupied) in self.rates.iter().zip(occupied) {
            limit.rate.occupy(occupied, now);
            shown.consider(limit, limit.rate.left(now), now);
        }
        self.parts.store(asked.regime(), Ordering::Relaxed);
    }
}

// === impl Entered ===

impl Entered {
    pub fn asked(&self) -> Asked {
        self.asked
    }

    /// Everybody whose limits are to be taken.
    pub fn limited(&self) -> impl Iterator<Item = &Arc<Limits>> {
        self.scopes.iter().flat_map(Scopes::limited)
    }

    /// All was taken; so many nanoseconds of each rate are occupied now, of one owner after the other.
    pub fn admitted(mut self, occupied: impl IntoIterator<Item = u64>, now: Instant) -> Permit {
        let scopes = self.scopes.take().unwrap_or_else(Scopes::of_nobody);
        let (mut shown, mut occupied, now) = (Rates::default(), occupied.into_iter(), rate::moment(now));
        for limits in scopes.limited() {
            limits.mirror(&mut occupied.by_ref().take(limits.rates.len()), self.asked, now, &mut shown);
        }
        let is_shown = shown.requests.is_some() || shown.tokens.is_some();
        self.permit(scopes, is_shown.then(|| Box::new(shown)))
    }

    /// Whether all of them let everything pass where nobody can be asked.
    pub fn passes(&self, when_away: WhenAway) -> bool {
        let asked = Asked { away: Some(when_away), ..self.asked };
        self.limited().all(|limits| limits.passes(asked))
    }

    /// Nobody can be asked, and it passes all the same; it counts when there is a way.
    pub fn let_through(mut self) -> Permit {
        let scopes = self.scopes.take().unwrap_or_else(Scopes::of_nobody);
        taken(&scopes, self.asked, &*self.keeper);
        self.permit(scopes, None)
    }

    /// Nothing was taken: of the rate at this position, counted over all owners, there is enough after `wait`.
    pub fn exceeded(self, position: usize, wait: Duration) -> Box<Failure> {
        let mut rates = self.limited().flat_map(|limits| limits.rates.iter().map(move |limit| (limits, limit)));
        let failure =
            rates.nth(position).map(|(limits, limit)| limits.exceeded(limit, wait.max(Duration::from_nanos(1))));
        failure.unwrap_or_else(|| limited("a limit was exceeded.".to_owned(), "parallel", wait))
    }

    /// Nothing was taken: of those who have places, counted over all, the one at this position has none left on any node.
    pub fn crowded(self, position: usize) -> Box<Failure> {
        let found = self.limited().filter_map(|limits| Some((limits, limits.concurrency?))).nth(position);
        let message =
            found.map(|(limits, most)| format!("{} exceeded its limit of {most} requests at once.", limits.owner));
        // Nobody knows when one of them ends.
        limited(message.unwrap_or_default(), "parallel", Duration::from_secs(1))
    }

    /// Nothing was taken, and another way is tried.
    pub fn given_up(mut self) -> Scopes {
        let scopes = self.scopes.take().unwrap_or_else(Scopes::of_nobody);
        scopes.each().for_each(|limits| leave(limits, &*self.keeper));
        scopes
    }

    fn permit(&self, scopes: Scopes, shown: Option<Box<Rates>>) -> Permit {
        let kept = Some(Box::new(Kept { keeper: Arc::clone(&self.keeper), is_here: false }));
        // Nothing of it is settled here.
        Permit { scopes, asked: self.asked, since: 0, shown, borrowed: 0, settled: false, kept }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(scopes) = self.scopes.take() {
            scopes.each().for_each(|limits| leave(limits, &*self.keeper));
        }
    }
}

// === impl Kept ===

impl Kept {
    pub(super) fn is_here(&self) -> bool {
        self.is_here
    }

    /// Tells what was used.
    pub(super) fn close(&self, scopes: &Scopes, asked: Asked, settlement: Option<&Settlement>) {
        for limits in scopes.each() {
            for (position, limit) in limits.rates.iter().enumerate() {
                let Some(settlement) = settlement.filter(|_| limit.measure != Measure::Requests) else { continue };
                let taken = limit.wanted(asked).min(limit.rate.limit());
                let more = signed(limit.used(settlement)).saturating_sub(signed(taken));
                if more != 0 {
                    self.keeper.correct(limits, position, more);
                }
            }
            if !self.is_here {
                limits.leave();
            }
            self.keeper.left(limits);
        }
    }
}

#[cfg(test)]
mod tests;
