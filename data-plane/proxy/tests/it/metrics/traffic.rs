//! Nodes that are asked everything there is a number of: each scrape is taken when its numbers stand.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use gateway_fake::reply::openai;
use gateway_fake::{Gate, Received, Script, Upstream};
use serde_json::{Value, json};

use super::{moved, scrape};
use crate::gateway::{Gateway, KEY, client, openai_at, read};

fn question(model: &str, stream: bool) -> Value {
    json!({"model": model, "stream": stream, "user": "u", "messages": [{"role": "user", "content": "hello"}]})
}

fn provider(name: &str, upstream: &Upstream, more: &str) -> String {
    let url = upstream.url();
    format!(
        "  - {{name: {name}, kind: openai-compatible, base_url: \"{url}/v1\", allow_private_networks: true{more}}}\n"
    )
}

pub(super) async fn scrapes() -> Vec<String> {
    vec![routed().await, placed().await, cached().await, tried_out().await]
}

/// Failures, fallbacks, breakers, continuations, breaches, limits, money.
async fn routed() -> String {
    let (well, ill, cut, odd) =
        (Upstream::start().await, Upstream::start().await, Upstream::start().await, Upstream::start().await);
    well.respond_with(|received| match received.method.as_str() {
        "GET" => Script::json(200, &json!({"status": "ok"})),
        _ => openai::answer(received, "one two three four"),
    });
    ill.respond_with(|_| Script::json(500, &openai::error("server_error", "out of order")));
    cut.respond_with(|_| {
        let events = openai::stream("up", "one two three", 7);
        events[..=2].iter().fold(Script::sse_head(), |script, event| script.chunk(event)).reset()
    });
    odd.respond_with(|_| {
        // It goes on after it has said that it is over.
        let mut events = openai::stream("up", "one two", 7);
        let word = events[1].clone();
        events.insert(events.len() - 1, word);
        Script::sse(&events)
    });
    let ill_more = ", retry: {max_attempts: 2}, breaker: {failures: 1, open: 1h}";
    let yaml = format!(
        "providers:\n{}{}{}{}prices:\n  - {{provider: well, model: up, input_per_1m: 1000, output_per_1m: 2000}}\n\
         models:\n  - {{name: m, targets: [{{provider: well, model: up}}]}}\n  \
         - {{name: again, strategy: priority, targets: [{{provider: ill, model: up}}, {{provider: well, model: up}}]}}\n  \
         - {{name: on, strategy: priority, continuation: {{enabled: true}}, targets: [{{provider: cut, model: up}}, {{provider: well, model: up}}]}}\n  \
         - {{name: odd, targets: [{{provider: odd, model: up}}]}}\n\
         keys:\n  - {{name: test, secret: {KEY}, budget: {{amount_usd: 100, window: monthly}}}}\n\
         limits:\n  - {{name: \"each\", match: {{models: [\"*\"]}}, per: key, limits: {{rpm: 1000}}}}\n",
        provider("well", &well, ", limits: {rpm: 1000, tpm: 1000000}, probe: {path: /health, interval: 1s}"),
        provider("ill", &ill, ill_more),
        provider("cut", &cut, ", breaker: {enabled: false}"),
        provider("odd", &odd, ""),
    );
    let issuer = format!(
        "settings: {{jwt: [{{name: id, issuer: \"https://id.example.com\", audience: [gateway], jwks_url: \"{}/keys\", \
         allow_private_networks: true, claims: {{user: sub}}}}]}}\n",
        ill.url()
    );
    let gateway = Gateway::start(&(yaml + &issuer)).await;
    let claims = BASE64.encode(r#"{"iss":"https://id.example.com","aud":"gateway","sub":"ada","exp":4000000000}"#);
    let token = format!("{}.{claims}.AAAA", BASE64.encode(r#"{"alg":"ES256","kid":"1"}"#));
    let unverified = client().post(gateway.url("/v1/chat/completions")).bearer_auth(token);
    assert_eq!(read(unverified.json(&question("m", false))).await.status, 503, "its keys cannot be fetched");
    for (model, stream) in [("m", false), ("m", true), ("again", false), ("again", false), ("on", true)] {
        let answer = gateway.chat(&question(model, stream)).await;
        assert_eq!(answer.status, 200, "{model}: {}", answer.text);
    }
    let told =
        json!({"model": "odd", "stream": true, "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(read(gateway.post("/v1/messages", &told)).await.status, 200);
    assert_eq!(gateway.chat(&question("nobody-has-it", false)).await.status, 404);
    gateway.records(7).await;
    moved(&gateway, "gateway_probe_up").await;
    let text = moved(&gateway, "gateway_usage_spool_bytes").await;
    gateway.stop().await;
    text
}

/// Requests that wait, while they wait, and after.
async fn placed() -> String {
    let (upstream, gate) = (Upstream::start().await, Gate::new());
    let held = gate.clone();
    upstream.respond_with(move |_| {
        let events = openai::stream("up", "from the first", 3);
        let begun = Script::sse_head().chunk(events[..2].concat()).wait(&held);
        begun.chunk(events[2..].concat()).end()
    });
    let yaml = format!(
        "providers:\n{}models:\n  - {{name: m, targets: [{{provider: up, model: up}}]}}\n\
         keys:\n  - {{name: test, secret: {KEY}, budget: {{amount_usd: 100, window: monthly}}}}\n\
         prices:\n  - {{provider: up, model: up, input_per_1m: 1000, output_per_1m: 2000}}\n",
        provider("up", &upstream, ", concurrency: {max: 1, queue: 4}, timeouts: {queue: 30s}"),
    );
    let gateway = Gateway::start(&yaml).await;
    let ask = || {
        let request = gateway.post("/v1/chat/completions", &question("m", true));
        tokio::spawn(read(request))
    };
    let asked = [ask(), ask()];
    gate.reached(1).await;
    moved(&gateway, "gateway_provider_concurrency{provider=\"up\",what=\"waiting\"}").await;
    let during = scrape(&gateway).await;
    gate.open();
    for answer in asked {
        assert_eq!(answer.await.expect("no panic").status, 200);
    }
    gateway.records(2).await;
    let after = moved(&gateway, "gateway_queue_seconds_count").await;
    gateway.stop().await;
    // Of two moments of one node: only what the first one has and the second has not.
    let is_momentary = |line: &&str| {
        ["gateway_requests_in_flight ", "gateway_streams_open ", "gateway_budget_open_requests "]
            .iter()
            .any(|name| line.starts_with(name))
    };
    after
        .lines()
        .map(|line| {
            if is_momentary(&line) {
                let name = line.split(' ').next().unwrap_or_default();
                during.lines().find(|other| other.split(' ').next() == Some(name)).unwrap_or(line)
            } else {
                line
            }
        })
        .fold(String::new(), |text, line| text + line + "\n")
}

async fn cached() -> String {
    let (upstream, gate) = (Upstream::start().await, Gate::new());
    let held = gate.clone();
    upstream.respond_with(move |received: &Received| {
        let content = received.json()["messages"][0]["content"].clone();
        // One that is larger than what is kept, many that fill it.
        let answer = openai::answer(received, &"word ".repeat(if content == "huge" { 4000 } else { 2000 }));
        let is_held = content == "held";
        Script { steps: if is_held { [Script::new().wait(&held).steps, answer.steps].concat() } else { answer.steps } }
    });
    let more = "prices:\n  - {provider: up, model: own-name, input_per_1m: 1000, output_per_1m: 2000}\n\
                settings: {cache: {enabled: true, ttl: 1h, max_bytes: 96KiB, max_entry_bytes: 12KiB}}\n";
    let brief = "  - {name: brief, cache: {ttl: 30ms}, targets: [{provider: up, model: own-name}]}\n";
    let gateway = Gateway::start(&format!("{}{brief}{more}", openai_at(&upstream.url()))).await;
    let said = |content: &str| json!({"model": "m", "messages": [{"role": "user", "content": content}]});
    let together =
        [said("held"), said("held")].map(|body| tokio::spawn(read(gateway.post("/v1/chat/completions", &body))));
    gate.reached(1).await;
    crate::gateway::within("both to be under way", || async {
        let told = read(gateway.client().get(gateway.url("/statsz"))).await.json();
        (told["in_flight"] == 2).then_some(())
    })
    .await;
    gate.open();
    for answer in together {
        assert_eq!(answer.await.expect("no panic").status, 200);
    }
    for n in 0..40 {
        gateway.chat(&said(&format!("question {n}"))).await;
    }
    let answer = read(gateway.post("/v1/chat/completions", &said("fresh")).header("x-gateway-no-cache", "true")).await;
    assert_eq!(answer.status, 200);
    gateway.chat(&said("huge")).await;
    gateway.chat(&question("brief", false)).await;
    moved_by(&gateway, "gateway_cache_expired_total").await
}

/// Asks for what lives briefly until its time has been over once.
async fn moved_by(gateway: &Gateway, series: &str) -> String {
    let text = crate::gateway::within(series, || async {
        gateway.chat(&question("brief", false)).await;
        let text = scrape(gateway).await;
        let is_moved = super::samples(&text).any(|(name, value)| name == series && value > 0.0);
        is_moved.then_some(text)
    });
    text.await
}

/// Experiments and shadows.
async fn tried_out() -> String {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    for upstream in [&first, &second] {
        upstream.respond_with(|received| openai::answer(received, "hello"));
    }
    let yaml = format!(
        "providers:\n{}{}models:\n  \
         - {{name: m, targets: [{{provider: a, model: own}}], experiment: {{name: cheaper, by: user, variants: [{{name: control}}, {{name: treatment, model: challenger}}]}}}}\n  \
         - {{name: s, targets: [{{provider: a, model: own}}], shadow: {{model: challenger, percent: 100}}}}\n  \
         - {{name: challenger, targets: [{{provider: b, model: other}}]}}\n\
         prices:\n  - {{provider: a, model: own, input_per_1m: 1000, output_per_1m: 2000}}\n  - {{provider: b, model: other, input_per_1m: 1000, output_per_1m: 2000}}\n\
         keys:\n  - {{name: test, secret: {KEY}}}\n",
        provider("a", &first, ""),
        provider("b", &second, "")
    );
    let gateway = Gateway::start(&yaml).await;
    for model in ["m", "s"] {
        assert_eq!(gateway.chat(&question(model, false)).await.status, 200);
    }
    gateway.records(3).await;
    let text = read(client().get(gateway.url("/metrics"))).await.text;
    gateway.stop().await;
    text
}
