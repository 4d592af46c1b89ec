//! The money that nodes may spend without asking. What is granted goes by the ledger and by the budget as it is stored in this moment,
//! so that an edit counts at once. A lease is never taken back by time: what a node holds counts as spent until it says otherwise.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gateway_engine::limits::lending::{Lender, Wanted};
use gateway_model::kind::Kind;
use gateway_model::kind::budget::{Bounds, Budget, BudgetRule, Wish};
use gateway_store::ledger::{Account, Ask, Granted, Holder};
use gateway_store::{Error, ItemKind, Store, StoredItem};
use gateway_wire::v1::{Lease, LeaseAccount, LeaseAsk, LeaseGrant, RateAsk, RateLoan};
use tonic::Status;

use crate::fleet::{Fleet, check_id};

/// Of one ask; a node has fewer to say.
const MAX_ACCOUNTS: usize = 10_000;
const MAX_BUDGET: usize = 300;
/// Whose messages are told apart; those of nodes that are gone are forgotten with all others.
const MAX_BOOTS: usize = 100_000;

/// Grants leases.
#[derive(Debug)]
pub struct Leases {
    store: Store,
    fleet: Arc<Fleet>,
    /// Of rates, to the nodes that this process hears.
    lender: Mutex<Lender>,
    /// The number of the last message of each boot. One of a connection that was given up may come behind those of the next: nobody hears
    /// its answer, and so what it would be granted.
    newest: Mutex<HashMap<String, u64>>,
}

/// What is asked of a budget that there is.
struct Asked<'a> {
    account: &'a LeaseAccount,
    terms: Budget,
    window: Bounds,
    /// What has arrived of what was granted in this window, which need not be the one that the node is in.
    has: i64,
}

// === impl Leases ===

impl Leases {
    pub fn new(store: Store, fleet: Arc<Fleet>) -> Self {
        Self { store, fleet, lender: Mutex::new(Lender::new(Instant::now())), newest: Mutex::default() }
    }

    /// Books what is told and answers what is asked, in one transaction. Sent again, it grants nothing twice. Windows go by `now_ms`, and
    /// rates by `now`.
    pub async fn answer(&self, ask: LeaseAsk, now_ms: i64, now: Instant) -> Result<LeaseGrant, Status> {
        check(&ask)?;
        self.check_newest(&ask)?;
        let rates = self.lent(&ask, now);
        let granted = self.granted(&ask, now_ms).await.map(|granted| LeaseGrant { rates, lends: true, ..granted });
        granted.map_err(|error| {
            self.fleet.database_failed("leases", &error);
            tracing::error!(
                node = ask.node_id,
                error = &error as &dyn std::error::Error,
                "no money can be granted for now; the node spends what it has"
            );
            Status::unavailable("the control plane cannot use its database")
        })
    }

    fn check_newest(&self, ask: &LeaseAsk) -> Result<(), Status> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.len() >= MAX_BOOTS {
            newest.clear();
        }
        let before = newest.entry(ask.boot_id.clone()).or_default();
        if ask.sequence < *before {
            return Err(Status::aborted("a later message of this boot has been answered"));
        }
        *before = ask.sequence;
        Ok(())
    }

    async fn granted(&self, ask: &LeaseAsk, now_ms: i64) -> Result<LeaseGrant, Error> {
        let holder = |boot| Holder { node: &ask.node_id, boot, at_ms: now_ms };
        for boot in ask.closed_boots.iter().filter(|boot| **boot != ask.boot_id) {
            let freed = self.store.close_leases(holder(boot)).await?;
            tracing::info!(node = ask.node_id, boot, freed, "a boot is over and gives back what it did not spend");
        }
        let told: Vec<Account> = ask.accounts.iter().map(told).collect();
        let asked = self.asked(ask, now_ms).await?;
        let n_nodes = u32::try_from(self.fleet.n_connected(now_ms)).unwrap_or(u32::MAX);
        let asks: Vec<Ask> = asked.iter().map(|asked| asked.of_ledger(n_nodes, now_ms)).collect();
        let granted = self.store.grant(holder(&ask.boot_id), &told, &asks).await?;
        // Rarely, and whenever that may have changed: with the first message of a stream, and again after each that was closed.
        let open_boots = match ask.accounts.is_empty() && ask.yields_ms == 0 {
            true => self.store.boots_with_leases(&ask.node_id, &ask.boot_id).await?,
            false => Vec::new(),
        };
        let leases = asked.iter().zip(granted).map(|(asked, granted)| asked.lease(granted)).collect();
        Ok(LeaseGrant { sequence: ask.sequence, unix_ms: now_ms, leases, open_boots, ..LeaseGrant::default() })
    }

    /// Of rates. Nothing is stored: who begins anew lends what has come together since.
    fn lent(&self, ask: &LeaseAsk, now: Instant) -> Vec<RateLoan> {
        let mut lender = self.lender.lock().unwrap_or_else(PoisonError::into_inner);
        if ask.yields_ms == 0 {
            lender.connected(&ask.boot_id, now);
            return Vec::new();
        }
        lender.yields(&ask.boot_id, ask.n_nodes, now);
        let loan = |rate: &RateAsk| {
            let name = format!("{} {}", rate.owner, rate.rate);
            let period = Duration::from_secs(rate.period_seconds.into());
            let (amount, wanted, returned) = (rate.amount, rate.wanted, rate.returned);
            let lent = lender.lend(&Wanted { name: &name, amount, period, wanted, returned }, now);
            RateLoan { owner: rate.owner.clone(), rate: rate.rate.clone(), lent }
        };
        ask.rates.iter().map(loan).collect()
    }

    async fn asked<'a>(&self, ask: &'a LeaseAsk, now_ms: i64) -> Result<Vec<Asked<'a>>, Error> {
        let mut asked = Vec::new();
        for account in ask.accounts.iter().filter(|account| account.asks) {
            // One that was deleted is granted nothing; the node is about to hear of that.
            if let Some(terms) = self.terms(&account.budget).await? {
                let window = terms.window.at(now_ms);
                let is_same =
                    |other: &&LeaseAccount| other.budget == account.budget && other.window_start_ms == window.start_ms;
                let has = ask.accounts.iter().find(is_same).map_or(0, |same| same.granted_nano_usd);
                asked.push(Asked { account, terms, window, has });
            }
        }
        Ok(asked)
    }

    async fn terms(&self, budget: &str) -> Result<Option<Budget>, Error> {
        Ok(budgeted(&self.store, budget).await?.map(|(.., terms)| terms))
    }
}

