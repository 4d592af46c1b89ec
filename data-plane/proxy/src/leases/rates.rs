//! Rates that are borrowed: what this node yields while a lender answers, whose limits were too small for their requests, and what is
//! said of both with each message to the control plane.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gateway_engine::limits::Limits;
use gateway_engine::limits::lending::{Borrowing, LASTS, SAYS_EVERY, YIELDS};
use gateway_wire::v1::{LeaseAsk, LeaseGrant, RateAsk};
use tokio::sync::watch;

/// A node that has just started, or lost its control plane, keeps its parts for so long: what they let pass at once comes together in
/// the pools with time only.
const SETTLES: Duration = Duration::from_secs(60);
/// More limits than so many are not asked for with one message.
const MOST: usize = 1000;

/// What requests see of it.
#[derive(Debug)]
pub struct Borrower {
    began: Instant,
    /// In nanoseconds since it began.
    yields_until: AtomicU64,
    /// When the lender was there last, likewise; 0: there is none.
    heard_at: AtomicU64,
    noted: Mutex<Noted>,
    /// The number of the last message that was answered.
    answered: watch::Sender<u64>,
}

/// What the next message asks for.
#[derive(Debug, Default)]
struct Noted {
    short: Vec<Arc<Limits>>,
    /// Messages before, of all connections.
    n_messages: u64,
}

/// One connection to a lender.
pub struct Talk<'a> {
    borrower: &'a Borrower,
    n_nodes: &'a (dyn Fn() -> u32 + Send + Sync),
    /// It has said that it lends.
    lends: bool,
    began: Instant,
    said_at: Option<Instant>,
    asked_at: Instant,
    number: u64,
    asked: HashMap<String, Arc<Limits>>,
    /// Who was lent something, by name, and when that was asked for: what is not used goes back also where nothing more is wanted.
    lent: HashMap<String, (Arc<Limits>, Instant)>,
    gave_back_at: Instant,
}

// === impl Borrower ===

impl Borrower {
    pub fn new(now: Instant) -> Self {
        let (noted, answered) = (Mutex::default(), watch::Sender::new(0));
        let (yields_until, heard_at) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { began: now, yields_until, heard_at, noted, answered }
    }

    /// Whether a lender counts on it that this node keeps a tenth of its parts only.
    /// Where nothing was ever yielded, every request asks in vain, and the time is not looked at for that.
    pub fn yields(&self, now: impl FnOnce() -> Instant) -> bool {
        let until = self.yields_until.load(Ordering::Relaxed);
        until != 0 && nanos(now().saturating_duration_since(self.began)) < until
    }

    /// It is there, or is waited for from now on.
    pub fn heard(&self, now: Instant) {
        let at = nanos(now.saturating_duration_since(self.began)).max(1);
        self.heard_at.fetch_max(at, Ordering::Relaxed);
    }

    /// There is one, and it has been silent for as long as anybody counts on what nodes yield.
    pub fn is_away(&self, now: impl FnOnce() -> Instant) -> bool {
        let heard_at = self.heard_at.load(Ordering::Relaxed);
        heard_at != 0 && nanos(now().saturating_duration_since(self.began)) >= heard_at.saturating_add(nanos(YIELDS))
    }

