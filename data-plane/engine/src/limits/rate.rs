//! One rate limit: GCRA (a leaky bucket kept as one point in time) in one atomic. Exact under any number of threads; taking
//! is a load and a compare-and-swap, and nothing runs in the background.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// So many requests at once, and then as many per period, evenly.
#[derive(Debug)]
pub(crate) struct Rate {
    limit: u64,
    /// Nanoseconds that one request occupies. Rounded up: never more than `limit` per period.
    interval: u64,
    /// Nanoseconds that may be occupied ahead of now: `limit` intervals.
    burst: u64,
    born: Instant,
    /// Until when the past requests occupy the limit, in nanoseconds since `born`.
    occupied_until: AtomicU64,
}

// === impl Rate ===

impl Rate {
    /// `limit` per `period`. A limit of 0 is taken as 1; the validator refuses it.
    pub(crate) fn new(limit: u64, period: Duration, now: Instant) -> Self {
        let limit = limit.max(1);
        let interval = nanos(period).div_ceil(limit).max(1);
        Self { limit, interval, burst: interval.saturating_mul(limit), born: now, occupied_until: AtomicU64::new(0) }
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Takes one and says how many are left, or takes none and says after how long one will be free.
    pub(crate) fn take(&self, now: Instant) -> Result<u64, Duration> {
        let now = nanos(now.saturating_duration_since(self.born));
        let latest = now.saturating_add(self.burst);
        let mut occupied_until = self.occupied_until.load(Ordering::Relaxed);
        loop {
            let next = occupied_until.max(now).saturating_add(self.interval);
            if next > latest {
                return Err(Duration::from_nanos(next - latest));
            }
            // Relaxed: the value is all that the threads share.
            match self.occupied_until.compare_exchange_weak(occupied_until, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Ok((latest - next) / self.interval),
                Err(newer) => occupied_until = newer,
            }
        }
    }

    /// Undoes one `take`, for a request that another limit refused.
    pub(crate) fn give_back(&self) {
        self.occupied_until
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |until| Some(until.saturating_sub(self.interval)))
            .expect("the update always gives a value");
    }
}

/// 584 years fit.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_full_burst_then_one_per_interval() {
        let born = Instant::now();
        let rate = Rate::new(4, MINUTE, born);
        assert_eq!((0..4).map(|_| rate.take(born)).collect::<Vec<_>>(), [Ok(3), Ok(2), Ok(1), Ok(0)]);
        assert_eq!(rate.take(born), Err(Duration::from_secs(15)));
        let later = born + Duration::from_secs(5);
        assert_eq!(rate.take(later), Err(Duration::from_secs(10)), "the wait shrinks with time");
        let free = born + Duration::from_secs(15);
        assert_eq!(rate.take(free), Ok(0), "free at the very moment that was told");
        assert_eq!(rate.take(free), Err(Duration::from_secs(15)));
        assert_eq!(rate.take(born + 10 * MINUTE), Ok(3), "unused time does not add up beyond the burst");
        assert!(rate.take(born).is_err(), "a thread that read its clock long ago gains nothing");
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let now = Instant::now();
        let rate = Rate::new(1, MINUTE, now);
        rate.give_back();
        assert_eq!((rate.take(now), rate.take(now).is_err()), (Ok(0), true), "nothing was gained");
        rate.give_back();
        assert_eq!(rate.take(now), Ok(0));
    }

    #[test]
    fn extreme_limits_hold() {
        let now = Instant::now();
        assert!(Rate::new(u64::MAX, MINUTE, now).take(now).is_ok());
        let least = Rate::new(0, MINUTE, now);
        assert_eq!((least.take(now), least.take(now)), (Ok(0), Err(MINUTE)));
    }

    #[test]
    fn threads_together_get_no_more_than_one_would() {
        let now = Instant::now();
        let rate = Rate::new(1000, MINUTE, now);
        let n_taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..400).filter(|_| rate.take(now).is_ok()).count())).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(n_taken, 1000);
    }

    proptest! {
        /// Over any span of the run: at most the burst and what the rate allows; and a wait that was told is exact.
        #[test]
        fn never_more_than_burst_and_rate(limit in 1_u64..200, gaps in prop::collection::vec(0_u64..2_000, 1..300)) {
            let born = Instant::now();
            let rate = Rate::new(limit, MINUTE, born);
            let mut now = born;
            let mut taken: Vec<Instant> = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                match rate.take(now) {
                    Ok(_) => taken.push(now),
                    Err(wait) => {
                        prop_assert!(wait > Duration::ZERO);
                        prop_assert!(rate.take(now + wait - Duration::from_nanos(1)).is_err());
                    }
                }
            }
            for (i, from) in taken.iter().enumerate() {
                for (n_taken, to) in (1_u128..).zip(&taken[i..]) {
                    let refilled = to.duration_since(*from).as_nanos() * u128::from(limit) / MINUTE.as_nanos();
                    prop_assert!(n_taken <= u128::from(limit) + refilled);
                }
            }
        }
    }
}
