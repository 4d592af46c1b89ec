//! The stateless proxy node: listens, calls upstreams, streams back, swaps its configuration, reports what happened.
//!
//! Life of a request: `server` → `pipeline` (which reads like its diagram in data-plane/README.md) → `attempt` → `reply` and
//! `relay`; whatever happened is in the `record`, which settles on drop. Life of a configuration: `sync`.

pub mod config;
pub mod clock;
pub mod task;
mod backoff;
mod private_file;
mod conversations;
pub mod warnings;
pub mod link;
pub mod body;
mod trace_context;
pub mod state;
mod fleet_size;
pub mod meters;
pub mod telemetry;
pub mod member;
pub mod sync;
pub mod leases;
mod limit_store;
mod receipts;
mod spans;
mod sinks;
mod pages;
mod pprof;
mod ingress;
pub mod openapi;
mod presented;
mod account;
mod aborts;
mod cache;
mod headers;
mod record;
mod billing;
mod receive;
mod refusal;
mod own;
mod upstream;
mod tokens;
mod foreign;
mod introspection;
mod jwt;
mod discovery;
mod relay;
mod attempt;
mod probing;
mod tail;
mod reply;
mod websocket;
mod pass;
mod models;
mod ops;
mod otlp;
mod responses;
mod batches;
mod shadow;
mod pipeline;
mod edge;
mod server;
mod ops_listener;
mod node;

pub mod command;

pub use node::{Node, start};
