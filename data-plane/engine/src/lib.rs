//! Decisions of the data plane: who is calling, what they may do, which target serves, whether to try again, what it costs. No
//! async, no I/O; time is an argument.
//!
//! `compile` turns a configuration into an immutable `Snapshot`; per request `identity`, `resolve`, `limits` and `routing`
//! read it in this order, without a lock that requests share.

pub mod glob;
pub mod price;
pub mod bpe;
pub mod count;
pub mod policy;
pub mod fit;
pub mod gate;
pub mod limits;
pub mod health;
pub mod bodies;
pub mod jws;
pub mod identity;
pub mod issuers;
pub mod tenants;
pub mod selector;
pub mod shared;
pub mod budgets;
pub mod handle;
pub mod known;
pub mod auto;
pub mod ask;
pub mod snapshot;
pub mod listing;
pub mod resolve;
pub mod choice;
pub mod cache;
pub mod pass;
pub mod routing;
pub mod explain;
pub mod agents;
pub mod retry;
pub mod compile;

#[cfg(test)]
mod testing;
