//! Time limits and attempts: what each level says, and what holds in the end.

use std::time::Duration;

use gateway_model::policy::{Breaker as BreakerDocument, Retry, Timeouts};
use gateway_model::unit::Span;

/// What one level of the configuration says; `None` leaves it to the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Overrides {
    max_attempts: Option<u32>,
    connect: Option<Duration>,
    first_byte: Option<Duration>,
    idle: Option<Duration>,
    total: Option<Duration>,
}

/// What holds for a request towards one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Attempts in all, over all targets, the first one included.
    pub max_attempts: usize,
    /// TCP and TLS together.
    pub connect: Duration,
    /// From the request's last byte to the reply's first.
    pub first_byte: Duration,
    /// Between two reads of the reply's body.
    pub idle: Duration,
    /// The whole request, all attempts included.
    pub total: Duration,
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

// === impl Overrides ===

impl Overrides {
    pub(crate) fn compile(retry: Option<&Retry>, timeouts: Option<&Timeouts>) -> Self {
        let time = |pick: fn(&Timeouts) -> Option<Span>| timeouts.and_then(pick).map(|span| span.0);
        Self {
            max_attempts: retry.and_then(|retry| retry.max_attempts),
            connect: time(|timeouts| timeouts.connect),
            first_byte: time(|timeouts| timeouts.first_byte),
            idle: time(|timeouts| timeouts.idle),
            total: time(|timeouts| timeouts.total),
        }
    }

    /// This level where it says something, else the `farther` one.
    pub(crate) fn or(self, farther: Self) -> Self {
        Self {
            max_attempts: self.max_attempts.or(farther.max_attempts),
            connect: self.connect.or(farther.connect),
            first_byte: self.first_byte.or(farther.first_byte),
            idle: self.idle.or(farther.idle),
            total: self.total.or(farther.total),
        }
    }

    /// Fills what no level has said.
    pub(crate) fn resolve(self, defaults: &Policy) -> Policy {
        let max_attempts = self.max_attempts.and_then(|n| usize::try_from(n).ok()).map(|n| n.max(1));
        Policy {
            max_attempts: max_attempts.unwrap_or(defaults.max_attempts),
            connect: self.connect.unwrap_or(defaults.connect),
            first_byte: self.first_byte.unwrap_or(defaults.first_byte),
            idle: self.idle.unwrap_or(defaults.idle),
            total: self.total.unwrap_or(defaults.total),
        }
    }
}

// === impl Policy ===

impl Policy {
    /// For whole replies: nothing is heard of the upstream until it has finished.
    pub const PLAIN: Self = Self {
        max_attempts: 3,
        connect: Duration::from_secs(5),
        first_byte: Duration::from_secs(300),
        idle: Duration::from_secs(60),
        total: Duration::from_secs(600),
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
            connect: Duration::from_secs(1),
            first_byte: Duration::from_secs(60),
            idle: Duration::from_secs(2),
            total: Duration::from_secs(8),
        };
        assert_eq!(policy, expected);
        assert_eq!(Overrides::default().resolve(&Policy::PLAIN), Policy::PLAIN);
    }
}
