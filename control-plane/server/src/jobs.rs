//! What the control plane does on its own, again and again: retention, compaction, upkeep of the meters.

use std::sync::Arc;
use std::time::Duration;

use gateway_model::kind::Class;
use gateway_store::{Error, Store};
use tokio::time::MissedTickBehavior;

use crate::clock;
use crate::meters::Meters;
use crate::task::Job;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Logs are bounded by number first, so they are looked at often.
const LOGS_EVERY: Duration = Duration::from_secs(60);
const KEEP_LOGS: u64 = 200_000;
const KEEP_LOGS_MS: i64 = 30 * DAY_MS;

const TIDY_EVERY: Duration = Duration::from_secs(60 * 60);
/// Single requests; the sums stay.
const KEEP_USAGE_MS: i64 = 90 * DAY_MS;
const KEEP_AUDIT_MS: i64 = 400 * DAY_MS;
const KEEP_NODES_MS: i64 = 30 * DAY_MS;
/// A node that was away longer than this with usage it has not delivered is not expected back.
const KEEP_WATERMARKS_MS: i64 = 400 * DAY_MS;
/// History to go back to, and changes for nodes that were away: whichever of age and number keeps more.
const KEEP_TOPOLOGY: (i64, u64) = (30 * DAY_MS, 100);
const KEEP_IDENTITY: (i64, u64) = (7 * DAY_MS, 200_000);

const METERS_EVERY: Duration = Duration::from_secs(5);

/// Starts all jobs; they end when the list is dropped.
pub(crate) fn start(store: &Store, meters: &Arc<Meters>) -> Vec<Job> {
    vec![
        Job::spawn(prune_logs(store.clone())),
        Job::spawn(tidy(store.clone())),
        Job::spawn(keep_meters(store.clone(), Arc::clone(meters))),
    ]
}

async fn prune_logs(store: Store) {
    let mut ticks = every(LOGS_EVERY);
    loop {
        ticks.tick().await;
        tell("logs", store.prune_logs(clock::unix_ms() - KEEP_LOGS_MS, KEEP_LOGS).await);
    }
}

async fn tidy(store: Store) {
    let mut ticks = every(TIDY_EVERY);
    loop {
        ticks.tick().await;
        let now = clock::unix_ms();
        tell("usage events", store.prune_usage(now - KEEP_USAGE_MS).await);
        tell("audit events", store.prune_audit(now - KEEP_AUDIT_MS).await);
        tell("nodes", store.prune_nodes(now - KEEP_NODES_MS).await);
        tell("watermarks", store.prune_watermarks(now - KEEP_WATERMARKS_MS).await);
        for (class, (age, keep)) in [(Class::Topology, KEEP_TOPOLOGY), (Class::Identity, KEEP_IDENTITY)] {
            if let Err(error) = store.compact(class, now - age, keep).await {
                complain("history", &error);
            }
        }
    }
}

async fn keep_meters(store: Store, meters: Arc<Meters>) {
    let mut ticks = every(METERS_EVERY);
    let mut heads = store.watch();
    loop {
        let seen = heads.borrow_and_update().clone();
        for class in Class::ALL {
            meters.revision(class.name(), seen.of(class));
        }
        tokio::select! {
            _ = ticks.tick() => meters.upkeep(),
            changed = heads.changed() => {
                if changed.is_err() {
                    return;
                }
            }
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

fn complain(what: &'static str, error: &Error) {
    tracing::warn!(
        what,
        error = error as &dyn std::error::Error,
        "cannot delete what is older than is kept; trying again later"
    );
}
