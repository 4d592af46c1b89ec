//! Streams on every dialect of upstreams and clients: folded for clients that want a whole reply, and never held back.

use futures_util::StreamExt as _;
use gateway_fake::{Gate, PATIENCE, Upstream};

use crate::gateway::{Gateway, read};
use crate::wires::{Client, N_PROMPT, TEXT, Wire, has};

/// The OpenAI client on every upstream, every client on an OpenAI upstream, and every client on an upstream of its own dialect.
fn pairs() -> Vec<(Client, Wire)> {
    let openai = || Client::all().into_iter().next().expect("the first of four");
    let on_every = Wire::all().into_iter().map(|wire| (openai(), wire));
    let every_on_openai = Client::all().into_iter().map(|client| (client, Wire::of_client(&openai())));
    let own = Client::all().into_iter().map(|client| {
        let wire = Wire::of_client(&client);
        (client, wire)
    });
    on_every.chain(every_on_openai).chain(own).collect()
}

/// What a client of completions is asked with, where its upstream is to speak chat.
fn quirks(client: &Client, wire: &Wire, others: &[&str]) -> String {
    let speaks_chat = client.path == "/v1/completions" && wire.speaks_chat();
    let quirks: Vec<&str> = others.iter().copied().chain(speaks_chat.then_some("no_completions")).collect();
    format!("[{}]", quirks.join(", "))
}

#[tokio::test]
async fn stream_false_from_a_streaming_upstream() {
    for (client, wire) in pairs() {
        let case = format!("{} on {}", client.path, wire.kind);
        let upstream = Upstream::start().await;
        upstream.push(wire.script());
        let config = wire.config(&upstream.url(), &quirks(&client, &wire, &["stream_only"]));
        let gateway = Gateway::start(&config).await;
        let answer = read(gateway.post(client.path, &client.question(false))).await;
        assert_eq!(answer.status, 200, "{case}: {}", answer.text);
        assert_eq!(answer.header("content-type"), Some("application/json"), "{case}");
        assert_eq!(client.told(&answer.json()), (Some(TEXT), Some(N_PROMPT)), "{case}: {}", answer.text);
        let received = upstream.request(0).await;
        let asked_a_stream = received.wants_stream() || received.target.contains("tream");
        assert!(asked_a_stream, "{case}: {} {:?}", received.target, received.body);
        let record = &gateway.records(1).await[0];
        assert_eq!(
            (&record["tokens"]["input"], record["settled_by"].as_str()),
            (&N_PROMPT.into(), Some("exact")),
            "{case}"
        );
    }
}

#[tokio::test]
async fn first_chunk_not_held_back() {
    for (client, wire) in pairs() {
        let case = format!("{} on {}", client.path, wire.kind);
        let (upstream, gate) = (Upstream::start().await, Gate::new());
        upstream.push(wire.held_behind_the_first_word(&gate));
        let gateway = Gateway::start(&wire.config(&upstream.url(), &quirks(&client, &wire, &[]))).await;
        let mut seen = Vec::new();
        let reading = async {
            let response = gateway.post(client.path, &client.question(true)).send().await.expect("a head");
            let mut stream = response.bytes_stream();
            // The upstream says nothing more before the gate opens.
            while !has(&seen, "alpha") {
                seen.extend_from_slice(&stream.next().await.expect("the first word").expect("bytes"));
            }
            assert!(!has(&seen, "beta"), "{case}");
            gate.open();
            while let Some(bytes) = stream.next().await {
                seen.extend_from_slice(&bytes.expect("bytes"));
            }
        };
        tokio::time::timeout(PATIENCE, reading)
            .await
            .unwrap_or_else(|_| panic!("{case}: the first word was held back"));
        assert!(has(&seen, "gamma"), "{case}: {}", String::from_utf8_lossy(&seen));
    }
}
