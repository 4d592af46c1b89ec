//! The control plane: the write path of the configuration, the admin API, the fleet channel's server side, ingest.
//!
//! It never stands in the way of a request: nodes serve on without it.

pub mod clock;
mod money;
mod task;
pub mod config;
mod data_dir;
pub mod meters;
pub mod vault;
pub mod credential;
pub mod authority;
mod view;
pub mod permission;
pub mod change;
pub mod peer;
pub mod fleet;
pub mod members;
pub mod enrolment;
pub mod ingest;
pub mod leases;
pub mod publish;
pub mod sync;
mod outbound;
pub mod alerts;
pub mod exports;
pub mod upstreams;
mod sessions;
mod passwords;
mod oidc;
pub mod app;
mod dashboard;
pub mod admin;
mod listener;
mod fleet_listener;
mod jobs;
mod replica;
mod control_plane;
pub mod command;

pub use config::Options;
pub use control_plane::{ControlPlane, start};
