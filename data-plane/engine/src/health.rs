//! What this node has seen of an upstream model lately: whether it is worth asking, how soon it answers, how many wait for it.
//!
//! A breaker opens when a target fails again and again, or half of the time: it is left alone for a while, then a few requests
//! may try it. A target that says it has had enough, or refuses our credential, cools down by its own word. Both belong to
//! the node and outlive the configuration; all of it is atomics, so that requests never wait for each other here. Of several
//! keys at a provider each has a health of its own at each model, beside that of the model.

mod pause;
mod probe;
mod seat;
mod late;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use gateway_ir::failure::{Code, Failure};
use papaya::HashMap;

use self::late::Late;
use self::pause::Pause;
use crate::fit::Unfit;
use crate::policy::Breaker;
pub use probe::{Probe, Probed, Question};
pub use seat::Seat;

/// Rate limits without a time of their own: the first time so long, each further time twice as long.
const AFTER_LIMIT: Duration = Duration::from_millis(500);
/// Doubled no further than to this.
const LONGEST_AFTER_LIMIT: Duration = Duration::from_secs(300);
/// The open time grows with each failed trial, up to so many times the first.
const MAX_LEVEL: u32 = 10;
/// Outcomes count for this long towards the share of failures.
const WINDOW_MS: u64 = 30_000;
/// Fewer outcomes say nothing about a share.
const WINDOW_LEAST: u64 = 20;
/// An average that is this old counts half: a target that was slow once is tried again.
const HALF_LIFE_MS: f64 = 60_000.0;
/// Weight of the newest time to first byte in the average.
const NEWEST: f64 = 0.3;
/// Clients may make up names of models; beyond so many per provider they are not remembered.
const MAX_MODELS: usize = 4096;

/// Of one upstream model at one provider, or of one of the provider's keys there.
#[derive(Debug, Default)]
pub struct Health {
    /// Times below are milliseconds since this moment.
    began: OnceLock<Instant>,
    in_flight: AtomicU32,
    /// In a row.
    failures: AtomicU32,
    /// 0: closed.
    open_until: AtomicU64,
    /// How often it has opened without a success between.
    level: AtomicU32,
    /// Trials under way.
    trials: AtomicU32,
    cooling_until: AtomicU64,
    /// Rate limits in a row.
    limited: AtomicU32,
    /// When the window began, in ms / 16; outcomes in it, and failures among them; 32, 16 and 16 bits.
    window: AtomicU64,
    /// Of whole replies, until they were there; of streams, until their first byte. One says nothing of the other.
    latencies: [Latency; 2],
    /// What it failed with last. Read and written after failures only.
    last: Mutex<Option<Box<Failure>>>,
}

/// An average time of replies.
#[derive(Debug, Default)]
struct Latency {
    /// 0: never measured.
    us: AtomicU64,
    measured_at: AtomicU64,
    late: Late,
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Closed,
    /// Open, but its time is over: a few requests may try.
    HalfOpen,
    Open,
}

/// Why a target is passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// Its breaker is open, for this much longer.
    Open(Duration),
    /// Others are trying it already.
    OnTrial,
    /// It has asked for a pause, or refused the credential; for this much longer.
    CoolingDown(Duration),
    /// It cannot serve this request, however well it is.
    Unfit(Unfit),
    /// As many requests wait for a place there as may.
    Busy,
    /// No place there became free in time.
    Queued,
    /// So long there is no room within the limits that the configuration sets it.
    Full(Duration),
    /// The budget of its credential is spent; for so long, as far as that is known.
    Spent(Option<Duration>),
    /// What that may still spend is not known to this node, for now.
    Unfunded,
}

/// By upstream model; of one provider.
#[derive(Debug, Default)]
pub(crate) struct Healths(HashMap<Arc<str>, Arc<Health>, ahash::RandomState>);

// === impl State ===

impl State {
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

// === impl Skip ===

impl Skip {
    pub fn name(self) -> &'static str {
        match self {
            Self::Open(_) => "breaker_open",
            Self::OnTrial => "breaker_on_trial",
            Self::CoolingDown(_) => "cooling_down",
            Self::Unfit(unfit) => unfit.name(),
            Self::Busy => "busy",
            Self::Queued => "queue_timeout",
            Self::Full(_) => "full",
            Self::Spent(_) => "budget",
            Self::Unfunded => "budget_unavailable",
        }
    }

