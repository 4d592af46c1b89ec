//! Time limits and attempts: what each level says, and what holds in the end.

use std::time::Duration;

use gateway_model::policy::{
    Breaker as BreakerDocument, Continuation as ContinuationDocument, Hedge as HedgeDocument, HedgeAfter, Retry,
    Timeouts, Unpriced,
};
use gateway_model::unit::Span;

/// What one level of the configuration says; `None` leaves it to the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Overrides {
    max_attempts: Option<u32>,
    queue: Option<Duration>,
    connect: Option<Duration>,
    first_byte: Option<Duration>,
    idle: Option<Duration>,
    idle_reasoning: Option<Duration>,
    total: Option<Duration>,
    hedge: Option<Hedge>,
    continuation: Option<Continuation>,
    unpriced: Option<Unpriced>,
}

/// When a second target is asked beside the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hedge {
    /// `None`: when the first is later than 95 of 100 of its replies were.
    pub after: Option<Duration>,
    /// Of 100 requests; 0: never.
    pub max_percent: u8,
}

/// Whether a stream that breaks off is gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Continuation {
    /// Times for one reply; 0: never.
    pub max: u8,
    /// Also by the target that broke off, where nobody else is left.
    pub same_target: bool,
}

/// What holds for a request towards one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Attempts in all, over all targets, the first one included.
    pub max_attempts: usize,
    /// The wait for a place at the provider.
    pub queue: Duration,
    /// TCP and TLS together.
    pub connect: Duration,
    /// From the request's last byte to the reply's first.
    pub first_byte: Duration,
    /// Between two reads of the reply's body.
    pub idle: Duration,
    /// The same while the model is reasoning.
    pub idle_reasoning: Duration,
    /// The whole request, all attempts included.
    pub total: Duration,
    /// `None`: one target at a time.
    pub hedge: Option<Hedge>,
    /// `None`: a stream that breaks off is over.
    pub continuation: Option<Continuation>,
}

/// When a target is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Failures in a row that open it.
    pub failures: u32,
    /// How long it stays open the first time.
    pub open: Duration,
    /// Requests that may try at the same time once that is over.
    pub trials: u32,
}

// === impl Breaker ===

impl Breaker {
    const DEFAULT: Self = Self { failures: 5, open: Duration::from_secs(30), trials: 1 };

    /// By what the levels say, nearest first; each field by the nearest that names it. `None`: switched off.
    pub(crate) fn compile(levels: [Option<&BreakerDocument>; 2]) -> Option<Self> {
        let levels = levels.into_iter().flatten();
        if levels.clone().find_map(|level| level.enabled) == Some(false) {
            return None;
        }
        Some(Self {
            failures: levels.clone().find_map(|level| level.failures).unwrap_or(Self::DEFAULT.failures),
            open: levels.clone().find_map(|level| level.open).map_or(Self::DEFAULT.open, |open| open.0),
            trials: levels.clone().find_map(|level| level.trials).unwrap_or(Self::DEFAULT.trials),
        })
    }
}

// === impl Hedge ===

impl Hedge {
    fn compile(document: &HedgeDocument) -> Self {
        let after = match document.after {
            HedgeAfter::Usual(_) => None,
            HedgeAfter::Time(span) => Some(span.0),
        };
        let max_percent = u8::try_from(document.max_percent.unwrap_or(5)).unwrap_or(100).min(100);
        Self { after, max_percent }
    }
}

// === impl Continuation ===

impl Continuation {
    fn compile(document: &ContinuationDocument) -> Self {
        let max = if document.enabled { document.max.unwrap_or(1) } else { 0 };
        Self { max: u8::try_from(max).unwrap_or(u8::MAX), same_target: document.same_target.unwrap_or(false) }
    }
}

// === impl Overrides ===

impl Overrides {
    pub(crate) fn compile(retry: Option<&Retry>, timeouts: Option<&Timeouts>) -> Self {
        let time = |pick: fn(&Timeouts) -> Option<Span>| timeouts.and_then(pick).map(|span| span.0);
        Self {
            max_attempts: retry.and_then(|retry| retry.max_attempts),
            queue: time(|timeouts| timeouts.queue),
            connect: time(|timeouts| timeouts.connect),
            first_byte: time(|timeouts| timeouts.first_byte),
            idle: time(|timeouts| timeouts.idle),
            idle_reasoning: time(|timeouts| timeouts.idle_reasoning),
            total: time(|timeouts| timeouts.total),
            hedge: None,
            continuation: None,
            unpriced: None,
        }
    }

