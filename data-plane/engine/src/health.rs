//! What this node has seen of an upstream model lately: whether it is worth asking, how soon it answers, how many wait for it.
//!
//! A breaker opens when a target fails again and again, or half of the time: it is left alone for a while, then a few requests
//! may try it. A target that says it has had enough, or refuses our credential, cools down by its own word. Both belong to
//! the node and outlive the configuration; all of it is atomics, so that requests never wait for each other here.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use gateway_ir::failure::{Code, Failure};
use papaya::HashMap;

use crate::policy::Breaker;

/// A request refused our credential: somebody has to act, which takes a while.
const AFTER_CREDENTIAL: Duration = Duration::from_secs(120);
/// Nothing is left of what was paid for.
const AFTER_QUOTA: Duration = Duration::from_secs(60);
/// Rate limits without a time of their own: the first time so long, each further time twice as long.
const AFTER_LIMIT: Duration = Duration::from_millis(500);
/// Nobody's word keeps us away for longer.
const LONGEST_COOL_DOWN: Duration = Duration::from_secs(300);
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

/// Of one upstream model at one provider.
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
    /// Average time to the first byte, in microseconds; 0: never measured.
    first_byte_us: AtomicU64,
    measured_at: AtomicU64,
    /// What it failed with last. Read and written after failures only.
    last: Mutex<Option<Box<Failure>>>,
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
}

/// A place at a target, from the decision to ask it until its reply has ended.
#[derive(Debug)]
pub struct Seat {
    health: Arc<Health>,
    breaker: Option<Breaker>,
    taken: Taken,
    since: Instant,
    outcome: Outcome,
}

