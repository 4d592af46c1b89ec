//! The same asked by several at once: one asks the upstream; who fails, fails alone.

use gateway_fake::reply::openai;
use gateway_fake::{Gate, Script, Upstream};
use serde_json::Value;

use super::{ON, caching, question, status};
use crate::gateway::{Answer, Gateway, openai_at, read, within};

/// A node, the settings of which say more, before an upstream.
async fn node(upstream: &Upstream, more: &str) -> Gateway {
    Gateway::start(&format!("{}{ON}{more}", openai_at(&upstream.url()))).await
}

/// The answer, once the gate is open.
fn behind(gate: &Gate, answer: Script) -> Script {
    let mut script = Script::new().wait(gate);
    script.steps.extend(answer.steps);
    script
}

fn asked(stream: bool) -> Value {
    let mut body = question();
    body["stream"] = stream.into();
    body
}

async fn in_flight(gateway: &Gateway, n: u64) {
    within("requests under way", || async {
        let told = read(gateway.client().get(gateway.url("/statsz"))).await.json();
        (told["in_flight"].as_u64() == Some(n)).then_some(())
    })
    .await;
}

/// Answers to all of `bodies`, the first of which is under way before the others are sent; `then` once all are.
async fn all(gateway: &Gateway, upstream: &Upstream, bodies: &[Value], then: impl FnOnce()) -> Vec<Answer> {
    let ask = |body: &Value| {
        let request = gateway.post("/v1/chat/completions", body);
        tokio::spawn(read(request))
    };
    let mut asking = vec![ask(&bodies[0])];
    upstream.request(0).await;
    asking.extend(bodies[1..].iter().map(ask));
    in_flight(gateway, bodies.len() as u64).await;
    then();
    let mut answers = Vec::new();
    for answer in asking {
        answers.push(answer.await.expect("an answer"));
    }
    answers
}

