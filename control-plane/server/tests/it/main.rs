//! The control plane from outside: its admin API over a real store, its start and its stop.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod world;
mod node;
mod people;
mod oidc;
mod machine;
mod access;
mod alerts;
mod aliases;
mod apply;
mod audit;
mod bad_input;
mod bodies;
mod channel;
mod explain;
mod exports;
mod history;
mod hostile;
mod incremental;
mod keys;
mod membership;
mod metrics;
mod providers;
mod reprice;
mod resources;
mod session;
mod spend;
mod start;
mod telemetry;
mod traffic;
