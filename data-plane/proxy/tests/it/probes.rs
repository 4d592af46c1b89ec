//! Probes: an upstream that is back is found without a request having to try it, and one that is gone without a request failing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gateway_fake::reply::openai;
use gateway_fake::{Received, Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Gateway, KEY, client, read, within};

/// `a` before `b`; what `a` answers is up to the switch, what a probe is answered goes with that.
async fn world(probe: &str) -> (Gateway, [Upstream; 2], Arc<AtomicBool>) {
    let (first, second, is_well) = (Upstream::start().await, Upstream::start().await, Arc::new(AtomicBool::new(true)));
    let state = Arc::clone(&is_well);
    first.respond_with(move |received: &Received| match (state.load(Ordering::SeqCst), received.method.as_str()) {
        (false, _) => Script::json(500, &openai::error("server_error", "out of order")),
        (true, "GET") => Script::json(200, &json!({"status": "ok"})),
        (true, _) => openai::answer(received, "hello"),
    });
    second.respond_with(|received| openai::answer(received, "hello"));
    let provider = |name: &str, url: String, more: &str| {
        format!(
            "  - {{name: {name}, kind: openai-compatible, base_url: \"{url}/v1\", allow_private_networks: true{more}}}\n"
        )
    };
    let more = format!(", breaker: {{failures: 2, open: 1h}}, probe: {{{probe}, interval: 1s}}");
    let yaml = format!(
        "providers:\n{}{}models:\n  - {{name: m, strategy: priority, targets: [{{provider: a, model: up}}, {{provider: b, model: up}}]}}\n\
         keys:\n  - {{name: test, secret: {KEY}}}\n",
        provider("a", first.url(), &more),
        provider("b", second.url(), ""),
    );
    (Gateway::start(&yaml).await, [first, second], is_well)
}

async fn told(gateway: &Gateway) -> (Value, Value) {
    let told = read(client().get(gateway.url("/statsz"))).await.json();
    (told["circuit_breakers"]["circuits"]["a/up"]["state"].clone(), told["probes"]["a"]["well"].clone())
}

#[tokio::test]
async fn active_health_probes() {
    // A path says that somebody is there: one request may try. A model's answer is proof.
    for (probe, recovered) in [("path: /health", "half_open"), ("model: up", "closed")] {
        let (gateway, [first, second], is_well) = world(probe).await;
        within("a probe that goes well", || async { (told(&gateway).await.1 == json!(true)).then_some(()) }).await;
        is_well.store(false, Ordering::SeqCst);
        let is_open = || async { (told(&gateway).await == (json!("open"), json!(false))).then_some(()) };
        within("the breaker to open by probes alone", is_open).await;
        let question = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]});
        let answer = gateway.chat(&question).await;
        assert_eq!((answer.status, answer.header("x-gateway-retries")), (200, Some("0")), "{probe}");
        is_well.store(true, Ordering::SeqCst);
        let is_back = || async { (told(&gateway).await == (json!(recovered), json!(true))).then_some(()) };
        within("the breaker to end its hour", is_back).await;
        let asked = second.requests().len();
        assert_eq!(gateway.chat(&question).await.status, 200);
        assert_eq!(second.requests().len(), asked, "{probe}: the first one serves again");
        let metrics = read(client().get(gateway.url("/metrics"))).await.text;
        assert!(metrics.contains("gateway_probe_up{provider=\"a\"} 1"), "{metrics}");
        // The task ends with its probe.
        let without = std::fs::read_to_string(gateway.file())
            .expect("the file")
            .replace(&format!(", probe: {{{probe}, interval: 1s}}"), "");
        gateway.rewrite(&without);
        let is_off = || async { (told(&gateway).await.1 == Value::Null).then_some(()) };
        within("the configuration without it", is_off).await;
        drop((first, second));
        gateway.stop().await;
    }
}
