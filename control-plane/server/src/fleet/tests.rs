//! Two replicas on one database: each shows and waits for the nodes of both.

use std::time::Duration;

use gateway_model::kind::Class as ConfigClass;
use gateway_wire::v1::{self, Ack, Hello};

use super::*;

const BOTH: &[ConfigClass] = &[ConfigClass::Topology, ConfigClass::Identity];

async fn replicas() -> (Arc<Fleet>, Arc<Fleet>) {
    let store = Store::open("sqlite::memory:").await.expect("a database");
    let replica = || Arc::new(Fleet::new(store.clone(), Arc::new(Meters::new())));
    (replica(), replica())
}

fn hello(node_id: &str, revision: u64) -> Hello {
    let have = [Class::Topology, Class::Identity].map(|class| v1::ClassState {
        class: class.into(),
        epoch: "e".to_owned(),
        revision,
        ..v1::ClassState::default()
    });
    Hello { node_id: node_id.to_owned(), boot_id: "b".to_owned(), have: have.to_vec(), ..Hello::default() }
}

fn connect(fleet: &Arc<Fleet>, node_id: &str, revision: u64) -> Seat {
    fleet.connect(&hello(node_id, revision), |_| "e".to_owned())
}

fn applied(seat: &Seat, revision: u64) {
    for class in [Class::Topology, Class::Identity] {
        let status = AckStatus::Applied.into();
        seat.applied(&Ack { class: class.into(), revision, status, ..Ack::default() }, revision);
    }
}

async fn connected(fleet: &Fleet) -> Vec<(String, bool)> {
    fleet.nodes().await.expect("the store answers").into_iter().map(|node| (node.id, node.connected)).collect()
}

fn words(nodes: &[(&str, bool)]) -> Vec<(String, bool)> {
    nodes.iter().map(|(id, connected)| ((*id).to_owned(), *connected)).collect()
}

async fn save(fleet: &Fleet) {
    fleet.save(clock::unix_ms()).await.expect("the store takes it");
}

#[tokio::test]
async fn each_replica_shows_the_nodes_of_both() {
    let (one, other) = replicas().await;
    let (here, there) = (connect(&one, "node_a", 1), connect(&other, "node_b", 1));
    save(&one).await;
    save(&other).await;
    let both = words(&[("node_a", true), ("node_b", true)]);
    assert_eq!((connected(&one).await, connected(&other).await), (both.clone(), both));
    // A node that moves is connected where it is now, whatever the replica that it left remembers.
    drop(here);
    save(&one).await;
    let _moved = connect(&other, "node_a", 1);
    save(&other).await;
    assert_eq!(connected(&one).await, words(&[("node_a", true), ("node_b", true)]));
    drop(there);
    save(&other).await;
    assert_eq!(connected(&one).await, words(&[("node_a", true), ("node_b", false)]));
    // A replica that starts now has heard of nobody since, and believes nothing that was written before.
    let later = Fleet { started_at_ms: clock::unix_ms() + 1, ..Fleet::new(one.store.clone(), Arc::new(Meters::new())) };
    assert_eq!(connected(&later).await, words(&[("node_a", false), ("node_b", false)]));
}

#[tokio::test]
async fn a_change_is_waited_for_on_the_nodes_of_both() {
    let (one, other) = replicas().await;
    let (here, there) = (connect(&one, "node_a", 1), connect(&other, "node_b", 1));
    save(&other).await;
    let revision = Committed { topology: 2, identity: 2 };
    applied(&here, 2);
    let rollout = one.wait_applied(revision, BOTH, Duration::ZERO).await;
    assert_eq!((rollout.applied, rollout.pending), (vec!["node_a".to_owned()], vec!["node_b".to_owned()]));
    let elsewhere = async {
        tokio::task::yield_now().await;
        applied(&there, 2);
        save(&other).await;
    };
    let (rollout, ()) = tokio::join!(one.wait_applied(revision, BOTH, Duration::from_secs(20)), elsewhere);
    assert_eq!((rollout.applied.len(), rollout.pending.len(), rollout.offline.len()), (2, 0, 0), "{rollout:?}");
    // Away, it is not waited for.
    drop(there);
    save(&other).await;
    let revision = Committed { topology: 3, identity: 2 };
    applied(&here, 3);
    let rollout = one.wait_applied(revision, BOTH, Duration::from_secs(20)).await;
    assert_eq!((rollout.applied, rollout.offline), (vec!["node_a".to_owned()], vec!["node_b".to_owned()]));
}
