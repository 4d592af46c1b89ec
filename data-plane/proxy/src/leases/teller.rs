//! What is said to the ledger, and what its answers mean. No I/O: the time is an argument.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::AHashMap;
use gateway_engine::limits::purse::{Account, Grant, Need, Purse, Purses};
use gateway_model::kind::budget::Bounds;
use gateway_wire::v1::{LeaseAccount, LeaseAsk, LeaseGrant};

use crate::telemetry::identity::Identity;

/// A purse that nothing was spent from for so long gives back what it has.
const IDLE: Duration = Duration::from_secs(30);
/// Where nobody waits, a purse is not asked for more often than this.
const SELDOM: Duration = Duration::from_millis(100);
/// Looks between two in which those are forgotten whose window is over.
const TIDY_EVERY: u64 = 600;
/// Of one message.
const MAX_ACCOUNTS: usize = 2000;

/// One at a time asks: what was asked is answered before more is said.
pub struct Teller {
    purses: Arc<Purses>,
    identity: Arc<Identity>,
    /// Whether usage of an earlier boot is still to be delivered.
    owes: Box<dyn Fn(&str) -> bool + Send + Sync>,
    /// Purses that are spent from, or that the ledger has to be told of.
    active: AHashMap<Box<str>, Active>,
    /// Purses whose window has figures. They must not begin anew in it, or they would be given twice what they were granted.
    kept: AHashMap<Box<str>, Arc<Purse>>,
    open_boots: BTreeSet<String>,
    /// What is spent without asking has to be told too: nobody else tells.
    tells_all: bool,
    sequence: u64,
    n_looks: u64,
    /// What the message on its way says of which purse.
    told: Vec<(Arc<Purse>, Vec<Account>)>,
}

struct Active {
    purse: Arc<Purse>,
    need: Need,
    /// It was noted, or something of it changed.
    is_due: bool,
    /// It was noted: there is little left, or too little.
    is_low: bool,
    /// More was asked for, and no answer has come: what was granted by it is to be heard of.
    is_unheard: bool,
    asked_at: Option<Instant>,
    spent: i64,
    /// When it was last looked through, and when something was spent.
    looked_at: Instant,
    used_at: Instant,
    /// Nano-dollars in a second, lately.
    burn: i64,
}

// === impl Teller ===

impl Teller {
    pub fn new(purses: Arc<Purses>, identity: Arc<Identity>, owes: Box<dyn Fn(&str) -> bool + Send + Sync>) -> Self {
        Self {
            purses,
            identity,
            owes,
            active: AHashMap::new(),
            kept: AHashMap::new(),
            open_boots: BTreeSet::new(),
            tells_all: false,
            sequence: 0,
            n_looks: 0,
            told: Vec::new(),
        }
    }

    /// For a ledger that hears of spending from here only.
    pub(super) fn telling_all(self) -> Self {
        Self { tells_all: true, ..self }
    }

    /// The first message of a connection: says who asks, and hears which earlier boots hold money.
    pub fn greeting(&mut self) -> LeaseAsk {
        self.forget_told();
        for active in self.active.values_mut() {
            (active.is_due, active.is_low) = (true, active.is_low || active.is_unheard);
        }
        self.message(Vec::new())
    }

    /// Looks through all purses that are spent from; to be called every second or so.
    pub fn look(&mut self, now: Instant, now_ms: i64) {
        for active in self.active.values_mut() {
            let is_spent_from = active.look(now);
            active.is_due |= is_spent_from && self.tells_all;
        }
        self.n_looks += 1;
        if self.n_looks.is_multiple_of(TIDY_EVERY) {
            self.kept.retain(|_, purse| !purse.is_over(now_ms));
        }
    }

    /// All that is not spent goes back.
    pub fn give_back_all(&mut self) {
        self.take_noted(Instant::now());
        for active in self.active.values_mut() {
            active.purse.give_back(0);
            // But what may have been granted to it, and did not arrive, comes first.
            (active.is_due, active.is_low, active.need) = (true, active.is_unheard, Need::default());
            // It is the last word, and does not wait for its time.
            active.asked_at = None;
        }
    }

    /// The next message, if there is anything to say. Soft budgets need nothing of anybody.
    pub fn next(&mut self, now: Instant) -> Option<LeaseAsk> {
        self.take_noted(now);
        let closed_boots = self.closed_boots();
        let mut accounts = Vec::new();
        for active in self.active.values_mut() {
            if accounts.len() >= MAX_ACCOUNTS {
                break;
            }
            if active.is_due && active.is_time(now) {
                let figures = active.purse.accounts();
                accounts.extend(active.say(&figures, now));
                self.told.push((Arc::clone(&active.purse), figures));
            }
        }
        if accounts.is_empty() && closed_boots.is_empty() {
            return None;
        }
        Some(LeaseAsk { closed_boots, ..self.message(accounts) })
    }

    /// How long until something that is due may be said; `None` where nothing is.
    pub(super) fn waits(&self, now: Instant) -> Option<Duration> {
        let due = self.active.values().filter(|active| active.is_due);
        due.filter_map(|active| Some(SELDOM.saturating_sub(now.saturating_duration_since(active.asked_at?)))).min()
    }

