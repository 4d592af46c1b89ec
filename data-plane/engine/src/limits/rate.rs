//! One rate limit: GCRA (a leaky bucket kept as one point in time) in one atomic. Exact under any number of threads; taking
//! is a load and a compare-and-swap, and nothing runs in the background.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// So many requests at once, and then as many per period, evenly. Moments are nanoseconds of one [`Clock`].
#[derive(Debug)]
pub(crate) struct Rate {
    limit: u64,
    /// Nanoseconds that one request occupies. Rounded up: never more than `limit` per period.
    interval: u64,
    /// Until when the past requests occupy the limit.
    occupied_until: AtomicU64,
    /// When something was last taken while all of it was free: what was set aside before has come back with time.
    free_at: AtomicU64,
}

/// Counts from the first moment that it is asked for, so that a configuration can be compiled without knowing the time.
#[derive(Debug, Default)]
pub(crate) struct Clock(OnceLock<Instant>);

/// The clock of all limits, which need not carry one each. An hour has passed when it begins, for moments that were read before.
pub(crate) fn moment(now: Instant) -> u64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    let began = *BEGAN.get_or_init(|| now.checked_sub(Duration::from_secs(60 * 60)).unwrap_or(now));
    nanos(now.saturating_duration_since(began))
}

// === impl Rate ===

impl Rate {
    /// `limit` per `period`. A limit of 0 is taken as 1; the validator refuses it.
    pub(crate) fn new(limit: u64, period: Duration) -> Self {
        let limit = limit.max(1);
        let interval = nanos(period).div_ceil(limit).max(1);
        Self { limit, interval, occupied_until: AtomicU64::new(0), free_at: AtomicU64::new(0) }
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// What may be occupied ahead of now: `limit` intervals.
    fn burst(&self) -> u64 {
        self.interval.saturating_mul(self.limit)
    }

    /// Takes `n` and says how many are left, or takes none and says after how long they will be free. More than the limit is taken
    /// as the limit, which is free when nothing else is taken. None at all can be taken where nothing is owed.
    pub(crate) fn take(&self, n: u64, now: u64) -> Result<u64, Duration> {
        let latest = now.saturating_add(self.burst());
        let wanted = self.interval.saturating_mul(n.min(self.limit));
        let mut occupied_until = self.occupied_until.load(Ordering::Relaxed);
        loop {
            let next = occupied_until.max(now).saturating_add(wanted);
            if next > latest {
                return Err(Duration::from_nanos(next - latest));
            }
            if occupied_until <= now && self.free_at.load(Ordering::Relaxed) < now {
                self.free_at.store(now, Ordering::Relaxed);
            }
            // Relaxed: the value is all that the threads share.
            match self.occupied_until.compare_exchange_weak(occupied_until, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Ok((latest - next) / self.interval),
                Err(newer) => occupied_until = newer,
            }
        }
    }

    /// So many are free that were taken, whenever that was.
    pub(crate) fn give_back(&self, n: u64) {
        self.shift(self.interval.saturating_mul(n), 0);
    }

    /// As if `used` had been taken at `since` in place of `taken`, which is no more than what was. What was used beyond the limit delays
    /// those who come. What was not used is free again, but not where all was free in between: then it has come back already, and
    /// others would find it twice.
    pub(crate) fn correct(&self, taken: u64, used: u64, since: u64) {
        let (taken, used) = (self.interval.saturating_mul(taken), self.interval.saturating_mul(used));
        if used >= taken || since >= self.free_at.load(Ordering::Relaxed) {
            self.shift(taken, used);
        }
    }

    fn shift(&self, taken: u64, used: u64) {
        let corrected = |until: u64| Some(until.saturating_add(used).saturating_sub(taken));
        self.occupied_until
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, corrected)
            .expect("the update always gives a value");
    }

