//! Callers that do not speak the protocol, or never finish a sentence.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use gateway_model::token;
use gateway_wire::FLEET_SERVER_NAME;
use gateway_wire::v1::enrolment_client::EnrolmentClient;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Code;

use crate::machine::Machine;
use crate::world::World;

const HTTP: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The beginning of a TLS record that never ends.
const HALF: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
const RECORD: &[u8] = b"\x16\x03\x01\x00\x05hello";

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_leaves_nothing_behind() {
    const N: usize = 1000;
    let world = World::with_fleet().await;
    let address = world.control.fleet_addr().unwrap();
    let tasks = tokio::runtime::Handle::current().metrics();
    // The jobs of the control plane have begun.
    Machine::member(&world.control, "node_before").await;
    until("the first connection ends", || world.control.fleet_open() == [0; 3]).await;
    let n_tasks = tasks.num_alive_tasks();
    for wave in 0..N / 50 {
        let callers = (0..50).map(|caller| async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let (says, waits) = match (wave + caller) % 6 {
                0 => (HTTP, true),
                1 => (HTTP2, true),
                2 => (RECORD, true),
                3 => (&[0xff; 600][..], true),
                4 => (HALF, false),
                _ => (&b""[..], false),
            };
            stream.write_all(says).await.unwrap();
            // Who says something that cannot be TLS is let go at once.
            let mut rest = Vec::new();
            if waits {
                let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
                assert!(read.is_ok(), "still open: {says:?}");
                assert!(rest.len() < 64, "{rest:?}");
            }
        });
        futures_util::future::join_all(callers).await;
    }
    until("no handshake is open", || world.control.fleet_open() == [0; 3]).await;
    until("no task is left", || tasks.num_alive_tasks() <= n_tasks).await;
    Machine::member(&world.control, "node_after").await;
}

/// A caller that is silent in the middle of the handshake is let go by the clock.
#[tokio::test]
async fn a_silent_caller_is_let_go() {
    let world = World::with_fleet().await;
    let mut stream = TcpStream::connect(world.control.fleet_addr().unwrap()).await.unwrap();
    stream.write_all(HALF).await.unwrap();
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "still open");
    until("its place is free", || world.control.fleet_open() == [0; 3]).await;
}

/// What a node checks before it shows its token: the authority of the pin has signed whom it talks to.
#[tokio::test]
async fn the_chain_shows_the_authority_of_the_pin() {
    let world = World::with_fleet().await;
    let machine = Machine::new(&world.control);
    let connector = TlsConnector::from(Arc::new(machine.config()));
    let stream = TcpStream::connect(world.control.fleet_addr().unwrap()).await.unwrap();
    let stream = connector.connect(ServerName::try_from(FLEET_SERVER_NAME).unwrap(), stream).await.unwrap();
    let (_, session) = stream.get_ref();
    let chain = session.peer_certificates().unwrap();
    let join = token::decode_join(world.control.join_token().unwrap().expose()).unwrap();
    assert_eq!(chain.len(), 2);
    assert_eq!(digest(&SHA256, &chain[1]).as_ref(), join.pin);
    assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));
    until("a stranger has a place", || world.control.fleet_open() == [0, 1, 0]).await;
}

/// A certificate that another authority has signed gets nobody in, whatever it says.
#[tokio::test]
async fn a_foreign_certificate_is_refused() {
    let (world, elsewhere) = (World::with_fleet().await, World::with_fleet().await);
    let member = Machine::member(&world.control, "node_a").await;
    let mut forged = Machine::new(&world.control);
    let authority = elsewhere.control.app();
    let issued = authority.members.authority().issue(&forged.csr(), "node_a", "e", gateway_server::clock::unix_ms());
    forged.certificate = Some(issued.unwrap().certificate.into());
    forged.node_id.clone_from(&member.node_id);
    let refused = forged.sync(forged.hello()).await.map(drop).unwrap_err();
    assert!(format!("{refused:?}").contains("UnknownCA"), "{refused:?}");
    until("it is gone", || world.control.fleet_open()[2] == 0).await;
}

/// Guessing is slow, whoever guesses; members are not held up by it.
#[tokio::test]
async fn failed_attempts_are_few_per_second() {
    let world = World::with_fleet().await;
    let mut member = Machine::member(&world.control, "node_a").await;
    let stranger = Machine::new(&world.control);
    let mut client = EnrolmentClient::new(stranger.channel());
    let began = std::time::Instant::now();
    let (mut n_denied, mut n_slowed) = (0, 0);
    for _ in 0..200 {
        match client.enrol(stranger.request("gw_join_guess", "")).await.unwrap_err().code() {
            Code::PermissionDenied => n_denied += 1,
            Code::ResourceExhausted => n_slowed += 1,
            // A stranger's connection lasts for seconds; who goes on guessing makes another one.
            Code::Cancelled | Code::Unavailable => client = EnrolmentClient::new(stranger.channel()),
            code => panic!("{code}"),
        }
    }
    assert!(n_denied >= 20 && n_slowed >= 1, "{n_denied} {n_slowed}");
    member.renew().await.unwrap();
    let events = super::audited(&world).await;
    let n_told = events.iter().filter(|(action, _)| action == "refuse").count();
    let at_most = 2 + usize::try_from(began.elapsed().as_secs() / 10).unwrap();
    assert!((1..=at_most).contains(&n_told), "strangers do not fill the audit log: {n_told}");
}
