//! Admission: a request takes all of its limits or none, and whoever was admitted settles exactly once. Knows nothing of keys:
//! anything that has limits can be asked.

mod rate;
pub mod lending;
mod limit;
pub mod quota;
pub mod purse;
pub mod bill;
pub mod central;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gateway_ir::failure::{Code, Failure};
use gateway_ir::usage::Usage;
use gateway_model::limits::{Limits as Document, Measure, WhenAway};
use lending::Borrowing;
use limit::{Borrowed, Limit};

/// All limits of one owner, with their state. It outlives configurations that do not change it.
#[derive(Debug)]
pub struct Limits {
    owner: Owner,
    rates: Box<[Limit]>,
    concurrency: Option<u64>,
    /// Of one request.
    max_tokens: Option<u64>,
    when_away: Option<WhenAway>,
    /// Requests that run, in the lower half; how often that has changed, in the upper.
    open: AtomicU64,
    /// What each request counted for last; 0 before the first.
    parts: AtomicU64,
}

/// Who has limits, as refusals say it: `Key vk_…`, `Team search`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub kind: &'static str,
    pub name: Arc<str>,
}

/// What a request may use, before anybody knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Tokens of the prompt, by an estimate.
    pub n_input: u64,
    /// Tokens of the reply that it allows for; `None`: it does not say.
    pub max_output: Option<u64>,
    /// Nodes that share rates and places, each an equal part; 0 is as good as 1.
    pub n_nodes: u32,
    /// This node keeps a tenth of its part, and borrows (see [`lending`]).
    pub yields: bool,
    /// Whoever counts for all nodes is away, and this holds of limits that say nothing themselves.
    pub away: Option<WhenAway>,
}

/// Why a request was not admitted. Nothing was taken.
#[derive(Debug)]
pub struct Refused {
    pub failure: Box<Failure>,
    /// All whose rates have too little of what may be borrowed, and what to try again with: it is worth asking.
    pub short: Option<(Vec<Arc<Limits>>, Scopes)>,
}

/// Everybody whose limits a request takes: its key, and on whose account that is used. In this order.
#[derive(Clone, Debug)]
pub struct Scopes {
    key: Arc<Limits>,
    user: Option<Arc<Limits>>,
    team: Option<Arc<Limits>>,
    organization: Option<Arc<Limits>>,
    /// Those that several share.
    shared: Vec<Arc<Limits>>,
}

/// One limit as `x-ratelimit-*` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub limit: u64,
    pub remaining: u64,
    /// Until all of it is free again.
    pub reset: Duration,
}

/// Those nearest to their end, of all scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    pub requests: Option<Rate>,
    pub tokens: Option<Rate>,
    /// Whoever counts for all nodes is away: it is this node's part of them.
    pub is_degraded: bool,
}

/// Evidence that a request was admitted. Settling takes it; dropping it unsettled leaves standing what was taken, so that
/// a reservation cannot be forgotten.
#[derive(Debug)]
#[must_use = "a permit that is dropped at once settles at once"]
pub struct Permit {
    scopes: Scopes,
    asked: Asked,
    /// When it was admitted.
    since: u64,
    shown: Option<Box<Rates>>,
    /// Which of all rates, in their order, were borrowed of. Those beyond the last bit never are.
    borrowed: u64,
    settled: bool,
    /// Where they are counted for all nodes.
    kept: Option<Box<central::Kept>>,
}

/// One fleet turns at a time: then each limit's parts are others, which a request of it notices.
static TURNING: Mutex<()> = Mutex::new(());

/// In `Limits::open`: the count, and one change of it.
const COUNT: u64 = u32::MAX as u64;
const CHANGE: u64 = 1 << 32;

/// What became of an admitted request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settlement {
    /// What was used, exact or estimated; nothing where no upstream answered.
    pub usage: Usage,
}

/// Tokens that a reply is taken to have where the request does not say how many it may have.
pub const EXPECTED_OUTPUT: u64 = 1024;

