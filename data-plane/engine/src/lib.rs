//! Decisions of the data plane: who is calling, what they may do, which target serves, whether to try again, what it costs. No
//! async, no I/O; time is an argument.
//!
//! `compile` turns a configuration into an immutable `Snapshot`; per request `identity`, `resolve`, `limits` and `routing`
//! read it in this order, without a lock that requests share.

pub mod glob;
pub mod price;
pub mod count;
pub mod policy;
pub mod health;
pub mod limits;
pub mod identity;
pub mod handle;
pub mod known;
pub mod snapshot;
pub mod listing;
pub mod resolve;
pub mod pass;
pub mod routing;
pub mod agents;
pub mod retry;
pub mod compile;

#[cfg(test)]
mod testing;
