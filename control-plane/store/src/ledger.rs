//! The ledger of budgets: what was spent in which window, and what nodes hold to spend without asking. Spent and held together stay
//! within the amount; what was spent beyond a lease is booked all the same.
//!
//! Locks are taken in one order: the budget's head, its window, the lease. Booking what was used needs no head.

mod book;
mod close;
mod read;

use gateway_model::kind::budget::Wish;
use sqlx::{AnyConnection, Row};

use crate::db::key;
use crate::error::Error;
use crate::store::Store;

pub(crate) use book::book;
pub use read::Balance;

/// Part of an event: what it adds to one window of one budget.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Charge {
    pub budget: String,
    pub start_ms: i64,
    pub nano_usd: i64,
}

/// What a boot of a node says of one window: totals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    pub budget: String,
    pub start_ms: i64,
    pub granted: i64,
    pub returned: i64,
}

/// More is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub budget: String,
    pub start_ms: i64,
    /// The amount covers windows from this one on.
    pub from_ms: i64,
    pub amount: i64,
    /// What has arrived at the boot of what it was granted.
    pub has: i64,
    pub wish: Wish,
    /// Nodes that share what is left.
    pub n_nodes: u32,
}

/// What became of an ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// To this boot in this window, in all.
    pub granted: i64,
    /// There was not what was needed.
    pub is_short: bool,
    /// The oldest window that what is left was spent in.
    pub oldest_ms: Option<i64>,
}

/// A boot of a node.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    pub node: &'a str,
    pub boot: &'a str,
    pub at_ms: i64,
}

/// A window as it is locked, and the boot's totals in it.
struct Locked {
    spent: i64,
    leased: i64,
    granted: i64,
    returned: i64,
    settled: i64,
    /// Of what was granted: what the boot is not known to have heard of.
    unheard: i64,
}

// === impl Store ===

impl Store {
    /// Books what a boot gives back, and answers what it asks for, in the order of `asks`. What it had before comes again where it
    /// has not arrived; of other windows it never will, and that is free again. A boot that tells of a budget tells all that it has of it,
    /// and has heard all answers to what it said before that it ever will.
    pub async fn grant(&self, holder: Holder<'_>, told: &[Account], asks: &[Ask]) -> Result<Vec<Granted>, Error> {
        let mut leases = vec![Granted::default(); asks.len()];
        let mut order: Vec<&str> = told.iter().map(|account| account.budget.as_str()).collect();
        order.extend(asks.iter().map(|ask| ask.budget.as_str()));
        order.sort_unstable();
        order.dedup();
        if order.is_empty() {
            return Ok(leases);
        }
        let mut tx = self.db.begin().await?;
        let unheard = unheard(&mut tx, holder).await?;
        for budget in order {
            lock_head(&mut tx, budget, holder.at_ms).await?;
            let mut told: Vec<_> = told.iter().filter(|account| account.budget == budget).collect();
            told.sort_unstable_by_key(|account| account.start_ms);
            for account in &told {
                hear(&mut tx, holder, account).await?;
            }
            let is_answered = |start_ms| asks.iter().any(|ask| ask.budget == budget && ask.start_ms == start_ms);
            let unheard = unheard.iter().filter(|(of, _)| !told.is_empty() && *of == key(budget));
            for (_, start_ms) in unheard.filter(|(_, start_ms)| !is_answered(*start_ms)) {
                take_back(&mut tx, holder, budget, *start_ms).await?;
            }
            for (lease, ask) in leases.iter_mut().zip(asks).filter(|(_, ask)| ask.budget == budget) {
                *lease = answer(&mut tx, holder, ask).await?;
            }
        }
        tx.commit().await?;
        Ok(leases)
    }
}

async fn lock_head(connection: &mut AnyConnection, budget: &str, now_ms: i64) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO budget_head (budget, granted_ms) VALUES ($1, $2) \
         ON CONFLICT (budget) DO UPDATE SET granted_ms = excluded.granted_ms",
    )
    .bind(key(budget))
    .bind(now_ms)
    .execute(connection)
    .await?;
    Ok(())
}

