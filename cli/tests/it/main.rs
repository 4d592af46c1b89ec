//! The real binary, from outside: exit code, stdout, stderr. What needs a gateway starts its own on port 0 in its own
//! directory, or a stand-in for its admin API; nothing leaves loopback.

mod support;
mod fake;
mod terminal;
mod offline;
mod reference;
mod contexts;
mod fleet;
mod views;
#[cfg(feature = "server")]
mod local;
#[cfg(feature = "server")]
mod resources;
#[cfg(feature = "server")]
mod keys;
#[cfg(feature = "server")]
mod history;
#[cfg(feature = "server")]
mod edit;
#[cfg(feature = "server")]
mod requests;
mod doctor;
#[cfg(feature = "server")]
mod membership;
#[cfg(feature = "server")]
mod collected;