    /// How long it is passed over, as far as that is known.
    pub fn left(self) -> Option<Duration> {
        match self {
            Self::Open(left) | Self::CoolingDown(left) | Self::Full(left) => Some(left),
            Self::Spent(left) => left,
            Self::OnTrial | Self::Unfit(_) | Self::Busy | Self::Queued | Self::Unfunded => None,
        }
    }
}

// === impl Healths ===

impl Healths {
    /// What is known of a model; what is learned of it is kept.
    pub(crate) fn of(&self, model: &Arc<str>) -> Arc<Health> {
        let known = self.0.pin();
        if let Some(health) = known.get(model) {
            return Arc::clone(health);
        }
        if known.len() >= MAX_MODELS {
            return Arc::default();
        }
        Arc::clone(known.get_or_insert_with(Arc::clone(model), Arc::default))
    }

    /// What is known of each model.
    pub(crate) fn all(&self) -> Vec<Arc<Health>> {
        self.0.pin().values().cloned().collect()
    }
}

// === impl Health ===

impl Health {
    /// Whether it may be asked now; nothing is taken by looking.
    pub fn look(&self, breaker: Option<&Breaker>, now: Instant) -> Result<(), Skip> {
        let Some(breaker) = breaker else { return Ok(()) };
        self.cooled(now)?;
        let now = self.ms(now);
        match self.open_until.load(Relaxed) {
            0 => Ok(()),
            until if until > now => Err(Skip::Open(Duration::from_millis(until - now))),
            _ if self.trials.load(Relaxed) >= breaker.trials => Err(Skip::OnTrial),
            _ => Ok(()),
        }
    }

    /// Whether it does not cool down now.
    pub(crate) fn cooled(&self, now: Instant) -> Result<(), Skip> {
        let (now, cooling) = (self.ms(now), self.cooling_until.load(Relaxed));
        if cooling > now { Err(Skip::CoolingDown(Duration::from_millis(cooling - now))) } else { Ok(()) }
    }

    pub fn state(&self, now: Instant) -> State {
        match self.open_until.load(Relaxed) {
            0 => State::Closed,
            until if until > self.ms(now) => State::Open,
            _ => State::HalfOpen,
        }
    }

    /// Somebody has seen that it is there: requests may try it. With a proof that it answers, as if none had failed.
    pub(crate) fn vouched(&self, is_proof: bool, now: Instant) {
        if is_proof {
            self.failures.store(0, Relaxed);
            self.window.store(0, Relaxed);
            self.level.store(0, Relaxed);
            self.open_until.store(0, Relaxed);
        } else {
            let now = self.ms(now);
            let sooner = |until| (until > now).then_some(now);
            // Otherwise it is not open.
            let _ = self.open_until.fetch_update(Relaxed, Relaxed, sooner);
        }
    }

    /// Requests that it has not finished answering.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Average time in microseconds until a reply was there, or a stream had begun; less as it grows old, 0 where nothing has
    /// been measured.
    pub fn latency_us(&self, stream: bool, now: Instant) -> f64 {
        let latency = &self.latencies[usize::from(stream)];
        let average = latency.us.load(Relaxed) as f64;
        let age = self.ms(now).saturating_sub(latency.measured_at.load(Relaxed)) as f64;
        average * 0.5_f64.powf(age / HALF_LIFE_MS)
    }

    /// As long as 95 of 100 replies took until they were there, or streams to begin; `None` before enough were seen.
    pub fn late(&self, stream: bool) -> Option<Duration> {
        self.latencies[usize::from(stream)].late.bound()
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures.load(Relaxed)
    }

    /// What it failed with last.
    pub fn last_failure(&self) -> Option<Box<Failure>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn answered(&self, stream: bool, after: Duration, now: Instant) {
        let latency = &self.latencies[usize::from(stream)];
        let (us, now) = (after.as_micros() as f64, self.ms(now));
        let old = latency.us.load(Relaxed) as f64;
        let average = if old == 0.0 { us } else { old + (us - old) * NEWEST };
        latency.us.store((average as u64).max(1), Relaxed);
        latency.measured_at.store(now, Relaxed);
        latency.late.measured(us);
    }

