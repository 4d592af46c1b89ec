//! How many requests an upstream account has under way at this node: as many as it is said to take, or as it bears. Others wait in
//! order, so many and no more.
//!
//! Nothing here is async: who waits leaves a [`Waker`] and looks at its [`Ticket`] again when woken. One lock per account, and
//! only for accounts that are limited; what is done under it is a few additions.

mod limit;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Instant;

use gateway_ir::failure::{Code, Failure};
use gateway_model::policy::Concurrency;

use limit::Limit;

/// Of one account. Clones are the same gate; it is shared between configurations, each with its own rules.
#[derive(Clone, Debug)]
pub struct Gate {
    rules: Rules,
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rules {
    max: u32,
    queue: usize,
    adaptive: bool,
}

#[derive(Debug)]
struct State {
    limit: Limit,
    n_under_way: u32,
    /// First come, first served.
    waiting: VecDeque<Waiting>,
    /// Tickets that have a place and have not been told.
    granted: Vec<u64>,
    last_ticket: u64,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    waker: Option<Waker>,
}

/// What a request is told.
#[derive(Debug)]
pub enum Entry {
    Place(Slot),
    Queued(Ticket),
    /// As many wait as may.
    Full,
}

/// A place at the account; free again when dropped.
#[derive(Debug)]
pub struct Slot {
    gate: Gate,
    since: Instant,
}

/// A place in the queue; given up when dropped.
#[derive(Debug)]
pub struct Ticket {
    gate: Gate,
    number: u64,
    is_over: bool,
}

/// How a gate stands, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Places that there are.
    pub limit: u32,
    pub n_under_way: u32,
    pub n_waiting: usize,
}

// === impl Gate ===

impl Gate {
    /// Waiting requests where nothing is said.
    const QUEUE: usize = 1024;

    /// A gate by these rules; with the requests and the experience of `earlier`, where it is for the same account.
    pub(crate) fn compile(document: &Concurrency, earlier: Option<&Self>) -> Self {
        let rules = Rules {
            max: document.max.max(1),
            queue: document.queue.map_or(Self::QUEUE, |n| usize::try_from(n).unwrap_or(usize::MAX)),
            adaptive: document.adaptive.unwrap_or(false),
        };
        let new = || Arc::new(Mutex::new(State::new(rules)));
        Self { rules, state: earlier.map_or_else(new, |earlier| Arc::clone(&earlier.state)) }
    }

    /// Takes a place, or one in the queue.
    pub fn enter(&self, now: Instant) -> Entry {
        let mut state = self.state();
        // Under other rules there may be room for those who wait.
        state.grant(self.rules);
        if state.n_under_way < state.limit(self.rules) {
            state.n_under_way += 1;
            return Entry::Place(Slot { gate: self.clone(), since: now });
        }
        if state.waiting.len() >= self.rules.queue {
            return Entry::Full;
        }
        state.last_ticket += 1;
        let number = state.last_ticket;
        state.waiting.push_back(Waiting { ticket: number, waker: None });
        Entry::Queued(Ticket { gate: self.clone(), number, is_over: false })
    }

    pub fn standing(&self) -> Standing {
        let state = self.state();
        Standing { limit: state.limit(self.rules), n_under_way: state.n_under_way, n_waiting: state.waiting.len() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self) {
        let mut state = self.state();
        state.n_under_way = state.n_under_way.saturating_sub(1);
        state.grant(self.rules);
    }
}

// === impl State ===

impl State {
    fn new(rules: Rules) -> Self {
        let (waiting, granted) = (VecDeque::new(), Vec::new());
        Self { limit: Limit::new(rules.max), n_under_way: 0, waiting, granted, last_ticket: 0 }
    }

    fn limit(&self, rules: Rules) -> u32 {
        if rules.adaptive { self.limit.now(rules.max) } else { rules.max }
    }

    fn grant(&mut self, rules: Rules) {
        while self.n_under_way < self.limit(rules)
            && let Some(Waiting { ticket, waker }) = self.waiting.pop_front()
        {
            self.n_under_way += 1;
            self.granted.push(ticket);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Whether the ticket has been granted; it is told once.
    fn is_granted(&mut self, ticket: u64) -> bool {
        let place = self.granted.iter().position(|granted| *granted == ticket);
        place.map(|place| self.granted.swap_remove(place)).is_some()
    }
}

// === impl Slot ===

impl Slot {
    /// The reply has begun: what the account bears is learned from how long that took.
    pub fn answered(&mut self, now: Instant) {
        let Rules { adaptive, max, .. } = self.gate.rules;
        if adaptive {
            let mut state = self.gate.state();
            let n_under_way = state.n_under_way;
            state.limit.answered(now.saturating_duration_since(self.since), n_under_way, max);
        }
    }

    /// Some failures say that it was too much.
    pub fn failed(&mut self, failure: &Failure, now: Instant) {
        use Code::{ConnectTimeout, FirstByteTimeout, UpstreamOverloaded, UpstreamRateLimited};
        let is_timeout = matches!(failure.code, ConnectTimeout | FirstByteTimeout);
        let is_too_much = matches!(failure.code, UpstreamRateLimited | UpstreamOverloaded) || failure.status == 503;
        if self.gate.rules.adaptive && (is_timeout || is_too_much) {
            self.gate.state().limit.pushed_back(now);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.gate.leave();
    }
}

// === impl Ticket ===

impl Ticket {
    /// The place, once it is this ticket's turn; until then `waker` is woken when to look again. Not to be asked after that.
    pub fn poll(&mut self, waker: &Waker, now: Instant) -> Poll<Slot> {
        let mut state = self.gate.state();
        if state.is_granted(self.number) {
            self.is_over = true;
            drop(state);
            return Poll::Ready(Slot { gate: self.gate.clone(), since: now });
        }
        if let Some(waiting) = state.waiting.iter_mut().find(|waiting| waiting.ticket == self.number) {
            waiting.waker = Some(waker.clone());
        }
        Poll::Pending
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut state = self.gate.state();
        let is_granted = state.is_granted(self.number);
        state.waiting.retain(|waiting| waiting.ticket != self.number);
        drop(state);
        if is_granted {
            self.gate.leave();
        }
    }
}

#[cfg(test)]
mod tests;