/// Whose budget it is that the ledger calls `budget/all-of-us`, `team/search` or `key/vk_…`, and what is stored of it.
pub(crate) async fn budgeted(store: &Store, budget: &str) -> Result<Option<(Kind, StoredItem, Budget)>, Error> {
    let Some((kind, name)) = budget.split_once('/') else { return Ok(None) };
    let Some(kind) = Kind::ALL.into_iter().find(|known| known.name() == kind) else { return Ok(None) };
    let Some(item) = store.item(ItemKind::Resource(kind), name).await? else { return Ok(None) };
    let terms = terms_in(kind, &item.document);
    Ok(terms.map(|terms| (kind, item, terms)))
}

/// The budget in a stored document.
pub(crate) fn terms_in(kind: Kind, document: &str) -> Option<Budget> {
    if kind == Kind::Budget {
        return serde_json::from_str::<BudgetRule>(document).ok().map(|rule| rule.budget());
    }
    let mut document: serde_json::Value = serde_json::from_str(document).ok()?;
    serde_json::from_value(document.get_mut("budget")?.take()).ok()
}

fn check(ask: &LeaseAsk) -> Result<(), Status> {
    check_id(&ask.node_id)?;
    check_id(&ask.boot_id)?;
    ask.closed_boots.iter().try_for_each(|boot| check_id(boot))?;
    if ask.rates.len() > MAX_ACCOUNTS
        || ask.rates.iter().any(|rate| rate.owner.len() > MAX_BUDGET || rate.rate.len() > 16)
    {
        return Err(Status::invalid_argument("an ask names a rate that there is not, or too many"));
    }
    if ask.accounts.len() > MAX_ACCOUNTS || ask.closed_boots.len() > MAX_ACCOUNTS {
        return Err(Status::invalid_argument(format!("an ask may hold {MAX_ACCOUNTS} accounts at most")));
    }
    let amounts = |account: &LeaseAccount| {
        [account.granted_nano_usd, account.returned_nano_usd, account.needs_nano_usd, account.wants_nano_usd]
    };
    let is_sound = |account: &LeaseAccount| {
        account.budget.len() <= MAX_BUDGET
            && amounts(account).iter().all(|amount| (0..=Budget::MAX.0).contains(amount))
            && account.returned_nano_usd <= account.granted_nano_usd.saturating_add(Budget::MAX.0)
    };
    match ask.accounts.iter().all(is_sound) {
        true => Ok(()),
        false => Err(Status::invalid_argument("an account holds a name or an amount that no budget has")),
    }
}

fn told(account: &LeaseAccount) -> Account {
    Account {
        budget: account.budget.clone(),
        start_ms: account.window_start_ms,
        granted: account.granted_nano_usd,
        returned: account.returned_nano_usd,
    }
}

// === impl Asked ===

impl Asked<'_> {
    fn of_ledger(&self, n_nodes: u32, now_ms: i64) -> Ask {
        let account = self.account;
        let wish =
            Wish { needs: account.needs_nano_usd, waiting: account.wants_nano_usd, burn: account.burn_nano_usd.max(0) };
        Ask {
            budget: account.budget.clone(),
            start_ms: self.window.start_ms,
            from_ms: self.terms.window.counted_from(now_ms),
            amount: self.terms.amount_at(now_ms).0,
            has: self.has,
            wish,
            n_nodes,
        }
    }

    fn lease(&self, granted: Granted) -> Lease {
        let oldest_ms = granted.oldest_ms.unwrap_or(self.window.start_ms);
        Lease {
            budget: self.account.budget.clone(),
            window_start_ms: self.window.start_ms,
            window_end_ms: self.window.end_ms,
            granted_nano_usd: granted.granted,
            refused_nano_usd: if granted.is_short { self.account.needs_nano_usd } else { 0 },
            free_at_ms: self.terms.window.freed_at(oldest_ms).unwrap_or(0),
        }
    }
}
