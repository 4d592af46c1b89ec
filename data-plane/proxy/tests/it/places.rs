//! Providers that take only so many requests at once.

use std::time::{Duration, Instant};

use gateway_fake::reply::openai;
use gateway_fake::{Gate, Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway, KEY, read, within};

fn question(stream: bool) -> Value {
    json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hello"}]})
}

/// Provider `a` with these further fields, `b` where it is there, and a model `m` that prefers `a`.
fn config(a: &Upstream, more: &str, b: Option<&Upstream>) -> String {
    let provider = |name: &str, upstream: &Upstream, more: &str| {
        let url = upstream.url();
        format!(
            "  - {{name: {name}, kind: openai-compatible, base_url: \"{url}/v1\", allow_private_networks: true{more}}}\n"
        )
    };
    let second = b.map(|b| provider("b", b, "")).unwrap_or_default();
    let target = if b.is_some() { ", {provider: b, model: up}" } else { "" };
    format!(
        "providers:\n{}{second}models:\n  - {{name: m, strategy: priority, targets: [{{provider: a, model: up}}{target}]}}\n\
         keys:\n  - {{name: test, secret: {KEY}, passthrough: [a]}}\n",
        provider("a", a, &format!(", {more}"))
    )
}

/// Answers each request when the gate lets it.
async fn gated(gate: &Gate) -> Upstream {
    let (upstream, gate) = (Upstream::start().await, gate.clone());
    upstream.respond_with(move |received| {
        let body = openai::reply("up", "from the first", 3).to_string();
        match received.wants_stream() {
            false => Script {
                steps: [Script::new().wait(&gate).steps, Script::text(200, "application/json", body).steps].concat(),
            },
            true => {
                let events = openai::stream("up", "from the first", 3);
                let begun = Script::sse_head().chunk(events[..2].concat()).wait(&gate);
                begun.chunk(events[2..].concat()).end()
            }
        }
    });
    upstream
}

async fn waiting(gateway: &Gateway, n: usize) {
    within("requests to wait for a place", || async {
        let told = read(gateway.client().get(gateway.url("/statsz"))).await.json();
        let standing = &told["circuit_breakers"]["circuits"]["a/up"]["concurrency"];
        (standing["waiting"] == n).then_some(())
    })
    .await;
}

fn refused(answer: &Answer, code: &str) {
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (503, &json!(code)), "{}", answer.text);
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn who_finds_the_queue_full_goes_elsewhere_and_who_waits_has_its_turn() {
    let gate = Gate::new();
    let (first, second) = (gated(&gate).await, Upstream::start().await);
    second.respond_with(|received| openai::answer(received, "from the second"));
    let more = "concurrency: {max: 1, queue: 1}, timeouts: {queue: 30s}";
    let gateway = Gateway::start(&config(&first, more, Some(&second))).await;
    // A stream has its place until its end.
    let streamed = question(true);
    let served = gateway.chat(&streamed);
    let waits = async {
        gate.reached(1).await;
        gateway.chat(&question(false)).await
    };
    let others = async {
        waiting(&gateway, 1).await;
        let passed_over = gateway.chat(&question(false)).await;
        let metrics = read(gateway.client().get(gateway.url("/metrics"))).await.text;
        gate.open();
        (passed_over, metrics)
    };
    let (served, waited, (passed_over, metrics)) = tokio::join!(served, waits, others);
    assert!(served.text.contains("[DONE]") && waited.text.contains("from the first"), "{}{}", served.text, waited.text);
    assert!(passed_over.text.contains("from the second"), "{}", passed_over.text);
    for (what, n) in [("limit", 1), ("under_way", 1), ("waiting", 1)] {
        let line = format!("gateway_provider_concurrency{{provider=\"a\",what=\"{what}\"}} {n}\n");
        assert!(metrics.contains(&line), "{metrics}");
    }
    assert_eq!((first.requests().len(), second.requests().len()), (2, 1));
    let records = gateway.records(3).await;
    let log = records.iter().find(|log| log["provider"] == "b").expect("the second has served one");
    assert_eq!(log["passed_over"][0]["reason"], "busy", "{log}");
    gateway.stop().await;
}

#[tokio::test]
async fn the_queue_timer_names_itself() {
    let gate = Gate::new();
    let (first, second) = (gated(&gate).await, Upstream::start().await);
    second.respond_with(|received| openai::answer(received, "from the second"));
    let more = "concurrency: {max: 1}, timeouts: {queue: 300ms}";
    for alone in [true, false] {
        let gateway = Gateway::start(&config(&first, more, (!alone).then_some(&second))).await;
        let n_before = first.requests().len();
        let (question, question_of_late) = (question(false), question(false));
        let blocking = gateway.post("/v1/chat/completions", &question).send();
        let late = async {
            first.request(n_before).await;
            let began = Instant::now();
            let answer = gateway.chat(&question_of_late).await;
            (answer, began.elapsed())
        };
        tokio::select! {
            _ = blocking => panic!("the gate is closed"),
            (answer, took) = late => {
                assert!(took >= Duration::from_millis(300), "{took:?}");
                if alone {
                    refused(&answer, "queue_timeout");
                } else {
                    assert!(answer.text.contains("from the second"), "{}", answer.text);
                    let log = gateway.records(1).await.remove(0);
                    assert_eq!(log["passed_over"][0]["reason"], "queue_timeout", "{log}");
                }
            }
        }
        gateway.stop().await;
    }
}

/// Without a queue nobody waits; a change of the configuration forgets nobody who is under way; what passes needs a place too.
#[tokio::test]
async fn a_place_is_taken_until_its_request_is_over() {
    let gate = Gate::new();
    let first = gated(&gate).await;
    let more = "concurrency: {max: 1, queue: 0}, breaker: {enabled: false}";
    let gateway = Gateway::start(&config(&first, more, None)).await;
    let blocked = question(false);
    let blocking = gateway.chat(&blocked);
    let others = async {
        gate.reached(1).await;
        refused(&gateway.chat(&question(false)).await, "no_target_available");
        refused(&read(gateway.post("/proxy/a/chat/completions", &json!({}))).await, "no_target_available");
        let later = "models:\n  - {name: later, targets: [{provider: a, model: up}]}\n";
        gateway.rewrite(&config(&first, &more.replace("false", "true"), None).replace("models:\n", later));
        within("the changed configuration", || async {
            let models = gateway.client().get(gateway.url("/v1/models")).bearer_auth(KEY);
            read(models).await.text.contains("later").then_some(())
        })
        .await;
        refused(&gateway.chat(&question(false)).await, "no_target_available");
        gate.open();
    };
    let (served, ()) = tokio::join!(blocking, others);
    assert_eq!(served.status, 200, "{}", served.text);
    assert_eq!(gateway.chat(&question(false)).await.status, 200);
    gateway.stop().await;
}