/// What was given back is free again.
async fn hear(connection: &mut AnyConnection, holder: Holder<'_>, account: &Account) -> Result<(), Error> {
    let (budget, start_ms) = (account.budget.as_str(), account.start_ms);
    let locked = Locked::read(connection, holder, budget, start_ms).await?;
    // A ledger that was restored knows less than the node has.
    let granted = locked.granted.max(account.granted);
    let returned = locked.returned.max(account.returned);
    let unheard = locked.unheard.min(locked.granted.saturating_sub(account.granted).max(0));
    let next = Locked { granted: granted.max(returned.saturating_add(locked.settled)), returned, unheard, ..locked };
    if (next.granted, next.returned, next.unheard) != (locked.granted, locked.returned, locked.unheard) {
        next.write(connection, holder, budget, start_ms, &locked).await?;
    }
    Ok(())
}

/// Budgets, as they are called here, and windows in which the boot may not have heard of all that it was granted. Most have but the one
/// that was granted last.
async fn unheard(connection: &mut AnyConnection, holder: Holder<'_>) -> Result<Vec<(String, i64)>, Error> {
    let rows = sqlx::query(
        "SELECT budget, start_ms FROM budget_lease WHERE node_id = $1 AND boot_id = $2 AND unheard > 0 \
         ORDER BY budget, start_ms",
    );
    let rows = rows.bind(holder.node).bind(holder.boot).fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get("budget")?, row.try_get("start_ms")?))).collect()
}

/// An answer never came, and does not come again. What was spent beyond what was heard of stays granted.
async fn take_back(
    connection: &mut AnyConnection,
    holder: Holder<'_>,
    budget: &str,
    start_ms: i64,
) -> Result<(), Error> {
    let locked = Locked::read(connection, holder, budget, start_ms).await?;
    let granted = locked.granted.saturating_sub(locked.unheard.min(locked.held()));
    if locked.unheard > 0 {
        let next = Locked { granted, unheard: 0, ..locked };
        next.write(connection, holder, budget, start_ms, &locked).await?;
    }
    Ok(())
}

async fn answer(connection: &mut AnyConnection, holder: Holder<'_>, ask: &Ask) -> Result<Granted, Error> {
    let locked = Locked::read(connection, holder, &ask.budget, ask.start_ms).await?;
    let others = sqlx::query(
        "SELECT CAST(COALESCE(SUM(spent + leased), 0) AS BIGINT) AS used, MIN(start_ms) AS oldest FROM budget_window \
         WHERE budget = $1 AND start_ms >= $2 AND start_ms <> $3 AND spent + leased > 0",
    );
    let others = others.bind(key(&ask.budget)).bind(ask.from_ms).bind(ask.start_ms).fetch_one(&mut *connection).await?;
    let used = others.try_get::<i64, _>("used")?;
    let oldest: Option<i64> = others.try_get("oldest")?;
    let here = (locked.spent.saturating_add(locked.leased) > 0).then_some(ask.start_ms);
    let remaining = ask.amount.saturating_sub(used).saturating_sub(locked.spent).saturating_sub(locked.leased);
    // What has not arrived yet comes with this answer.
    let arrives = locked.granted.saturating_sub(ask.has).max(0);
    let rest = |nano: i64| nano.saturating_sub(arrives).max(0);
    let wish = Wish { needs: rest(ask.wish.needs), waiting: rest(ask.wish.waiting), ..ask.wish };
    let more = wish.share(remaining, ask.n_nodes);
    let is_granted = more > 0 && let_out(connection, ask, more).await?;
    let granted = if is_granted { locked.granted.saturating_add(more) } else { locked.granted };
    if is_granted {
        let unheard = locked.unheard.saturating_add(more);
        Locked { granted, unheard, ..locked }.write_lease(connection, holder, &ask.budget, ask.start_ms).await?;
    }
    let oldest_ms = oldest.into_iter().chain(here).min();
    Ok(Granted { granted, is_short: wish.needs > 0 && !is_granted, oldest_ms })
}

