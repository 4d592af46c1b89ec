//! The fleet from outside: real control planes on a real Postgres, real nodes that joined by token, a scripted upstream, and load
//! that does not retry. Each test has a world of its own, does something bad to it, and counts what its clients saw.

mod http;
mod process;
mod upstream;
mod world;
mod load;
mod streams;
mod balancer;
mod budgets;
mod canary;
mod clock;
mod crash;
mod disk;
mod flood;
mod limits;
mod membership;
mod outage;
mod people;
mod restore;
mod seed;
mod skew;

use std::future::Future;
use std::time::{Duration, Instant};

/// Longest wait for anything. Only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(90);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Looks until `look` finds something, and tells how long that took; panics naming `what` when it never does.
async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> (T, Duration) {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return (found, start.elapsed());
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {what}");
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}
