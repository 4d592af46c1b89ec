//! The limit of every wait in this crate: a test that waits for what never comes fails with a sentence, not with a hang.

use std::future::Future;
use std::time::Duration;

/// Longest wait for a condition. Generous, because test machines are busy; it is only ever reached by a failing test.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for `condition`; panics naming `what` when it does not come about.
pub(crate) async fn wait<T>(what: &str, condition: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, condition).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} in vain for {what}"),
    }
}
