//! How long to wait before trying again to reach the control plane: full jitter, so that a fleet does not come back in step.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);
/// A connection that held this long starts the count anew; one that breaks at once does not.
const HEALTHY: Duration = Duration::from_secs(60);

/// Counts failures in a row.
#[derive(Debug)]
pub(crate) struct Backoff {
    n_failures: u32,
    chance: StdRng,
}

// === impl Backoff ===

impl Backoff {
    /// By the id of a boot: no two are alike, and a run that is repeated goes the same way.
    pub(crate) fn of(boot_id: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        boot_id.hash(&mut hasher);
        Self { n_failures: 0, chance: StdRng::seed_from_u64(hasher.finish()) }
    }

    /// The wait after a connection that lasted `held`.
    pub(crate) fn next(&mut self, held: Duration) -> Duration {
        if held >= HEALTHY {
            self.n_failures = 0;
        }
        let bound = self.bound();
        self.n_failures = self.n_failures.saturating_add(1);
        self.chance.random_range(Duration::ZERO..=bound)
    }

    fn bound(&self) -> Duration {
        // Beyond 2⁷ the longest wait has been reached.
        FIRST.saturating_mul(1 << self.n_failures.min(7)).min(LONGEST)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { n_failures: 0, chance: StdRng::from_rng(&mut rand::rng()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_a_bound_and_starts_anew_after_a_healthy_time() {
        let mut backoff = Backoff::of("boot");
        let mut bounds = Vec::new();
        for _ in 0..9 {
            bounds.push(backoff.bound().as_millis());
            assert!(backoff.next(Duration::ZERO) <= LONGEST);
        }
        assert_eq!(bounds, [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        backoff.next(HEALTHY);
        assert_eq!(backoff.bound().as_millis(), 500);
    }
}
