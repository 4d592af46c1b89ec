//! After a failure: stop, another target, or the same one again, and after how long. Only asked while nothing has gone to the
//! client.

use std::time::Duration;

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
    fn pauses_double_up_to_a_bound_and_are_full_of_jitter() {
        let longest = [250, 500, 1_000, 2_000, 4_000, 8_000, 8_000];
        for (n_attempts, millis) in (1..).zip(longest) {
            let pause = |random| pause(None, n_attempts, random).expect("a pause").as_millis();
            assert_eq!((pause(0), pause(1 << 31), pause(u32::MAX)), (0, millis / 2, millis - 1), "{n_attempts}");
        }
        assert_eq!(pause(None, usize::MAX, 1 << 31), Some(MAX_PAUSE / 2));
    }
}
