//! This control plane among the others on its database: it tells them how many nodes it serves, and hears how many there are
//! in all, so that none serves much more than its share.

use std::sync::Arc;
use std::time::Duration;

use gateway_store::Store;
use tokio::time::MissedTickBehavior;

use crate::clock;
use crate::fleet::Fleet;
use crate::meters::Meters;
use crate::sync::FleetService;

const BEAT: Duration = Duration::from_secs(5);
/// One that is silent for three beats is taken for gone.
const SILENT_MS: i64 = 15_000;

/// Its name for as long as the process lives.
pub(crate) fn name(now_ms: i64) -> String {
    format!("replica_{}", ulid::Ulid::from_parts(u64::try_from(now_ms).unwrap_or(0), rand::random()))
}

/// Beats until it is dropped. While the database is away, the share is what it was.
pub(crate) async fn run(name: String, store: Store, fleet: Arc<Fleet>, service: FleetService, meters: Arc<Meters>) {
    let mut beats = tokio::time::interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        let now_ms = clock::unix_ms();
        match store.beat(&name, fleet.n_connected(now_ms) as u64, now_ms, now_ms - SILENT_MS).await {
            Ok(all) => {
                let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
                meters.replicas(all.n_replicas);
                service.share(count(all.n_nodes), count(all.n_replicas));
            }
            Err(error) => {
                meters.database_failed("replicas", &error);
                tracing::debug!(error = &error as &dyn std::error::Error, "the other replicas cannot be asked for now");
            }
        }
    }
}