/// The one statement that lets money out: only while all that is counted stays within the amount.
async fn let_out(connection: &mut AnyConnection, ask: &Ask, more: i64) -> Result<bool, Error> {
    let granted = sqlx::query(
        "UPDATE budget_window SET leased = leased + $4 WHERE budget = $1 AND start_ms = $2 AND spent + leased + $4 + \
         (SELECT CAST(COALESCE(SUM(other.spent + other.leased), 0) AS BIGINT) FROM budget_window AS other \
          WHERE other.budget = $1 AND other.start_ms >= $3 AND other.start_ms <> $2) <= $5 RETURNING leased",
    );
    let granted = granted.bind(key(&ask.budget)).bind(ask.start_ms).bind(ask.from_ms).bind(more).bind(ask.amount);
    Ok(granted.fetch_optional(connection).await?.is_some())
}

// === impl Locked ===

impl Locked {
    /// Makes the window where it is new, and locks it until the transaction ends.
    async fn read(
        connection: &mut AnyConnection,
        holder: Holder<'_>,
        budget: &str,
        start_ms: i64,
    ) -> Result<Self, Error> {
        let window = sqlx::query(
            "INSERT INTO budget_window (budget, start_ms, spent, leased) VALUES ($1, $2, 0, 0) \
             ON CONFLICT (budget, start_ms) DO UPDATE SET leased = budget_window.leased RETURNING spent, leased",
        );
        let window = window.bind(key(budget)).bind(start_ms).fetch_one(&mut *connection).await?;
        let lease = sqlx::query(
            "SELECT granted, returned, settled, unheard FROM budget_lease \
             WHERE budget = $1 AND start_ms = $2 AND node_id = $3 AND boot_id = $4",
        );
        let lease = lease.bind(key(budget)).bind(start_ms).bind(holder.node).bind(holder.boot);
        let (spent, leased) = (window.try_get("spent")?, window.try_get("leased")?);
        let none = Self { spent, leased, granted: 0, returned: 0, settled: 0, unheard: 0 };
        let Some(row) = lease.fetch_optional(&mut *connection).await? else { return Ok(none) };
        let (granted, returned) = (row.try_get("granted")?, row.try_get("returned")?);
        Ok(Self { granted, returned, settled: row.try_get("settled")?, unheard: row.try_get("unheard")?, ..none })
    }

    /// What the boot may still spend.
    fn held(&self) -> i64 {
        self.granted.saturating_sub(self.returned).saturating_sub(self.settled)
    }

    /// The lease, and what that changes of the window since `before`.
    async fn write(
        &self,
        connection: &mut AnyConnection,
        holder: Holder<'_>,
        budget: &str,
        start_ms: i64,
        before: &Self,
    ) -> Result<(), Error> {
        self.write_lease(connection, holder, budget, start_ms).await?;
        sqlx::query("UPDATE budget_window SET leased = leased + $3 WHERE budget = $1 AND start_ms = $2")
            .bind(key(budget))
            .bind(start_ms)
            .bind(self.held().saturating_sub(before.held()))
            .execute(connection)
            .await?;
        Ok(())
    }

    async fn write_lease(
        &self,
        connection: &mut AnyConnection,
        holder: Holder<'_>,
        budget: &str,
        start_ms: i64,
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO budget_lease (budget, start_ms, node_id, boot_id, granted, returned, settled, unheard) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (budget, start_ms, node_id, boot_id) DO UPDATE \
             SET granted = excluded.granted, returned = excluded.returned, settled = excluded.settled, \
             unheard = excluded.unheard",
        )
        .bind(key(budget))
        .bind(start_ms)
        .bind(holder.node)
        .bind(holder.boot)
        .bind(self.granted)
        .bind(self.returned)
        .bind(self.settled)
        .bind(self.unheard)
        .execute(connection)
        .await?;
        Ok(())
    }
}
