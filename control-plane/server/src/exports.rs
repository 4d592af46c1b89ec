//! Records of requests are sent to the `exporters` of the configuration, from the store and never from the way of a request: by one
//! control plane at a time, to each exporter by a job of its own, so that one that is slow holds up nobody.
//!
//! Where an exporter is in the log is durable, and so is the end of a batch before it is sent: after a crash the same batch is sent
//! again, under the same id. What is deleted by age or number before its turn is counted as dropped.

mod event;
mod pick;
mod shared;
mod sink;
mod webhook;
mod slack;
mod datadog;
mod splunk;
mod langfuse;
mod s3;
mod collector;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_model::kind::exporter::{Exporter, ExporterType};
use gateway_model::secret::Secret;
use gateway_store::exports::{Backlog, Outcome, Place, Progress, Stored};
use gateway_store::{Error, Store};
use tokio::time::MissedTickBehavior;

use crate::change::{Changes, Refusal};
use crate::clock;
use crate::meters::Meters;
use crate::outbound::{Answer, Message, Outbound};
use crate::task::Job;
use event::Event;
use sink::{Batch, Sink, Verdict};

/// How often is looked for new records, and at the configuration.
const EVERY: Duration = Duration::from_secs(1);
/// How often is counted what is yet to be sent.
const COUNT_EVERY: u32 = 5;
const LEASE: &str = "exports";
/// For so long nobody else sends.
const LEASE_MS: i64 = 60_000;
/// Records are stored by several at once, with clocks of their own, and are seen when that is over: what was stored later than this
/// may still have something come before it.
const SETTLED_MS: i64 = 2000;
/// Records read at a time, and bytes of them that are sent together, whatever a destination would take.
const MOST_READ: usize = 2000;
const MOST_BYTES: usize = 2 << 20;
const GATHER: Duration = Duration::from_secs(60);
const FIRST_WAIT_MS: i64 = 500;
const LONGEST_WAIT_MS: i64 = 5 * 60 * 1000;

/// Every kind of destination.
fn sink(of: ExporterType) -> &'static dyn Sink {
    match of {
        ExporterType::Webhook => &webhook::Webhook,
        ExporterType::Slack => &slack::Slack,
        ExporterType::Datadog => &datadog::Datadog,
        ExporterType::Langfuse => &langfuse::Langfuse,
        ExporterType::Splunk => &splunk::Splunk,
        ExporterType::S3 => &s3::S3,
        ExporterType::Collector => &collector::Collector,
    }
}

/// Sends records.
#[derive(Debug)]
pub struct Exports {
    store: Store,
    changes: Arc<Changes>,
    outbound: Outbound,
    meters: Arc<Meters>,
}

/// How sending to an exporter goes. Without progress nothing was ever sent.
#[derive(Clone, Debug, Default)]
pub struct Health {
    pub destination: String,
    pub progress: Option<Progress>,
    pub backlog: Backlog,
}

/// What became of a record that was sent to try an exporter.
#[derive(Clone, Debug)]
pub struct Trial {
    pub status: Option<u16>,
    pub outcome: Result<(), String>,
    pub took: Duration,
}

/// What a job does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Go,
    Wait(Duration),
}

/// The records that are next, as far as they go together.
struct Portion {
    until: Place,
    stored_ms: i64,
    events: Vec<Event>,
    /// More would not fit, or there are as many as were read.
    full: bool,
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Store(#[from] Error),
    #[error("the configuration cannot be read")]
    Configuration(#[from] Refusal),
}

type Running = BTreeMap<String, (Exporter, Job)>;

// === impl Exports ===

impl Exports {
    pub fn new(store: Store, changes: Arc<Changes>, meters: Arc<Meters>) -> Self {
        Self { store, changes, outbound: Outbound::new(), meters }
    }

    /// By the configuration of this moment.
    pub async fn configured(&self) -> Result<Vec<Exporter>, Refusal> {
        self.changes.exporters().await
    }

    pub async fn health(&self, exporter: &Exporter) -> Result<Health, Error> {
        let progress = self.store.exports_known(Some(&exporter.name)).await?.pop();
        let backlog = match &progress {
            Some(progress) if exporter.sends() => self.store.export_backlog(&progress.at).await?,
            _ => Backlog::default(),
        };
        Ok(Health { destination: destination(exporter), progress, backlog })
    }

    /// Sends a record that is none, now, and says what came back.
    pub async fn test(&self, exporter: &Exporter) -> Trial {
        let (began, now_ms) = (Instant::now(), clock::unix_ms());
        let id = format!("test-{now_ms}");
        let events = [Event::trial(&id, now_ms)];
        let batch = Batch { id: &id, events: &events, stored_ms: now_ms, now_ms };
        let answer = self.call(exporter, &batch).await;
        let status = answer.as_ref().ok().map(|answer| answer.status);
        let outcome = answer.and_then(|answer| match sink(exporter.of).judge(&answer, &batch) {
            Verdict::Taken { n_failed: 0, .. } => Ok(()),
            Verdict::Taken { why, .. } | Verdict::Refused(why) | Verdict::Again { why, .. } => Err(why),
        });
        Trial { status, outcome, took: began.elapsed() }
    }

    /// Sees to it that there is a job for each exporter, where no other control plane on the database has them. Never returns.
    pub(crate) async fn run(self: Arc<Self>, replica: String) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut running, mut held_until, mut round) = (Running::new(), Instant::now(), 0_u32);
        loop {
            ticks.tick().await;
            let asked = Instant::now();
            match self.round(&replica, &mut running, round).await {
                Ok(true) => held_until = asked + Duration::from_millis(LEASE_MS.unsigned_abs()) / 2,
                Ok(false) => running.clear(),
                Err(error) => {
                    self.complain(&error);
                    // Somebody else may take the lease soon.
                    if Instant::now() >= held_until {
                        running.clear();
                    }
                }
            }
            round = round.wrapping_add(1);
        }
    }

