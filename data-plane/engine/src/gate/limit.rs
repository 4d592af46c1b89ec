//! The number of requests that an account bears, found by how long its replies take to begin.
//!
//! The idea is the gradient of Netflix' concurrency-limits (<https://github.com/Netflix/concurrency-limits>), over spans of replies
//! because prompts differ: while replies begin about as soon as they do under little load the number grows by its square root, and
//! when they begin later it shrinks in proportion. As in BBR the load is taken back now and then to see again how soon that is. An
//! account that says that it was too much shrinks the number at once (additive increase, multiplicative decrease).

use std::time::{Duration, Instant};

/// Where it begins: low, so that the account is first seen under little load.
const FIRST: f64 = 8.0;
/// Replies may begin this many times later than under little load.
const TOLERANCE: f64 = 2.0;
/// Replies that are judged together, at least.
const SPAN: u32 = 20;
/// Spans after which what is known of little load is measured anew, at this part of the number.
const MEMORY: u32 = 50;
const PROBE: f64 = 0.25;
/// What is left of the number after "too much".
const BACKOFF: f64 = 0.75;

#[derive(Debug)]
pub(super) struct Limit {
    number: f64,
    /// Of the replies of this span: how many, how long all of them took to begin, and the most that were under way.
    n: u32,
    sum_us: f64,
    most: u32,
    /// How long replies take to begin under little load, in microseconds.
    base_us: Option<f64>,
    /// Spans since that was known, in which replies were later.
    n_late: u32,
    shrunk_at: Option<Instant>,
}

// === impl Limit ===

impl Limit {
    pub(super) fn new(max: u32) -> Self {
        let number = FIRST.min(f64::from(max));
        Self { number, n: 0, sum_us: 0.0, most: 0, base_us: None, n_late: 0, shrunk_at: None }
    }

    /// At least one, so that there is somebody to learn from.
    pub(super) fn now(&self, max: u32) -> u32 {
        // Between 1 and a `u32`.
        self.number.clamp(1.0, f64::from(max)) as u32
    }

    pub(super) fn answered(&mut self, took: Duration, n_under_way: u32, max: u32) {
        self.n += 1;
        self.sum_us += (took.as_micros() as f64).max(1.0);
        self.most = self.most.max(n_under_way);
        if self.n < SPAN || f64::from(self.n) < 2.0 * self.number {
            return;
        }
        let span_us = self.sum_us / f64::from(self.n);
        let is_used = f64::from(self.most) * 2.0 >= self.number;
        (self.n, self.sum_us, self.most) = (0, 0.0, 0);
        let base_us = self.base_us.map_or(span_us, |base| base.min(span_us));
        self.base_us = Some(base_us);
        let gradient = (TOLERANCE * base_us / span_us).clamp(0.5, 1.0);
        // Where not even half of it was used, nothing is known of more.
        let growth = if is_used { self.number.sqrt() } else { 0.0 };
        self.number = (self.number * gradient + growth).clamp(1.0, f64::from(max));
        self.n_late += u32::from(gradient < 1.0);
        if self.n_late >= MEMORY {
            (self.base_us, self.n_late) = (None, 0);
            self.number = (self.number * PROBE).max(1.0);
        }
    }

    /// Once for all requests that were under way together.
    pub(super) fn pushed_back(&mut self, now: Instant) {
        let known_us = if self.n > 0 { self.sum_us / f64::from(self.n) } else { self.base_us.unwrap_or_default() };
        let together = Duration::from_micros(known_us as u64);
        if self.shrunk_at.is_none_or(|at| now.saturating_duration_since(at) > together) {
            self.shrunk_at = Some(now);
            self.number = (self.number * BACKOFF).max(1.0);
        }
    }
}
