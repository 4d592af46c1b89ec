//! What the requests of a past window cost by other prices: told, or written where it stands, in the events and in the sums of them.
//!
//! A piece of the window is one transaction. Each event is set to what it costs, and its sums get the difference, so that a piece
//! that is done twice changes nothing the second time, and one that broke off is begun again where it was.

use std::fmt::Write as _;

use sqlx::{AnyConnection, AssertSqlSafe, SqlSafeStr as _};

use super::write::{Counters, add_all, keys};
use super::{COLUMNS, Cursor, MAX_COST, UsageRow};
use crate::audit::AuditRow;
use crate::db::{Db, MAX_PARAMETERS, signed, text};
use crate::error::Error;
use crate::heads::lock_heads;
use crate::store::Store;

/// Which requests. Empty names are anybody's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// When they began, by the clock of their node: from this moment on and before that one.
    pub from_ms: i64,
    pub to_ms: i64,
    pub provider: String,
    /// As it was asked for.
    pub model: String,
    /// As the provider calls it.
    pub upstream_model: String,
}

/// What a request costs now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// `None`: something was used that has no price.
    pub nano_usd: Option<i64>,
    /// The row of prices; empty without one.
    pub price: String,
}

/// Sums of a piece, as they were or as they are to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    pub cost_nano_usd: i64,
    /// Requests without a known price; they are in no cost.
    pub unpriced: u64,
}

/// What came of a piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    pub n_requests: u64,
    /// Whose cost, or whose having one, is another.
    pub n_changed: u64,
    /// Which nobody here can tell the price of, and which stay as they are.
    pub n_kept: u64,
    pub before: Sums,
    pub after: Sums,
    /// Where the window goes on; `None` at its end.
    pub next: Option<Cursor>,
}

/// Values of an event that are set.
const N_SET: usize = 5;

// === impl Store ===

impl Store {
    /// The next piece of a window, up to `limit` requests after the cursor, oldest first. `price` says what a request costs, or `None`
    /// where it is not to be touched. Changes nothing.
    pub async fn reprice_dry(
        &self,
        window: &Window,
        after: Option<&Cursor>,
        limit: usize,
        price: impl Fn(&UsageRow) -> Option<Cost>,
    ) -> Result<Piece, Error> {
        let mut tx = self.db.begin_read().await?;
        let rows = read(&mut tx, window, after, limit, "").await?;
        tx.commit().await?;
        Ok(Repriced::new(rows, limit, price).piece)
    }

    /// The same, and writes it: events, sums and the entry of the audit log in one transaction. Budgets are left alone.
    pub async fn reprice(
        &self,
        window: &Window,
        after: Option<&Cursor>,
        limit: usize,
        price: impl Fn(&UsageRow) -> Option<Cost>,
        audit: impl FnOnce(&Piece) -> AuditRow,
    ) -> Result<Piece, Error> {
        let mut tx = self.db.begin().await?;
        let rows = read(&mut tx, window, after, limit, self.db.locking()).await?;
        let Repriced { changed, piece } = Repriced::new(rows, limit, price);
        set(&self.db, &mut tx, &changed).await?;
        let mut counters = Counters::new();
        for change @ Change { row, cost } in &changed {
            let saved = change.saved();
            let before = Sums::of(row.cost_nano_usd, row.priced);
            let after = Sums::of(cost.nano_usd.unwrap_or(0), cost.nano_usd.is_some());
            for key in keys(row) {
                let added = counters.entry(key).or_default();
                added.totals.cost_nano_usd =
                    added.totals.cost_nano_usd.saturating_add(after.cost_nano_usd - before.cost_nano_usd);
                added.unpriced += signed(after.unpriced) - signed(before.unpriced);
                let saved = saved.unwrap_or(0) - row.saved_nano_usd().unwrap_or(0);
                added.totals.saved_nano_usd = added.totals.saved_nano_usd.saturating_add(saved);
            }
        }
        add_all(&self.db, &mut tx, counters).await?;
        // The chain has one writer at a time; last, so that it waits for nothing of this.
        lock_heads(&mut tx).await?;
        crate::audit::append(&mut tx, &[audit(&piece)]).await?;
        tx.commit().await?;
        Ok(piece)
    }
}

