//! Figures of a fleet: 100,000 keys, 100 nodes, 500 nodes; and what two nodes may spend together.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod nodes;
mod world;
mod sizes;
mod process;
mod members;
mod revocation;
mod slow;
mod storm;
mod budgets;

use tokio::sync::{Mutex, MutexGuard};

/// A test that measures has the machine to itself, as far as this program goes.
static TURN: Mutex<()> = Mutex::const_new(());

async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}
