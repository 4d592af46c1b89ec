//! Policy that any level may set: provider, model, route, settings. The nearest level wins, field by field: route, model,
//! provider, settings, then the defaults named here.

mod continuation;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::continuation::Continuation;
use crate::unit::Span;

/// A field whose value is out of bounds, and why.
pub(crate) type Fault = (&'static str, &'static str);

/// What is done with models whose price nobody knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unpriced {
    /// They are served and count as nothing; their records say that they have no price, and so do the sums of what is spent.
    #[default]
    Allow,
    /// The same, and replies whose cost is not known say so in `x-gateway-unpriced`.
    Flag,
    /// 403, where one of the model's targets has no price: nobody could say before which one serves.
    Refuse,
}

/// How often to try.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Attempts in all, over all targets; 1 means none is repeated. Default 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub max_attempts: Option<u32>,
}

/// Time limits towards the upstream. Each names itself in the error it causes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// The wait for a place at a provider that takes only so many requests at once (`concurrency`). Default 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Span>,
    /// TCP and TLS together. Default 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Span>,
    /// From the request's last byte to the reply's first. Default 60s for streams, 300s otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<Span>,
    /// Between two reads of a reply's body. Default 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Span>,
    /// The same while the model is reasoning, as far as its stream shows that. Default 300s, and never less than `idle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_reasoning: Option<Span>,
    /// The whole request, attempts included. Default 600s, for streams 3600s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Span>,
}

/// How many requests each node has under way at an upstream account; the others wait in order, for `timeouts.queue` at most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Concurrency {
    /// At once.
    #[schemars(range(min = 1, max = 100_000))]
    pub max: u32,
    /// Requests that wait; whoever finds so many goes to the next target at once. Default 1024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100_000))]
    pub queue: Option<u32>,
    /// The number is found, between 1 and `max`, by how long replies take to begin. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<bool>,
}

/// A second target is asked beside one that does not begin to answer; whoever answers first serves, the other one is let go and
/// charged by an estimate. Never for what is stored, runs in the background or has the vendor's own tools do something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hedge {
    /// A time, or `p95`: as long as 95 of 100 of the first target's replies took to begin, once 20 have been seen.
    pub after: HedgeAfter,
    /// Of 100 requests that could be asked twice so many are, at each node. Default 5; 0 switches it off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub max_percent: Option<u32>,
}

/// How long the first target is waited for alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a duration like `500ms`, or `p95`")]
pub enum HedgeAfter {
    Usual(Percentile),
    Time(Span),
}

/// Of what was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Percentile {
    P95,
}

// === impl Unpriced ===

impl Unpriced {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Flag => "flag",
            Self::Refuse => "refuse",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Self::Allow, Self::Flag, Self::Refuse].into_iter().find(|policy| policy.name() == name)
    }
}

// === impl Hedge ===

impl Hedge {
    /// As those of [`Retry`].
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let is_zero = matches!(self.after, HedgeAfter::Time(span) if span.0.is_zero());
        faults([
            ("hedge.after", "must be longer than 0", is_zero),
            ("hedge.max_percent", "must be at most 100", self.max_percent.is_some_and(|percent| percent > 100)),
        ])
    }
}

// === impl Retry ===

impl Retry {
    /// Fields whose values are out of bounds, and why.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let is_wrong = self.max_attempts.is_some_and(|attempts| !(1..=10).contains(&attempts));
        faults([("retry.max_attempts", "must be from 1 to 10; 1 means no retry", is_wrong)])
    }
}

// === impl Timeouts ===

impl Timeouts {
    /// As those of [`Retry`].
    pub(crate) fn faults(&self) -> Vec<Fault> {
        const WHY: &str = "must be longer than 0";
        let is_zero = |span: Option<Span>| span.is_some_and(|span| span.0.is_zero());
        faults([
            ("timeouts.queue", WHY, is_zero(self.queue)),
            ("timeouts.connect", WHY, is_zero(self.connect)),
            ("timeouts.first_byte", WHY, is_zero(self.first_byte)),
            ("timeouts.idle", WHY, is_zero(self.idle)),
            ("timeouts.idle_reasoning", WHY, is_zero(self.idle_reasoning)),
            ("timeouts.total", WHY, is_zero(self.total)),
        ])
    }
}

// === impl Concurrency ===

impl Concurrency {
    /// As those of [`Retry`].
    pub(crate) fn faults(&self) -> Vec<Fault> {
        faults([
            ("concurrency.max", "must be from 1 to 100000", !(1..=100_000).contains(&self.max)),
            ("concurrency.queue", "must be at most 100000", self.queue.is_some_and(|queue| queue > 100_000)),
        ])
    }
}

/// When an upstream model that fails is left alone for a while. Its cool-downs (after 429, or where the credential is refused)
/// belong to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Breaker {
    /// `false` switches off breaker, cool-downs and the node's bound on second attempts: the upstream is always asked. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Failures in a row that open it; half of at least 20 replies in 30 seconds do too. Default 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub failures: Option<u32>,
    /// How long it stays open; twice, three times, up to ten times as long where the trials fail. Default 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Span>,
    /// Requests that try it at the same time when that is over. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub trials: Option<u32>,
}

// === impl Breaker ===

impl Breaker {
    /// As those of [`Retry`].
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let is_no_time = |open: &Span| open.0.is_zero() || open.0.as_secs() > 3600;
        faults([
            ("breaker.failures", "must be from 1 to 1000", self.failures.is_some_and(|n| !(1..=1000).contains(&n))),
            ("breaker.open", "must be longer than 0 and at most 1h", self.open.as_ref().is_some_and(is_no_time)),
            ("breaker.trials", "must be from 1 to 100", self.trials.is_some_and(|n| !(1..=100).contains(&n))),
        ])
    }
}

fn faults<const N: usize>(checked: [(&'static str, &'static str, bool); N]) -> Vec<Fault> {
    checked.into_iter().filter(|(.., is_wrong)| *is_wrong).map(|(path, why, _)| (path, why)).collect()
}
