//! SIGKILL: what was admitted is accounted for, once.

use std::collections::BTreeSet;

use gateway_fake::reply::openai;
use gateway_fake::{Gate, Script, Upstream};
use serde_json::Value;

use crate::eventually;
use crate::gateway::{Gateway, Place, config};

const STREAMS: usize = 50;

#[tokio::test]
async fn each_admitted_request_has_one_usage_record_after_a_kill() {
    let upstream = Upstream::start().await;
    let gate = Gate::new();
    for _ in 0..STREAMS {
        let events = openai::stream("m", "one two three", 3);
        // Two events leave, then the stream stands open.
        upstream.push(Script::sse_head().chunk(&events[0]).chunk(&events[1]).wait(&gate).end());
    }
    upstream.respond_with(|received| openai::answer(received, "after the kill"));
    let place = Place::new();
    place.write("gateway.yaml", &config(&upstream.url()));
    let gateway = place.up(&["-f", "gateway.yaml"]).await;
    let key = gateway.key.clone();
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let mut stream = gateway.chat_stream("m").await;
        assert_eq!(stream.status, 200);
        stream.read_until("one").await;
        streams.push(stream);
    }
    gateway.kill().await;
    for stream in streams {
        let rest = stream.rest().await.unwrap_or_default();
        assert!(!rest.contains("[DONE]"), "a cut stream must not read as success: {rest}");
    }

    let mut gateway = place.up(&["-f", "gateway.yaml"]).await;
    gateway.key = key;
    assert_eq!(gateway.chat("m").await.status, 200);
    let rows = eventually("a usage record for each request", || async {
        let rows = usage(&gateway).await;
        (rows.len() > STREAMS).then_some(rows)
    })
    .await;
    let requests: BTreeSet<String> = rows.iter().map(|row| row["id"].to_string()).collect();
    assert_eq!((rows.len(), requests.len()), (STREAMS + 1, STREAMS + 1), "one record each: {rows:?}");
    assert_eq!(upstream.requests().len(), STREAMS + 1, "one upstream request for each");
}

async fn usage(gateway: &Gateway) -> Vec<Value> {
    let reply = gateway.admin("GET", "/admin/usage?limit=500", Value::Null).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["data"].as_array().expect("a page").clone()
}
