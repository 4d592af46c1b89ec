//! Figures of a fleet: 100,000 keys, 100 nodes, 500 nodes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod nodes;
mod world;
mod sizes;
mod process;
mod members;
mod revocation;
mod slow;
mod storm;
