//! Whether the store of limits is asked at all: not for a second after three failures in a row, and then by one request a second until
//! it answers.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const MOST_FAILURES: u32 = 3;
const OPEN_FOR: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Breaker {
    began: OnceLock<Instant>,
    n_failures: AtomicU32,
    /// In nanoseconds since it began; 0 while it is closed.
    open_until: AtomicU64,
}

// === impl Breaker ===

impl Breaker {
    pub(super) fn is_open(&self, now: Instant) -> bool {
        let until = self.open_until.load(Ordering::Relaxed);
        until != 0 && self.nanos(now) < until
    }

    /// Whether this request may ask. Of those that come when the time is over, one does.
    pub(super) fn lets(&self, now: Instant) -> bool {
        let until = self.open_until.load(Ordering::Relaxed);
        if until == 0 {
            return true;
        }
        let now = self.nanos(now);
        let next = now.saturating_add(nanos(OPEN_FOR));
        now >= until && self.open_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// True where it was open.
    pub(super) fn answered(&self) -> bool {
        if self.n_failures.load(Ordering::Relaxed) != 0 {
            self.n_failures.store(0, Ordering::Relaxed);
        }
        self.open_until.load(Ordering::Relaxed) != 0 && self.open_until.swap(0, Ordering::Relaxed) != 0
    }

    /// True where this opens it.
    pub(super) fn failed(&self, now: Instant) -> bool {
        let n_failures = self.n_failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if n_failures < MOST_FAILURES {
            return false;
        }
        let until = self.nanos(now).saturating_add(nanos(OPEN_FOR));
        self.open_until.swap(until.max(1), Ordering::Relaxed) == 0
    }

    fn nanos(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(*self.began.get_or_init(|| now)))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_open_it_for_a_second_and_one_asks_then() {
        let (breaker, began) = (Breaker::default(), Instant::now());
        let at = |millis| began + Duration::from_millis(millis);
        assert!(breaker.lets(at(0)) && !breaker.failed(at(0)) && !breaker.failed(at(0)));
        assert!(!breaker.answered(), "it never was open");
        assert!(!breaker.failed(at(1)) && !breaker.failed(at(2)) && breaker.failed(at(3)));
        assert!(!breaker.lets(at(3)) && !breaker.lets(at(1002)) && breaker.is_open(at(1002)));
        assert!(breaker.lets(at(1003)) && !breaker.lets(at(1003)), "one of them");
        assert!(!breaker.failed(at(1004)) && !breaker.lets(at(2003)) && breaker.lets(at(2004)));
        assert!(breaker.answered() && breaker.lets(at(2005)) && breaker.lets(at(2005)));
    }
}
