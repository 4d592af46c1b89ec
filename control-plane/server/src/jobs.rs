//! What the control plane does on its own, again and again: retention, compaction, upkeep of the meters. What concerns the database
//! is done by one of the control planes on it, under a lease.

use std::sync::Arc;
use std::time::Duration;

use gateway_model::document::SETTINGS_NAME;
use gateway_model::kind::settings::Settings;
use gateway_model::kind::{Class, Kind};
use gateway_model::unit::Span;
use gateway_store::retention::Pruned;
use gateway_store::{Error, ItemKind, Store};
use tokio::time::{Instant, MissedTickBehavior};

use crate::clock;
use crate::meters::Meters;
use crate::task::Job;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Logs are bounded by number first where they are not kept by days, so they are looked at often.
const LOGS_EVERY: Duration = Duration::from_secs(60);
const KEEP_LOGS: u64 = 200_000;
const KEEP_LOGS_MS: i64 = 30 * DAY_MS;

/// What was asked and answered, where the settings say nothing of it.
const KEEP_BODIES_MS: i64 = 7 * DAY_MS;

const REAP_EVERY: Duration = Duration::from_secs(60);
/// A request of a node that was revoked is over by then, by the default of its total timeout, and what was on its way has come.
const REAP_AFTER_MS: i64 = 11 * 60 * 1000;

const TIDY_EVERY: Duration = Duration::from_secs(60 * 60);
/// Single requests; the sums stay.
const KEEP_USAGE_MS: i64 = 90 * DAY_MS;
/// Longer than the longest window of a budget.
const KEEP_LEDGER_MS: i64 = 2 * 366 * DAY_MS;
/// Those that were sent.
const KEEP_ALERTS_MS: i64 = 30 * DAY_MS;
const KEEP_AUDIT_MS: i64 = 400 * DAY_MS;
const KEEP_NODES_MS: i64 = 30 * DAY_MS;
/// A node that was away longer than this with usage it has not delivered is not expected back.
const KEEP_WATERMARKS_MS: i64 = 400 * DAY_MS;
/// History to go back to, and changes for nodes that were away: whichever of age and number keeps more.
const KEEP_TOPOLOGY: (i64, u64) = (30 * DAY_MS, 100);
const KEEP_IDENTITY: (i64, u64) = (7 * DAY_MS, 200_000);

/// Minutes of traffic: what the charts of the last days need.
const KEEP_TRAFFIC_MS: i64 = 3 * DAY_MS;
const METERS_EVERY: Duration = Duration::from_secs(5);

/// Days whose parts of the large tables are made before they come: as long as all control planes may be away.
const DAYS_AHEAD_MS: i64 = 7 * DAY_MS;

/// A job that is done by one of the control planes on a database at a time, whichever comes first.
struct Duty {
    name: &'static str,
    every: Duration,
    /// For so long nobody else does it; a run that takes longer is cut off, and goes on at the next.
    lease: Duration,
}

const LOGS: Duty = Duty { name: "logs", every: LOGS_EVERY, lease: Duration::from_secs(5 * 60) };
const REAP: Duty = Duty { name: "reap", every: REAP_EVERY, lease: Duration::from_secs(5 * 60) };
const TIDY: Duty = Duty { name: "tidy", every: TIDY_EVERY, lease: TIDY_EVERY };

/// Starts all jobs; they end when the list is dropped. `replica` is what this control plane is called among others.
pub(crate) fn start(store: &Store, meters: &Arc<Meters>, replica: &str) -> Vec<Job> {
    let (store, replica) = (store.clone(), replica.to_owned());
    vec![
        Job::spawn(LOGS.run(store.clone(), replica.clone(), Arc::clone(meters), prune_logs)),
        Job::spawn(REAP.run(store.clone(), replica.clone(), Arc::clone(meters), |store| reap(store, clock::unix_ms()))),
        Job::spawn(TIDY.run(store.clone(), replica, Arc::clone(meters), tidy)),
        Job::spawn(keep_meters(store, Arc::clone(meters))),
    ]
}

// === impl Duty ===

impl Duty {
    /// Does the job whenever it is time and nobody else has its lease.
    async fn run<F>(self, store: Store, holder: String, meters: Arc<Meters>, job: impl Fn(Store) -> F)
    where
        F: Future<Output = ()>,
    {
        let mut ticks = every(self.every);
        loop {
            ticks.tick().await;
            let ttl_ms = i64::try_from(self.lease.as_millis()).unwrap_or(i64::MAX);
            let outcome = match store.lease(self.name, &holder, ttl_ms, clock::unix_ms()).await {
                Ok(Some(_)) => {
                    let began = Instant::now();
                    let done = tokio::time::timeout(self.lease, job(store.clone())).await;
                    meters.job_took(self.name, began.elapsed().as_secs_f64());
                    if done.is_err() {
                        tracing::warn!(job = self.name, "it took longer than it may and goes on next time");
                    }
                    if done.is_ok() { "done" } else { "cut_off" }
                }
                // Another control plane sees to it.
                Ok(None) => "elsewhere",
                Err(error) => {
                    meters.database_failed("jobs", &error);
                    complain(self.name, &error);
                    "failed"
                }
            };
            meters.job_ran(self.name, outcome);
        }
    }
}

