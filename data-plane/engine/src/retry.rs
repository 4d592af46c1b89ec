//! After a failure: stop, another target, or the same one again, and after how long. Only asked while nothing has gone to the
//! client.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::{Duration, Instant};

use gateway_ir::failure::{Failure, Retry};

/// An upstream that asks for more patience than this gets none: the caller is told how long it should be.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(10);
/// The first pause is up to this long, each further one up to twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(8);

/// What a request has spent, and may spend.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// Attempts made, the one that just failed included.
    pub n_attempts: usize,
    /// In all, over all targets.
    pub max_attempts: usize,
    /// The client wants no target asked twice.
    pub once_each: bool,
    pub elapsed: Duration,
    /// The whole request's time.
    pub total: Duration,
}

/// What all requests of a node together may spend on second attempts: one for every five requests, and ten a second in any case.
/// An upstream that is down is not brought down further by everybody's retries.
///
/// Two atomic numbers; a request that succeeds costs one addition.
#[derive(Debug)]
pub struct Budget {
    /// In thousandths of an attempt.
    left: AtomicI64,
    /// What is left for second targets beside the first, in hundredths of one.
    beside: AtomicI64,
    /// Since `began`, when time was last turned into attempts.
    filled_ms: AtomicU64,
    began: Instant,
}

/// What to do next.
#[derive(Clone, Debug)]
pub enum Decision<T> {
    /// The failure is the answer.
    Stop,
    /// The same target, after a pause.
    Again { after: Duration },
    /// This one, at once.
    Next(T),
}

// === impl Budget ===

impl Budget {
    const ATTEMPT: i64 = 1000;
    const PER_REQUEST: i64 = Self::ATTEMPT / 5;
    const PER_MS: i64 = 10 * Self::ATTEMPT / 1000;
    /// Second targets that can be saved up, in hundredths: a wave of slowness is not answered by another one.
    const MOST_BESIDE: i64 = 10 * 100;
    /// What can be saved up.
    const MOST: i64 = 50 * Self::ATTEMPT;

    pub fn new(now: Instant) -> Self {
        Self { left: AtomicI64::new(Self::MOST), beside: AtomicI64::new(0), filled_ms: AtomicU64::new(0), began: now }
    }

    /// A request has come.
    pub fn earn(&self) {
        if self.left.load(Relaxed) < Self::MOST {
            self.left.fetch_add(Self::PER_REQUEST, Relaxed);
        }
    }

    /// A request has come that may ask a second target beside the first, as so many of a hundred may.
    pub fn earn_beside(&self, percent: u8) {
        if self.beside.load(Relaxed) < Self::MOST_BESIDE {
            self.beside.fetch_add(percent.into(), Relaxed);
        }
    }

    /// Takes one second target, where there is one left.
    pub fn spend_beside(&self) -> bool {
        let spent = |left: i64| (left >= 100).then_some(left - 100);
        self.beside.fetch_update(Relaxed, Relaxed, spent).is_ok()
    }

    /// Takes one attempt, where there is one left.
    pub fn spend(&self, now: Instant) -> bool {
        let now = u64::try_from(now.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX);
        let before = self.filled_ms.fetch_max(now, Relaxed);
        // Whoever moves the time on has what it was worth.
        let passed = i64::try_from(now.saturating_sub(before)).unwrap_or(i64::MAX);
        let earned = passed.saturating_mul(Self::PER_MS).min(Self::MOST);
        let spent = |left: i64| {
            let left = left.saturating_add(earned).min(Self::MOST);
            (left >= Self::ATTEMPT).then_some(left - Self::ATTEMPT)
        };
        let outcome = self.left.fetch_update(Relaxed, Relaxed, spent);
        if outcome.is_err() && earned > 0 {
            self.left.fetch_add(earned, Relaxed);
        }
        outcome.is_ok()
    }
}

/// Decides what follows `failure`. `plan` has the targets that have not been tried: another target is always better than
/// waiting for the one that failed. Nothing is taken from it where the request stops.
pub fn next<T>(failure: &Failure, spent: Spent, plan: &mut impl Iterator<Item = T>) -> Decision<T> {
    if failure.retry == Retry::Never || spent.n_attempts >= spent.max_attempts || spent.elapsed >= spent.total {
        return Decision::Stop;
    }
    if let Some(target) = plan.next() {
        return Decision::Next(target);
    }
    if spent.once_each {
        return Decision::Stop;
    }
    match (failure.retry, pause(failure.retry_after, spent.n_attempts, rand::random())) {
        // A pause that uses the time up would only delay the same answer.
        (Retry::Elsewhere, Some(after)) if spent.elapsed + after < spent.total => Decision::Again { after },
        _ => Decision::Stop,
    }
}

