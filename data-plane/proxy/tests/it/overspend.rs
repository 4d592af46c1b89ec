//! What made other gateways spend too much, or refuse what was paid for: the bugs of a widely used one, by their numbers there.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use gateway_fake::reply::openai;
use gateway_fake::{Gate, Script, Upstream};
use gateway_proxy::config::{Drain, Options, Source};
use gateway_proxy::{Node, start};
use gateway_wire::v1::item::Body;
use gateway_wire::v1::rate_limit::Measure;
use gateway_wire::v1::{Class, Item, KeyLimits, RateLimit};
use serde_json::{Value, json};

use crate::control::{Control, Stream, identity, topology};
use crate::gateway::{Answer, Gateway, KEY, client, openai_at, read, within};

const CHAT: &str = "/v1/chat/completions";
/// A word of a reply costs a cent, and what is asked nothing.
const PRICE: &str = "prices: [{provider: up, model: own-name, input_per_1m: 0, output_per_1m: 10000}]\n";

/// One word, which is a cent at most.
fn question() -> Value {
    json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Is it?"}]})
}

/// A node with one key that has this besides.
async fn node(upstream: &Upstream, of_key: &str, more: &str) -> Gateway {
    let keys = format!("keys:\n  - {{name: test, secret: {KEY}{of_key}}}\n");
    Gateway::start(&[openai_at(&upstream.url()).as_str(), PRICE, more, &keys].concat()).await
}

fn budget(amount: &str) -> String {
    format!(", budget: {{amount_usd: {amount}, window: monthly}}")
}

async fn one_word() -> Upstream {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "Yes"));
    upstream
}

fn served(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| answer.status == 200).count()
}

async fn statistic(gateway: &Gateway, name: &str) -> i64 {
    let told = read(client().get(gateway.url("/statsz"))).await.json();
    told["budgets"][name].as_i64().expect("a number")
}

/// The budget was looked at before and written after, so that whoever came between spent it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn litellm_34732_concurrency_multiplies_spend() {
    let (upstream, gate) = (Upstream::start().await, Gate::new());
    let held = gate.clone();
    upstream.respond_with(move |received| Script {
        steps: [Script::new().wait(&held).steps, openai::answer(received, "Yes").steps].concat(),
    });
    let gateway = node(&upstream, &budget("0.10"), "").await;
    let question = question();
    let asked = join_all((0..40).map(|_| gateway.chat(&question)));
    let opened = async {
        gate.reached(10).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(asked, opened);
    assert_eq!(
        (served(&answers), upstream.requests().len()),
        (10, 10),
        "none of the ten was settled when the others came"
    );
    assert_eq!(statistic(&gateway, "spent_nano_usd").await, 100_000_000);
    gateway.stop().await;
}

/// Routes and kinds of spenders that nobody had thought of spent without a limit (also 9658).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn litellm_26672_routes_bypass_the_budget() {
    let responses = json!({"model": "m", "input": "hello"});
    let gemini = json!({"contents": [{"role": "user", "parts": [{"text": "hello"}]}]});
    let routes = [
        (CHAT, question()),
        ("/v1/completions", json!({"model": "m", "prompt": "hello"})),
        ("/v1/messages", question()),
        ("/anthropic/v1/messages", question()),
        ("/v1/responses", responses.clone()),
        ("/v1beta/models/m:generateContent", gemini.clone()),
        ("/v1beta/models/m:streamGenerateContent", gemini),
        ("/v1/embeddings", responses.clone()),
        ("/v1/rerank", json!({"model": "m", "query": "q", "documents": ["d"]})),
        ("/v1/moderations", responses),
        ("/v1/images/generations", json!({"model": "m", "prompt": "p"})),
        ("/v1/audio/speech", json!({"model": "m", "input": "t", "voice": "v"})),
        ("/proxy/up/chat/completions", json!({"model": "own-name", "messages": []})),
    ];
    let own = budget("0.01");
    let of_team = "teams: [{name: t, budget: {amount_usd: 0.01, window: daily}}]\n";
    let of_user = "users: [{name: u, budget: {amount_usd: 0.01, window: 30d}}]\n";
    let of_organization =
        "organizations: [{name: o, budget: {amount_usd: 0.01, window: once}}]\nteams: [{name: t, organization: o}]\n";
    let shared = "budgets: [{name: b, amount_usd: 0.01, window: weekly, match: {keys: [te*]}}]\n";
    let spenders = [
        (own.as_str(), ""),
        (", team: t", of_team),
        (", user: u", of_user),
        (", team: t", of_organization),
        ("", shared),
    ];
    for (of_key, more) in spenders {
        let upstream = one_word().await;
        let gateway = node(&upstream, &format!(", passthrough: [up]{of_key}"), more).await;
        assert_eq!(gateway.chat(&question()).await.status, 200, "{of_key} {more}");
        for (route, body) in &routes {
            let refused = read(gateway.post(route, body)).await;
            let kind = refused.header("x-gateway-limit-kind");
            assert_eq!((refused.status, kind), (429, Some("budget")), "{route} {of_key} {more}: {}", refused.text);
        }
        assert_eq!(upstream.requests().len(), 1, "who is refused is not asked for");
        gateway.stop().await;
    }
}