/// Takes every limit of everybody in `scopes`, in a fixed order, or none: those taken before a refusal are given back. The refusal
/// names the limit and says exactly after how long the request will fit.
pub fn admit(scopes: Scopes, asked: Asked, now: Instant) -> Result<Permit, Refused> {
    if let Some(failure) = asked.away.and_then(|default| scopes.closed(default)) {
        return Err(Refused { failure, short: None });
    }
    let since = rate::moment(now);
    let mut shown = Rates::default();
    let mut borrowed = Borrowed::default();
    let refused = scopes.each().enumerate().find_map(|(position, limits)| {
        let before = borrowed;
        let refused = limits.take(asked, since, &mut shown, &mut borrowed).err()?;
        Some((position, refused, before))
    });
    if let Some((position, (failure, is_short), before)) = refused {
        let mut given = Borrowed { bits: before.bits, n_rates: 0 };
        scopes.each().take(position).for_each(|taken| taken.give_back(asked, &mut given, since));
        let short = is_short.then(|| scopes.short(position, asked, since));
        return Err(Refused { failure, short: short.map(|short| (short, scopes)) });
    }
    let is_shown = shown.requests.is_some() || shown.tokens.is_some();
    let shown = is_shown.then(|| Box::new(shown));
    Ok(Permit { scopes, asked, since, shown, borrowed: borrowed.bits, settled: false, kept: None })
}

/// For what was admitted in an earlier request and is known to be done now: nothing is asked, and what was used is settled. It counts
/// from now on, among so many nodes as `asked` says.
pub fn owed(scopes: Scopes, asked: Asked, now: Instant) -> Permit {
    let asked = Asked { n_input: 0, max_output: Some(0), ..asked };
    let since = rate::moment(now);
    scopes.each().for_each(|limits| limits.begin(asked, since));
    Permit { scopes, asked, since, shown: None, borrowed: 0, settled: false, kept: None }
}

// === impl Limits ===

impl Limits {
    pub fn new(owner: Owner, written: &Document) -> Self {
        Self {
            owner,
            rates: written.rates().map(Limit::new).collect(),
            concurrency: written.concurrency,
            max_tokens: written.max_tokens,
            when_away: written.when_away,
            open: AtomicU64::new(0),
            parts: AtomicU64::new(0),
        }
    }

    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// As they were written.
    pub fn written(&self) -> Document {
        let Self { concurrency, max_tokens, when_away, .. } = *self;
        let mut written = Document { concurrency, max_tokens, when_away, ..Document::default() };
        self.rates.iter().for_each(|limit| written.set(limit.written()));
        written
    }

    /// Whether they are these, word for word.
    pub fn are(&self, written: &Document) -> bool {
        (self.concurrency, self.max_tokens, self.when_away)
            == (written.concurrency, written.max_tokens, written.when_away)
            && self.rates.iter().map(Limit::written).eq(written.rates())
    }

    /// Requests admitted and not settled yet.
    pub fn n_open(&self) -> u64 {
        self.open.load(Ordering::Relaxed) & COUNT
    }

    fn count_input(&self) -> bool {
        let counts = |limit: &Limit| matches!(limit.measure, Measure::InputTokens | Measure::Tokens);
        self.max_tokens.is_some() || self.rates.iter().any(counts)
    }

    /// All of them or none. A refusal says whether it is worth asking for a loan.
    fn take(
        &self,
        asked: Asked,
        now: u64,
        shown: &mut Rates,
        borrowed: &mut Borrowed,
    ) -> Result<(), (Box<Failure>, bool)> {
        self.fits(asked).and_then(|()| self.enter(asked)).map_err(|failure| (failure, false))?;
        if self.rates.is_empty() || self.passes(asked) {
            return Ok(());
        }
        self.turn_where_others(asked, now);
        let before = *borrowed;
        for (position, limit) in self.rates.iter().enumerate() {
            match limit.take(asked, now, borrowed) {
                Ok(remaining) => shown.consider(limit, remaining, now),
                Err((wait, is_short)) => {
                    let mut given = Borrowed { bits: borrowed.bits, ..before };
                    self.rates[..position].iter().for_each(|taken| taken.give_back(asked, &mut given, now));
                    self.leave();
                    if is_short {
                        self.want(position + 1, asked, now);
                    }
                    return Err((self.exceeded(limit, wait), is_short));
                }
            }
        }
        Ok(())
    }

    /// Takes nothing, whatever there is.
    fn begin(&self, asked: Asked, now: u64) {
        self.open();
        self.turn_where_others(asked, now);
        self.rates.iter().for_each(|limit| limit.rate.begin(now));
    }

    fn turn_where_others(&self, asked: Asked, now: u64) {
        if self.parts.load(Ordering::Relaxed) != asked.regime() {
            self.turn(asked, now);
        }
    }

