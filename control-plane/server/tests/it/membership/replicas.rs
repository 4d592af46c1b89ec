//! Several control planes on one database are one fleet; and what a restart keeps.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use gateway_server::change::Actor;
use gateway_server::members::NewToken;
use gateway_server::{ControlPlane, Options, start};
use gateway_testing::{Postgres, figure};
use gateway_wire::seal::{self, Key, Purpose};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tonic::Code;

use super::{secret, token};
use crate::machine::Machine;
use crate::node::Node;
use crate::world::{World, options};

fn fleet(data_dir: &Path) -> Options {
    Options { fleet_listen: Some("127.0.0.1:0".parse().unwrap()), ..options(data_dir) }
}

/// One more replica on the same database, with the same keys.
fn replica(first: &Path, own: &Path) -> Options {
    Options {
        database_url: Some(format!("sqlite://{}", first.join("gateway.db").display())),
        kek_file: Some(first.join("kek.key")),
        master_key_file: Some(first.join("master.key")),
        ..fleet(own)
    }
}

async fn failure(options: Options) -> String {
    format!("{:#}", start(options).await.map(drop).unwrap_err())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_used_once_whichever_replica_is_asked() {
    let world = World::with_fleet().await;
    let own = tempfile::tempdir().unwrap();
    let second = start(replica(world.directory.path(), own.path())).await.unwrap();
    assert_eq!(second.master_key(), world.control.master_key());
    let pin = |control: &ControlPlane| *control.app().members.authority().pin();
    assert_eq!(pin(&second), pin(&world.control));
    assert_eq!(second.join_token(), world.control.join_token());

    let made = token(&world, json!({"uses": 3})).await;
    let attempts = (0..12).map(|number| {
        let control = if number % 2 == 0 { &world.control } else { &second };
        let token = secret(&made).to_owned();
        async move { Machine::new(control).enrol(&token, "").await.map_err(|status| status.code()) }
    });
    let outcomes = join_all(attempts).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 3, "{outcomes:?}");
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(_) | Err(Code::PermissionDenied))), "{outcomes:?}");

    // A certificate of one is good at the other, and put out at one is put out at both.
    let member = Machine::member(&second, "node_a").await;
    let at_first = member.calling(world.control.fleet_addr().unwrap());
    let mut node = at_first.sync(at_first.hello()).await.unwrap();
    let app = second.app();
    app.members.revoke("node_a", &Actor::default()).await.unwrap();
    let cut = loop {
        if let Err(status) = node.any().await {
            break status;
        }
    };
    assert_eq!(cut.code(), Code::PermissionDenied);
    second.shutdown().await;
}