/// Oldest first, one more than `limit`.
async fn read(
    connection: &mut AnyConnection,
    window: &Window,
    after: Option<&Cursor>,
    limit: usize,
    locking: &str,
) -> Result<Vec<UsageRow>, Error> {
    let mut statement = format!(
        "SELECT {COLUMNS} FROM usage_event WHERE started_ms >= $1 AND started_ms < $2 AND (started_ms, id) > ($3, $4)"
    );
    let named = [("provider", &window.provider), ("model", &window.model), ("upstream_model", &window.upstream_model)];
    let named: Vec<_> = named.into_iter().filter(|(_, name)| !name.is_empty()).collect();
    for (position, (column, _)) in named.iter().enumerate() {
        let _ = write!(statement, " AND {column} = ${}", position + 5);
    }
    let _ = write!(statement, " ORDER BY started_ms, id LIMIT ${}{locking}", named.len() + 5);
    let (started_ms, id) = after.map_or((i64::MIN, ""), |cursor| (cursor.started_ms, cursor.id.as_str()));
    // Names of ours and numbers of parameters only.
    let query = sqlx::query(AssertSqlSafe(statement).into_sql_str()).persistent(false);
    let mut query = query.bind(window.from_ms).bind(window.to_ms).bind(started_ms).bind(text(id));
    for (_, name) in named {
        query = query.bind(text(name));
    }
    let rows = query.bind(signed(limit as u64 + 1)).fetch_all(connection).await?;
    rows.iter().map(UsageRow::read).collect()
}

async fn set(db: &Db, connection: &mut AnyConnection, changed: &[Change]) -> Result<(), Error> {
    for changed in changed.chunks(MAX_PARAMETERS / N_SET) {
        // The bounds keep a large table from being read from end to end.
        let times = || changed.iter().map(|change| change.row.started_ms);
        let (first, last) = (times().min().unwrap_or_default(), times().max().unwrap_or_default());
        let statement = db.bulk(
            "UPDATE usage_event SET cost_nano_usd = v.column2, priced = v.column3, price = v.column4, baseline_nano_usd = v.column5 FROM (VALUES",
            N_SET,
            changed.len(),
            &format!(") AS v WHERE usage_event.id = v.column1 AND usage_event.started_ms BETWEEN {first} AND {last}"),
        );
        let mut query = sqlx::query(statement).persistent(false);
        for change @ Change { row, cost } in changed {
            query = query
                .bind(row.id.as_str())
                .bind(cost.nano_usd.unwrap_or(0))
                .bind(i64::from(cost.nano_usd.is_some()))
                .bind(cost.price.as_str())
                .bind(change.baseline());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// An event, and what it is to cost.
struct Change {
    row: UsageRow,
    cost: Cost,
}

/// A piece with what is to be written of it.
struct Repriced {
    changed: Vec<Change>,
    piece: Piece,
}

// === impl Repriced ===

impl Repriced {
    /// Of up to one more row than `limit`, which tells that the window goes on.
    fn new(mut rows: Vec<UsageRow>, limit: usize, price: impl Fn(&UsageRow) -> Option<Cost>) -> Self {
        let goes_on = rows.len() > limit;
        rows.truncate(limit);
        let mut piece = Piece::default();
        if goes_on {
            piece.next = rows.last().map(|row| Cursor { started_ms: row.started_ms, id: row.id.clone() });
        }
        let mut changed = Vec::new();
        for row in rows {
            piece.n_requests += 1;
            let before = Sums::of(row.cost_nano_usd, row.priced);
            piece.before.add(before);
            let Some(cost) = price(&row).map(Cost::bounded) else {
                piece.n_kept += 1;
                piece.after.add(before);
                continue;
            };
            let after = Sums::of(cost.nano_usd.unwrap_or(0), cost.nano_usd.is_some());
            piece.after.add(after);
            piece.n_changed += u64::from(after != before);
            // The same money by another row of prices is written down too.
            if after != before || cost.price != row.price {
                changed.push(Change { row, cost });
            }
        }
        Self { changed, piece }
    }
}

// === impl Change ===

impl Change {
    /// Stays, so that the saving changes with the cost. But what had nothing saved of it was charged by the price that it is held against,
    /// and that is another now: it goes along.
    fn baseline(&self) -> Option<i64> {
        match self.row.saved_nano_usd() {
            Some(0) => self.cost.nano_usd,
            _ => self.row.baseline_nano_usd,
        }
    }

    fn saved(&self) -> Option<i64> {
        self.baseline().zip(self.cost.nano_usd).map(|(baseline, cost)| baseline.saturating_sub(cost))
    }
}

// === impl Cost ===

impl Cost {
    fn bounded(self) -> Self {
        Self { nano_usd: self.nano_usd.map(|cost| cost.clamp(-MAX_COST, MAX_COST)), price: text(&self.price) }
    }
}

// === impl Sums ===

impl Sums {
    fn of(cost_nano_usd: i64, priced: bool) -> Self {
        if priced { Self { cost_nano_usd, unpriced: 0 } } else { Self { cost_nano_usd: 0, unpriced: 1 } }
    }

    fn add(&mut self, other: Self) {
        self.cost_nano_usd = self.cost_nano_usd.saturating_add(other.cost_nano_usd);
        self.unpriced += other.unpriced;
    }
}
