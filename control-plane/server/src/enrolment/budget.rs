//! A number of things that may happen at once, and how fast that number comes back.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Shared by all callers.
#[derive(Debug)]
pub(super) struct Budget {
    size: u32,
    /// One comes back after so long.
    every: Duration,
    /// When it will be full again: the fuller it is, the nearer.
    full_at: Mutex<Instant>,
}

// === impl Budget ===

impl Budget {
    pub(super) fn new(size: u32, every: Duration) -> Self {
        Self { size, every, full_at: Mutex::new(Instant::now()) }
    }

    pub(super) fn is_empty(&self) -> bool {
        let full_at = *self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_spent(full_at, Instant::now())
    }

    /// `false` where nothing was left to take.
    pub(super) fn take(&self) -> bool {
        let now = Instant::now();
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_spent(*full_at, now) {
            return false;
        }
        *full_at = (*full_at).max(now) + self.every;
        true
    }

    fn is_spent(&self, full_at: Instant, now: Instant) -> bool {
        full_at.saturating_duration_since(now) + self.every > self.every * self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_taken_comes_back_with_time() {
        let budget = Budget::new(3, Duration::from_secs(1));
        assert_eq!([(); 5].map(|()| budget.take()), [true, true, true, false, false]);
        assert!(budget.is_empty());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!budget.is_empty());
        assert_eq!([(); 2].map(|()| budget.take()), [true, false]);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!([(); 4].map(|()| budget.take()), [true, true, true, false], "never more than it holds");
    }
}
