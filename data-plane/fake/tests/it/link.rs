//! The failing link.

use std::io::ErrorKind;
use std::time::Duration;

use gateway_fake::reply::openai;
use gateway_fake::{Conditions, Gate, Link, Script, Upstream};
use tokio::time::Instant;

use crate::Client;

async fn upstream_and_link() -> (Upstream, Link) {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "through the link"));
    let link = Link::start(upstream.addr()).await;
    (upstream, link)
}

#[tokio::test]
async fn latency_and_bandwidth_slow_an_answer() {
    let (_upstream, link) = upstream_and_link().await;
    let slow = [
        Conditions { latency: Duration::from_millis(50), ..Conditions::default() },
        Conditions { bytes_per_second: Some(4096), ..Conditions::default() },
    ];
    for conditions in slow {
        link.set(conditions.clone());
        let started = Instant::now();
        Client::post(link.addr(), "{}").await.read_until("through the link").await;
        // Only the lower bound: how much slower a busy machine is says nothing.
        assert!(started.elapsed() >= Duration::from_millis(80), "{conditions:?} took {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_black_hole_holds_and_then_delivers() {
    let (upstream, link) = upstream_and_link().await;
    link.set(Conditions { blackhole: true, ..Conditions::default() });
    let mut client = Client::post(link.addr(), "{}").await;
    let nothing = tokio::time::timeout(Duration::from_millis(50), client.read_until("HTTP")).await;
    assert!(nothing.is_err(), "a black hole let something through");
    assert!(upstream.requests().is_empty());
    link.set(Conditions::default());
    client.read_until("through the link").await;
}

#[tokio::test]
async fn reset_all_cuts_and_new_connections_are_welcome() {
    let (upstream, link) = upstream_and_link().await;
    upstream.push(Script::sse_head().wait(&Gate::new()));
    let mut cut = Client::post(link.addr(), "{}").await;
    cut.read_until("event-stream").await;
    link.reset_all();
    assert_eq!(cut.read_all().await, Err(ErrorKind::ConnectionReset));
    Client::post(link.addr(), "{}").await.read_until("through the link").await;
}

#[tokio::test]
async fn refuse_resets_new_connections() {
    let (upstream, link) = upstream_and_link().await;
    link.set(Conditions { refuse: true, ..Conditions::default() });
    let mut client = Client { stream: tokio::net::TcpStream::connect(link.addr()).await.expect("accepted first") };
    assert_eq!(client.read_all().await, Err(ErrorKind::ConnectionReset));
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_reset_upstream_is_a_reset_client_and_a_slow_close_is_late() {
    let (upstream, link) = upstream_and_link().await;
    upstream.push(Script::new().reset());
    assert_eq!(Client::post(link.addr(), "{}").await.read_all().await, Err(ErrorKind::ConnectionReset));
    link.set(Conditions { slow_close: Duration::from_millis(80), ..Conditions::default() });
    upstream.push(Script::new().write("HTTP/1.1 200 OK\r\n\r\nend").close());
    let mut client = Client::post(link.addr(), "{}").await;
    client.read_until("end").await;
    let started = Instant::now();
    assert_eq!(client.read_all().await.as_deref(), Ok(""));
    assert!(started.elapsed() >= Duration::from_millis(60), "closed after {:?}", started.elapsed());
}