async fn prune_logs(store: Store) {
    let settings = match settings(&store).await {
        Ok(settings) => settings,
        Err(error) => return complain("logs", &error),
    };
    let since = |kept: Option<Span>, default_ms: i64| {
        clock::unix_ms() - kept.and_then(|span| i64::try_from(span.0.as_millis()).ok()).unwrap_or(default_ms)
    };
    let keep = if store.has_days() { None } else { Some(KEEP_LOGS) };
    tell_pruned("logs", store.prune_logs(since(settings.logs_kept, KEEP_LOGS_MS), keep).await);
    tell_pruned("bodies", store.prune_bodies(since(settings.log_bodies_kept, KEEP_BODIES_MS)).await);
}

/// As they are stored.
async fn settings(store: &Store) -> Result<Settings, Error> {
    let item = store.item(ItemKind::Resource(Kind::Setting), SETTINGS_NAME).await?;
    Ok(item.and_then(|item| serde_json::from_str(&item.document).ok()).unwrap_or_default())
}

/// What nodes that were revoked hold of budgets goes back.
async fn reap(store: Store, now: i64) {
    match store.reap_leases(now - REAP_AFTER_MS, now).await {
        Ok(reaped) => {
            for (node, boot, freed) in reaped {
                tracing::warn!(
                    node,
                    boot,
                    freed,
                    "a revoked node held money that it did not report as spent; it is free again"
                );
            }
        }
        Err(error) => complain("leases of revoked nodes", &error),
    }
}

async fn tidy(store: Store) {
    let now = clock::unix_ms();
    // From yesterday, for what nodes still have of it.
    if let Err(error) = store.make_days(now - DAY_MS, now + DAYS_AHEAD_MS).await {
        complain("days to come", &error);
    }
    tell_pruned("usage events", store.prune_usage(now - KEEP_USAGE_MS).await);
    tell("windows of budgets", store.prune_ledger(now - KEEP_LEDGER_MS).await);
    tell("alerts", store.prune_alerts(now - KEEP_ALERTS_MS, now - KEEP_LEDGER_MS).await);
    tell("audit events", store.prune_audit(now - KEEP_AUDIT_MS).await);
    tell("minutes of traffic", store.prune_traffic(now - KEEP_TRAFFIC_MS).await);
    tell("nodes", store.prune_nodes(now - KEEP_NODES_MS).await);
    tell("watermarks", store.prune_watermarks(now - KEEP_WATERMARKS_MS).await);
    for (class, (age, keep)) in [(Class::Topology, KEEP_TOPOLOGY), (Class::Identity, KEEP_IDENTITY)] {
        if let Err(error) = store.compact(class, now - age, keep).await {
            complain("history", &error);
        }
    }
}

async fn keep_meters(store: Store, meters: Arc<Meters>) {
    let mut ticks = every(METERS_EVERY);
    let mut hint = store.watch();
    loop {
        tokio::select! {
            _ = ticks.tick() => meters.upkeep(),
            changed = hint.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
        hint.mark_unchanged();
        // While the database is away, they are what they were.
        let Ok(heads) = store.heads().await else { continue };
        for class in Class::ALL {
            meters.revision(class.name(), heads.of(class));
        }
        if let Ok(newest) = store.audit(None, 1).await {
            meters.audited(newest.first().map_or(0, |entry| entry.seq));
        }
    }
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn tell(what: &'static str, deleted: Result<u64, Error>) {
    match deleted {
        Ok(0) => {}
        Ok(n_rows) => tracing::info!(what, n_rows, "deleted what was older than is kept"),
        Err(error) => complain(what, &error),
    }
}

fn tell_pruned(what: &'static str, pruned: Result<Pruned, Error>) {
    let n_days = pruned.as_ref().map_or(0, |pruned| pruned.n_days);
    if n_days > 0 {
        tracing::info!(what, n_days, "dropped the days that were older than is kept");
    }
    tell(what, pruned.map(|pruned| pruned.n_rows));
}

fn complain(what: &'static str, error: &Error) {
    tracing::warn!(
        what,
        error = error as &dyn std::error::Error,
        "what is to be done from time to time cannot be done now; trying again later"
    );
}

#[cfg(test)]
mod tests;
