//! Who was put out stays out, and nobody speaks for another.

use std::time::Duration;

use gateway_server::clock::unix_ms;
use gateway_store::Store;
use gateway_store::audit::AuditRow;
use gateway_store::membership::Revoked;
use gateway_testing::figure;
use gateway_wire::v1::control_msg::Msg;
use gateway_wire::v1::{Hello, LogBatch, LogRecord, MetricFrame, UsageBatch, UsageEvent};
use serde_json::Value;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::machine::Machine;
use crate::node::Node;
use crate::world::World;

const TEST: &str = "node_cert_expired_and_revoked";

/// Reads until the stream ends; says why it did.
async fn ended(mut node: Node) -> Status {
    loop {
        match node.any().await {
            Ok(Msg::Redirect(_)) => panic!("sent elsewhere"),
            Ok(_) => {}
            Err(status) => return status,
        }
    }
}

async fn cut(world: &World, revoke: impl AsyncFnOnce(&str), what: &str) {
    let mut machine = Machine::member(&world.control, &format!("node_{}", what.replace(' ', "-"))).await;
    let node = machine.sync(machine.hello()).await.unwrap();
    let (usage, held) = tokio::sync::mpsc::channel::<UsageBatch>(1);
    let held = tokio_stream::wrappers::ReceiverStream::new(held);
    let mut usage_acks = machine.fleet().usage(held).await.unwrap().into_inner();
    let bystander = Machine::member(&world.control, &format!("bystander_{}", what.replace(' ', "-"))).await;
    let _bystander = bystander.sync(bystander.hello()).await.unwrap();

    let began = Instant::now();
    revoke(&machine.node_id).await;
    let status = ended(node).await;
    let took = began.elapsed();
    assert_eq!(status.code(), Code::PermissionDenied, "{what}: {status}");
    assert_eq!(usage_acks.message().await.unwrap_err().code(), Code::PermissionDenied, "{what}");
    drop(usage);
    figure::note(TEST, &format!("streams cut, revoked {what}"), took.as_secs_f64(), "s", 5.0);
    assert!(took < Duration::from_secs(5), "{what}: {took:?}");

    let again = machine.sync(machine.hello()).await.map(drop).unwrap_err();
    let renewed = machine.renew().await.map(drop).unwrap_err();
    let mut same_name = Machine::new(&world.control);
    let token = world.control.join_token().unwrap().expose();
    let enrolled = same_name.enrol(token, &machine.node_id).await.map(drop).unwrap_err();
    let refused = [again.code(), renewed.code(), enrolled.code()];
    assert_eq!(refused, [Code::PermissionDenied, Code::PermissionDenied, Code::AlreadyExists], "{what}");
    let view = world.get(&format!("/admin/nodes/{}", machine.node_id)).await.expect(200);
    assert!(view["revoked_at"].is_string(), "{what}: {view}");
    let view = world.get(&format!("/admin/nodes/{}", bystander.node_id)).await.expect(200);
    assert_eq!((&view["connected"], &view["revoked_at"]), (&Value::Bool(true), &Value::Null), "{what}");
    // The machine is welcome under another name.
    same_name.enrol(token, "").await.unwrap();
}

#[tokio::test]
async fn a_revoked_node_is_cut_and_stays_out() {
    let world = World::with_fleet().await;
    let here = async |node_id: &str| {
        let view = world.call("POST", &format!("/admin/nodes/{node_id}/revoke"), Value::Null).await.expect(200);
        assert!(view["revoked_at"].is_string(), "{view}");
    };
    cut(&world, here, "here").await;
    let database = world.directory.path().join("gateway.db");
    let elsewhere = async |node_id: &str| {
        let other = Store::open_file(&database).await.unwrap();
        let revoked = other.revoke(node_id, unix_ms(), AuditRow::default()).await.unwrap();
        assert_eq!(revoked, Revoked::Now);
    };
    cut(&world, elsewhere, "by another replica").await;
}

/// The database was restored from a copy that is older than the node.
#[tokio::test]
async fn a_member_that_the_database_does_not_know_can_be_revoked() {
    let world = World::with_fleet().await;
    let machine = Machine::issued(&world.control, "node_unknown", unix_ms());
    let node = machine.sync(machine.hello()).await.unwrap();
    let app = world.control.app();
    while app.store.node("node_unknown").await.unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.call("POST", "/admin/nodes/node_unknown/revoke", Value::Null).await.expect(200);
    assert_eq!(ended(node).await.code(), Code::PermissionDenied);
}

/// Test 20, last part: a certificate speaks for its own node only.
#[tokio::test]
async fn a_stolen_id_reports_for_nobody() {
    let world = World::with_fleet().await;
    let victim = Machine::member(&world.control, "node_victim").await;
    let thief = Machine::member(&world.control, "node_thief").await;
    let node = thief.sync(Hello { node_id: victim.node_id.clone(), ..thief.hello() }).await.unwrap();
    assert_eq!(ended(node).await.code(), Code::PermissionDenied);

    let event = UsageEvent { id: "r1".to_owned(), ..UsageEvent::default() };
    let usage = |node_id: &str, boot_id: &str| UsageBatch {
        node_id: node_id.to_owned(),
        boot_id: boot_id.to_owned(),
        first_seq: 1,
        events: vec![event.clone()],
        ..UsageBatch::default()
    };
    let record = |node_id: &str| LogRecord { id: "l1".to_owned(), node_id: node_id.to_owned(), ..LogRecord::default() };
    let logs = |node_id: &str, of: &str| LogBatch {
        node_id: node_id.to_owned(),
        boot_id: "boot1".to_owned(),
        first_seq: 1,
        records: vec![record(node_id), record(of)],
        ..LogBatch::default()
    };
    let frame = MetricFrame { node_id: victim.node_id.clone(), ..MetricFrame::default() };
    let mut fleet = thief.fleet();
    let mut answers = [
        fleet.usage(tokio_stream::once(usage("node_victim", "boot1"))).await.unwrap().into_inner(),
        fleet.logs(tokio_stream::once(logs("node_victim", "node_victim"))).await.unwrap().into_inner(),
        fleet.logs(tokio_stream::once(logs("node_thief", "node_victim"))).await.unwrap().into_inner(),
        fleet.metrics(tokio_stream::once(frame)).await.unwrap().into_inner(),
    ];
    for answer in &mut answers {
        let refused = answer.message().await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert!(!refused.message().contains("node_victim"), "{refused}");
    }
    assert!(world.control.app().store.usage(None, 10).await.unwrap().is_empty(), "nothing was counted");
    assert_eq!(world.get("/admin/logs").await.expect(200)["data"], serde_json::json!([]));

    // What an earlier boot of its own left behind is its own.
    let earlier = fleet.usage(tokio_stream::once(usage("node_thief", "boot0"))).await.unwrap();
    assert_eq!(earlier.into_inner().message().await.unwrap().unwrap().up_to_seq, 1);
}