    fn give_back(&self, asked: Asked, borrowed: &mut Borrowed, since: u64) {
        if !self.passes(asked) {
            self.rates.iter().for_each(|limit| limit.give_back(asked, borrowed, since));
        }
        self.leave();
    }

    /// Wants to borrow of the rates from this one on what they have too little of, for a request that was refused before it came to them.
    #[cold]
    fn want(&self, from: usize, asked: Asked, now: u64) -> bool {
        self.rates[from..].iter().fold(false, |wants, limit| limit.want(asked, now) | wants)
    }

    /// Other parts count from now on.
    #[cold]
    fn turn(&self, asked: Asked, now: u64) {
        let _turning = TURNING.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.parts.load(Ordering::Relaxed);
        if before != asked.regime() {
            let before = Asked::of_regime(before);
            self.rates.iter().for_each(|limit| limit.turn(before, asked, now));
            self.parts.store(asked.regime(), Ordering::Relaxed);
        }
    }

    /// What to borrow of each rate, and what goes back; for whoever asks.
    pub fn borrowing(&self, now: Instant) -> Vec<Borrowing> {
        let now = rate::moment(now);
        let each = self.rates.iter().map(|limit| {
            let (wanted, returned) = limit.loan().ask(now);
            let written = limit.written();
            let period = Duration::from_secs(written.period.seconds());
            Borrowing { rate: written.name(), amount: written.amount, period, wanted, returned }
        });
        each.filter(|borrowing| borrowing.wanted > 0 || borrowing.returned > 0).collect()
    }

    /// It was lent so much of this rate, for [`lending::LASTS`] from when it was asked for.
    pub fn lent(&self, rate: &str, n: u64, asked_at: Instant) {
        let asked_at = rate::moment(asked_at);
        if let Some(limit) = self.rates.iter().find(|limit| limit.written().name() == rate) {
            limit.loan().lent(n, asked_at);
        }
    }

    fn enter(&self, asked: Asked) -> Result<(), Box<Failure>> {
        let Some(most) = self.concurrency else {
            self.open();
            return Ok(());
        };
        let n_nodes = if self.passes(asked) { 1 } else { asked.n_nodes() };
        let here = (most / n_nodes).max(1);
        let one_more = |open: u64| (open & COUNT < here).then_some(open.wrapping_add(CHANGE + 1));
        match self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
            Ok(_) => Ok(()),
            Err(_) => {
                let message = format!("{} exceeded its limit of {most} requests at once.", self.owner);
                // Nobody knows when one of them ends.
                Err(limited(message, "parallel", Duration::from_secs(1)))
            }
        }
    }

    fn open(&self) {
        self.open.fetch_add(CHANGE + 1, Ordering::Relaxed);
    }

    fn leave(&self) {
        self.open.fetch_add(CHANGE - 1, Ordering::Relaxed);
    }

    fn fits(&self, asked: Asked) -> Result<(), Box<Failure>> {
        let Some(most) = self.max_tokens else { return Ok(()) };
        let wanted = asked.n_input.saturating_add(asked.max_output.unwrap_or(0));
        if wanted <= most {
            return Ok(());
        }
        let message = format!(
            "the request may use about {wanted} tokens, {} of them in its prompt, and {} may use {most} in one request; ask for \
             less, or set a lower `max_tokens`",
            asked.n_input, self.owner
        );
        let mut failure = Failure::invalid(message);
        failure.limit_kind = Some("max_tokens");
        Err(Box::new(failure))
    }

    fn settle(&self, taken: (Asked, u64), settlement: Option<&Settlement>, borrowed: &mut Borrowed) {
        match settlement {
            _ if self.passes(taken.0) => {}
            Some(settlement) => {
                let now = Asked::of_regime(self.parts.load(Ordering::Relaxed)).unwrap_or(taken.0);
                self.rates.iter().for_each(|limit| limit.settle(taken, now, settlement, borrowed.next()));
            }
            None => borrowed.n_rates += self.rates.len() as u32,
        }
        self.leave();
    }

    fn exceeded(&self, limit: &Limit, wait: Duration) -> Box<Failure> {
        let (unit, per) = (limit.measure.unit(), limit.period.unit());
        let message = format!("{} exceeded its {} {unit}/{per} limit.", self.owner, limit.rate.limit());
        limited(message, limit.written().name(), wait)
    }
}

fn limited(message: String, kind: &'static str, wait: Duration) -> Box<Failure> {
    let mut failure = Failure::new(Code::RateLimited, message).with_retry_after(Some(wait));
    failure.limit_kind = Some(kind);
    Box::new(failure)
}