/// What the upstream asked for, if that is bearable; else "full jitter": anything up to a bound that doubles, so that callers
/// who failed together do not come back together. `random` is a number from the whole range.
fn pause(retry_after: Option<Duration>, n_attempts: usize, random: u32) -> Option<Duration> {
    if let Some(retry_after) = retry_after {
        return (retry_after <= MAX_RETRY_AFTER).then_some(retry_after);
    }
    let n_doublings = u32::try_from(n_attempts.saturating_sub(1)).unwrap_or(u32::MAX);
    let bound = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(n_doublings)).min(MAX_PAUSE);
    let nanos = (bound.as_nanos() * u128::from(random)) >> u32::BITS;
    Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use gateway_ir::failure::Code;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A word for a decision, without the jitter.
    fn decided(code: Code, retry_after: Option<Duration>, spent: Spent, has_next: bool) -> &'static str {
        let failure = Failure::new(code, "x").with_retry_after(retry_after);
        match next(&failure, spent, &mut has_next.then_some(()).into_iter()) {
            Decision::Stop => "stop",
            Decision::Again { .. } => "again",
            Decision::Next(()) => "next",
        }
    }

    fn spent(n_attempts: usize) -> Spent {
        Spent { n_attempts, max_attempts: 3, once_each: false, elapsed: SECOND, total: 60 * SECOND }
    }

    #[test]
    fn by_failure_and_by_what_is_left() {
        let cases = [
            (Code::UpstreamError, "next", "again"),
            (Code::UpstreamRateLimited, "next", "again"),
            (Code::UpstreamOverloaded, "next", "again"),
            (Code::UpstreamUnreachable, "next", "again"),
            (Code::ConnectTimeout, "next", "again"),
            (Code::FirstByteTimeout, "next", "again"),
            (Code::UpstreamCredential, "next", "stop"),
            (Code::DestinationRefused, "next", "stop"),
            (Code::UpstreamRefused, "stop", "stop"),
            (Code::InvalidRequest, "stop", "stop"),
            (Code::TotalTimeout, "stop", "stop"),
            (Code::ClientGone, "stop", "stop"),
        ];
        for (code, with_next, alone) in cases {
            assert_eq!(decided(code, None, spent(1), true), with_next, "{code:?}");
            assert_eq!(decided(code, None, spent(1), false), alone, "{code:?}, alone");
            assert_eq!(decided(code, None, spent(3), true), "stop", "{code:?}, attempts used up");
            let once_each = Spent { once_each: true, ..spent(1) };
            assert_eq!(decided(code, None, once_each, true), with_next, "{code:?}, once each");
            assert_eq!(decided(code, None, once_each, false), "stop", "{code:?}, once each");
            assert_eq!(decided(code, None, Spent { elapsed: 60 * SECOND, ..spent(1) }, true), "stop", "{code:?}, late");
        }
    }

    #[test]
    fn retry_after_is_honoured_where_it_is_bearable() {
        let failure = |after| Failure::new(Code::UpstreamRateLimited, "x").with_retry_after(Some(after));
        let Decision::Again { after } = next(&failure(2 * SECOND), spent(1), &mut std::iter::empty::<()>()) else {
            panic!("must wait")
        };
        assert_eq!(after, 2 * SECOND);
        for (after, elapsed, expected) in [(10, 1, "again"), (11, 1, "stop"), (10, 50, "stop"), (9, 50, "again")] {
            let spent = Spent { elapsed: elapsed * SECOND, ..spent(1) };
            assert_eq!(decided(Code::UpstreamRateLimited, Some(after * SECOND), spent, false), expected, "{after}");
            assert_eq!(decided(Code::UpstreamRateLimited, Some(after * SECOND), spent, true), "next", "at once");
        }
    }

    #[test]
    fn a_node_spends_a_fifth_and_ten_a_second_on_second_attempts() {
        let began = Instant::now();
        let budget = Budget::new(began);
        let spent = |n: usize, now: Instant| (0..n).filter(|_| budget.spend(now)).count();
        assert_eq!(spent(1000, began), 50, "what is saved up at most");
        assert_eq!(spent(1000, began + SECOND), 10);
        (0..200).for_each(|_| budget.earn());
        assert_eq!(spent(1000, began + SECOND), 40);
        (0..900).for_each(|_| budget.earn());
        assert_eq!(spent(1000, began + SECOND), 50);
        assert_eq!(spent(1000, began + 100 * SECOND), 50);
        assert_eq!(spent(1000, began), 0, "time does not go back");
        // Half a thing saved is saved.
        assert_eq!(spent(1, began + 100 * SECOND + SECOND / 20), 0);
        assert_eq!(spent(1, began + 100 * SECOND + SECOND / 10), 1);
    }

    #[test]
    fn so_many_of_a_hundred_ask_a_second_target() {
        let budget = Budget::new(Instant::now());
        let n_spent = (0..1000).filter(|_| {
            budget.earn_beside(5);
            budget.spend_beside()
        });
        assert_eq!(n_spent.count(), 50);
        (0..1000).for_each(|_| budget.earn_beside(5));
        assert_eq!((0..1000).filter(|_| budget.spend_beside()).count(), 10, "what is saved up at most");
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_are_full_of_jitter() {
        let longest = [250, 500, 1_000, 2_000, 4_000, 8_000, 8_000];
        for (n_attempts, millis) in (1..).zip(longest) {
            let pause = |random| pause(None, n_attempts, random).expect("a pause").as_millis();
            assert_eq!((pause(0), pause(1 << 31), pause(u32::MAX)), (0, millis / 2, millis - 1), "{n_attempts}");
        }
        assert_eq!(pause(None, usize::MAX, 1 << 31), Some(MAX_PAUSE / 2));
    }
}
