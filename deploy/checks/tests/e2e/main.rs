//! The whole, from outside: real processes of the built `gatewayctl`, real sockets, a scripted upstream. What can be shown in
//! one crate is tested there; here stands what needs a process that starts, is killed, or is told something on its command
//! line.

mod http;
mod gateway;
mod wire;
mod clients;
mod account;
mod alone;
mod apply;
mod budgets;
mod claude_code;
mod commands;
mod crash;
mod dashboard;
mod pages;
mod people;
mod refusals;
mod sdk;
mod sdk_resources;
mod start;
mod streams;

use std::future::Future;
use std::time::{Duration, Instant};

/// Longest wait for anything. Only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Looks until `look` finds something; panics naming `what` when it never does.
async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < until, "waited {PATIENCE:?} in vain for {what}");
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}
