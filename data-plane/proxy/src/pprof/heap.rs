//! What was allocated while somebody looked, and is still held at the end. The allocator samples only then: at rest it pays for one
//! look at a switch per sampling interval, and remembers nothing.

use std::time::Duration;

use bytes::Bytes;
use jemalloc_pprof::{JemallocProfCtl, PROF_CTL};
use tokio::sync::OwnedMutexGuard;

/// The allocator while it samples. Dropped, also when the client has left, it stops and forgets.
struct Sampling(OwnedMutexGuard<JemallocProfCtl>);

// === impl Sampling ===

impl Sampling {
    /// `None` where the program runs on another allocator, or on one that cannot sample.
    async fn begin() -> Option<Self> {
        let mut control = PROF_CTL.clone()?.lock_owned().await;
        match control.activate() {
            Ok(()) => Some(Self(control)),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the allocator does not take samples");
                None
            }
        }
    }
}

impl Drop for Sampling {
    fn drop(&mut self) {
        if let Err(error) = self.0.deactivate() {
            tracing::error!(error = &error as &dyn std::error::Error, "the allocator goes on taking samples");
        }
    }
}

/// Samples for so long. The profile is pprof's protobuf, gzipped, with names; `None` where this process cannot have one. Writing it
/// takes a thread for some milliseconds and a temporary file.
pub(super) async fn profile(lasts: Duration) -> Option<Bytes> {
    let mut sampling = Sampling::begin().await?;
    tokio::time::sleep(lasts).await;
    let written = tokio::task::spawn_blocking(move || sampling.0.dump_pprof()).await;
    let profile = written.ok()?.inspect_err(|error| tracing::error!("the heap's profile cannot be written: {error:#}"));
    profile.ok().map(Bytes::from)
}
