//! What a vendor lets an account do per minute: requests, and tokens by an estimate until their number is known. Kept here so that
//! requests go elsewhere before the vendor refuses them.
//!
//! Each node counts by itself. Two atomic numbers; nothing waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_model::kind::provider::UpstreamLimits;

use super::EXPECTED_OUTPUT;
use super::rate::{Clock, Rate};

const MINUTE: Duration = Duration::from_secs(60);

/// What was used beyond the limit delays others by so many minutes at most.
const MOST_OWED: u64 = 5;

/// Of a provider, or of one of its keys.
#[derive(Debug)]
pub struct Quota {
    limits: UpstreamLimits,
    clock: Clock,
    requests: Option<Rate>,
    tokens: Option<Rate>,
}

/// What one request takes. Dropped, it leaves its estimate standing.
#[derive(Debug)]
pub struct Taken {
    quota: Arc<Quota>,
    n_tokens: u64,
    since: u64,
}

/// How much is left of a limit, for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// `rpm` or `tpm`
    pub kind: &'static str,
    pub limit: u64,
    pub remaining: u64,
}

/// Tokens of a request before anybody knows. Answers are expected to be no longer than usual, however long they may be: who allows
/// 64,000 tokens seldom gets them.
pub(crate) fn expected(n_input: u64, n_output: u64) -> u64 {
    n_input.saturating_add(n_output.min(EXPECTED_OUTPUT))
}

// === impl Quota ===

impl Quota {
    /// `None` where there is no limit.
    pub(crate) fn new(limits: Option<UpstreamLimits>) -> Option<Arc<Self>> {
        let limits = limits.filter(|limits| *limits != UpstreamLimits::default())?;
        let rate = |limit: Option<u64>| limit.map(|limit| Rate::new(limit, MINUTE));
        let (requests, tokens) = (rate(limits.rpm), rate(limits.tpm));
        Some(Arc::new(Self { limits, clock: Clock::default(), requests, tokens }))
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.limits == other.limits
    }

    /// Takes a request of so many tokens, or nothing at all: then the time after which there will be room for it.
    pub fn take(self: &Arc<Self>, n_tokens: u64, now: Instant) -> Result<Taken, Duration> {
        let now = self.clock.nanos(now);
        let wait = || {
            let requests = self.requests.as_ref().map_or(Duration::ZERO, |rate| rate.wait(1, now));
            let tokens = self.tokens.as_ref().map_or(Duration::ZERO, |rate| rate.wait(n_tokens, now));
            requests.max(tokens)
        };
        if let Some(requests) = &self.requests {
            requests.take(1, now).map_err(|least| least.max(wait()))?;
        }
        if let Some(tokens) = &self.tokens
            && let Err(least) = tokens.take(n_tokens, now)
        {
            self.requests.iter().for_each(|requests| requests.give_back(1));
            return Err(least.max(wait()));
        }
        let n_tokens = self.tokens.as_ref().map_or(0, |tokens| n_tokens.min(tokens.limit()));
        Ok(Taken { quota: Arc::clone(self), n_tokens, since: now })
    }

    pub fn left(&self, now: Instant) -> Vec<Left> {
        let now = self.clock.nanos(now);
        let left = |kind, rate: &Rate| Left { kind, limit: rate.limit(), remaining: rate.left(now) };
        let requests = self.requests.iter().map(|rate| left("rpm", rate));
        requests.chain(self.tokens.iter().map(|rate| left("tpm", rate))).collect()
    }
}

// === impl Taken ===

impl Taken {
    /// How many tokens it was in truth. Asked again, the last word counts.
    pub fn used(&mut self, n_tokens: u64) {
        if let Some(tokens) = &self.quota.tokens {
            let n_tokens = n_tokens.min(tokens.limit().saturating_mul(MOST_OWED));
            tokens.correct(self.n_tokens, n_tokens, self.since);
            self.n_tokens = n_tokens;
        }
    }

    /// Nobody was asked.
    pub(crate) fn give_back(mut self) {
        self.used(0);
        if let Some(requests) = &self.quota.requests {
            requests.give_back(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn quota(rpm: Option<u64>, tpm: Option<u64>) -> Arc<Quota> {
        Quota::new(Some(UpstreamLimits { rpm, tpm })).expect("a limit")
    }

    #[test]
    fn requests_and_tokens_both_or_neither() {
        let (both, now) = (quota(Some(3), Some(600)), Instant::now());
        let mut first = both.take(300, now).expect("room");
        let _second = both.take(250, now).expect("room");
        // 50 tokens are left, 10 come each second.
        assert_eq!(both.take(100, now).err(), Some(5 * SECOND));
        let left = |now| both.left(now).iter().map(|left| left.remaining).collect::<Vec<_>>();
        assert_eq!(left(now), [1, 50], "the refused one took nothing");
        first.used(100);
        assert_eq!(left(now), [1, 250]);
        let _third = both.take(100, now).expect("room by now");
        assert_eq!(both.take(1, now).err(), Some(20 * SECOND), "requests are used up");
        assert_eq!(both.take(600, now).err(), Some(45 * SECOND), "the longer one of the two");
    }

    #[test]
    fn a_request_larger_than_the_limit_goes_when_nothing_else_does() {
        let (tokens, now) = (quota(None, Some(60)), Instant::now());
        let mut large = tokens.take(1_000_000, now).expect("a fresh minute");
        assert_eq!(tokens.take(1, now).err(), Some(SECOND));
        large.used(120);
        assert_eq!(tokens.take(1, now).err(), Some(61 * SECOND), "what was used beyond the limit is waited for");
        large.used(0);
        assert!(tokens.take(60, now).is_ok());
    }

    #[test]
    fn no_limit_is_no_quota() {
        assert!(Quota::new(None).is_none() && Quota::new(Some(UpstreamLimits::default())).is_none());
    }
}