    /// These limits were too small for a request, and may be borrowed of. What is returned ends when the message is answered that
    /// asks for them, and not with one that was on its way.
    pub fn note(&self, limits: Vec<Arc<Limits>>) -> impl Future<Output = ()> + Send + use<> {
        let mut noted = self.lock();
        for limits in limits {
            if noted.short.len() < MOST && !noted.short.iter().any(|other| Arc::ptr_eq(other, &limits)) {
                noted.short.push(limits);
            }
        }
        let (number, mut answered) = (noted.n_messages + 1, self.answered.subscribe());
        async move {
            // An error says that the node is going away.
            let _ = answered.wait_for(|answered| *answered >= number).await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Talk ===

impl<'a> Talk<'a> {
    pub fn new(borrower: &'a Borrower, n_nodes: &'a (dyn Fn() -> u32 + Send + Sync), now: Instant) -> Self {
        let (asked, lent) = (HashMap::new(), HashMap::new());
        let (began, asked_at, gave_back_at) = (now, now, now);
        Self { borrower, n_nodes, lends: false, began, said_at: None, asked_at, number: 0, asked, lent, gave_back_at }
    }

    /// Adds to the next message what there is to say of rates; makes one of `bare` where there is no other and it is time.
    pub fn add(&mut self, ask: Option<LeaseAsk>, bare: impl FnOnce() -> LeaseAsk, now: Instant) -> Option<LeaseAsk> {
        // Nothing is unanswered.
        self.borrower.heard(now);
        let n_nodes = (self.n_nodes)();
        let settles = now.saturating_duration_since(self.began) < SETTLES;
        if !self.lends || n_nodes < 2 || settles {
            return ask;
        }
        let is_time = self.said_at.is_none_or(|at| now.saturating_duration_since(at) >= SAYS_EVERY);
        let mut noted = self.borrower.lock();
        if ask.is_none() && !is_time && noted.short.is_empty() {
            return None;
        }
        noted.n_messages += 1;
        self.number = noted.n_messages;
        let short = std::mem::take(&mut noted.short);
        drop(noted);
        let mut ask = ask.unwrap_or_else(bare);
        // Whether or not it arrives: who says so keeps to it.
        let until = nanos((now + YIELDS).saturating_duration_since(self.borrower.began));
        self.borrower.yields_until.fetch_max(until, Ordering::Relaxed);
        (self.said_at, self.asked_at) = (Some(now), now);
        (ask.yields_ms, ask.n_nodes) = (u32::try_from(YIELDS.as_millis()).unwrap_or(u32::MAX), n_nodes);
        self.asked.clear();
        for limits in short {
            ask.rates.extend(self.ask(limits, now));
        }
        for limits in self.unused(now) {
            if !self.asked.contains_key(&limits.owner().to_string()) {
                ask.rates.extend(self.ask(limits, now));
            }
        }
        Some(ask)
    }

    fn ask(&mut self, limits: Arc<Limits>, now: Instant) -> Vec<RateAsk> {
        let owner = limits.owner().to_string();
        let wanted = |borrowing: Borrowing| RateAsk {
            owner: owner.clone(),
            rate: borrowing.rate.to_owned(),
            amount: borrowing.amount,
            period_seconds: u32::try_from(borrowing.period.as_secs()).unwrap_or(u32::MAX),
            wanted: borrowing.wanted,
            returned: borrowing.returned,
        };
        let asks = limits.borrowing(now).into_iter().map(wanted).collect();
        self.asked.insert(owner, limits);
        asks
    }

    pub fn answered(&mut self, grant: &LeaseGrant) {
        self.lends |= grant.lends;
        for loan in &grant.rates {
            if let Some(limits) = self.asked.get(&loan.owner) {
                limits.lent(&loan.rate, loan.lent, self.asked_at);
                if loan.lent > 0 {
                    self.lent.insert(loan.owner.clone(), (Arc::clone(limits), self.asked_at));
                }
            }
        }
        // Whoever wakes finds what was lent.
        self.borrower.answered.send_replace(self.number);
    }

    /// Whose loans are over, from time to time.
    fn unused(&mut self, now: Instant) -> Vec<Arc<Limits>> {
        if now.saturating_duration_since(self.gave_back_at) < SAYS_EVERY {
            return Vec::new();
        }
        self.gave_back_at = now;
        let is_over =
            |_: &String, (_, asked_at): &mut (Arc<Limits>, Instant)| now.saturating_duration_since(*asked_at) >= LASTS;
        self.lent.extract_if(is_over).take(MOST).map(|(_, (limits, _))| limits).collect()
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use gateway_engine::limits::{Asked, Owner, Scopes, admit};
    use gateway_wire::v1::RateLoan;

    use super::*;

    fn limits() -> Arc<Limits> {
        let document = gateway_model::limits::Limits { rpm: Some(60), ..gateway_model::limits::Limits::default() };
        Arc::new(Limits::new(Owner::key(&"vk_1".into()), &document))
    }

    #[test]
    fn only_to_a_lender_is_anything_yielded() {
        let began = Instant::now();
        let (borrower, now) = (Borrower::new(began), began + 2 * SETTLES);
        for (n_nodes, lends, yields) in [(3, false, false), (1, true, false), (3, true, true)] {
            let of_fleet = move || n_nodes;
            let mut talk = Talk::new(&borrower, &of_fleet, began);
            talk.answered(&LeaseGrant { lends, ..LeaseGrant::default() });
            let ask = talk.add(None, LeaseAsk::default, now);
            assert_eq!((ask.is_some(), borrower.yields(|| now)), (yields, yields), "{n_nodes} {lends}");
            assert!(!borrower.yields(|| now + YIELDS), "for so long and no longer");
        }
    }

    #[test]
    fn a_lender_is_away_that_is_not_heard_for_as_long_as_nodes_yield() {
        let now = Instant::now();
        let borrower = Borrower::new(now);
        assert!(!borrower.is_away(|| now + 9 * YIELDS), "there is none");
        borrower.heard(now);
        assert!(!borrower.is_away(|| now + YIELDS / 2) && borrower.is_away(|| now + 2 * YIELDS));
        let mut talk = Talk::new(&borrower, &|| 2, now);
        assert!(talk.add(None, LeaseAsk::default, now + YIELDS).is_none(), "there is nothing to say");
        assert!(!borrower.is_away(|| now + YIELDS * 3 / 2) && borrower.is_away(|| now + YIELDS * 5 / 2));
    }

    fn message(talk: &mut Talk<'_>, now: Instant) -> Option<Vec<(String, u64, u64)>> {
        let ask = talk.add(None, LeaseAsk::default, now)?;
        Some(ask.rates.into_iter().map(|rate| (rate.rate, rate.wanted, rate.returned)).collect())
    }

    fn lent(talk: &mut Talk<'_>, loans: &[(&str, u64)]) {
        let loan =
            |(rate, lent): &(&str, u64)| RateLoan { owner: "Key vk_1".into(), rate: (*rate).into(), lent: *lent };
        talk.answered(&LeaseGrant { lends: true, rates: loans.iter().map(loan).collect(), ..LeaseGrant::default() });
    }

    #[test]
    fn what_is_short_is_asked_for_and_lent() {
        let began = Instant::now();
        let (borrower, limits, now) = (Borrower::new(began), limits(), began + 2 * SETTLES);
        let mut talk = Talk::new(&borrower, &|| 2, began);
        lent(&mut talk, &[]);
        assert!(talk.add(None, LeaseAsk::default, now).is_some());
        assert!(talk.add(None, LeaseAsk::default, now).is_none(), "there is nothing to say yet");
        let asked = Asked { n_nodes: 2, yields: borrower.yields(|| now), ..Asked::default() };
        let admit = || admit(Scopes::of_key(Arc::clone(&limits)), asked, now);
        let kept: Vec<_> = (0..3).map(|_| admit().expect("what it keeps")).collect();
        let refused = admit().expect_err("more than it keeps");
        let answered = borrower.note(refused.short.expect("it may be borrowed").0);
        // An answer to what was said before is not the one that is waited for.
        lent(&mut talk, &[]);
        let mut answered = std::pin::pin!(answered);
        assert!(answered.as_mut().now_or_never().is_none());
        let ask = talk.add(None, LeaseAsk::default, now).expect("something is wanted");
        let rate = &ask.rates[0];
        assert_eq!((rate.owner.as_str(), rate.rate.as_str(), rate.amount, rate.wanted), ("Key vk_1", "rpm", 60, 1));
        lent(&mut talk, &[("rpm", 1)]);
        assert!(answered.as_mut().now_or_never().is_some());
        assert!(admit().is_ok() && admit().is_err());
        drop(kept);
    }

    #[test]
    fn what_was_lent_and_is_not_used_goes_back() {
        let began = Instant::now();
        let (borrower, limits, now) = (Borrower::new(began), limits(), began + 2 * SETTLES);
        let mut talk = Talk::new(&borrower, &|| 2, began);
        lent(&mut talk, &[]);
        assert_eq!(message(&mut talk, now), Some(vec![]));
        let asked = Asked { n_nodes: 2, yields: borrower.yields(|| now), ..Asked::default() };
        let admit = || admit(Scopes::of_key(Arc::clone(&limits)), asked, now);
        let kept: Vec<_> = (0..3).map(|_| admit().expect("what it keeps")).collect();
        drop(borrower.note(admit().expect_err("more than it keeps").short.expect("it may be borrowed").0));
        assert_eq!(message(&mut talk, now), Some(vec![("rpm".to_owned(), 1, 0)]));
        lent(&mut talk, &[("rpm", 5)]);
        assert!(admit().is_ok());
        let later = now + SAYS_EVERY;
        assert_eq!(message(&mut talk, later), Some(vec![("rpm".to_owned(), 0, 4)]), "nobody waits for it");
        lent(&mut talk, &[("rpm", 0)]);
        assert_eq!(message(&mut talk, later + SAYS_EVERY), Some(vec![]), "once");
        drop(kept);
    }
}
