//! Limits that a Redis or Valkey counts for all nodes (`settings.limit_store`): one call per request takes all of them or none, by the
//! server's clock. While the server is away, or slower than a request may wait, what is to happen is said by the configuration. What
//! is known later than a request was admitted is told behind it.
//!
//! Everything that is told is a total or the most that was known, so that what is lost, late or said twice does no harm.

mod breaker;
mod counters;
mod redis;

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use gateway_engine::limits::central::{self, Entered, Keeper, Terms, WhenAway};
use gateway_engine::limits::{Asked, Limits, Permit, Scopes};
use gateway_ir::failure::Failure;
use gateway_model::secret::Secret;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, timeout};

use self::breaker::Breaker;
use self::counters::{Counter, Counters};
use self::redis::{Answer, Call, Mode, Redis};

/// How often places that are taken are said again; the server forgets them after thirty seconds.
const SAYS_EVERY: Duration = Duration::from_secs(10);
/// What is told behind requests waits no longer than this for an answer, and is tried again after as long.
const PATIENCE: Duration = Duration::from_secs(1);
/// Owners whose corrections are one call.
const MAX_TOLD: usize = 100;

/// The node's way to the server. Costs nothing where the setting is off.
#[derive(Debug)]
pub(crate) struct LimitStore {
    /// `None`: this node was not told where it is, which is as if it were away.
    redis: Option<Redis>,
    breaker: Breaker,
    counters: Counters,
    /// What there is to tell.
    noted: Mutex<Vec<Arc<Counter>>>,
    notify: Notify,
    this: Weak<Self>,
}

// === impl LimitStore ===

impl LimitStore {
    /// Must be called on a runtime. Nothing is connected to before the first request. An error is about the URL, and does not repeat it.
    pub(crate) fn open(url: Option<&Secret>) -> Result<Arc<Self>, ::redis::RedisError> {
        let redis = url.map(|url| Redis::open(url.expose())).transpose()?;
        Ok(Arc::new_cyclic(|this| Self {
            redis,
            breaker: Breaker::default(),
            counters: Counters::new(),
            noted: Mutex::default(),
            notify: Notify::new(),
            this: Weak::clone(this),
        }))
    }

    /// Whether requests ask the server now, and do not go by what this node lets pass alone.
    pub(crate) fn is_asked(&self) -> bool {
        self.redis.is_some() && !self.breaker.is_open(Instant::now())
    }

    fn keeper(&self) -> Arc<dyn Keeper> {
        self.this.upgrade().expect("whoever calls holds it")
    }

    /// All limits of a request or none. Waits for `terms.deadline` at most.
    pub(crate) async fn admit(&self, scopes: Scopes, asked: Asked, terms: Terms) -> Result<Permit, Box<Failure>> {
        let entered = central::enter(scopes, asked, self.keeper())?;
        if entered.limited().next().is_none() {
            return Ok(entered.admitted([], Instant::now()));
        }
        let redis = self.redis.as_ref().filter(|_| self.breaker.lets(Instant::now()));
        let Some(redis) = redis else { return self.away(entered, terms.when_away) };
        let counters: Vec<_> = entered.limited().map(|limits| self.counters.of(limits)).collect();
        let call = Call::new(Mode::Ask, &counters, entered.asked(), Instant::now());
        match timeout(terms.deadline, redis.take(&call)).await {
            Ok(Ok(answer)) => {
                self.is_back();
                call.arrived(&counters, answer.epoch);
                judged(entered, answer)
            }
            outcome => {
                if self.breaker.failed(Instant::now()) {
                    let why = match outcome {
                        Ok(Err(error)) => error.to_string(),
                        _ => format!("no answer within {:?}", terms.deadline),
                    };
                    tracing::warn!("the store of limits is away, and this node goes by `when_away`: {why}");
                }
                self.away(entered, terms.when_away)
            }
        }
    }

    fn away(&self, entered: Entered, when_away: WhenAway) -> Result<Permit, Box<Failure>> {
        if entered.passes(when_away) {
            return Ok(entered.let_through());
        }
        let asked = entered.asked();
        central::admit_here(entered.given_up(), asked, when_away, Instant::now(), self.keeper())
    }

    /// See [`gateway_engine::limits::owed`].
    pub(crate) fn owed(&self, scopes: Scopes, asked: Asked) -> Permit {
        central::owed(scopes, asked, Instant::now(), self.keeper())
    }

    fn is_back(&self) {
        if self.breaker.answered() {
            tracing::info!("the store of limits is back, and counts for all nodes");
        }
    }

    fn note(&self, counter: &Arc<Counter>) {
        if self.redis.is_some() && counter.notes() {
            self.lock().push(Arc::clone(counter));
            self.notify.notify_one();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Counter>>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the server what was noted. Never returns; idle where the setting is off.
    pub(crate) async fn run(self: Arc<Self>) {
        let Some(redis) = &self.redis else { return };
        let mut tick = interval(SAYS_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.notify.notified() => {}
                _ = tick.tick() => self.counters.tidy(|counter| self.note(counter)),
            }
            while self.tell(redis).await {}
        }
    }

    /// False where there is nothing to tell. Where it cannot be told it stays, and this takes its time.
    async fn tell(&self, redis: &Redis) -> bool {
        let counters: Vec<_> = {
            let mut noted = self.lock();
            let n_left = noted.len().saturating_sub(MAX_TOLD);
            noted.split_off(n_left)
        };
        if counters.is_empty() {
            return false;
        }
        // Before it is read: what comes from now on is noted again.
        counters.iter().for_each(|counter| counter.is_told());
        let call = Call::new(Mode::Tell, &counters, Asked::default(), Instant::now());
        if let Ok(Ok(answer)) = timeout(PATIENCE, redis.take(&call)).await {
            self.is_back();
            call.arrived(&counters, answer.epoch);
            return true;
        }
        counters.iter().for_each(|counter| self.note(counter));
        tokio::time::sleep(PATIENCE).await;
        true
    }
}

fn judged(entered: Entered, answer: Answer) -> Result<Permit, Box<Failure>> {
    let n_rates = answer.occupied.len();
    match answer.refused {
        0 => Ok(entered.admitted(answer.occupied, Instant::now())),
        at if at <= n_rates => Err(entered.exceeded(at - 1, answer.wait)),
        at => Err(entered.crowded(at - n_rates - 1)),
    }
}

impl Keeper for LimitStore {
    fn correct(&self, limits: &Arc<Limits>, rate: usize, n: i64) {
        let counter = self.counters.of(limits);
        counter.correct(rate, n);
        self.note(&counter);
    }

    fn left(&self, limits: &Arc<Limits>) {
        if limits.places().is_some() {
            self.note(&self.counters.of(limits));
        }
    }
}

#[cfg(test)]
mod tests;
