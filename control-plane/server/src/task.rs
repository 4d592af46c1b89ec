//! The only place of this crate that spawns.

use std::future::Future;

use tokio::task::JoinHandle;

/// Runs a job until it ends or is aborted.
pub(crate) fn spawn<F>(job: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(job)
}

/// Ends with what it was made for: the job is aborted when this is dropped.
#[derive(Debug)]
pub(crate) struct Job(JoinHandle<()>);

// === impl Job ===

impl Job {
    pub(crate) fn spawn(job: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(spawn(job))
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.0.abort();
    }
}