#[tokio::test]
async fn one_asks_for_all() {
    for first_streams in [false, true] {
        let (upstream, gate) = (Upstream::start().await, Gate::new());
        upstream.push(match first_streams {
            false => behind(&gate, Script::json(200, &openai::reply("own-name", "one two three", 7))),
            true => {
                let events = openai::stream("own-name", "one two three", 7);
                let head = Script::sse_head().chunk(&events[0]).chunk(&events[1]).wait(&gate);
                events[2..].iter().fold(head, |script, event| script.chunk(event)).end()
            }
        });
        let gateway = node(&upstream, "").await;
        let bodies = [asked(first_streams), asked(true), asked(false), asked(true), asked(false)];
        let answers = all(&gateway, &upstream, &bodies, || gate.open()).await;
        assert_eq!(upstream.requests().len(), 1);
        for (at, (answer, body)) in answers.iter().zip(&bodies).enumerate() {
            let expected = if at == 0 { "MISS" } else { "HIT" };
            assert_eq!((answer.status, status(answer)), (200, Some(expected)), "{}", answer.text);
            assert_eq!(answer.text.ends_with("data: [DONE]\n\n"), body["stream"] == true, "{}", answer.text);
        }
        let waited = gateway.records(5).await.into_iter().filter(|record| record["cache"]["waited"] == true);
        assert_eq!(waited.count(), 4);
        let told = read(gateway.client().get(gateway.url("/statsz"))).await.json();
        assert_eq!(told["response_cache"]["coalesced"], 4, "{told}");
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_failure_is_nobody_elses() {
    let failures: [fn(&Gate) -> Script; 3] = [
        |gate| behind(gate, Script::json(400, &openai::error("invalid_request_error", "no"))),
        |gate| Script::new().wait(gate).reset(),
        |gate| {
            let events = openai::stream("own-name", "one two three", 7);
            Script::sse_head().chunk(&events[0]).chunk(&events[1]).wait(gate).reset()
        },
    ];
    for (case, failing) in failures.into_iter().enumerate() {
        let (upstream, gate) = (Upstream::start().await, Gate::new());
        upstream.push(failing(&gate));
        upstream.respond_with(|received| openai::answer(received, "well"));
        let gateway = node(&upstream, "").await;
        let stream = case == 2;
        let answers = all(&gateway, &upstream, &[asked(stream), asked(stream), asked(stream)], || gate.open()).await;
        assert!(answers[0].status >= 400 || answers[0].text.contains("error"), "{}", answers[0].text);
        let mut found: Vec<_> = answers[1..].iter().map(|answer| (answer.status, status(answer))).collect();
        found.sort_unstable();
        assert_eq!(
            found,
            [(200, Some("HIT")), (200, Some("MISS"))],
            "case {case}: one goes on, the other waits for it"
        );
        assert_eq!(upstream.requests().len(), 2, "case {case}");
        gateway.stop().await;
    }
}

/// One reply after the other is no answer: nobody waits for the next.
#[tokio::test]
async fn nobody_waits_for_what_is_not_kept() {
    let (upstream, gate) = (Upstream::start().await, Gate::new());
    let mut refused = openai::reply("own-name", "", 7);
    refused["choices"][0]["finish_reason"] = "content_filter".into();
    upstream.push(behind(&gate, Script::json(200, &refused)));
    upstream.respond_with(move |_| Script::json(200, &refused));
    let gateway = node(&upstream, "").await;
    let bodies = [asked(false), asked(false), asked(false), asked(false)];
    let answers = all(&gateway, &upstream, &bodies, || gate.open()).await;
    assert!(answers.iter().all(|answer| (answer.status, status(answer)) == (200, Some("MISS"))));
    assert_eq!(upstream.requests().len(), 4);
    gateway.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_leaves_its_place_to_another() {
    let upstream = Upstream::start().await;
    upstream.push(Script::new().hang());
    upstream.respond_with(|received| openai::answer(received, "well"));
    let gateway = node(&upstream, "").await;
    let leaving = tokio::spawn(read(gateway.post("/v1/chat/completions", &question())));
    upstream.request(0).await;
    let waiting = tokio::spawn(read(gateway.post("/v1/chat/completions", &question())));
    in_flight(&gateway, 2).await;
    leaving.abort();
    let answer = waiting.await.expect("an answer");
    assert_eq!((answer.status, status(&answer)), (200, Some("MISS")), "{}", answer.text);
    gateway.stop().await;
}

/// Nobody waits longer for another's answer than for an upstream's.
#[tokio::test]
async fn patience_ends() {
    let (upstream, gate) = (Upstream::start().await, Gate::new());
    let events = openai::stream("own-name", "one two", 7);
    let slow = Script::sse_head().chunk(&events[0]).chunk(&events[1]).wait(&gate);
    upstream.push(events[2..].iter().fold(slow, |script, event| script.chunk(event)).end());
    upstream.respond_with(|received| openai::answer(received, "well"));
    let config = format!("{}{ON}", openai_at(&upstream.url()));
    let config = config.replace("retry:", "timeouts: {first_byte: 50ms}, retry:");
    let gateway = Gateway::start(&config).await;
    let first = gateway.post("/v1/chat/completions", &asked(true)).send().await.expect("a head");
    let second = gateway.chat(&asked(true)).await;
    assert_eq!((second.status, status(&second)), (200, Some("MISS")), "{}", second.text);
    assert_eq!(upstream.requests().len(), 2);
    gate.open();
    assert!(first.text().await.expect("a stream").ends_with("data: [DONE]\n\n"));
    gateway.stop().await;
}

#[tokio::test]
async fn coalescing_can_be_switched_off() {
    let (upstream, gateway) = caching("settings: {cache: {enabled: true, coalesce: false}}\n").await;
    let gate = Gate::new();
    let reply = openai::reply("own-name", "one", 7);
    for _ in 0..2 {
        upstream.push(behind(&gate, Script::json(200, &reply)));
    }
    let asking: Vec<_> =
        (0..2).map(|_| tokio::spawn(read(gateway.post("/v1/chat/completions", &question())))).collect();
    upstream.request(1).await;
    gate.open();
    for answer in asking {
        assert_eq!(status(&answer.await.expect("an answer")), Some("MISS"));
    }
    assert_eq!(status(&gateway.chat(&question()).await), Some("HIT"));
    gateway.stop().await;
}
