//! Everything durable of the control plane: configuration with its revisions, audit, usage, logs, nodes. The only crate that knows SQL.
//!
//! It gives no meaning to documents and holds no key: secrets arrive sealed, times arrive as values.

pub mod error;
mod db;
mod clickhouse;
mod migrate;
pub mod item;
mod heads;
mod follow;
pub mod tally;
pub mod store;
pub mod resources;
mod lookup;
pub mod audit;
pub mod revisions;
pub mod ledger;
pub mod alerts;
mod last_used;
pub mod usage;
pub mod spend;
pub mod traffic;
pub mod log_sessions;
pub mod logs;
pub mod bodies;
pub mod exports;
pub mod retention;
pub mod nodes;
pub mod membership;
pub mod replicas;
pub mod leases;
pub mod sessions;
pub mod people;

pub use error::Error;
pub use heads::Heads;
pub use item::{ItemKind, StoredItem};
pub use store::Store;
