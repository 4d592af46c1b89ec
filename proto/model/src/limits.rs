//! What may be used in which time, as people write it. The same words wherever somebody has limits: key, team, user,
//! organization.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a rate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    Requests,
    /// All of them, prompt and reply.
    Tokens,
    /// Of the prompt, cached ones included.
    InputTokens,
    OutputTokens,
}

/// In which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Period {
    Second,
    Minute,
    Hour,
    Day,
}

/// One limit of so many in some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub measure: Measure,
    pub period: Period,
    pub amount: u64,
}

/// What holds for limits that are counted for all nodes, by a control plane that lends or by a store, while that does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenAway {
    /// Each node lets an equal part of each limit pass.
    #[default]
    LocalShare,
    /// All requests pass; a store counts them when it is back.
    Open,
    /// Requests that have such limits are refused (429).
    Closed,
}

macro_rules! limits {
    ($($(#[$about:meta])* $field:ident: $measure:ident per $period:ident;)*) => {
        /// No limit given means unlimited. A limit of so many per minute lets so many through at once and then as many per minute,
        /// evenly; tokens count by an estimate until it is known what was used, and what was used beyond is made up for later.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct Limits {
            $($(#[$about])* #[serde(default, skip_serializing_if = "Option::is_none")] pub $field: Option<u64>,)*
            /// Requests at once.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub concurrency: Option<u64>,
            /// Tokens of one request, the prompt (estimated) and the reply that it allows for together.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub max_tokens: Option<u64>,
            /// What holds for these while whoever counts them for all nodes is away. Default: as `settings.limit_store` says where
            /// there is one, else `local_share`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub when_away: Option<WhenAway>,
        }

        impl Limits {
            /// The rates among them, in a fixed order.
            pub fn rates(&self) -> impl Iterator<Item = Rate> {
                let each = [$((self.$field, Measure::$measure, Period::$period)),*];
                each.into_iter().filter_map(|(amount, measure, period)| Some(Rate { measure, period, amount: amount? }))
            }

            /// Every limit by its name.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                let each = [$((stringify!($field), self.$field),)* ("concurrency", self.concurrency), ("max_tokens", self.max_tokens)];
                each.into_iter().filter_map(|(name, amount)| Some((name, amount?)))
            }

            /// As if it were written.
            pub fn set(&mut self, rate: Rate) {
                match (rate.measure, rate.period) {
                    $((Measure::$measure, Period::$period) => self.$field = Some(rate.amount),)*
                }
            }
        }

        impl Rate {
            /// The field that says it: `rpm`.
            pub fn name(&self) -> &'static str {
                match (self.measure, self.period) {
                    $((Measure::$measure, Period::$period) => stringify!($field),)*
                }
            }
        }
    };
}

limits! {
    /// Requests per second.
    rps: Requests per Second;
    /// Requests per minute.
    rpm: Requests per Minute;
    /// Requests per hour.
    rph: Requests per Hour;
    /// Requests per day.
    rpd: Requests per Day;
    /// Tokens per second, prompt and reply together.
    tps: Tokens per Second;
    /// Tokens per minute, prompt and reply together.
    tpm: Tokens per Minute;
    /// Tokens per hour, prompt and reply together.
    tph: Tokens per Hour;
    /// Tokens per day, prompt and reply together.
    tpd: Tokens per Day;
    /// Tokens of prompts per second.
    input_tps: InputTokens per Second;
    /// Tokens of prompts per minute.
    input_tpm: InputTokens per Minute;
    /// Tokens of prompts per hour.
    input_tph: InputTokens per Hour;
    /// Tokens of prompts per day.
    input_tpd: InputTokens per Day;
    /// Tokens of replies per second.
    output_tps: OutputTokens per Second;
    /// Tokens of replies per minute.
    output_tpm: OutputTokens per Minute;
    /// Tokens of replies per hour.
    output_tph: OutputTokens per Hour;
    /// Tokens of replies per day.
    output_tpd: OutputTokens per Day;
}

// === impl Limits ===

impl Limits {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

// === impl WhenAway ===

impl WhenAway {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::LocalShare => "local_share",
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Self::LocalShare, Self::Open, Self::Closed].into_iter().find(|policy| policy.name() == name)
    }
}

// === impl Measure ===

impl Measure {
    /// In refusals: `exceeded its 120 req/min limit`.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Requests => "req",
            Self::Tokens => "tokens",
            Self::InputTokens => "input tokens",
            Self::OutputTokens => "output tokens",
        }
    }
}

// === impl Period ===

impl Period {
    pub fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 60 * 60,
            Self::Day => 24 * 60 * 60,
        }
    }

    /// In refusals: `exceeded its 120 req/min limit`.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "min",
            Self::Hour => "h",
            Self::Day => "day",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_what_is_read() {
        let mut limits = Limits::default();
        for measure in [Measure::Requests, Measure::Tokens, Measure::InputTokens, Measure::OutputTokens] {
            for period in [Period::Second, Period::Minute, Period::Hour, Period::Day] {
                let rate = Rate { measure, period, amount: period.seconds() };
                limits.set(rate);
                assert!(limits.rates().any(|found| found == rate), "{}", rate.name());
            }
        }
        assert_eq!((limits.rates().count(), limits.named().count(), limits.tpd), (16, 16, Some(86_400)));
    }
}
