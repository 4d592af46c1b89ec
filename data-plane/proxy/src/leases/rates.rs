//! Rates that are borrowed: what this node yields while a lender answers, whose limits were too small for their requests, and what is
//! said of both with each message to the control plane.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gateway_engine::limits::Limits;
use gateway_engine::limits::lending::{Borrowing, SAYS_EVERY, YIELDS};
use gateway_wire::v1::{LeaseAsk, LeaseGrant, RateAsk};

/// A node that has just started, or lost its control plane, keeps its parts for so long: what they let pass at once comes together in
/// the pools with time only.
const SETTLES: Duration = Duration::from_secs(60);
/// More limits than so many are not asked for with one message.
const MOST: usize = 1000;

/// What requests see of it.
#[derive(Debug)]
pub(super) struct Borrower {
    began: Instant,
    /// In nanoseconds since it began.
    yields_until: AtomicU64,
    short: Mutex<Vec<Arc<Limits>>>,
}

/// One connection to a lender.
pub(super) struct Talk<'a> {
    borrower: &'a Borrower,
    n_nodes: &'a (dyn Fn() -> u32 + Send + Sync),
    /// It has said that it lends.
    lends: bool,
    began: Instant,
    said_at: Option<Instant>,
    asked_at: Instant,
    asked: HashMap<String, Arc<Limits>>,
}

// === impl Borrower ===

impl Borrower {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), yields_until: AtomicU64::new(0), short: Mutex::default() }
    }

    /// Whether a lender counts on it that this node keeps a tenth of its parts only.
    /// Where nothing was ever yielded, every request asks in vain, and the time is not looked at for that.
    pub(super) fn yields(&self, now: impl FnOnce() -> Instant) -> bool {
        let until = self.yields_until.load(Ordering::Relaxed);
        until != 0 && nanos(now().saturating_duration_since(self.began)) < until
    }

    /// These limits were too small for a request, and may be borrowed of.
    pub(super) fn note(&self, limits: Arc<Limits>) {
        let mut short = self.lock();
        if short.len() < MOST && !short.iter().any(|noted| Arc::ptr_eq(noted, &limits)) {
            short.push(limits);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Limits>>> {
        self.short.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Talk ===

impl<'a> Talk<'a> {
    pub(super) fn new(borrower: &'a Borrower, n_nodes: &'a (dyn Fn() -> u32 + Send + Sync)) -> Self {
        let (began, asked) = (Instant::now(), HashMap::new());
        Self { borrower, n_nodes, lends: false, began, said_at: None, asked_at: began, asked }
    }

    /// Adds to the next message what there is to say of rates; makes one of `bare` where there is no other and it is time.
    pub(super) fn add(
        &mut self,
        ask: Option<LeaseAsk>,
        bare: impl FnOnce() -> LeaseAsk,
        now: Instant,
    ) -> Option<LeaseAsk> {
        let n_nodes = (self.n_nodes)();
        let settles = now.saturating_duration_since(self.began) < SETTLES;
        if !self.lends || n_nodes < 2 || settles {
            return ask;
        }
        let is_time = self.said_at.is_none_or(|at| now.saturating_duration_since(at) >= SAYS_EVERY);
        let short = std::mem::take(&mut *self.borrower.lock());
        if ask.is_none() && !is_time && short.is_empty() {
            return None;
        }
        let mut ask = ask.unwrap_or_else(bare);
        // Whether or not it arrives: who says so keeps to it.
        let until = nanos((now + YIELDS).saturating_duration_since(self.borrower.began));
        self.borrower.yields_until.fetch_max(until, Ordering::Relaxed);
        (self.said_at, self.asked_at) = (Some(now), now);
        (ask.yields_ms, ask.n_nodes) = (u32::try_from(YIELDS.as_millis()).unwrap_or(u32::MAX), n_nodes);
        self.asked.clear();
        for limits in short {
            let owner = limits.owner().to_string();
            let wanted = |borrowing: Borrowing| RateAsk {
                owner: owner.clone(),
                rate: borrowing.rate.to_owned(),
                amount: borrowing.amount,
                period_seconds: u32::try_from(borrowing.period.as_secs()).unwrap_or(u32::MAX),
                wanted: borrowing.wanted,
                returned: borrowing.returned,
            };
            ask.rates.extend(limits.borrowing().into_iter().map(wanted));
            self.asked.insert(owner, limits);
        }
        Some(ask)
    }

    pub(super) fn answered(&mut self, grant: &LeaseGrant) {
        self.lends |= grant.lends;
        for loan in &grant.rates {
            if let Some(limits) = self.asked.get(&loan.owner) {
                limits.lent(&loan.rate, loan.lent, self.asked_at);
            }
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use gateway_engine::limits::{Asked, Owner, Scopes, admit};
    use gateway_wire::v1::RateLoan;

    use super::*;

    fn limits() -> Arc<Limits> {
        let document = gateway_model::limits::Limits { rpm: Some(60), ..gateway_model::limits::Limits::default() };
        Arc::new(Limits::new(Owner::key(&"vk_1".into()), &document))
    }

    #[test]
    fn only_to_a_lender_is_anything_yielded() {
        let (borrower, now) = (Borrower::new(), Instant::now() + 2 * SETTLES);
        for (n_nodes, lends, yields) in [(3, false, false), (1, true, false), (3, true, true)] {
            let of_fleet = move || n_nodes;
            let mut talk = Talk::new(&borrower, &of_fleet);
            talk.answered(&LeaseGrant { lends, ..LeaseGrant::default() });
            let ask = talk.add(None, LeaseAsk::default, now);
            assert_eq!((ask.is_some(), borrower.yields(|| now)), (yields, yields), "{n_nodes} {lends}");
            assert!(!borrower.yields(|| now + YIELDS), "for so long and no longer");
        }
    }

    #[test]
    fn what_is_short_is_asked_for_and_lent() {
        let (borrower, limits, now) = (Borrower::new(), limits(), Instant::now() + 2 * SETTLES);
        let mut talk = Talk::new(&borrower, &|| 2);
        talk.answered(&LeaseGrant { lends: true, ..LeaseGrant::default() });
        assert!(talk.add(None, LeaseAsk::default, now).is_some());
        assert!(talk.add(None, LeaseAsk::default, now).is_none(), "there is nothing to say yet");
        let asked = Asked { n_nodes: 2, yields: borrower.yields(|| now), ..Asked::default() };
        let admit = || admit(Scopes::of_key(Arc::clone(&limits)), asked, now);
        let kept: Vec<_> = (0..3).map(|_| admit().expect("what it keeps")).collect();
        let refused = admit().expect_err("more than it keeps");
        borrower.note(refused.short.expect("it may be borrowed").0);
        let ask = talk.add(None, LeaseAsk::default, now).expect("something is wanted");
        let rate = &ask.rates[0];
        assert_eq!((rate.owner.as_str(), rate.rate.as_str(), rate.amount, rate.wanted), ("Key vk_1", "rpm", 60, 1));
        let loan = RateLoan { owner: rate.owner.clone(), rate: rate.rate.clone(), lent: 1 };
        talk.answered(&LeaseGrant { rates: vec![loan], ..LeaseGrant::default() });
        assert!(admit().is_ok() && admit().is_err());
        drop(kept);
    }
}