    /// From now on each counts for `new` where it counted for `old`. As many as could be taken before can be taken now, or all there
    /// are: what a larger part adds comes with time.
    pub(crate) fn rescale(&self, old: u64, new: u64, now: u64) {
        let burst = i128::from(self.burst());
        let scaled = |until: u64| {
            let free = i128::from(now) + burst - i128::from(until.max(now));
            let free = (free * i128::from(new) / i128::from(old.max(1))).min(burst);
            Some(u64::try_from((i128::from(now) + burst - free).max(0)).unwrap_or(u64::MAX))
        };
        self.occupied_until
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, scaled)
            .expect("the update always gives a value");
    }

    /// What is corrected later counts from now on, also where nothing was taken for long: it would be lost in that time.
    pub(crate) fn begin(&self, now: u64) {
        self.occupied_until.fetch_max(now, Ordering::Relaxed);
    }

    /// How many were used beyond all that there is.
    pub(crate) fn owed(&self, now: u64) -> u64 {
        self.occupied(now).saturating_sub(self.burst()).div_ceil(self.interval)
    }

    /// Nanoseconds that one occupies.
    pub(crate) fn interval(&self) -> u64 {
        self.interval
    }

    /// What is occupied by now, in nanoseconds.
    pub(crate) fn occupied(&self, now: u64) -> u64 {
        self.occupied_until.load(Ordering::Relaxed).saturating_sub(now)
    }

    /// So much is occupied from now on, whatever was known before.
    pub(crate) fn occupy(&self, nanos: u64, now: u64) {
        self.occupied_until.store(now.saturating_add(nanos), Ordering::Relaxed);
    }

    /// As if all had been taken then, and nothing since.
    pub(crate) fn fill_up(&self, since: Duration, now: u64) {
        let occupied = self.burst().saturating_sub(nanos(since));
        self.occupied_until.store(now.saturating_add(occupied), Ordering::Relaxed);
    }

    /// How many could be taken now.
    pub(crate) fn left(&self, now: u64) -> u64 {
        let occupied = self.occupied_until.load(Ordering::Relaxed).saturating_sub(now);
        self.burst().saturating_sub(occupied) / self.interval
    }

    /// After how long `n` could be taken; zero: now.
    pub(crate) fn wait(&self, n: u64, now: u64) -> Duration {
        let wanted = self.interval.saturating_mul(n.min(self.limit));
        let next = self.occupied_until.load(Ordering::Relaxed).max(now).saturating_add(wanted);
        Duration::from_nanos(next.saturating_sub(now.saturating_add(self.burst())))
    }

    /// After how long all of it is free again.
    pub(crate) fn reset(&self, now: u64) -> Duration {
        Duration::from_nanos(self.occupied_until.load(Ordering::Relaxed).saturating_sub(now))
    }
}

// === impl Clock ===

impl Clock {
    pub(crate) fn nanos(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(*self.0.get_or_init(|| now)))
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
    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_full_burst_then_one_per_interval() {
        let rate = Rate::new(4, MINUTE);
        assert_eq!((0..4).map(|_| rate.take(1, 0)).collect::<Vec<_>>(), [Ok(3), Ok(2), Ok(1), Ok(0)]);
        assert_eq!((rate.take(1, 0), rate.reset(0)), (Err(Duration::from_secs(15)), MINUTE));
        assert_eq!(rate.take(1, 5 * SECOND), Err(Duration::from_secs(10)), "the wait shrinks with time");
        assert_eq!(rate.take(1, 15 * SECOND), Ok(0), "free at the very moment that was told");
        assert_eq!(rate.take(1, 15 * SECOND), Err(Duration::from_secs(15)));
        assert_eq!(rate.take(1, 600 * SECOND), Ok(3), "unused time does not add up beyond the burst");
        assert!(rate.take(1, 0).is_err(), "a thread that read its clock long ago gains nothing");
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let rate = Rate::new(1, MINUTE);
        rate.give_back(1);
        assert_eq!((rate.take(1, 0), rate.take(1, 0).is_err()), (Ok(0), true), "nothing was gained");
        rate.give_back(1);
        assert_eq!(rate.take(1, 0), Ok(0));
    }

    #[test]
    fn what_is_owed_is_waited_for() {
        let rate = Rate::new(60, MINUTE);
        assert_eq!((rate.take(1000, 0), rate.take(0, 0)), (Ok(0), Ok(0)), "more than all is all");
        rate.correct(60, 90, 0);
        assert_eq!(rate.take(0, 0), Err(Duration::from_secs(30)), "not even nothing while something is owed");
        assert_eq!(rate.take(1, 30 * SECOND), Err(Duration::from_secs(1)));
        assert_eq!(rate.take(1, 31 * SECOND), Ok(0));
    }