    /// Whether the lease is ours.
    async fn round(self: &Arc<Self>, replica: &str, running: &mut Running, round: u32) -> Result<bool, Failed> {
        if self.store.lease(LEASE, replica, LEASE_MS, clock::unix_ms()).await?.is_none() {
            return Ok(false);
        }
        let wanted: Vec<Exporter> = self.configured().await?.into_iter().filter(Exporter::sends).collect();
        let is_as_it_runs = |exporter: &Exporter| wanted.contains(exporter);
        running.retain(|_, (exporter, _)| is_as_it_runs(exporter));
        let names: Vec<&str> = wanted.iter().map(|exporter| exporter.name.as_str()).collect();
        self.store.forget_exports(&names).await?;
        if round.is_multiple_of(COUNT_EVERY) {
            self.count(&wanted).await?;
        }
        for exporter in wanted {
            if !running.contains_key(&exporter.name) {
                let job = Job::spawn(Arc::clone(self).follow(exporter.clone()));
                running.insert(exporter.name.clone(), (exporter, job));
            }
        }
        Ok(true)
    }

    async fn count(&self, exporters: &[Exporter]) -> Result<(), Error> {
        let now_ms = clock::unix_ms();
        for of in ExporterType::ALL {
            let (mut n_behind, mut age_ms, mut n_dropped) = (0, 0, 0);
            for exporter in exporters.iter().filter(|exporter| exporter.of == of) {
                let Health { progress, backlog, .. } = self.health(exporter).await?;
                n_behind += backlog.n_records;
                age_ms = age_ms.max(backlog.oldest_ms.map_or(0, |oldest| now_ms - oldest));
                n_dropped += progress.map_or(0, |progress| progress.n_dropped);
            }
            self.meters.export_backlog(of.name(), n_behind, age_ms, n_dropped);
        }
        Ok(())
    }

    /// Sends what there is to one of them, and then what comes. Never returns.
    async fn follow(self: Arc<Self>, exporter: Exporter) {
        if let Err(error) = self.store.hurry_export(&exporter.name).await {
            self.complain(&error.into());
        }
        loop {
            let next = self.step(&exporter).await.unwrap_or_else(|error| {
                self.complain(&error.into());
                Next::Wait(EVERY)
            });
            if let Next::Wait(span) = next {
                tokio::time::sleep(span).await;
            }
        }
    }

    async fn step(&self, exporter: &Exporter) -> Result<Next, Error> {
        let now_ms = clock::unix_ms();
        let progress = self.store.export_progress(&exporter.name, now_ms).await?;
        if progress.due_ms > now_ms {
            return Ok(Next::Wait(EVERY.min(Duration::from_millis((progress.due_ms - now_ms).unsigned_abs()))));
        }
        let until = progress.until.as_ref();
        let found = self.store.records_after(&progress.at, until, now_ms - SETTLED_MS, MOST_READ).await?;
        let most = shared::most(exporter, sink(exporter.of).most());
        let Some(mut portion) = Portion::of(exporter, found, most) else {
            return self.without_records(&progress).await;
        };
        if portion.events.is_empty() {
            self.store.advance_export(&progress, &portion.until, &Outcome::default(), now_ms).await?;
            return Ok(Next::Go);
        }
        let gather = exporter.s3.as_ref().map_or(Duration::ZERO, |bucket| bucket.gather.map_or(GATHER, |span| span.0));
        let waited = Duration::from_millis((now_ms - portion.stored_ms).max(0).unsigned_abs());
        if until.is_none() && !portion.full && waited < gather {
            return Ok(Next::Wait(EVERY));
        }
        let progress = match until {
            Some(_) => progress,
            None if self.store.plan_export(&progress, &portion.until).await? => {
                Progress { batch: progress.batch + 1, n_attempts: 0, until: Some(portion.until.clone()), ..progress }
            }
            None => return Ok(Next::Wait(EVERY)),
        };
        shared::fill(&self.store, exporter, &mut portion.events).await?;
        self.send(exporter, &progress, &portion).await
    }

