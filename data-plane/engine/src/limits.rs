//! Admission: a request takes all of its limits or none, and whoever was admitted settles exactly once. Knows nothing of keys:
//! anything that has limits can be asked.

mod rate;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gateway_ir::failure::{Code, Failure};
use gateway_ir::usage::Usage;

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    RequestsPerMinute,
}

/// One limit and its state.
#[derive(Debug)]
struct Limit {
    kind: Kind,
    rate: rate::Rate,
}

/// All limits of one owner, with their state. It outlives configurations that do not change it.
#[derive(Debug)]
pub struct Limits {
    /// Said in refusals: `Key vk_…`.
    owner: Arc<str>,
    list: Box<[Limit]>,
    n_open: AtomicUsize,
}

/// What is asked of an owner's limits; equal specs may share state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    /// Requests per minute.
    pub rpm: Option<u64>,
}

/// Who has limits.
pub trait Limited {
    fn limits(&self) -> &Arc<Limits>;
}

/// The limit nearest to its end, as `x-ratelimit-*` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub limit: u64,
    pub remaining: u64,
}

/// Evidence that a request was admitted. Settling takes it; dropping it unsettled counts as an outcome nobody knows, so that
/// a reservation cannot be forgotten.
#[derive(Debug)]
#[must_use = "a permit that is dropped at once settles at once"]
pub struct Permit {
    limits: Arc<Limits>,
    rate: Option<Rate>,
    settled: bool,
}

/// What became of an admitted request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settlement {
    /// What was used, exact or estimated; nothing where no upstream answered.
    pub usage: Usage,
}

/// Takes every limit of the caller, in a fixed order, or none: those taken before a refusal are given back. The refusal
/// names the limit and says exactly after how long one more request will fit.
pub fn admit(caller: &impl Limited, now: Instant) -> Result<Permit, Box<Failure>> {
    let limits = caller.limits();
    let rate = limits.take(now)?;
    limits.n_open.fetch_add(1, Ordering::Relaxed);
    Ok(Permit { limits: Arc::clone(limits), rate, settled: false })
}

/// For what was admitted in an earlier request and is known to be done now: nothing is asked, and what was used is settled.
pub fn owed(limits: &Arc<Limits>) -> Permit {
    limits.n_open.fetch_add(1, Ordering::Relaxed);
    Permit { limits: Arc::clone(limits), rate: None, settled: false }
}

// === impl Limits ===

impl Limits {
    pub fn new(owner: Arc<str>, spec: Spec, now: Instant) -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        let per_minute = |limit| Limit { kind: Kind::RequestsPerMinute, rate: rate::Rate::new(limit, MINUTE, now) };
        Self { owner, list: spec.rpm.map(per_minute).into_iter().collect(), n_open: AtomicUsize::new(0) }
    }

    /// For who has no limits at all.
    pub fn unlimited(owner: Arc<str>) -> Self {
        Self { owner, list: Box::default(), n_open: AtomicUsize::new(0) }
    }

    /// Requests admitted and not settled yet.
    pub fn n_open(&self) -> usize {
        self.n_open.load(Ordering::Relaxed)
    }

    fn take(&self, now: Instant) -> Result<Option<Rate>, Box<Failure>> {
        let mut tightest: Option<Rate> = None;
        for (position, limit) in self.list.iter().enumerate() {
            match limit.rate.take(now) {
                Ok(remaining) if tightest.is_none_or(|rate| remaining < rate.remaining) => {
                    tightest = Some(Rate { limit: limit.rate.limit(), remaining });
                }
                Ok(_) => {}
                Err(wait) => {
                    self.list[..position].iter().for_each(|taken| taken.rate.give_back());
                    return Err(self.exceeded(limit, wait));
                }
            }
        }
        Ok(tightest)
    }

    fn exceeded(&self, limit: &Limit, wait: Duration) -> Box<Failure> {
        let unit = match limit.kind {
            Kind::RequestsPerMinute => "req/min",
        };
        let message = format!("Key {} exceeded its {} {unit} limit.", self.owner, limit.rate.limit());
        let mut failure = Failure::new(Code::RateLimited, message).with_retry_after(Some(wait));
        failure.limit_kind = Some(match limit.kind {
            Kind::RequestsPerMinute => "rpm",
        });
        Box::new(failure)
    }
}

// === impl Limit ===

impl Limit {
    /// Corrects what was taken at admission by what came of the request; `None` when nobody knows.
    fn settle(&self, _: Option<&Settlement>) {
        match self.kind {
            // A request was made, whatever came of it: there is nothing to give back.
            Kind::RequestsPerMinute => {}
        }
    }
}

// === impl Limited ===

impl<T: Limited + ?Sized> Limited for Arc<T> {
    fn limits(&self) -> &Arc<Limits> {
        (**self).limits()
    }
}

// === impl Permit ===

impl Permit {
    /// As it was at admission; `None` without limits.
    pub fn rate(&self) -> Option<Rate> {
        self.rate
    }

    pub fn settle(mut self, settlement: Settlement) {
        self.close(Some(&settlement));
    }

    fn close(&mut self, settlement: Option<&Settlement>) {
        self.settled = true;
        self.limits.list.iter().for_each(|limit| limit.settle(settlement));
        self.limits.n_open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.settled {
            self.close(None);
        }
    }
}

#[cfg(test)]
mod tests;
