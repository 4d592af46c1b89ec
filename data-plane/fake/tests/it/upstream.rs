//! The scripted upstream.

use std::io::ErrorKind;

use gateway_fake::reply::{anthropic, openai};
use gateway_fake::{Ending, Gate, Script, Upstream};
use tokio::io::AsyncWriteExt;

use crate::Client;

#[tokio::test]
async fn records_and_answers_in_order_on_one_connection() {
    let upstream = Upstream::start().await;
    upstream.push(Script::json(200, &openai::reply("m", "one two", 3)));
    upstream.respond_with(|received| openai::answer(received, "fallback"));
    let mut client = Client::post(upstream.addr(), "{\"model\":\"first\"}").await;
    assert!(client.read_until("total_tokens\":5").await.starts_with("HTTP/1.1 200 OK\r\n"));
    let second = "POST /v1/y HTTP/1.1\r\nX-A: b\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    client.stream.write_all(second.as_bytes()).await.expect("sends");
    client.read_until("fallback").await;
    let received = upstream.request(1).await;
    assert_eq!((received.target.as_str(), received.header("x-a"), received.connection), ("/v1/y", Some("b"), 0));
    assert_eq!(upstream.request(0).await.json()["model"], "first");
    assert_eq!(upstream.ending(0).await, Ending::Complete);
}

#[tokio::test]
async fn a_gated_stream_sends_nothing_ahead() {
    let upstream = Upstream::start().await;
    let gate = Gate::new();
    upstream.push(Script::sse_gated(&anthropic::stream("m", "alpha beta", 3), &gate));
    let mut client = Client::post(upstream.addr(), "{}").await;
    for (n, mark) in [(1, "message_start"), (2, "content_block_start"), (3, "ping"), (4, "alpha"), (5, "beta")] {
        gate.reached(n).await;
        gate.release(1);
        let got = client.read_until(mark).await;
        assert_eq!(got.matches("data: ").count(), 1, "only the released event may have left: {got}");
    }
    gate.open();
    client.read_until("0\r\n\r\n").await;
    assert_eq!(upstream.ending(0).await, Ending::Complete);
}

#[tokio::test]
async fn endings_are_what_the_script_says() {
    let cases: [(Script, Result<&str, ErrorKind>); 3] = [
        (Script::new().head(200, &[("content-length", "99")]).write("short").close(), Ok("short")),
        (Script::sse_head().chunk("data: x\n\n").half_close(), Ok("\r\n9\r\ndata: x\n\n\r\n")),
        (Script::new().reset(), Err(ErrorKind::ConnectionReset)),
    ];
    for (script, expected) in cases {
        let upstream = Upstream::start().await;
        upstream.push(script);
        let got = Client::post(upstream.addr(), "{}").await.read_all().await;
        match expected {
            Ok(tail) => assert!(got.as_ref().is_ok_and(|text| text.ends_with(tail)), "{got:?}"),
            Err(kind) => assert_eq!(got, Err(kind)),
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_in_every_waiting_step() {
    let gate = Gate::new();
    let waiting = [
        Script::sse_head().chunk("data: x\n\n").hang(),
        Script::sse_head().chunk("data: x\n\n").wait(&gate).end(),
        Script::sse_head().chunk("data: x\n\n").pause(std::time::Duration::from_secs(3600)),
    ];
    for script in waiting {
        let upstream = Upstream::start().await;
        upstream.push(script);
        let mut client = Client::post(upstream.addr(), "{}").await;
        client.read_until("data: x").await;
        drop(client);
        assert_eq!(upstream.ending(0).await, Ending::ClientLeft);
    }
}

#[tokio::test]
async fn dropping_the_upstream_frees_its_port() {
    let upstream = Upstream::start().await;
    let addr = upstream.addr();
    upstream.push(Script::new().hang());
    let mut client = Client::post(addr, "{}").await;
    upstream.request(0).await;
    drop(upstream);
    assert!(matches!(client.read_all().await.as_deref(), Ok("") | Err(ErrorKind::ConnectionReset)));
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}
