//! Booking what was used: from what a boot holds to what is spent, in the transaction that stores the events.

use std::collections::BTreeMap;

use sqlx::{AnyConnection, Row};

use super::{Charge, Holder};
use crate::db::{Db, Rows, key};
use crate::error::Error;

/// Budget and window: the order in which rows are locked.
type Place = (String, i64);

/// The boot's totals in one window.
struct Lease {
    granted: i64,
    returned: i64,
    settled: i64,
}

/// `charges` are of events that were not there before. Four statements.
pub(crate) async fn book<'c>(
    db: &Db,
    connection: &mut AnyConnection,
    holder: Holder<'_>,
    charges: impl Iterator<Item = &'c Charge>,
) -> Result<(), Error> {
    let mut sums: BTreeMap<Place, i64> = BTreeMap::new();
    for charge in charges {
        let sum = sums.entry((key(&charge.budget), charge.start_ms)).or_default();
        *sum = sum.saturating_add(charge.nano_usd.max(0));
    }
    let sums: Vec<(Place, i64)> = sums.into_iter().collect();
    let spent: Vec<_> = sums.iter().map(|((budget, start_ms), nano)| (budget.as_str(), *start_ms, *nano, 0)).collect();
    // First: from here on the windows are locked.
    add(db, connection, holder.at_ms, &spent).await?;
    let mut leases = leases(db, connection, holder, &sums).await?;
    let mut moved = Vec::with_capacity(sums.len());
    for (place, nano) in &sums {
        let lease = leases.entry(place.clone()).or_insert(Lease { granted: 0, returned: 0, settled: 0 });
        let held = lease.granted.saturating_sub(lease.returned).saturating_sub(lease.settled);
        lease.settled = lease.settled.saturating_add(*nano);
        // What was spent beyond the lease is as good as granted: it cannot be granted to others any more.
        lease.granted = lease.granted.max(lease.settled.saturating_add(lease.returned));
        moved.push((place.0.as_str(), place.1, 0, -held.min(*nano)));
    }
    moved.retain(|(.., nano)| *nano != 0);
    write(db, connection, holder, &leases).await?;
    add(db, connection, holder.at_ms, &moved).await
}

/// Budget, window, spent, leased.
async fn add(
    db: &Db,
    connection: &mut AnyConnection,
    now_ms: i64,
    rows: &[(&str, i64, i64, i64)],
) -> Result<(), Error> {
    let mut values = Rows::of(5);
    for (budget, start_ms, spent, leased) in rows {
        values.put(*budget).put(*start_ms).put(*spent).put(*leased).put(now_ms);
    }
    let before = "INSERT INTO budget_window (budget, start_ms, spent, leased, booked_ms)";
    let after = "ON CONFLICT (budget, start_ms) DO UPDATE SET spent = budget_window.spent + excluded.spent, \
         leased = budget_window.leased + excluded.leased, booked_ms = excluded.booked_ms";
    values.execute(db, connection, before, after).await.map(drop)
}

async fn leases(
    db: &Db,
    connection: &mut AnyConnection,
    holder: Holder<'_>,
    sums: &[(Place, i64)],
) -> Result<BTreeMap<Place, Lease>, Error> {
    let mut values = Rows::of(4);
    for ((budget, start_ms), _) in sums {
        values.put(budget.as_str()).put(*start_ms).put(holder.node).put(holder.boot);
    }
    let before = "SELECT budget, start_ms, granted, returned, settled FROM budget_lease \
         WHERE (budget, start_ms, node_id, boot_id) IN (";
    let rows = values.fetch(db, connection, before, ")").await?;
    let lease = |row: &sqlx::any::AnyRow| {
        let lease = Lease {
            granted: row.try_get("granted")?,
            returned: row.try_get("returned")?,
            settled: row.try_get("settled")?,
        };
        Ok(((row.try_get("budget")?, row.try_get("start_ms")?), lease))
    };
    rows.iter().map(lease).collect()
}

async fn write(
    db: &Db,
    connection: &mut AnyConnection,
    holder: Holder<'_>,
    leases: &BTreeMap<Place, Lease>,
) -> Result<(), Error> {
    let mut values = Rows::of(7);
    for ((budget, start_ms), lease) in leases {
        values.put(budget.as_str()).put(*start_ms).put(holder.node).put(holder.boot);
        values.put(lease.granted).put(lease.returned).put(lease.settled);
    }
    let before = "INSERT INTO budget_lease (budget, start_ms, node_id, boot_id, granted, returned, settled)";
    let after = "ON CONFLICT (budget, start_ms, node_id, boot_id) DO UPDATE SET granted = excluded.granted, settled = excluded.settled";
    values.execute(db, connection, before, after).await.map(drop)
}