#[tokio::test]
async fn a_replica_with_other_keys_says_so() {
    let world = World::with_fleet().await;
    let (first, own) = (world.directory.path(), tempfile::tempdir().unwrap());
    let other_kek = own.path().join("other.key");
    std::fs::write(&other_kek, gateway_server::vault::Vault::generate().expose()).unwrap();
    let file = |name: &str, content: &str| -> PathBuf {
        let path = own.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let with_kek = |path: PathBuf| Options { kek_file: Some(path), ..replica(first, &own.path().join("data")) };
    let with_master =
        |path: PathBuf| Options { master_key_file: Some(path), ..replica(first, &own.path().join("data")) };
    for (options, expected) in [
        (with_kek(other_kek), "--kek-file"),
        (with_kek(file("short.key", "c2hvcnQ")), "must be 32 bytes in base64"),
        (with_kek(file("empty.key", "\n")), "is empty"),
        (with_kek(own.path().join("none.key")), "cannot read"),
        (Options { kek_file: None, ..replica(first, &own.path().join("data")) }, "--kek-file"),
        (with_master(file("master", "short")), "fewer than 20 characters"),
        (with_master(own.path().join("none")), "--master-key-file"),
    ] {
        let said = failure(options).await;
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[tokio::test]
async fn the_ready_files_token_and_the_authority_survive_a_restart() {
    let World { control, directory, .. } = World::with_fleet().await;
    let token = control.join_token().unwrap().clone();
    assert_eq!(control.fleet_url().unwrap(), format!("https://{}", control.fleet_addr().unwrap()));
    let first = Machine::member(&control, "node_a").await;
    control.shutdown().await;
    let named = Options { fleet_hosts: vec!["gateway.example.com".to_owned()], ..fleet(directory.path()) };
    let control = start(named).await.unwrap();
    assert_eq!(control.join_token(), Some(&token));
    let address = control.fleet_addr().unwrap();
    assert_eq!(control.fleet_url().unwrap(), format!("https://gateway.example.com:{}", address.port()));
    Machine::member(&control, "node_b").await;
    let first = first.calling(address);
    first.sync(first.hello()).await.unwrap();
    control.shutdown().await;

    // Without a fleet listener there is nothing to join.
    let control = start(options(directory.path())).await.unwrap();
    assert_eq!((control.fleet_url(), control.join_token()), (None, None));
    control.shutdown().await;
    let taken = World::with_fleet().await;
    let busy = Options { fleet_listen: taken.control.fleet_addr(), ..options(directory.path()) };
    assert!(failure(busy).await.contains("--fleet-listen"));
}

#[tokio::test]
async fn a_new_epoch_gives_every_node_everything_anew() {
    let world = World::with_fleet().await;
    let (mut node, identity, _) = Node::synced(&world.control).await;
    let answer = world.call("POST", "/admin/epoch", Value::Null).await.expect(200);
    assert_ne!(answer["epoch"], json!(identity.epoch));
    let snapshot = node.snapshot().await;
    assert_eq!(json!(snapshot.epoch), answer["epoch"]);
    assert_eq!(json!(snapshot.revision), answer["revision"]["identity"]);
    assert_eq!(snapshot.items, identity.items);
    assert_eq!(world.get("/admin/status").await.expect(200)["epoch"], answer["epoch"]);
    assert!(super::audited(&world).await.contains(&("create".to_owned(), "master".to_owned())));
    // Changes go on from there.
    world
        .call("POST", "/admin/providers", json!({"name": "p", "kind": "openai", "api_key": "sk-0123456789"}))
        .await
        .expect(201);
}

#[tokio::test]
async fn an_export_opens_with_its_key_only() {
    let world = World::with_fleet().await;
    let provider = json!({"name": "p", "kind": "openai", "api_key": "sk-canary-0123456789"});
    world.call("POST", "/admin/providers", provider).await.expect(201);
    let export = async |state_key: &str| {
        let bearer = format!("Bearer {}", world.master_key());
        let headers = [("host", "localhost"), ("authorization", bearer.as_str())];
        let body = json!({"state_key": state_key}).to_string().into_bytes();
        let response = world.open("POST", "/admin/snapshot", &headers, body).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/octet-stream");
        response.into_body().collect().await.unwrap().to_bytes()
    };
    let sealed = export("a state key of the fleet").await;
    assert!(!sealed.windows(9).any(|window| window == b"sk-canary"));
    let key = |text: &str| Key::derive(&[text.as_bytes()], Purpose::Export);
    assert!(seal::open(&key("another key of the fleet"), &sealed).is_err());
    let opened = seal::open(&key("a state key of the fleet"), &sealed).unwrap();
    let heads = world.control.app().store.heads().await.unwrap();
    assert_eq!((&opened.epoch, opened.topology.revision, opened.identity.revision), (&heads.epoch, 1, heads.identity));
    assert_eq!(opened.topology.items[0].secrets["api_key"], b"sk-canary-0123456789");
    assert_eq!(opened.identity.items.len(), 2, "the default key and its pepper");
    for body in [
        json!({"state_key": "short"}),
        json!({}),
        json!({"state_key": 7}),
        json!([]),
        json!({"state_key": "x", "y": 1}),
    ] {
        world.call("POST", "/admin/snapshot", body).await.refused(400, "malformed");
    }
    let audited = world.get("/admin/audit?limit=1").await.expect(200);
    assert_eq!(audited["data"][0]["action"], "export");
    assert!(!audited.to_string().contains("state key"));
}

/// A new database, and everybody at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_at_once_on_postgres_are_one_fleet() {
    let Some(postgres) = Postgres::shared() else { return };
    let (url, directory) = (postgres.database(), tempfile::tempdir().unwrap());
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("kek"), gateway_server::vault::Vault::generate().expose()).unwrap();
    std::fs::write(path("master"), "a-master-key-of-the-fleet").unwrap();
    let options = |name: &str| Options {
        database_url: Some(url.clone()),
        kek_file: Some(path("kek")),
        master_key_file: Some(path("master")),
        ..fleet(&path(name))
    };
    let started = join_all(["a", "b", "c"].map(|name| start(options(name)))).await;
    let replicas: Vec<ControlPlane> = started.into_iter().map(|started| started.unwrap()).collect();
    let pins: Vec<_> = replicas.iter().map(|control| *control.app().members.authority().pin()).collect();
    assert!(pins.iter().all(|pin| *pin == pins[0]), "one authority");
    assert_eq!(replicas.iter().filter(|control| control.minted_key().is_some()).count(), 1, "one first key");
    assert_eq!(replicas[0].app().store.heads().await.unwrap().identity, 2, "one pepper");

    let wanted = NewToken { labels: [].into(), ttl: Duration::from_secs(60), uses: 1 };
    let (_, token) = replicas[0].app().members.create_token(&wanted, &Actor::default()).await.unwrap();
    let attempts = (0..9).map(|number| {
        let (control, token) = (&replicas[number % 3], token.expose().to_owned());
        async move { Machine::new(control).enrol(&token, "").await.is_ok() }
    });
    assert_eq!(join_all(attempts).await.into_iter().filter(|is_in| *is_in).count(), 1);

    let member = Machine::member(&replicas[0], "node_a").await.calling(replicas[1].fleet_addr().unwrap());
    let mut node = member.sync(member.hello()).await.unwrap();
    let began = Instant::now();
    replicas[2].app().members.revoke("node_a", &Actor::default()).await.unwrap();
    while node.any().await.is_ok() {}
    let took = began.elapsed();
    figure::note("node_cert_expired_and_revoked", "streams cut, three replicas", took.as_secs_f64(), "s", 5.0);
    assert!(took < Duration::from_secs(5), "{took:?}");
    let refused = failure(Options { kek_file: None, ..options("d") }).await;
    assert!(refused.contains("--kek-file"), "{refused}");
    join_all(replicas.into_iter().map(ControlPlane::shutdown)).await;
}
