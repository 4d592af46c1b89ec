//! A gate: where a script stands still until the test lets it pass.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use crate::patience::wait;

/// Clones are the same gate. Closed when made.
#[derive(Clone, Debug)]
pub struct Gate {
    passes: Arc<Semaphore>,
    arrivals: watch::Sender<usize>,
}

// === impl Gate ===

impl Gate {
    pub fn new() -> Self {
        Self { passes: Arc::new(Semaphore::new(0)), arrivals: watch::Sender::new(0) }
    }

    /// Lets the next `n` arrivals pass, whether they wait already or come later.
    pub fn release(&self, n: usize) {
        self.passes.add_permits(n);
    }

    /// Lets everybody pass, for ever.
    pub fn open(&self) {
        self.passes.close();
    }

    /// Returns when the gate has been reached `n` times in all (passed or not).
    pub async fn reached(&self, n: usize) {
        let mut arrivals = self.arrivals.subscribe();
        let reached = arrivals.wait_for(|&count| count >= n);
        wait(&format!("arrival {n} at a gate"), reached).await.expect("this gate keeps its own sender alive");
    }

    /// Called by scripts: stands until the gate lets this arrival pass.
    pub(crate) async fn pass(&self) {
        self.arrivals.send_modify(|count| *count += 1);
        match self.passes.acquire().await {
            Ok(permit) => permit.forget(),
            Err(_closed) => {} // Closed is how an open gate is written: nobody waits any more.
        }
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}
