//! Clients that leave: at each stage the upstream is let go, usage is settled once, and nothing stays behind.

use std::time::Duration;

use gateway_fake::reply::openai;
use gateway_fake::{Ending, Script, Upstream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Content, ENDPOINTS, Endpoint, Lane, Streams};
use crate::gateway::{Gateway, KEY, openai_at, within};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    BeforeBody,
    InBody,
    Waiting,
    InStream,
}

/// Sends as much of a request as the stage has, waits until it has been reached, and leaves.
async fn leave(endpoint: &Endpoint, stage: Stage, gateway: &Gateway, upstream: &Upstream) {
    let (kind, mut body) = endpoint.good();
    if stage == Stage::InStream && endpoint.streams == Streams::Asked {
        body = endpoint.with("\"stream\":true");
    }
    let address = gateway.url("").trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        endpoint.path,
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("written");
    let sent = match stage {
        Stage::BeforeBody => return gateway.in_flight(1).await,
        Stage::InBody => &body[..body.len() / 2],
        Stage::Waiting | Stage::InStream => &body,
    };
    stream.write_all(sent).await.expect("written");
    if stage == Stage::InBody {
        return gateway.in_flight(1).await;
    }
    upstream.request(if stage == Stage::Waiting { 0 } else { 1 }).await;
    if stage == Stage::InStream {
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains("one") {
            let read = tokio::time::timeout(Duration::from_secs(20), stream.read_buf(&mut seen)).await;
            assert!(read.expect("in time").expect("a read") > 0, "{}", String::from_utf8_lossy(&seen));
        }
    }
}

#[tokio::test]
async fn nothing_stays_behind_a_client_that_leaves() {
    for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.lane != Lane::Answered) {
        let upstream = Upstream::start().await;
        let gateway = Gateway::start(&openai_at(&upstream.url())).await;
        let mut n_left = 0;
        for stage in [Stage::BeforeBody, Stage::InBody, Stage::Waiting, Stage::InStream] {
            let asks = matches!(stage, Stage::Waiting | Stage::InStream);
            if stage == Stage::InStream && endpoint.streams == Streams::Never {
                continue;
            }
            let begun = openai::stream("x", "one two three", 7).into_iter().take(3);
            match stage {
                Stage::Waiting => upstream.push(Script::new().hang()),
                Stage::InStream => {
                    upstream.push(begun.fold(Script::sse_head(), |script, event| script.chunk(event)).hang())
                }
                _ => {}
            }
            let case = format!("{}, {stage:?}", endpoint.path);
            leave(endpoint, stage, &gateway, &upstream).await;
            n_left += 1;
            gateway.in_flight(0).await;
            let records = gateway.records(n_left).await;
            assert_eq!(records.len(), n_left, "{case}: settled once: {records:?}");
            assert_eq!(records[n_left - 1]["ending"], "client_gone", "{case}: {}", records[n_left - 1]);
            if asks {
                let index = upstream.requests().len() - 1;
                assert_eq!(upstream.ending(index).await, Ending::ClientLeft, "{case}");
            }
        }
        let is_form = matches!(endpoint.content, Content::Form(_));
        assert_eq!(upstream.requests().len(), n_left - 2, "{} ({is_form}): no upstream for half a body", endpoint.path);
    }
}

// === impl Gateway ===

impl Gateway {
    /// Returns when so many requests are being served.
    async fn in_flight(&self, n_requests: usize) {
        within("requests in flight", async || {
            let metrics = self.client().get(self.url("/metrics")).send().await.expect("an answer").text().await;
            let metrics = metrics.expect("a body");
            metrics.lines().any(|line| line == format!("gateway_requests_in_flight {n_requests}")).then_some(())
        })
        .await;
    }
}
