//! Keeps this node's purses in money. Requests spend what is there and never come here; one that finds too little waits for the answer
//! to what was asked, for a bounded time.
//!
//! Who owns the ledger is one of two: the control plane (`remote`), or, of a node alone, the node (`alone`). They are asked the same way.

mod teller;
mod alone;
mod rates;
mod remote;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gateway_engine::limits::Limits;
use gateway_engine::limits::purse::Purses;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::link::Link;
use crate::task;
use crate::telemetry::identity::Identity;
use crate::warnings::Warnings;
pub use rates::{Borrower, Talk};
pub use teller::Teller;

/// A request waits no longer than this for money.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// And no longer than this for a rate to be lent.
const SHORT_PATIENCE: Duration = Duration::from_millis(250);
/// At the end, for giving back.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often what purses say is looked through, whether or not one asks.
const EVERY: Duration = Duration::from_secs(1);

/// The node's way to the ledger.
pub(crate) struct Leases {
    purses: Arc<Purses>,
    rates: Borrower,
    /// A purse, or a rate, wants to be looked after.
    noted: Arc<Notify>,
    /// Counts the ledger's answers.
    answers: watch::Sender<u64>,
    ending: CancellationToken,
    job: Mutex<Option<JoinHandle<()>>>,
}

// === impl Leases ===

impl Leases {
    /// Nobody is asked before one of the two ways is taken.
    pub(crate) fn new(purses: Arc<Purses>) -> Arc<Self> {
        let noted = Arc::new(Notify::new());
        let wake = Arc::clone(&noted);
        purses.on_noted(move || wake.notify_one());
        let (answers, ending) = (watch::Sender::new(0), CancellationToken::new());
        Arc::new(Self { purses, rates: Borrower::new(Instant::now()), noted, answers, ending, job: Mutex::default() })
    }

    /// The control plane at the end of this link owns the ledger. `owes` says whether usage of an earlier boot is still to be delivered.
    pub(crate) fn connect(
        self: &Arc<Self>,
        link: Link,
        identity: Arc<Identity>,
        owes: impl Fn(&str) -> bool + Send + Sync + 'static,
        n_nodes: impl Fn() -> u32 + Send + Sync + 'static,
    ) {
        let teller = Teller::new(Arc::clone(&self.purses), identity, Box::new(owes));
        self.rates.heard(Instant::now());
        self.start(remote::run(Arc::clone(self), teller, link, Box::new(n_nodes)));
    }

    /// This node owns it, and keeps it in this directory.
    pub(crate) fn stand_alone(
        self: &Arc<Self>,
        data_dir: Option<&Path>,
        identity: Arc<Identity>,
        warnings: &Arc<Warnings>,
    ) {
        let ledger = alone::Ledger::open(data_dir, warnings);
        let teller = Teller::new(Arc::clone(&self.purses), identity, Box::new(|_| true));
        self.start(alone::run(Arc::clone(self), teller, ledger));
    }

    /// Tries again with each answer of the ledger, while it makes sense to wait: `waits` says so of a failure. Returns after a second
    /// at the latest, then with the last failure.
    pub(crate) async fn retry<T, E>(
        &self,
        mut attempt: impl FnMut() -> Result<T, E>,
        waits: impl Fn(&E) -> bool,
    ) -> Result<T, E> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut answers = self.answers.subscribe();
        loop {
            // Before the attempt, so that no answer comes in between.
            answers.mark_unchanged();
            let failure = match attempt() {
                Err(failure) if waits(&failure) => failure,
                outcome => return outcome,
            };
            if !matches!(tokio::time::timeout_at(deadline, answers.changed()).await, Ok(Ok(()))) {
                return Err(failure);
            }
        }
    }

    /// Whether this node keeps a tenth of its parts of rates, and borrows.
    pub(crate) fn yields(&self) -> bool {
        self.rates.yields(Instant::now)
    }

    /// Whether the control plane that lends has not been heard for long; false where there is none to be heard.
    pub(crate) fn are_away(&self) -> bool {
        self.rates.is_away(Instant::now)
    }

    /// Asks for loans of these limits' rates, all with one message, and returns when that was answered, or it takes too long.
    pub(crate) async fn borrow(&self, limits: Vec<Arc<Limits>>) {
        let answered = self.rates.note(limits);
        self.noted.notify_one();
        // Whoever asks tries again, and is told then.
        let _ = tokio::time::timeout(SHORT_PATIENCE, answered).await;
    }

    /// Ends with the next answer of the ledger that is given after this call; the caller says how long that is waited for.
    pub(crate) fn next_answer(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut answers = self.answers.subscribe();
        async move {
            // An error says that the node is going away, and whoever waits is cut for that.
            let _ = answers.changed().await;
        }
    }

    /// Gives back what is not spent, if the ledger can be reached.
    pub(crate) async fn shutdown(&self) {
        self.ending.cancel();
        let job = self.job.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut job) = job
            && tokio::time::timeout(LAST_WORDS, &mut job).await.is_err()
        {
            job.abort();
        }
    }

    fn start(&self, job: impl Future<Output = ()> + Send + 'static) {
        *self.job.lock().unwrap_or_else(PoisonError::into_inner) = Some(task::spawn_job(job));
    }

    fn answered(&self) {
        self.answers.send_modify(|n_answers| *n_answers += 1);
    }
}
