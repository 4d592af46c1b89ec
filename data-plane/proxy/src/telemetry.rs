//! The way back: what happened on this node, on its way to the control plane or to a log of the node's own.
//!
//! Requests leave their traces in lanes, one per worker, and never wait; everything else happens on threads and tasks here.

pub mod identity;
mod frame;
mod segment;
mod batch;
pub mod spool;
pub mod logs;
pub(crate) mod uplink;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use gateway_wire::v1::{ClassState, LogRecord, MetricFrame, SettledBy, SpoolState, UsageEvent};

use crate::config::LogSink;
use crate::link::Link;
use crate::warnings::Warnings;
use identity::Identity;
use logs::Logs;
use spool::Spool;
use uplink::{Frames, Uplink};

/// What the node says about itself on the stream that brings its configuration.
pub struct Reporter {
    pub identity: Arc<Identity>,
    pub frames: Frames,
    pub spool: Box<dyn Fn() -> SpoolState + Send + Sync>,
    pub labels: BTreeMap<String, String>,
    pub warnings: Arc<Warnings>,
    /// To be left when the control plane asks this node to go elsewhere.
    pub link: Link,
    /// Told of every change of a class in the moment in which it begins to serve. Simulations keep a record of it.
    pub applied: Option<Applied>,
}

pub type Applied = Box<dyn Fn(&ClassState) + Send + Sync>;

/// All telemetry of a node.
pub struct Telemetry {
    identity: Arc<Identity>,
    data_dir: Option<PathBuf>,
    spool: Arc<Spool>,
    logs: Logs,
    frames: Frames,
    n_workers: usize,
    uplink: Mutex<Option<Uplink>>,
}

// === impl Reporter ===

impl Reporter {
    /// Of a process that follows the configuration and serves nobody.
    pub fn idle(identity: Arc<Identity>, link: Link) -> Self {
        Self {
            identity,
            frames: Arc::new(MetricFrame::default),
            spool: Box::new(SpoolState::default),
            labels: BTreeMap::new(),
            warnings: Arc::default(),
            link,
            applied: None,
        }
    }
}

// === impl Telemetry ===

impl Telemetry {
    /// Opens spool and log. Who collects is said later: [`Telemetry::connect`] or [`Telemetry::stand_alone`].
    pub fn start(
        data_dir: Option<&Path>,
        n_workers: usize,
        log: LogSink,
        warnings: &Arc<Warnings>,
        frames: impl Fn() -> MetricFrame + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let identity = Arc::new(Identity::load(data_dir));
        let spool = Arc::new(Spool::open(data_dir, &identity.boot_id, n_workers, warnings)?);
        let logs = Logs::start(&log, Arc::clone(&identity), n_workers)?;
        let data_dir = data_dir.map(Path::to_owned);
        Ok(Self { identity, data_dir, spool, logs, frames: Arc::new(frames), n_workers, uplink: Mutex::default() })
    }

    /// One pair per worker.
    pub fn lanes(&self) -> Vec<(spool::Lane, logs::Lane)> {
        (0..self.n_workers).map(|worker| (self.spool.lane(worker), self.logs.lane(worker))).collect()
    }

    pub(crate) fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity)
    }

    /// What the configuration's stream says about this node.
    pub(crate) fn reporter(&self, link: Link, labels: BTreeMap<String, String>, warnings: Arc<Warnings>) -> Reporter {
        let (identity, frames) = (Arc::clone(&self.identity), Arc::clone(&self.frames));
        Reporter { identity, frames, spool: Box::new(self.spool_state()), labels, warnings, link, applied: None }
    }

    /// What is owed and what was lost, as of each call.
    pub(crate) fn spool_state(&self) -> impl Fn() -> SpoolState + Send + Sync + use<> {
        let (spool, losses) = (Arc::clone(&self.spool), self.logs.losses());
        move || SpoolState {
            logs_pending: losses.n_pending(),
            logs_dropped: losses.n_dropped(),
            bodies_pending: losses.n_bodies_pending(),
            bodies_dropped: losses.n_bodies_dropped(),
            ..spool.state()
        }
    }

    /// Whether usage of an earlier boot may still be delivered.
    pub(crate) fn owes(&self) -> impl Fn(&str) -> bool + Send + Sync + use<> {
        let spool = Arc::clone(&self.spool);
        move |boot| spool.owes(boot)
    }

    /// A control plane collects, over this link.
    pub(crate) fn connect(&self, link: &Link) {
        let spool = Arc::clone(&self.spool);
        let (identity, frames) = (Arc::clone(&self.identity), Arc::clone(&self.frames));
        let dir = self.data_dir.as_deref().map(|data_dir| data_dir.join("logs"));
        let backlog = self.logs.backlog(dir.as_deref(), &identity.boot_id);
        let bodies = self.logs.bodies(dir.as_deref(), &identity.boot_id);
        let lane = self.logs.lane(0);
        let outbox = move || {
            let outbox = spool.outbox();
            outbox.recovered().for_each(|event| lane.push(recovered(event.clone())));
            outbox
        };
        let uplink = Uplink::start(link, identity, outbox, (backlog, bodies), frames);
        *self.uplink.lock().unwrap_or_else(PoisonError::into_inner) = Some(uplink);
    }

    /// Nobody collects: the log has it all. Requests that were open when an earlier process died are logged now.
    pub(crate) fn stand_alone(&self) {
        for event in self.spool.settle_locally() {
            self.logs.lane(0).push(recovered(event));
        }
    }

    /// Delivers and writes what is left; returns after a few seconds at most.
    pub async fn shutdown(mut self) {
        let uplink = self.uplink.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let joined = tokio::task::spawn_blocking(move || {
            self.logs.close();
            self
        });
        let Ok(this) = joined.await else { return };
        if let Some(uplink) = uplink {
            uplink.shutdown().await;
        }
        let put_away = move || {
            this.logs.put_away();
            this.spool.close();
        };
        // A panic in it was reported by it.
        let _ = tokio::task::spawn_blocking(put_away).await;
    }
}

/// The log record of a request whose process died.
fn recovered(event: UsageEvent) -> LogRecord {
    LogRecord {
        id: event.id,
        started_unix_ms: event.started_unix_ms,
        key_id: event.key_id,
        model: event.model,
        provider: event.provider,
        upstream_model: event.upstream_model,
        route: event.route,
        topology_revision: event.topology_revision,
        ending: "node_died".to_owned(),
        tokens: event.tokens,
        settled_by: SettledBy::Recovery.into(),
        cost_nano_usd: event.cost_nano_usd,
        priced: event.priced,
        price: event.price,
        tier: event.tier,
        tags: event.tags,
        ..LogRecord::default()
    }
}
