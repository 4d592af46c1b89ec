//! Delivers usage, logs and metric frames to the control plane, each on a stream of its own that comes back by itself.
//!
//! Usage and logs are sent again after a broken connection until they are acknowledged; the control plane counts each once.

mod usage;
mod records;
mod frames;

use std::sync::Arc;
use std::time::Duration;

use gateway_wire::v1::{LogBody, LogRecord, MetricFrame};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::backoff::Backoff;
use crate::link::Link;
use crate::task;
use crate::telemetry::identity::Identity;
use crate::telemetry::logs::Backlog;
use crate::telemetry::spool::Outbox;

/// Messages that may be on their way without an acknowledgement.
const MAX_IN_FLIGHT: usize = 8;

/// At the end, what is still owed gets this long to be delivered. The rest stays in the spool.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// A control plane that is not there is asked this often more, a moment apart.
const LAST_TRIES: u32 = 3;
const LAST_TRY: Duration = Duration::from_millis(100);

pub(crate) type Frames = Arc<dyn Fn() -> MetricFrame + Send + Sync>;

/// The four streams.
#[derive(Debug)]
pub(crate) struct Uplink {
    ending: CancellationToken,
    jobs: Vec<JoinHandle<()>>,
}

// === impl Uplink ===

impl Uplink {
    pub(crate) fn start(
        link: &Link,
        identity: Arc<Identity>,
        outbox: impl FnOnce() -> Outbox + Send + 'static,
        (backlog, bodies): (Arc<Backlog<LogRecord>>, Arc<Backlog<LogBody>>),
        frames: Frames,
    ) -> Self {
        let ending = CancellationToken::new();
        let jobs = vec![
            task::spawn_job(usage::deliver(link.clone(), Arc::clone(&identity), outbox, ending.clone())),
            task::spawn_job(records::deliver(link.clone(), Arc::clone(&identity), backlog, ending.clone())),
            task::spawn_job(records::deliver(link.clone(), Arc::clone(&identity), bodies, ending.clone())),
            task::spawn_job(frames::deliver(link.clone(), identity, frames, ending.clone())),
        ];
        Self { ending, jobs }
    }

    /// Sends what is left, for a while.
    pub(crate) async fn shutdown(self) {
        self.ending.cancel();
        let deadline = Instant::now() + LAST_WORDS;
        for mut job in self.jobs {
            if tokio::time::timeout_at(deadline, &mut job).await.is_err() {
                job.abort();
            }
        }
    }
}

/// How a stream ended.
enum End {
    /// Everything was delivered and nothing more will come.
    Done,
    Broken(Status),
}

/// Waits between one stream's end and the next one's beginning.
struct Retry<'a> {
    what: &'static str,
    link: &'a Link,
    ending: &'a CancellationToken,
    backoff: Backoff,
    began: Instant,
    n_last_tries: u32,
}

// === impl Retry ===

impl<'a> Retry<'a> {
    fn new(what: &'static str, link: &'a Link, ending: &'a CancellationToken) -> Self {
        Self { what, link, ending, backoff: Backoff::default(), began: Instant::now(), n_last_tries: 0 }
    }

    /// False where it is not worth another try: the process ends and the control plane is away.
    async fn wait(&mut self, status: &Status) -> bool {
        self.link.notice(status);
        let wait = self.backoff.next(self.began.elapsed());
        tracing::debug!("{} cannot be delivered, trying again in {wait:?}: {}", self.what, status.message());
        if self.ending.is_cancelled() {
            self.n_last_tries += 1;
            tokio::time::sleep(wait.min(LAST_TRY)).await;
        } else {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.link.opened() => {}
                () = self.ending.cancelled() => {}
            }
        }
        self.began = Instant::now();
        self.n_last_tries < LAST_TRIES
    }
}

fn closed() -> End {
    End::Broken(Status::unavailable("the control plane closed the stream"))
}