    pub fn answered(&mut self, grant: &LeaseGrant, now_ms: i64) {
        self.purses.set_clock(grant.unix_ms, now_ms);
        self.purses.heard();
        for lease in &grant.leases {
            let Some(active) = self.active.get_mut(lease.budget.as_str()) else { continue };
            let grant = Grant {
                window: Bounds { start_ms: lease.window_start_ms, end_ms: lease.window_end_ms },
                granted: lease.granted_nano_usd,
                refused: lease.refused_nano_usd,
                free_at_ms: (lease.free_at_ms != 0).then_some(lease.free_at_ms),
            };
            active.is_unheard = false;
            active.purse.granted(&grant, now_ms);
            if grant.refused > 0 {
                // Too little for those who ask, here as elsewhere: together it may do for one of them.
                active.purse.give_back(0);
                active.is_due = true;
            }
        }
        for (purse, accounts) in self.told.drain(..) {
            purse.told(&accounts);
            let Some(active) = self.active.get_mut(purse.id()).filter(|active| !active.is_due && purse.is_idle())
            else {
                continue;
            };
            // What this answer has granted is told too: the ledger takes for unheard what it is not told of.
            active.is_due = purse.accounts().last() != accounts.last();
            if !active.is_due
                && let Some(active) = self.active.remove(purse.id())
            {
                self.kept.insert(purse.id().into(), active.purse);
            }
        }
        self.open_boots.extend(grant.open_boots.iter().cloned());
    }

    /// Boots of whose usage nothing is left to deliver. Said once for each time that the ledger asks.
    fn closed_boots(&mut self) -> Vec<String> {
        let owes = &self.owes;
        self.open_boots.extract_if(.., |boot| !owes(boot)).collect()
    }

    /// One that says nothing of budgets.
    pub fn bare(&mut self) -> LeaseAsk {
        self.message(Vec::new())
    }

    fn message(&mut self, accounts: Vec<LeaseAccount>) -> LeaseAsk {
        self.sequence += 1;
        LeaseAsk {
            node_id: self.identity.node_id().to_string(),
            boot_id: self.identity.boot_id.clone(),
            sequence: self.sequence,
            accounts,
            ..LeaseAsk::default()
        }
    }

    /// The answer never came: it is said again.
    fn forget_told(&mut self) {
        self.told.clear();
    }

    fn take_noted(&mut self, now: Instant) {
        for purse in self.purses.noted() {
            let need = purse.look();
            self.kept.remove(purse.id());
            let active = self.active.entry(purse.id().into()).or_insert_with(|| Active::new(purse, now));
            (active.is_due, active.is_low) = (true, true);
            active.need.one = active.need.one.max(need.one);
            active.need.all = active.need.all.saturating_add(need.all);
        }
    }
}

// === impl Active ===

impl Active {
    fn new(purse: Arc<Purse>, now: Instant) -> Self {
        let spent = purse.accounts().iter().map(|account| account.spent).sum();
        let need = Need::default();
        let (is_due, is_low, is_unheard) = (false, false, false);
        Self { purse, need, is_due, is_low, is_unheard, asked_at: None, spent, looked_at: now, used_at: now, burn: 0 }
    }

    /// Whether something was spent since the last time.
    fn look(&mut self, now: Instant) -> bool {
        let accounts = self.purse.accounts();
        let spent: i64 = accounts.iter().map(|account| account.spent).sum();
        let is_open = accounts.iter().any(|account| account.n_open > 0);
        let more = spent.saturating_sub(self.spent);
        let millis = i64::try_from(now.saturating_duration_since(self.looked_at).as_millis()).unwrap_or(i64::MAX);
        if millis > 0 {
            let rate = more.max(0).saturating_mul(1000) / millis;
            // Half of it is what was before: bursts count, and are forgotten in some seconds.
            self.burn = self.burn / 2 + rate / 2;
        }
        (self.spent, self.looked_at) = (spent, now);
        if more != 0 || is_open {
            self.used_at = now;
        }
        let is_over = accounts.iter().any(|account| !account.is_current);
        let is_idle = now.saturating_duration_since(self.used_at) >= IDLE;
        if is_idle {
            self.purse.give_back(0);
        } else if is_over {
            // Of windows that are over all goes back, of the current one nothing.
            self.purse.give_back(i64::MAX);
        }
        self.is_due |= is_idle || is_over;
        more != 0
    }

    fn is_time(&self, now: Instant) -> bool {
        self.need.one > 0 || self.asked_at.is_none_or(|at| now.saturating_duration_since(at) >= SELDOM)
    }

    fn say(&mut self, figures: &[Account], now: Instant) -> Vec<LeaseAccount> {
        let need = std::mem::take(&mut self.need);
        let asks = std::mem::take(&mut self.is_low) && self.purse.terms().is_hard();
        self.is_unheard |= asks;
        (self.is_due, self.asked_at) = (false, Some(now));
        if need.one > 0 {
            self.used_at = now;
        }
        // By what is there in this moment, and not when each of them looked.
        let missing = |figures: &Account, wanted: i64| match wanted {
            0 => 0,
            wanted if figures.is_current => wanted.saturating_sub(figures.left).max(0),
            _ => 0,
        };
        let accounts = figures.iter().map(|figures| LeaseAccount {
            budget: self.purse.id().to_owned(),
            window_start_ms: figures.start_ms,
            granted_nano_usd: figures.granted,
            returned_nano_usd: figures.returned,
            spent_nano_usd: figures.spent,
            needs_nano_usd: missing(figures, need.one),
            wants_nano_usd: missing(figures, need.all),
            burn_nano_usd: self.burn,
            asks: figures.is_current && asks,
        });
        accounts.collect()
    }
}

#[cfg(test)]
mod tests;
