//! What this node may still spend of one budget. Whoever owns the ledger grants money for a window; requests reserve from it and
//! settle, and nobody waits for anybody: the balance is one atomic number. Who asks the ledger, and when, is another's business.

mod purses;
mod slot;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use gateway_model::kind::budget::{Bounds, Budget};

pub use purses::{Purses, Totals};
use slot::Slot;

/// One budget on this node. It outlives configurations; what they say about it changes in place.
#[derive(Debug)]
pub struct Purse {
    id: Box<str>,
    terms: Mutex<Budget>,
    is_hard: AtomicBool,
    purses: Arc<Purses>,
    /// The window that is spent in; none before the first request.
    current: ArcSwapOption<Slot>,
    /// Windows with money that was not given back yet, or with requests that run.
    past: Mutex<Vec<Arc<Slot>>>,
    /// Whether it waits to be looked after.
    is_noted: AtomicBool,
    /// What requests wanted that found too little since the ledger was last asked: the largest of them, and all together.
    short_of: AtomicI64,
    short_in_all: AtomicI64,
}

/// Money of one request, taken and not spent yet. Dropped, all of it counts as spent.
#[derive(Debug)]
#[must_use = "a hold that is dropped is spent"]
pub struct Hold {
    purse: Arc<Purse>,
    slot: Arc<Slot>,
    nano: i64,
    is_settled: bool,
}

/// Why a request did not get its money. Nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Short {
    /// The ledger has been asked; it is worth waiting for its answer, and trying again.
    Asked,
    /// The ledger has no more, until this time by the caller's clock; `None` where no window begins anew.
    Exhausted { until_ms: Option<i64> },
    /// The ledger cannot be asked, and there is no allowance for that.
    Unavailable,
}

/// A window's figures, as the ledger wants them: totals, so that it does not matter how often they are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    pub start_ms: i64,
    pub granted: i64,
    pub returned: i64,
    pub spent: i64,
    /// Neither spent nor reserved; below 0 where more was spent than granted.
    pub left: i64,
    pub n_open: u64,
    pub is_current: bool,
}

/// What requests wanted that found too little, whatever is there: some of it may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// The largest of them.
    pub one: i64,
    /// All together.
    pub all: i64,
}

/// What the ledger answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    pub window: Bounds,
    /// In this window, to this process, in all.
    pub granted: i64,
    /// There was not so much more; 0 where nothing was refused.
    pub refused: i64,
    /// When there may be more; `None` for never.
    pub free_at_ms: Option<i64>,
}

// === impl Purse ===

impl Purse {
    fn new(id: &str, terms: Budget, purses: Arc<Purses>) -> Self {
        Self {
            id: id.into(),
            terms: Mutex::new(terms),
            is_hard: AtomicBool::new(terms.is_hard()),
            purses,
            current: ArcSwapOption::empty(),
            past: Mutex::default(),
            is_noted: AtomicBool::new(false),
            short_of: AtomicI64::new(0),
            short_in_all: AtomicI64::new(0),
        }
    }

    /// `key/vk_…`, `team/search`, `budget/all-of-us`.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn terms(&self) -> Budget {
        *lock(&self.terms)
    }

    /// Takes so much, or nothing. A budget that only alerts never refuses. Some tens of nanoseconds; locks nothing but when a window
    /// begins or money runs short. `now_ms` is this machine's clock.
    pub fn reserve(self: &Arc<Self>, nano: i64, now_ms: i64) -> Result<Hold, Short> {
        let (nano, now_ms) = (nano.max(0), self.purses.ledger_time(now_ms));
        let slot = self.slot(now_ms);
        self.take(&slot, nano, now_ms)?;
        slot.opened();
        Ok(Hold { purse: Arc::clone(self), slot, nano, is_settled: false })
    }

    /// For what was done already: nothing is taken before it is settled, and nobody is asked.
    pub fn owes(self: &Arc<Self>, now_ms: i64) -> Hold {
        let slot = self.slot(self.purses.ledger_time(now_ms));
        slot.opened();
        self.note();
        Hold { purse: Arc::clone(self), slot, nano: 0, is_settled: false }
    }

    fn take(self: &Arc<Self>, slot: &Slot, nano: i64, now_ms: i64) -> Result<(), Short> {
        if !self.is_hard.load(Ordering::Relaxed) {
            slot.take_anyway(nano);
            self.first_of(slot);
            return Ok(());
        }
        match slot.take(nano) {
            Ok(left) => {
                if slot.is_low(left) && !slot.refuses(1, now_ms) {
                    self.note();
                }
                Ok(())
            }
            Err(left) => self.short(slot, nano, left, now_ms),
        }
    }

    /// Whoever looks after purses has to know of those that never ask.
    fn first_of(self: &Arc<Self>, slot: &Slot) {
        if slot.is_unknown() {
            self.note();
        }
    }

    #[cold]
    fn short(self: &Arc<Self>, slot: &Slot, nano: i64, left: i64, now_ms: i64) -> Result<(), Short> {
        let missing = nano.saturating_sub(left);
        if slot.refuses(missing, now_ms) {
            let until_ms = slot.free_at_ms().map(|at_ms| self.purses.local_time(at_ms));
            return Err(Short::Exhausted { until_ms });
        }
        self.short_of.fetch_max(nano.saturating_add(slot.uncovered()), Ordering::Relaxed);
        self.short_in_all.fetch_add(nano, Ordering::Relaxed);
        self.note();
        if !self.purses.is_away(self.purses.local_time(now_ms)) {
            return Err(Short::Asked);
        }
        if slot.lend(missing, self.terms().offline_allowance_usd.0) && slot.take(nano).is_ok() {
            return Ok(());
        }
        Err(Short::Unavailable)
    }

    /// The window of this moment. A clock that has gone back stays in the window that it was in.
    fn slot(&self, now_ms: i64) -> Arc<Slot> {
        match &*self.current.load() {
            Some(slot) if now_ms < slot.end_ms() => Arc::clone(slot),
            _ => self.turn(now_ms),
        }
    }

    #[cold]
    fn turn(&self, now_ms: i64) -> Arc<Slot> {
        let window = self.terms().window.at(now_ms);
        let mut past = lock(&self.past);
        match self.current.load_full() {
            // Another request was faster.
            Some(slot) if now_ms < slot.end_ms() => slot,
            _ => self.turn_to(window, &mut past),
        }
    }

    fn turn_to(&self, window: Bounds, past: &mut MutexGuard<'_, Vec<Arc<Slot>>>) -> Arc<Slot> {
        let current = self.current.load_full();
        let known = past.iter().position(|slot| slot.start_ms == window.start_ms);
        let slot = match (&current, known) {
            (Some(slot), _) if slot.start_ms == window.start_ms => Arc::clone(slot),
            (_, Some(at)) => past.swap_remove(at),
            (_, None) => Arc::new(Slot::new(window)),
        };
        // One start is one window: of a budget that was changed what is left goes on.
        slot.ends_at(window.end_ms);
        let before = self.current.swap(Some(Arc::clone(&slot)));
        past.extend(before.filter(|before| !Arc::ptr_eq(before, &slot)));
        slot
    }

    fn note(self: &Arc<Self>) {
        if !self.is_noted.swap(true, Ordering::AcqRel) {
            self.purses.note(Arc::clone(self));
        }
    }
}