    /// And what the level says of second targets.
    pub(crate) fn hedged(self, hedge: Option<&HedgeDocument>) -> Self {
        Self { hedge: hedge.map(Hedge::compile), ..self }
    }

    /// And what it says of streams that break off.
    pub(crate) fn continued(self, continuation: Option<&ContinuationDocument>) -> Self {
        Self { continuation: continuation.map(Continuation::compile), ..self }
    }

    /// And what it says of models without a price.
    pub(crate) fn with_unpriced(self, unpriced: Option<Unpriced>) -> Self {
        Self { unpriced, ..self }
    }

    pub(crate) fn unpriced(self) -> Option<Unpriced> {
        self.unpriced
    }

    /// This level where it says something, else the `farther` one.
    pub(crate) fn or(self, farther: Self) -> Self {
        Self {
            max_attempts: self.max_attempts.or(farther.max_attempts),
            queue: self.queue.or(farther.queue),
            connect: self.connect.or(farther.connect),
            first_byte: self.first_byte.or(farther.first_byte),
            idle: self.idle.or(farther.idle),
            idle_reasoning: self.idle_reasoning.or(farther.idle_reasoning),
            total: self.total.or(farther.total),
            hedge: self.hedge.or(farther.hedge),
            continuation: self.continuation.or(farther.continuation),
            unpriced: self.unpriced.or(farther.unpriced),
        }
    }

    /// Fills what no level has said.
    pub(crate) fn resolve(self, defaults: &Policy) -> Policy {
        let max_attempts = self.max_attempts.and_then(|n| usize::try_from(n).ok()).map(|n| n.max(1));
        let idle = self.idle.unwrap_or(defaults.idle);
        Policy {
            max_attempts: max_attempts.unwrap_or(defaults.max_attempts),
            queue: self.queue.unwrap_or(defaults.queue),
            connect: self.connect.unwrap_or(defaults.connect),
            first_byte: self.first_byte.unwrap_or(defaults.first_byte),
            idle,
            idle_reasoning: self.idle_reasoning.unwrap_or(defaults.idle_reasoning).max(idle),
            total: self.total.unwrap_or(defaults.total),
            hedge: self.hedge.filter(|hedge| hedge.max_percent > 0),
            continuation: self.continuation.filter(|continuation| continuation.max > 0),
        }
    }
}

// === impl Policy ===

impl Policy {
    /// For whole replies: nothing is heard of the upstream until it has finished.
    pub const PLAIN: Self = Self {
        max_attempts: 3,
        queue: Duration::from_secs(1),
        connect: Duration::from_secs(5),
        first_byte: Duration::from_secs(300),
        idle: Duration::from_secs(60),
        idle_reasoning: Duration::from_secs(300),
        total: Duration::from_secs(600),
        hedge: None,
        continuation: None,
    };
    /// For streams: the first byte comes soon, the last one may take long.
    pub const STREAM: Self =
        Self { first_byte: Duration::from_secs(60), total: Duration::from_secs(3600), ..Self::PLAIN };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_level_wins_field_by_field() {
        let second = |n| Some(Span(Duration::from_secs(n)));
        let timeouts = Timeouts { connect: second(1), idle: second(2), ..Timeouts::default() };
        let near = Overrides::compile(None, Some(&timeouts));
        let farther = Timeouts { connect: second(7), total: second(8), ..Timeouts::default() };
        let farther = Overrides::compile(Some(&Retry { max_attempts: Some(5) }), Some(&farther));
        let policy = near.or(farther).resolve(&Policy::STREAM);
        let expected = Policy {
            max_attempts: 5,
            queue: Duration::from_secs(1),
            connect: Duration::from_secs(1),
            first_byte: Duration::from_secs(60),
            idle: Duration::from_secs(2),
            idle_reasoning: Duration::from_secs(300),
            total: Duration::from_secs(8),
            hedge: None,
            continuation: None,
        };
        assert_eq!(policy, expected);
        let patient = Timeouts { idle: second(400), idle_reasoning: second(10), ..Timeouts::default() };
        let policy = Overrides::compile(None, Some(&patient)).resolve(&Policy::STREAM);
        assert_eq!(policy.idle_reasoning, policy.idle, "who reasons is never waited for less");
        assert_eq!(Overrides::default().resolve(&Policy::PLAIN), Policy::PLAIN);
    }
}
