//! A simulated replica of the control plane: the real publisher, fleet and sessions, on simulated TCP.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures_util::stream;
use gateway_server::fleet::Fleet;
use gateway_server::ingest::{Ingest, Tail};
use gateway_server::leases::Leases;
use gateway_server::meters::Meters;
use gateway_server::publish::Publisher;
use gateway_server::sync::FleetService;
use gateway_store::Store;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use turmoil::net::TcpListener;

use crate::access::{Access, Lie, Line};
use crate::history::History;
use crate::thing;

pub(crate) const PORT: u16 = 8082;
/// A process that could not start is started again after this time.
const RESTART: Duration = Duration::from_millis(500);
/// How often replicas look how many nodes each of them has.
const COUNT: Duration = Duration::from_secs(1);

/// The fleet's own tables are no part of what is simulated: they are away all the time, which must hold up nothing.
static AWAY: LazyLock<Store> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made").block_on(async {
        let store = Store::open("sqlite::memory:").await.expect("memory can hold a database");
        store.close().await;
        store
    })
});

/// What a replica is made of. Cloning shares.
#[derive(Clone)]
pub struct Replica {
    pub number: usize,
    pub history: History,
    pub line: Line,
    pub seed: u64,
    pub lie: Option<Lie>,
    /// Connections per replica, of all nodes.
    pub connected: Arc<[AtomicUsize]>,
}

pub fn name(number: usize) -> String {
    format!("replica-{number}")
}

/// To be called outside of the simulation, which has no threads for a database.
pub fn prepare() {
    LazyLock::force(&AWAY);
}

// === impl Replica ===

impl Replica {
    /// One life of the replica's process.
    pub async fn run(self) -> turmoil::Result {
        let publisher = loop {
            let access = Access::new(self.history.clone(), self.line.clone(), self.seed, self.lie);
            match Publisher::start(access, thing::vault()).await {
                Ok(publisher) => break Arc::new(publisher),
                Err(_) => tokio::time::sleep(RESTART).await,
            }
        };
        let meters = Arc::new(Meters::new());
        let fleet = Arc::new(Fleet::new(AWAY.clone(), Arc::clone(&meters)));
        let ingest = Arc::new(Ingest::new(AWAY.clone(), Tail::new(), meters));
        let leases = Arc::new(Leases::new(AWAY.clone(), Arc::clone(&fleet)));
        let service = FleetService::new(Arc::clone(&publisher), fleet, (ingest, leases), CancellationToken::new());
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
        let incoming = stream::unfold(listener, |listener| async move {
            let accepted = listener.accept().await.map(|(stream, _)| stream);
            Some((accepted, listener))
        });
        tokio::select! {
            biased;
            () = publisher.run() => {}
            () = self.share(&service) => {}
            served = service.clone().serve(incoming) => served?,
        }
        Ok(())
    }

    /// What the replicas tell each other through the database.
    async fn share(&self, service: &FleetService) {
        let mut ticks = tokio::time::interval(COUNT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let n_nodes = self.connected.iter().map(|count| count.load(Ordering::Relaxed)).sum();
            service.share(n_nodes, self.connected.len());
        }
    }
}
