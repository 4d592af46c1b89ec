//! Who is let into the fleet, and with what.

mod intruders;
mod replicas;
mod revocation;

use gateway_model::token::{self, Join};
use gateway_server::clock::unix_ms;
use gateway_store::audit::AuditRow;
use gateway_store::membership::TokenRow;
use gateway_wire::v1::enrolment_client::EnrolmentClient;
use gateway_wire::v1::{EnrolRequest, RenewRequest};
use serde_json::{Value, json};
use tonic::Code;

use crate::machine::Machine;
use crate::world::World;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

async fn token(world: &World, body: Value) -> Value {
    world.call("POST", "/admin/nodes/tokens", body).await.expect(201)
}

fn secret(token: &Value) -> &str {
    token["token"].as_str().unwrap()
}

/// The newest events of the audit log about membership: action and actor.
async fn audited(world: &World) -> Vec<(String, String)> {
    let answer = world.get("/admin/audit?limit=500").await.expect(200);
    let text = |event: &Value, field: &str| event[field].as_str().unwrap().to_owned();
    let events = answer["data"].as_array().unwrap().iter();
    let about = events.filter(|event| ["node", "join_token", "epoch"].contains(&event["kind"].as_str().unwrap()));
    about.map(|event| (text(event, "action"), text(event, "actor"))).collect()
}

#[tokio::test]
async fn a_token_makes_a_member_once() {
    let world = World::with_fleet().await;
    let made = token(&world, json!({"labels": {"zone": "a"}, "ttl": "10m"})).await;
    assert_eq!((&made["uses"], &made["labels"]), (&json!(1), &json!({"zone": "a"})));
    let listed = world.get("/admin/nodes/tokens").await.expect(200);
    assert!(!listed.to_string().contains(secret(&made)), "it is shown once");
    assert_eq!(listed["data"].as_array().unwrap().len(), 2, "that of the ready file is there too");

    let mut machine = Machine::new(&world.control);
    let membership = machine.enrol(secret(&made), "").await.unwrap();
    assert!(membership.node_id.starts_with("node_"), "{membership:?}");
    assert_eq!(membership.ca, world.control.app().members.authority().certificate().to_vec());
    let (life, off) = (membership.not_after_unix_ms - unix_ms(), unix_ms() - membership.unix_ms);
    assert!((6 * DAY_MS..=7 * DAY_MS).contains(&life) && (0..60_000).contains(&off), "{life} {off}");

    let refused = Machine::new(&world.control).enrol(secret(&made), "").await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(world.get("/admin/nodes/tokens").await.expect(200)["data"].as_array().unwrap().len(), 1, "used up");

    let mut hello = machine.hello();
    hello.labels = [("zone".to_owned(), "z".to_owned()), ("rack".to_owned(), "7".to_owned())].into();
    let _node = machine.sync(hello).await.unwrap();
    let view = world.eventually(&format!("/admin/nodes/{}", machine.node_id), |view| view["connected"] == true).await;
    assert_eq!(view["labels"], json!({"rack": "7", "zone": "a"}), "the token's word counts more than the node's");
    assert_eq!(view["revoked_at"], Value::Null);
    assert!(view["certificate"]["serial"].as_str().is_some_and(|serial| serial.len() == 32), "{view}");
    let actor = format!("node:{}", machine.node_id);
    let events = audited(&world).await;
    for event in [("enrol", actor.as_str()), ("refuse", "stranger"), ("create", "master")] {
        assert!(events.contains(&(event.0.to_owned(), event.1.to_owned())), "{event:?} {events:?}");
    }
}

/// Strangers learn nothing from how they are refused, and use nothing up.
#[tokio::test]
async fn other_tokens_are_refused_in_the_same_words() {
    let (world, elsewhere) = (World::with_fleet().await, World::with_fleet().await);
    let pin = *world.control.app().members.authority().pin();
    let minted = |entropy: u8| Join { entropy: [entropy; 32], pin };
    let over = TokenRow {
        id: "join_over".to_owned(),
        digest: aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &[7; 32]).as_ref().to_vec(),
        sealed: None,
        labels: "{}".to_owned(),
        uses: 1,
        uses_left: 1,
        created_by: String::new(),
        created_at_ms: 1,
        expires_at_ms: unix_ms() - 1,
    };
    world.control.app().store.add_token(&over, AuditRow::default()).await.unwrap();
    let deleted = token(&world, json!({})).await;
    world
        .call("DELETE", &format!("/admin/nodes/tokens/{}", deleted["id"].as_str().unwrap()), Value::Null)
        .await
        .expect(204);
    let good = world.control.join_token().unwrap().expose();
    let mut mistyped = good.to_owned();
    mistyped.pop();
    let mut words = Vec::new();
    for (what, token) in [
        ("unknown", token::encode_join(&minted(9)).expose()),
        ("expired", token::encode_join(&minted(7)).expose()),
        ("deleted", secret(&deleted)),
        ("another control plane's", elsewhere.control.join_token().unwrap().expose()),
        ("mistyped", mistyped.as_str()),
        ("a virtual key", world.control.minted_key().unwrap().expose()),
        ("empty", ""),
    ] {
        let refused = Machine::new(&world.control).enrol(token, "").await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{what}");
        words.push(refused.message().to_owned());
    }
    words.dedup();
    assert_eq!(words.len(), 1, "{words:?}");
    assert!(words[0].contains("gatewayctl node token create"), "{words:?}");
    Machine::member(&world.control, "node_a").await;
}