/// Reservations of requests that failed were kept, so that counters grew to many times what was used and good requests were refused
/// (also 36926, 28283, 30460).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn litellm_27639_leaked_reservations_refuse_good_requests() {
    let upstream = Upstream::start().await;
    let provider = openai_at(&upstream.url()).replace("retry:", "breaker: {enabled: false}, retry:");
    let keys =
        format!("keys:\n  - {{name: test, secret: {KEY}, limits: {{tpm: 10000, concurrency: 1}}{}}}\n", budget("0.50"));
    let gateway = Gateway::start(&[provider.as_str(), PRICE, &keys].concat()).await;
    // Each would take nearly all of the money, and all of the tokens of a minute.
    let large = |stream: bool| json!({"model": "m", "stream": stream, "max_tokens": 50, "messages": [{"role": "user", "content": "w ".repeat(9000)}]});
    let n_asked = std::sync::atomic::AtomicUsize::new(0);
    upstream.respond_with(move |received| match n_asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        20.. => openai::answer(received, "Yes"),
        n if n % 4 == 0 => Script::json(500, &openai::error("server_error", "out of order")),
        n if n % 4 == 1 => Script::json(400, &openai::error("invalid_request_error", "no")),
        n if n % 4 == 2 => Script::new().close(),
        _ => Script::text(200, "text/html", "<html>"),
    });
    let mut n_failed = 0;
    loop {
        let answer = gateway.chat(&large(n_failed % 8 == 0)).await;
        match answer.status {
            200 => break,
            429 => panic!("refused after {n_failed} that failed: {}", answer.text),
            _ => n_failed += 1,
        }
    }
    assert!(n_failed >= 20, "{n_failed}");
    assert_eq!(statistic(&gateway, "open_requests").await, 0);
    gateway.stop().await;
}

/// What clients had been sent before they left was not charged, and the provider charged it (also 13245, 30630, 37558, 36008).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn litellm_14457_usage_is_lost_when_the_client_leaves() {
    let upstream = Upstream::start().await;
    upstream.push(Script::sse_head().chunk(openai::stream("x", "the the the the", 7)[..4].concat()).hang());
    let gateway = node(&upstream, &budget("0.04"), "").await;
    let mut question = question();
    (question["stream"], question["max_tokens"]) = (json!(true), json!(4));
    let mut pieces = gateway.post(CHAT, &question).send().await.expect("a head").bytes_stream();
    let mut read = Vec::new();
    while read.windows(3).filter(|window| *window == b"the").count() < 3 {
        read.extend(pieces.next().await.expect("more").expect("a piece"));
    }
    drop(pieces);
    let record = gateway.records(1).await.remove(0);
    let spent = statistic(&gateway, "spent_nano_usd").await;
    assert_eq!((spent, record["cost_nano_usd"].as_i64()), (30_000_000, Some(30_000_000)), "{record}");
    (question["stream"], question["max_tokens"]) = (json!(false), json!(2));
    assert_eq!(gateway.chat(&question).await.status, 429, "there is a cent left, and it costs two");
    gateway.stop().await;
}