    #[test]
    fn what_has_come_back_with_time_is_not_given_back_again() {
        let rate = Rate::new(60, MINUTE);
        assert_eq!(rate.take(60, 0), Ok(0));
        assert_eq!(rate.take(30, 60 * SECOND), Ok(30), "all of it was free");
        rate.correct(60, 0, 0);
        assert_eq!(rate.left(60 * SECOND), 30, "the first one's has come back by then");
        assert_eq!(rate.take(30, 60 * SECOND), Ok(0));
        rate.correct(30, 10, 60 * SECOND);
        assert_eq!(rate.left(60 * SECOND), 20, "that of one behind it has not");
        rate.correct(60, 70, 0);
        assert_eq!(rate.left(60 * SECOND), 10, "what was used beyond is owed, whenever it was taken");
    }

    #[test]
    fn extreme_limits_hold() {
        assert!(Rate::new(u64::MAX, MINUTE).take(1, 0).is_ok());
        let least = Rate::new(0, MINUTE);
        assert_eq!((least.take(1, 0), least.take(1, 0)), (Ok(0), Err(MINUTE)));
        least.correct(1, u64::MAX, 0);
        assert!(least.take(1, 1 << 60).is_err(), "debts do not overflow");
    }

    #[test]
    fn a_clock_begins_when_it_is_asked() {
        let (clock, now) = (Clock::default(), Instant::now());
        let before = now.checked_sub(MINUTE).unwrap_or(now);
        assert_eq!((clock.nanos(now), clock.nanos(now + MINUTE), clock.nanos(before)), (0, 60 * SECOND, 0));
    }

    #[test]
    fn threads_together_get_no_more_than_one_would() {
        let rate = Rate::new(1000, MINUTE);
        let n_taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..400).filter(|_| rate.take(1, 0).is_ok()).count())).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(n_taken, 1000);
    }

    proptest! {
        /// Over any span of the run: at most the burst and what the rate allows; and a wait that was told is exact.
        #[test]
        fn never_more_than_burst_and_rate(limit in 1_u64..200, gaps in prop::collection::vec(0_u64..2_000, 1..300)) {
            let rate = Rate::new(limit, MINUTE);
            let mut now = 0;
            let mut taken: Vec<u64> = Vec::new();
            for gap in gaps {
                now += gap * 1_000_000;
                match rate.take(1, now) {
                    Ok(_) => taken.push(now),
                    Err(wait) => {
                        prop_assert!(wait > Duration::ZERO);
                        prop_assert!(rate.take(1, now + nanos(wait) - 1).is_err());
                    }
                }
            }
            for (i, from) in taken.iter().enumerate() {
                for (n_taken, to) in (1_u128..).zip(&taken[i..]) {
                    let refilled = u128::from(to - from) * u128::from(limit) / MINUTE.as_nanos();
                    prop_assert!(n_taken <= u128::from(limit) + refilled);
                }
            }
        }

        /// Of what is estimated, and known later: from any moment at which all was free on, no more is used than all of it and what has
        /// filled up since, whoever is corrected when.
        #[test]
        fn never_more_is_used_than_was_free_and_has_filled_up(
            limit in 1_u64..200,
            steps in prop::collection::vec((0_u64..40_000, any::<bool>(), 0_u64..64, 0_u64..=100), 1..300),
        ) {
            // What is open: since when, taken, its place in `used`. What was used: when it was taken, how much, whether all was free.
            let (rate, mut now) = (Rate::new(limit, MINUTE), 0);
            let mut open: Vec<(u64, u64, usize)> = Vec::new();
            let mut used: Vec<(u64, u64, bool)> = Vec::new();
            for (gap, begins, which, part) in steps {
                now += gap * 1_000_000;
                let n = (limit * which / 64).max(1);
                let is_free = rate.occupied(now) == 0;
                if begins && rate.take(n, now).is_ok() {
                    open.push((now, n, used.len()));
                    used.push((now, n, is_free));
                } else if !begins && !open.is_empty() {
                    let (since, taken, place) = open.swap_remove(which as usize % open.len());
                    used[place].1 = taken * part / 100;
                    rate.correct(taken, used[place].1, since);
                }
            }
            for (i, (from, _, is_free)) in used.iter().enumerate() {
                let mut sum = 0;
                for (to, n, _) in used[i..].iter().filter(|_| *is_free) {
                    sum += u128::from(*n);
                    let refilled = u128::from(to - from) * u128::from(limit) / MINUTE.as_nanos();
                    prop_assert!(sum <= u128::from(limit) + refilled, "{sum} of {limit} and {refilled}");
                }
            }
        }
    }
}