#[tokio::test]
async fn a_refused_request_does_not_use_the_token_up() {
    let world = World::with_fleet().await;
    Machine::member(&world.control, "node_taken").await;
    let made = token(&world, json!({})).await;
    let mut machine = Machine::new(&world.control);
    let taken = machine.enrol(secret(&made), "node_taken").await.unwrap_err();
    assert_eq!(taken.code(), Code::AlreadyExists, "{taken}");
    assert!(taken.message().contains("`node_taken`"), "{taken}");
    let good = machine.request(secret(&made), "node_b");
    for (what, request) in [
        ("no request", EnrolRequest { csr: Vec::new(), ..good.clone() }),
        ("a broken request", EnrolRequest { csr: good.csr[..40].to_vec(), ..good.clone() }),
        ("a bad name", EnrolRequest { node_id: "../etc".to_owned(), ..good.clone() }),
        ("a long name", EnrolRequest { node_id: "x".repeat(200), ..good.clone() }),
        ("a long label", EnrolRequest { labels: [("l".to_owned(), "x".repeat(9000))].into(), ..good.clone() }),
    ] {
        let refused = EnrolmentClient::new(machine.channel()).enrol(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{what}: {refused}");
    }
    assert_eq!(machine.enrol(secret(&made), "node_b").await.unwrap().node_id, "node_b");
}

/// A node of the control plane's own process has its name as well as members have.
#[tokio::test]
async fn the_name_of_a_node_in_this_process_is_taken() {
    let world = World::with_fleet().await;
    let (_node, ..) = crate::node::Node::synced(&world.control).await;
    let app = world.control.app();
    while app.store.node("node_1").await.unwrap().is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let refused = Machine::new(&world.control).enrol(world.control.join_token().unwrap().expose(), "node_1").await;
    assert_eq!(refused.unwrap_err().code(), Code::AlreadyExists);
    let refused = world.call("POST", "/admin/nodes/node_1/revoke", Value::Null).await.refused(409, "conflict");
    assert!(refused["message"].as_str().unwrap().contains("own process"), "{refused}");
}

/// Test 20, first part: what a certificate that has run out is still good for.
#[tokio::test]
async fn node_cert_expired_and_revoked() {
    let world = World::with_fleet().await;
    let mut machine = Machine::issued(&world.control, "node_late", unix_ms() - 8 * DAY_MS);
    let refused = machine.sync(machine.hello()).await.map(drop).unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    assert!(refused.message().contains("renew"), "{refused}");
    let renewed = machine.renew().await.unwrap();
    assert_eq!(renewed.node_id, "node_late");
    machine.sync(machine.hello()).await.unwrap();
    assert!(audited(&world).await.contains(&("renew".to_owned(), "node:node_late".to_owned())));

    // Its certificate ran out 33 days ago: not even the handshake goes through.
    let mut gone = Machine::issued(&world.control, "node_gone", unix_ms() - 40 * DAY_MS);
    for refused in [gone.sync(gone.hello()).await.map(drop), gone.renew().await.map(drop)] {
        let refused = refused.unwrap_err();
        assert_ne!(refused.code(), Code::Ok);
        assert!(format!("{refused:?}").contains("CertificateExpired"), "{refused:?}");
    }
    // And then its name is free for whoever has a token.
    Machine::member(&world.control, "node_gone").await;

    // A fleet call or a renewal without any certificate.
    let stranger = Machine::new(&world.control);
    for refused in [
        stranger.sync(machine.hello()).await.map(drop),
        stranger.fleet().usage(tokio_stream::empty()).await.map(drop),
        stranger.fleet().logs(tokio_stream::empty()).await.map(drop),
        stranger.fleet().metrics(tokio_stream::empty()).await.map(drop),
        EnrolmentClient::new(stranger.channel()).renew(RenewRequest { csr: stranger.csr() }).await.map(drop),
    ] {
        assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    }
}

#[tokio::test]
async fn tokens_that_make_no_sense_are_refused() {
    let world = World::with_fleet().await;
    for body in [
        json!({"ttl": "0s"}),
        json!({"ttl": "31d"}),
        json!({"ttl": "soon"}),
        json!({"uses": 0}),
        json!({"uses": -1}),
        json!({"uses": 1_000_001}),
        json!({"labels": {"": "x"}}),
        json!({"labels": {"x": "y".repeat(300)}}),
        json!({"labels": ["x"]}),
        json!({"colour": "red"}),
        json!([]),
    ] {
        world.call("POST", "/admin/nodes/tokens", body).await.refused(400, "malformed");
    }
    world.call("DELETE", "/admin/nodes/tokens/join_none", Value::Null).await.refused(404, "not_found");
    world.call("POST", "/admin/nodes/node_none/revoke", Value::Null).await.refused(404, "not_found");
    let many = token(&world, json!({"uses": 2})).await;
    for expected in [true, true, false] {
        assert_eq!(Machine::new(&world.control).enrol(secret(&many), "").await.is_ok(), expected);
    }
}
