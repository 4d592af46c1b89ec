//! Upstreams that fail are left alone, those beside them serve, and what happened can be read.

use gateway_fake::reply::openai;
use gateway_fake::{Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway, KEY, client, read, within};

fn question() -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]})
}

fn broken() -> Script {
    Script::json(500, &openai::error("server_error", "out of order"))
}

/// Providers `a`, `b` … at these addresses, one attempt each, and a model `m` over them with more fields.
fn config(urls: &[String], model: &str) -> String {
    let names = ["a", "b", "c"];
    let mut yaml = "providers:\n".to_owned();
    for (name, url) in names.iter().zip(urls) {
        yaml += &format!(
            "  - {{name: {name}, kind: openai-compatible, base_url: \"{url}/v1\", allow_private_networks: true}}\n"
        );
    }
    let targets: Vec<String> =
        names.iter().zip(urls).map(|(name, _)| format!("{{provider: {name}, model: up}}")).collect();
    yaml += &format!("models:\n  - {{name: m, {model}, targets: [{}]}}\n", targets.join(", "));
    yaml + &format!("keys:\n  - {{name: test, secret: {KEY}}}\n")
}

async fn ask(gateway: &Gateway) -> Answer {
    read(client().post(gateway.url("/v1/chat/completions")).bearer_auth(KEY).json(&question())).await
}

#[tokio::test]
async fn five_failures_and_the_upstream_is_left_alone() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|_| broken());
    let config = config(&[upstream.url()], "retry: {max_attempts: 1}, breaker: {open: 300ms}");
    let gateway = Gateway::start(&config).await;
    for _ in 0..5 {
        assert_eq!(ask(&gateway).await.status, 500);
    }
    let refused = ask(&gateway).await;
    let error = &refused.json()["error"];
    assert_eq!((refused.status, &error["code"]), (503, &json!("no_target_available")), "{error}");
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains("`a/up`") && message.contains("500 (upstream_error)"), "{message}");
    assert!(!message.contains("out of order"), "what was said to another caller is not told: {message}");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(upstream.requests().len(), 5);
    // When its time is over one request tries, and finds it well.
    upstream.respond_with(|received| openai::answer(received, "hello"));
    within("the breaker to let one through", || async { (ask(&gateway).await.status == 200).then_some(()) }).await;
    assert_eq!(upstream.requests().len(), 6);
    assert_eq!(ask(&gateway).await.status, 200);
    gateway.stop().await;
}

#[tokio::test]
async fn one_that_is_open_is_passed_over_and_the_log_says_so() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    first.respond_with(|_| broken());
    second.respond_with(|received| openai::answer(received, "hello"));
    let config = config(&[first.url(), second.url()], "strategy: priority, breaker: {failures: 2}");
    let gateway = Gateway::start(&config).await;
    for (n, retries) in ["1", "1", "0", "0"].into_iter().enumerate() {
        let answer = ask(&gateway).await;
        assert_eq!((answer.status, answer.header("x-gateway-retries")), (200, Some(retries)), "request {n}");
    }
    assert_eq!((first.requests().len(), second.requests().len()), (2, 4));
    let log = &gateway.records(4).await[3];
    let passed_over = &log["passed_over"][0];
    assert_eq!((&passed_over["provider"], &passed_over["reason"]), (&json!("a"), &json!("breaker_open")), "{log}");
    let metrics = read(client().get(gateway.url("/metrics"))).await.text;
    assert!(metrics.contains("gateway_breaker_state{provider=\"a\",model=\"up\"} 2"), "{metrics}");
    assert!(metrics.contains("gateway_breaker_state{provider=\"b\",model=\"up\"} 0"), "{metrics}");
    let told = read(client().get(gateway.url("/statsz"))).await.json();
    let circuit = &told["circuit_breakers"]["circuits"]["a/up"];
    assert_eq!((&circuit["state"], &circuit["last_error"]), (&json!("open"), &json!("upstream_error")), "{told}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_rate_limit_sends_requests_elsewhere_for_as_long_as_it_says() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    first.respond_with(|_| {
        let body = openai::error("rate_limit_exceeded", "slow down").to_string();
        let head = [("content-type", "application/json"), ("retry-after", "60")];
        Script::new().head(429, &head).chunk(body).end()
    });
    second.respond_with(|received| openai::answer(received, "hello"));
    let gateway = Gateway::start(&config(&[first.url(), second.url()], "strategy: priority")).await;
    for _ in 0..4 {
        assert_eq!(ask(&gateway).await.status, 200);
    }
    assert_eq!((first.requests().len(), second.requests().len()), (1, 4));
    gateway.stop().await;
}

/// Of several that are all open each is asked all the same: an outage of all of them ends with the first that is back.
#[tokio::test]
async fn an_outage_of_all_ends_with_the_first_that_is_back() {
    let upstreams = [Upstream::start().await, Upstream::start().await];
    upstreams.iter().for_each(|upstream| upstream.respond_with(|_| broken()));
    let urls = upstreams.each_ref().map(Upstream::url);
    let gateway = Gateway::start(&config(&urls, "strategy: priority, breaker: {failures: 1}")).await;
    for _ in 0..3 {
        assert_eq!(ask(&gateway).await.status, 500);
    }
    upstreams[1].respond_with(|received| openai::answer(received, "hello"));
    assert_eq!(ask(&gateway).await.status, 200);
    let n_first = upstreams[0].requests().len();
    assert_eq!(ask(&gateway).await.status, 200);
    assert_eq!(upstreams[0].requests().len(), n_first, "the one that is well is enough");
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_known_of_an_upstream_outlives_a_reload() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    first.respond_with(|_| broken());
    second.respond_with(|received| openai::answer(received, "hello"));
    let urls = [first.url(), second.url()];
    let gateway = Gateway::start(&config(&urls, "strategy: priority, breaker: {failures: 1}")).await;
    assert_eq!(ask(&gateway).await.status, 200);
    let served = ask(&gateway).await.header("x-gateway-config-revision").map(str::to_owned);
    gateway.rewrite(&config(&urls, "strategy: priority, breaker: {failures: 1}, description: changed"));
    within("the changed configuration", || async {
        let revision = ask(&gateway).await.header("x-gateway-config-revision").map(str::to_owned);
        (revision != served).then_some(())
    })
    .await;
    assert_eq!(ask(&gateway).await.status, 200);
    assert_eq!(first.requests().len(), 1);
    gateway.stop().await;
}

/// While everything fails, second attempts are a fifth of the requests, and ten a second: not one for each.
#[tokio::test]
async fn a_storm_of_failures_is_not_made_worse() {
    const N_REQUESTS: usize = 600;
    let upstreams = [Upstream::start().await, Upstream::start().await];
    upstreams.iter().for_each(|upstream| upstream.respond_with(|_| broken()));
    let gateway = Gateway::start(&config(&upstreams.each_ref().map(Upstream::url), "strategy: round-robin")).await;
    let began = std::time::Instant::now();
    for _ in 0..N_REQUESTS / 20 {
        let answers = futures_util::future::join_all((0..20).map(|_| ask(&gateway))).await;
        assert!(answers.iter().all(|answer| answer.status == 500));
    }
    let n_seconds = usize::try_from(began.elapsed().as_secs()).expect("few") + 1;
    let n_seen: usize = upstreams.iter().map(|upstream| upstream.requests().len()).sum();
    let bound = N_REQUESTS + N_REQUESTS / 5 + 50 + 10 * n_seconds;
    assert!((N_REQUESTS + 100..=bound).contains(&n_seen), "{n_seen} of at most {bound}");
    gateway.stop().await;
}
