//! When a reply is late: a bound that 95 of 100 keep, learned one reply at a time, without keeping any.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Replies before the bound means anything.
const ENOUGH: u64 = 20;
/// How far one reply moves the bound, as a share of it.
const STEP: f64 = 0.05;
const SHARE: f64 = 0.95;

#[derive(Debug, Default)]
pub(super) struct Late {
    bound_us: AtomicU64,
    n_measured: AtomicU64,
}

// === impl Late ===

impl Late {
    /// Up where the bound was broken, and a nineteenth as far down where it was kept: both balance where one in twenty breaks it.
    /// Two that are measured at the same time may count as one.
    pub(super) fn measured(&self, us: f64) {
        self.n_measured.fetch_add(1, Relaxed);
        let bound = self.bound_us.load(Relaxed) as f64;
        let moved = match bound {
            0.0 => us,
            _ if us > bound => bound * (1.0 + STEP * SHARE),
            _ => bound * (1.0 - STEP * (1.0 - SHARE)),
        };
        self.bound_us.store((moved as u64).max(1), Relaxed);
    }

    pub(super) fn bound(&self) -> Option<Duration> {
        (self.n_measured.load(Relaxed) >= ENOUGH).then(|| Duration::from_micros(self.bound_us.load(Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_twenty_is_late() {
        let late = Late::default();
        assert_eq!(late.bound(), None);
        // Spread evenly from 100 to 200 ms: 95 of 100 are below 195.
        let mut n_late = 0;
        for n in 0..20_000_u64 {
            let us = 100_000 + (n * 7919) % 100_000;
            n_late += u64::from(n >= 2000 && late.bound().is_some_and(|bound| us > bound.as_micros() as u64));
            late.measured(us as f64);
        }
        let bound = late.bound().expect("enough was seen").as_millis();
        assert!((180..=205).contains(&bound), "{bound} ms");
        assert!((450..=1800).contains(&n_late), "{n_late} of 18000");
        // A target that has become slower is known to be in a while.
        (0..400).for_each(|_| late.measured(800_000.0));
        assert!(late.bound().expect("enough").as_millis() >= 760);
    }
}
