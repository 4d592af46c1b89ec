//! Light nodes that have enrolled and follow the control plane over mutual TLS.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gateway_fleet_tests::keys::N_KEYS;
use gateway_proxy::config::{JoinToken, Remote};
use gateway_proxy::member::{Member, Membership};
use gateway_proxy::sync::Replica;
use gateway_proxy::telemetry::identity::Identity;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::nodes::{Board, Running};
use crate::process::Process;

/// A member of the fleet, and the light node that follows it.
pub(crate) struct Node {
    pub(crate) member: Member,
    pub(crate) running: Running,
}

/// Enrolments at a time: joining is not what is measured.
const N_JOINING: usize = 16;
const PATIENCE: Duration = Duration::from_secs(90);

/// So many, the first of which is sent everything; the others begin with what it holds. Takes the last key away.
pub(crate) async fn join(control: &Process, home: &Path, n_nodes: usize, board: &Arc<Board>) -> Vec<Node> {
    let (first, identity) = enrol(control, control.fleet_url(), home.join("0")).await;
    let running = Running::start(first.link().clone(), Arc::clone(&identity), Replica::new(), board);
    // A key that is taken away reaches the node only after all keys have.
    control.revoke(N_KEYS - 1).await;
    board.all(&[N_KEYS - 1], 1, PATIENCE).await;
    let replica = running.stop().await;
    let running = Running::start(first.link().clone(), identity, replica.clone(), board);
    let mut nodes = vec![Node { member: first, running }];

    let places = Arc::new(Semaphore::new(N_JOINING));
    let mut joining = JoinSet::new();
    for number in 1..n_nodes {
        let enrolled = enrol(control, control.fleet_url(), home.join(number.to_string()));
        let place = Arc::clone(&places);
        joining.spawn(async move {
            let _place = place.acquire_owned().await.unwrap();
            enrolled.await
        });
    }
    while let Some(enrolled) = joining.join_next().await {
        let (member, identity) = enrolled.unwrap();
        let running = Running::start(member.link().clone(), identity, replica.clone(), board);
        nodes.push(Node { member, running });
    }
    nodes
}

/// A new node with a certificate, which reaches the control plane at this address.
pub(crate) fn enrol(
    control: &Process,
    url: &str,
    directory: PathBuf,
) -> impl Future<Output = (Member, Arc<Identity>)> + use<> {
    let join_token = Some(JoinToken::Given(control.join_token()));
    let remote = Remote { urls: vec![url.parse().unwrap()], join_token };
    async move {
        std::fs::create_dir(&directory).unwrap();
        let identity = Arc::new(Identity::load(Some(&directory)));
        let labels = BTreeMap::new();
        let membership = Membership::open(&directory, remote, Arc::clone(&identity), labels, Arc::default()).unwrap();
        (membership.start().await.unwrap(), identity)
    }
}

// === impl Node ===

impl Node {
    /// Ends it. Returns what it held.
    pub(crate) async fn stop(self) -> Replica {
        let replica = self.running.stop().await;
        self.member.shutdown().await;
        replica
    }
}
