//! The only place of this crate that spawns.

use std::future::Future;

/// Drives a connection until it closes. Its errors reach whoever waits on a request or a body of it.
pub fn spawn_connection<F>(connection: F)
where
    F: Future + Send + 'static,
{
    tokio::spawn(async move {
        let _ = connection.await;
    });
}

/// Runs a background job until it ends or the handle is aborted.
pub fn spawn_job<F>(job: F) -> tokio::task::JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(job)
}