/// How a place was come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// The breaker is closed.
    Free,
    /// The breaker is half open; one of the few.
    Trial,
    /// Nobody else was left.
    Forced,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Whoever asked has left before anything was known.
    Unknown,
    Answered,
    Failed,
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
        }
    }

    /// How long it is passed over, as far as that is known.
    pub fn left(self) -> Option<Duration> {
        match self {
            Self::Open(left) | Self::CoolingDown(left) => Some(left),
            Self::OnTrial => None,
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
}

// === impl Health ===

impl Health {
    /// Whether it may be asked now; nothing is taken by looking.
    pub fn look(&self, breaker: Option<&Breaker>, now: Instant) -> Result<(), Skip> {
        let Some(breaker) = breaker else { return Ok(()) };
        let now = self.ms(now);
        let cooling = self.cooling_until.load(Relaxed);
        if cooling > now {
            return Err(Skip::CoolingDown(Duration::from_millis(cooling - now)));
        }
        match self.open_until.load(Relaxed) {
            0 => Ok(()),
            until if until > now => Err(Skip::Open(Duration::from_millis(until - now))),
            _ if self.trials.load(Relaxed) >= breaker.trials => Err(Skip::OnTrial),
            _ => Ok(()),
        }
    }

    pub fn state(&self, now: Instant) -> State {
        match self.open_until.load(Relaxed) {
            0 => State::Closed,
            until if until > self.ms(now) => State::Open,
            _ => State::HalfOpen,
        }
    }

    /// Requests that it has not finished answering.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Average time to the first byte in microseconds, less as it grows old; 0 where nothing has been measured.
    pub fn first_byte_us(&self, now: Instant) -> f64 {
        let average = self.first_byte_us.load(Relaxed) as f64;
        let age = self.ms(now).saturating_sub(self.measured_at.load(Relaxed)) as f64;
        average * 0.5_f64.powf(age / HALF_LIFE_MS)
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures.load(Relaxed)
    }

    /// What it failed with last.
    pub fn last_failure(&self) -> Option<Box<Failure>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn answered(&self, after: Duration, now: Instant) {
        let (us, now) = (after.as_micros() as f64, self.ms(now));
        let old = self.first_byte_us.load(Relaxed) as f64;
        let average = if old == 0.0 { us } else { old + (us - old) * NEWEST };
        self.first_byte_us.store((average as u64).max(1), Relaxed);
        self.measured_at.store(now, Relaxed);
    }

    fn succeeded(&self, how: Taken) {
        self.failures.store(0, Relaxed);
        self.limited.store(0, Relaxed);
        // A reply that was asked for before it opened proves nothing.
        if how != Taken::Free && self.open_until.swap(0, Relaxed) != 0 {
            self.level.store(0, Relaxed);
            self.window.store(0, Relaxed);
        }
    }

    /// `random` spreads the return of many nodes; it is from the whole range.
    fn failed(&self, failure: &Failure, breaker: &Breaker, now: Instant, random: u32) {
        let now = self.ms(now);
        if let Some(pause) = self.pause(failure) {
            self.cooling_until.fetch_max(now + millis(pause), Relaxed);
        }
        if counts(failure) {
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
        let pause = match failure.code {
            Code::UpstreamCredential => AFTER_CREDENTIAL,
            Code::UpstreamRateLimited if failure.retry_after.is_some() => failure.retry_after?,
            Code::UpstreamRateLimited if is_quota(failure) => AFTER_QUOTA,
            Code::UpstreamRateLimited => {
                let n_doublings = self.limited.fetch_add(1, Relaxed);
                AFTER_LIMIT.saturating_mul(2_u32.saturating_pow(n_doublings))
            }
            Code::UpstreamOverloaded => failure.retry_after?,
            _ => return None,
        };
        Some(pause.min(LONGEST_COOL_DOWN))
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

// === impl Seat ===

impl Seat {
    /// Takes a place, where the target may be asked at all. `None` for `breaker`: always.
    pub fn take(health: &Arc<Health>, breaker: Option<Breaker>, now: Instant) -> Result<Self, Skip> {
        health.look(breaker.as_ref(), now)?;
        let taken = match &breaker {
            Some(breaker) if health.open_until.load(Relaxed) != 0 => {
                let more = |n| (n < breaker.trials).then_some(n + 1);
                health.trials.fetch_update(Relaxed, Relaxed, more).map_err(|_| Skip::OnTrial)?;
                Taken::Trial
            }
            _ => Taken::Free,
        };
        Ok(Self::seated(health, breaker, taken, now))
    }

    /// Takes a place whatever is known of the target: nobody else is left.
    pub fn force(health: &Arc<Health>, breaker: Option<Breaker>, now: Instant) -> Self {
        Self::seated(health, breaker, Taken::Forced, now)
    }

    fn seated(health: &Arc<Health>, breaker: Option<Breaker>, taken: Taken, now: Instant) -> Self {
        health.in_flight.fetch_add(1, Relaxed);
        Self { health: Arc::clone(health), breaker, taken, since: now, outcome: Outcome::Unknown }
    }

    /// The reply has begun.
    pub fn answered(&mut self, now: Instant) {
        self.health.answered(now.saturating_duration_since(self.since), now);
        self.outcome = Outcome::Answered;
    }

    /// The target, or the way to it, is at fault; or it has refused, which shows that it is there.
    pub fn failed(&mut self, failure: &Failure, now: Instant) {
        if self.outcome == Outcome::Failed {
            return;
        }
        let Some(breaker) = &self.breaker else { return };
        if counts(failure) || cools_down(failure) {
            self.outcome = Outcome::Failed;
            self.health.failed(failure, breaker, now, rand::random());
        } else if failure.code == Code::UpstreamRefused {
            self.outcome = Outcome::Answered;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.health.in_flight.fetch_sub(1, Relaxed);
        if self.outcome == Outcome::Answered && self.breaker.is_some() {
            self.health.count(self.health.ms(self.since), false);
            self.health.succeeded(self.taken);
        }
        if self.taken == Taken::Trial {
            self.health.trials.fetch_sub(1, Relaxed);
        }
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

/// By what vendors say in `error.type` and `error.code`.
fn is_quota(failure: &Failure) -> bool {
    let said = [&failure.upstream_code, &failure.upstream_type];
    said.into_iter().flatten().any(|said| said.contains("quota"))
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX >> 16)
}

#[cfg(test)]
mod tests;