/// A budget that was changed was looked up in what had been kept of the old one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn litellm_27735_spend_is_stale_after_a_change() {
    let upstream = one_word().await;
    let gateway = node(&upstream, &budget("0.02"), "").await;
    let change = |amount: &str| {
        let keys = format!("keys:\n  - {{name: test, secret: {KEY}{}}}\n", budget(amount));
        gateway.rewrite(&[openai_at(&upstream.url()).as_str(), PRICE, &keys].concat());
    };
    let until = async |status: u16| {
        within("the change", || async { (gateway.chat(&question()).await.status == status).then_some(()) }).await;
    };
    until(429).await;
    assert_eq!(upstream.requests().len(), 2);
    change("0.05");
    until(200).await;
    until(429).await;
    assert_eq!(upstream.requests().len(), 5, "what was spent before still counts");
    change("0.03");
    change("0.06");
    until(200).await;
    until(429).await;
    assert_eq!((upstream.requests().len(), statistic(&gateway, "spent_nano_usd").await), (6, 60_000_000));
    gateway.stop().await;
}

/// Sums of fractions were a little more, or a little less, than the amount.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn litellm_fractions_are_not_exact() {
    let upstream = one_word().await;
    // A tenth of a dollar for a word; a tenth and two tenths are three tenths.
    let price = PRICE.replace("10000", "100000");
    let keys = format!("keys:\n  - {{name: test, secret: {KEY}{}}}\n", budget("0.3"));
    let gateway = Gateway::start(&[openai_at(&upstream.url()), price, keys].concat()).await;
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(gateway.chat(&question()).await);
    }
    assert_eq!((served(&answers), statistic(&gateway, "spent_nano_usd").await), (3, 300_000_000));
    gateway.stop().await;
}

/// A node of a fleet of two, with a key for 60 requests and 6,000 tokens a minute.
async fn member(upstream: &Upstream) -> (Node, Control, Stream) {
    let mut control = Control::start();
    let options = Options {
        listen: Some("127.0.0.1:0".parse().expect("an address")),
        workers: Some(1),
        drain: Drain { delay: Duration::ZERO, timeout: Duration::from_secs(5) },
        ..Options::new(Source::Fleet(control.endpoint()))
    };
    let mut keys = identity(KEY);
    let tpm = RateLimit { measure: Measure::Tokens.into(), period_seconds: 60, amount: 6000 };
    for item in &mut keys {
        if let Some(Body::Key(key)) = &mut item.body {
            key.limits = Some(KeyLimits { rpm: Some(60), rates: vec![tpm], ..KeyLimits::default() });
        }
    }
    let topology: Vec<Item> = topology(upstream.addr());
    let feed = async {
        let (stream, _) = control.stream().await;
        stream.snapshot(Class::Topology, 1, &topology).await;
        stream.snapshot(Class::Identity, 1, &keys).await;
        stream.lives(Class::Identity, 1, &keys, 2).await;
        stream
    };
    let (node, stream) = tokio::join!(start(options), feed);
    let node = node.expect("the node starts");
    node.ready().await;
    within("the node to know of the other", || async {
        let told = read(client().get(format!("http://{}/statsz", node.addr()))).await.json();
        (told["limits_shared_by"] == 2).then_some(())
    })
    .await;
    (node, control, stream)
}

/// Each instance counted in its own memory, so that a limit was one for each of them (also 27736); and when what they shared was away,
/// each fell back to the whole limit (35533).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn litellm_40291_limits_times_replicas() {
    // In requests, and in tokens that are all used.
    for (n_words, most) in [(1, 60), (1000, 6)] {
        let upstream = Upstream::start().await;
        upstream.respond_with(move |received| openai::answer(received, "word ".repeat(n_words).trim_end()));
        let (one, control_of_one, stream_of_one) = member(&upstream).await;
        let (other, _control, _stream) = member(&upstream).await;
        // The first one's control plane goes away.
        drop((stream_of_one, control_of_one));
        let question = json!({"model": "m", "max_tokens": n_words, "messages": []});
        for node in [&one, &other] {
            for _ in 0..most + 5 {
                let url = format!("http://{}{CHAT}", node.addr());
                read(client().post(url).bearer_auth(KEY).json(&question)).await;
            }
        }
        let n_served = upstream.requests().len();
        // A minute's worth, and what came back to it meanwhile.
        assert!((most / 2..=most + most / 6).contains(&n_served), "{n_served} of {most}");
    }
}
