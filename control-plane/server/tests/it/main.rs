//! The control plane from outside: its admin API over a real store, its start and its stop.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod world;
mod node;
mod machine;
mod access;
mod apply;
mod audit;
mod bad_input;
mod channel;
mod history;
mod incremental;
mod keys;
mod membership;
mod resources;
mod start;
mod telemetry;