// === impl Asked ===

impl Asked {
    fn n_nodes(&self) -> u64 {
        u64::from(self.n_nodes.max(1))
    }

    /// Names what each counts for; never 0.
    fn regime(self) -> u64 {
        self.n_nodes() << 1 | u64::from(self.yields)
    }

    fn of_regime(regime: u64) -> Option<Self> {
        let n_nodes = u32::try_from(regime >> 1).ok().filter(|n_nodes| *n_nodes > 0)?;
        Some(Self { n_nodes, yields: regime & 1 == 1, ..Self::default() })
    }
}

// === impl Owner ===

impl Owner {
    pub fn key(id: &Arc<str>) -> Self {
        Self { kind: "Key", name: Arc::clone(id) }
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

// === impl Scopes ===

impl Scopes {
    pub(crate) fn of_nobody() -> Self {
        Self::of_key(Arc::new(Limits::new(Owner::key(&"".into()), &Document::default())))
    }

    pub fn of_key(key: Arc<Limits>) -> Self {
        Self { key, user: None, team: None, organization: None, shared: Vec::new() }
    }

    #[must_use]
    pub fn with(self, user: Option<Arc<Limits>>, team: Option<Arc<Limits>>, organization: Option<Arc<Limits>>) -> Self {
        Self { user, team, organization, ..self }
    }

    /// And those of whatever the request is one of.
    #[must_use]
    pub fn sharing(self, shared: Vec<Arc<Limits>>) -> Self {
        Self { shared, ..self }
    }

    /// Whether any of them depends on how long the prompt is.
    pub fn count_input(&self) -> bool {
        self.each().any(|limits| limits.count_input())
    }

    fn each(&self) -> impl Iterator<Item = &Arc<Limits>> {
        let beside = [&self.user, &self.team, &self.organization];
        let beside = beside.into_iter().filter_map(Option::as_ref);
        std::iter::once(&self.key).chain(beside).chain(&self.shared)
    }

    /// Who was found to have too little, and whoever comes after and has too little as well: one answer is to be enough for all.
    #[cold]
    fn short(&self, position: usize, asked: Asked, now: u64) -> Vec<Arc<Limits>> {
        let mut each = self.each().skip(position);
        let first = each.next().into_iter();
        first.chain(each.filter(|limits| limits.want(0, asked, now))).map(Arc::clone).collect()
    }
}

// === impl Rates ===

impl Rates {
    /// The one that is nearest to its end, in parts of the whole.
    fn consider(&mut self, limit: &Limit, remaining: u64, now: u64) {
        let slot = match limit.measure {
            Measure::Requests => &mut self.requests,
            Measure::Tokens => &mut self.tokens,
            Measure::InputTokens | Measure::OutputTokens => return,
        };
        let part = |limit: u64, remaining: u64| u128::from(remaining) * (1 << 32) / u128::from(limit.max(1));
        let is_nearer =
            slot.is_none_or(|shown| part(limit.rate.limit(), remaining) < part(shown.limit, shown.remaining));
        if is_nearer {
            *slot = Some(Rate { limit: limit.rate.limit(), remaining, reset: limit.rate.reset(now) });
        }
    }
}

// === impl Permit ===

impl Permit {
    /// As it was at admission; `None` without limits.
    pub fn rates(&self) -> Option<Rates> {
        self.shown.as_deref().copied()
    }

    /// Nobody was asked: nothing was taken. For what only this node counts.
    pub(crate) fn give_back(mut self) {
        self.settled = true;
        let mut borrowed = Borrowed { bits: self.borrowed, n_rates: 0 };
        self.scopes.each().for_each(|limits| limits.give_back(self.asked, &mut borrowed, self.since));
    }

    pub fn settle(mut self, settlement: Settlement) {
        self.close(Some(&settlement));
    }

    fn close(&mut self, settlement: Option<&Settlement>) {
        self.settled = true;
        let kept = self.kept.take();
        if kept.as_ref().is_none_or(|kept| kept.is_here()) {
            let mut borrowed = Borrowed { bits: self.borrowed, n_rates: 0 };
            let taken = (self.asked, self.since);
            self.scopes.each().for_each(|limits| limits.settle(taken, settlement, &mut borrowed));
        }
        if let Some(kept) = kept {
            kept.close(&self.scopes, self.asked, settlement);
        }
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