    fn succeeded(&self, is_from_before: bool) {
        self.failures.store(0, Relaxed);
        self.limited.store(0, Relaxed);
        // What was asked for before it opened proves nothing.
        if !is_from_before && self.open_until.swap(0, Relaxed) != 0 {
            self.level.store(0, Relaxed);
            self.window.store(0, Relaxed);
        }
    }

    /// `random` spreads the return of many nodes; it is from the whole range. Without a breaker it only cools down.
    pub(crate) fn failed(&self, failure: &Failure, breaker: Option<&Breaker>, now: Instant, random: u32) {
        let now = self.ms(now);
        if let Some(pause) = self.pause(failure) {
            self.cooling_until.fetch_max(now + millis(pause), Relaxed);
        }
        if let Some(breaker) = breaker.filter(|_| counts(failure)) {
            let failures = self.failures.fetch_add(1, Relaxed).saturating_add(1);
            let is_often = self.count(now, true);
            let open_until = self.open_until.load(Relaxed);
            let has_failed_trial = open_until != 0 && open_until <= now;
            if open_until <= now && (has_failed_trial || is_often || failures >= breaker.failures) {
                self.open(breaker, now, random);
            }
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(failure.clone()));
    }

    fn open(&self, breaker: &Breaker, now: u64, random: u32) {
        let level = self.level.fetch_add(1, Relaxed).saturating_add(1).min(MAX_LEVEL);
        let open = millis(breaker.open).saturating_mul(u64::from(level));
        // From 95 to 105 percent.
        let spread = 950 + u64::from(random) * 100 / u64::from(u32::MAX);
        self.open_until.store(now + (open * spread / 1000).max(1), Relaxed);
    }

    /// How long it wants to be left alone.
    fn pause(&self, failure: &Failure) -> Option<Duration> {
        match pause::of(failure)? {
            Pause::For(pause) => Some(pause),
            Pause::Growing => {
                let n_doublings = self.limited.fetch_add(1, Relaxed);
                Some(AFTER_LIMIT.saturating_mul(2_u32.saturating_pow(n_doublings)).min(LONGEST_AFTER_LIMIT))
            }
        }
    }

    /// Counts an outcome; whether half of the latest are failures.
    fn count(&self, now: u64, has_failed: bool) -> bool {
        let counted = |window: u64| {
            let (began, n, bad) = (window >> 32, (window >> 16) & 0xffff, window & 0xffff);
            let is_over = (now / 16).saturating_sub(began) > WINDOW_MS / 16;
            let (began, n, bad) = if is_over { ((now / 16) & 0xffff_ffff, 0, 0) } else { (began, n, bad) };
            // Halved before they run over: the share stays.
            let (n, bad) = if n == 0xffff { (n / 2, bad / 2) } else { (n, bad) };
            (began << 32) | ((n + 1) << 16) | (bad + u64::from(has_failed))
        };
        let before = self.window.fetch_update(Relaxed, Relaxed, |window| Some(counted(window)));
        let window = counted(before.unwrap_or_else(|window| window));
        let (n, bad) = ((window >> 16) & 0xffff, window & 0xffff);
        n >= WINDOW_LEAST && bad * 2 >= n
    }

    fn ms(&self, now: Instant) -> u64 {
        // One more, so that 0 is never a time.
        millis(now.saturating_duration_since(*self.began.get_or_init(|| now))) + 1
    }
}

/// Whether a failure says that the target, or the way to it, is broken.
fn counts(failure: &Failure) -> bool {
    use Code::{
        ConnectTimeout, FirstByteTimeout, IdleTimeout, TotalTimeout, UpstreamCut, UpstreamError, UpstreamGarbage,
        UpstreamOverloaded, UpstreamUnreachable,
    };
    let timeout = matches!(failure.code, ConnectTimeout | FirstByteTimeout | IdleTimeout | TotalTimeout);
    let answer = matches!(failure.code, UpstreamError | UpstreamOverloaded | UpstreamGarbage);
    timeout || answer || matches!(failure.code, UpstreamUnreachable | UpstreamCut)
}

/// Whether the target wants to be left alone.
fn cools_down(failure: &Failure) -> bool {
    matches!(failure.code, Code::UpstreamCredential | Code::UpstreamRateLimited)
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX >> 16)
}

#[cfg(test)]
mod tests;