/// For whoever asks the ledger; one at a time.
impl Purse {
    /// From now on it may be noted again.
    pub fn look(&self) -> Need {
        self.is_noted.store(false, Ordering::Release);
        let taken = |counter: &AtomicI64| counter.swap(0, Ordering::Relaxed);
        Need { one: taken(&self.short_of), all: taken(&self.short_in_all) }
    }

    /// The current window last.
    pub fn accounts(&self) -> Vec<Account> {
        let past = lock(&self.past);
        let accounts = past.iter().map(|slot| slot.account());
        let current = self.current.load();
        let current = current.iter().map(|slot| Account { is_current: true, ..slot.account() });
        accounts.chain(current).collect()
    }

    /// By the ledger's word the window is the one to spend in now.
    pub fn granted(&self, grant: &Grant, now_ms: i64) {
        let mut past = lock(&self.past);
        let slot = match self.current.load_full() {
            Some(slot) if slot.start_ms == grant.window.start_ms && slot.end_ms() == grant.window.end_ms => slot,
            _ => self.turn_to(grant.window, &mut past),
        };
        drop(past);
        slot.granted(grant, self.purses.ledger_time(now_ms));
    }

    /// Gives back what is left of windows that are over, and of the current one all above `keep`. It is told with the next accounts.
    pub fn give_back(&self, keep: i64) {
        lock(&self.past).iter().for_each(|slot| slot.give_back(0));
        if let Some(slot) = &*self.current.load() {
            slot.give_back(keep);
        }
    }

    /// Forgets windows that are over, if the ledger knows these figures of them.
    pub fn told(&self, accounts: &[Account]) {
        lock(&self.past).retain(|slot| {
            let account = slot.account();
            account.n_open > 0 || account.left > 0 || !accounts.contains(&account)
        });
    }

    /// Whether the window that was spent in last is over.
    pub fn is_over(&self, now_ms: i64) -> bool {
        let now_ms = self.purses.ledger_time(now_ms);
        self.current.load().as_ref().is_none_or(|slot| now_ms >= slot.end_ms())
    }

    /// Whether there is nothing of it that the ledger would miss.
    pub fn is_idle(&self) -> bool {
        let holds = |account: &Account| account.n_open > 0 || account.left > 0 || !account.is_current;
        !self.accounts().iter().any(holds)
    }
}

impl Drop for Purse {
    fn drop(&mut self) {
        self.purses.forget(&self.id);
    }
}

// === impl Hold ===

impl Hold {
    pub fn purse(&self) -> &Arc<Purse> {
        &self.purse
    }

    /// Which window of the budget it counts in.
    pub fn window_start_ms(&self) -> i64 {
        self.slot.start_ms
    }

    pub fn nano(&self) -> i64 {
        self.nano
    }

    /// Takes more for the same request, from the same window, or nothing.
    pub fn top_up(&mut self, nano: i64, now_ms: i64) -> Result<(), Short> {
        let nano = nano.max(0);
        self.purse.take(&self.slot, nano, self.purse.purses.ledger_time(now_ms))?;
        self.nano = self.nano.saturating_add(nano);
        Ok(())
    }

    /// The same, whatever is there: whoever comes next finds so much less.
    pub fn owe(&mut self, nano: i64) {
        self.slot.take_anyway(nano.max(0));
        self.nano = self.nano.saturating_add(nano.max(0));
    }

    /// What was not used is there for others at once. What was used beyond the hold is owed, and whoever comes next pays it first.
    pub fn settle(mut self, used_nano: i64) {
        self.close(used_nano.max(0));
    }

    fn close(&mut self, used_nano: i64) {
        self.is_settled = true;
        self.slot.settled(self.nano, used_nano);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.is_settled {
            self.close(self.nano);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