    /// There is nothing; a batch of which retention has left nothing is over.
    async fn without_records(&self, progress: &Progress) -> Result<Next, Error> {
        if let Some(until) = &progress.until {
            self.store.advance_export(progress, until, &Outcome::default(), clock::unix_ms()).await?;
        }
        Ok(Next::Wait(EVERY))
    }

    async fn send(&self, exporter: &Exporter, progress: &Progress, portion: &Portion) -> Result<Next, Error> {
        let id = format!("{}-{}", exporter.name, progress.batch);
        let (events, stored_ms) = (portion.events.as_slice(), portion.stored_ms);
        let batch = Batch { id: &id, events, stored_ms, now_ms: clock::unix_ms() };
        let verdict = match self.call(exporter, &batch).await {
            Ok(answer) => sink(exporter.of).judge(&answer, &batch),
            Err(why) => Verdict::Again { why, after: None },
        };
        let n_records = events.len() as u64;
        let outcome = match verdict {
            Verdict::Again { why, after } => return self.postpone(exporter, progress, &why, after).await,
            Verdict::Taken { n_failed, why } => {
                self.meters.export_call(exporter.of.name(), "taken");
                let n_failed = n_records.min(n_failed as u64);
                Outcome { n_delivered: n_records - n_failed, n_failed, error: why }
            }
            Verdict::Refused(why) => {
                let name = exporter.name.as_str();
                tracing::warn!(
                    exporter = name,
                    error = why,
                    n_records,
                    "an exporter refuses records, which are left out"
                );
                self.meters.export_call(exporter.of.name(), "refused");
                Outcome { n_delivered: 0, n_failed: n_records, error: why }
            }
        };
        self.store.advance_export(progress, &portion.until, &outcome, clock::unix_ms()).await?;
        self.meters.exported(exporter.of.name(), outcome.n_delivered, outcome.n_failed);
        Ok(Next::Go)
    }

    async fn postpone(
        &self,
        exporter: &Exporter,
        progress: &Progress,
        why: &str,
        after: Option<Duration>,
    ) -> Result<Next, Error> {
        self.meters.export_call(exporter.of.name(), "again");
        let name = exporter.name.as_str();
        tracing::warn!(exporter = name, error = why, "an exporter does not take records now; trying again");
        let doubled = FIRST_WAIT_MS.checked_shl(u32::try_from(progress.n_attempts.min(20)).unwrap_or(20));
        let asked_ms = after.map_or(0, |after| i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
        let wait_ms = doubled.unwrap_or(LONGEST_WAIT_MS).max(asked_ms).min(LONGEST_WAIT_MS);
        let now_ms = clock::unix_ms();
        self.store.postpone_export(progress, why, now_ms, now_ms + wait_ms).await?;
        Ok(Next::Go)
    }

    async fn call(&self, exporter: &Exporter, batch: &Batch<'_>) -> Result<Answer, String> {
        let call = sink(exporter.of).call(exporter, batch)?;
        let message = Message { method: call.method, headers: &call.headers, body: call.body };
        self.outbound.call(&call.url, exporter.allow_private_networks, message).await
    }

    fn complain(&self, error: &Failed) {
        if let Failed::Store(error) = error {
            self.meters.database_failed("exports", error);
        }
        let error = error as &dyn std::error::Error;
        tracing::warn!(error, "records cannot be sent to exporters now; trying again");
    }
}

// === impl Portion ===

impl Portion {
    /// `None` where nothing was found.
    fn of(exporter: &Exporter, found: Vec<Stored>, most: usize) -> Option<Self> {
        let first = found.first()?.place.clone();
        let mut full = found.len() >= MOST_READ;
        let mut portion = Self { until: first.clone(), stored_ms: first.stored_ms, events: Vec::new(), full };
        let mut n_bytes = 0;
        for Stored { place, row } in found {
            let event = Event::read(&row.record).filter(|event| pick::is_for(exporter, event));
            if let Some(event) = event {
                if portion.events.is_empty() {
                    portion.stored_ms = place.stored_ms;
                }
                n_bytes += row.record.len();
                portion.events.push(event);
            }
            portion.until = place;
            full |= portion.events.len() >= most || n_bytes >= MOST_BYTES;
            if portion.events.len() >= most || n_bytes >= MOST_BYTES {
                break;
            }
        }
        portion.full = full;
        Some(portion)
    }
}

/// Scheme, host and port.
fn destination(exporter: &Exporter) -> String {
    let default = match exporter.of {
        ExporterType::Datadog => datadog::DEFAULT.to_owned(),
        ExporterType::Langfuse => langfuse::DEFAULT.to_owned(),
        ExporterType::S3 => exporter.s3.as_ref().map(s3::default_url).unwrap_or_default(),
        ExporterType::Webhook | ExporterType::Slack | ExporterType::Splunk | ExporterType::Collector => String::new(),
    };
    let url = exporter.url.as_ref().map_or(default.as_str(), Secret::expose);
    let end = url.find("://").map_or(0, |at| at + 3);
    let host = url[end..].find(['/', '?', '#']).map_or(url.len(), |at| end + at);
    url[..host].to_owned()
}
