//! A node that is asked to stop: balancers are told first, then nobody new is let in, and who is there may finish.

use std::time::Duration;

use gateway_fake::reply::openai;
use gateway_fake::{Gate, Script, Upstream};
use gateway_proxy::config::Drain;
use serde_json::{Value, json};

use crate::gateway::{Gateway, KEY, client, openai_at, read, within};

fn question(stream: bool) -> Value {
    json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hello"}]})
}

/// Readiness flips at once; requests that balancers still send are served until they have had their time; open streams end whole.
#[tokio::test]
async fn ready_turns_503_at_shutdown() {
    let (upstream, gate) = (Upstream::start().await, Gate::new());
    let held = gate.clone();
    upstream.respond_with(move |received| match received.wants_stream() {
        false => openai::answer(received, "hello"),
        true => {
            let events = openai::stream("x", "one two", 3);
            Script::sse_head().chunk(events[..2].concat()).wait(&held).chunk(events[2..].concat()).end()
        }
    });
    let drain = Drain { delay: Duration::from_secs(2), timeout: Duration::from_secs(60) };
    let gateway = Gateway::start_with(&openai_at(&upstream.url()), |options| options.drain = drain).await;
    let (ready, chat) = (gateway.url("/ready"), gateway.url("/v1/chat/completions"));
    assert_eq!(read(client().get(&ready)).await.status, 200);
    let stream = gateway.post("/v1/chat/completions", &question(true)).send().await.expect("a head");
    let seen = async {
        // Each asks over a connection of its own, as balancers' checks do.
        let told = within("readiness to flip", || async {
            let told = read(client().get(&ready)).await;
            (told.status == 503).then_some(told)
        })
        .await;
        assert_eq!(told.json()["reason"], "draining", "{}", told.text);
        let served = read(client().post(&chat).bearer_auth(KEY).json(&question(false))).await;
        assert_eq!(served.status, 200, "the balancer has not noticed yet: {}", served.text);
        within("the listener to close", || async { client().get(&ready).send().await.err() }).await;
        gate.open();
        stream.text().await.expect("a whole stream")
    };
    let (text, ()) = tokio::join!(seen, gateway.stop());
    assert!(text.contains("two") && text.ends_with("data: [DONE]\n\n"), "{text}");
}
