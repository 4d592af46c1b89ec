//! Tokens that an authorization server is asked about (RFC 7662): whose they are, how often it is asked, and what happens while it is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use gateway_fake::reply::openai;
use gateway_fake::{Gate, Received, Script, Upstream};
use serde_json::json;

use crate::gateway::{Answer, Gateway, KEY, client, read, within};

fn config(upstream: &str, server: &str, more: &str) -> String {
    format!(
        "settings:
  introspection:
    - name: corp
      url: \"{server}/introspect\"
      client_id: gateway
      client_secret: of-the-client-0123456789
      scopes: [llm]
      allow_private_networks: true
      claims: {{key: gateway_key, team: team, user: sub, models: models}}
{more}
providers:
  - {{name: p, kind: openai, base_url: \"{upstream}/v1\", allow_private_networks: true, api_key: k}}
models:
  - {{name: m, targets: [{{provider: p, model: up}}]}}
  - {{name: n, targets: [{{provider: p, model: up}}]}}
teams:
  - {{name: search, limits: {{rpd: 2}}}}
  - {{name: shut, enabled: false}}
users:
  - {{name: ada}}
keys:
  - {{name: test, secret: {KEY}, models: [m]}}
"
    )
}

/// The token that a question is about.
fn token(received: &Received) -> String {
    let form = String::from_utf8_lossy(&received.body).into_owned();
    form.split('&').find_map(|pair| pair.strip_prefix("token=")).unwrap_or_default().to_owned()
}

/// Says of `good-…` tokens that they are good, and whose.
fn verdict(received: &Received) -> Script {
    let claims = match token(received).as_str() {
        "good-ada" => json!({"sub": "ada", "models": "m"}),
        "good-eve" => json!({"sub": "eve", "models": "m"}),
        "good-search" => json!({"team": "search", "models": "m n"}),
        "good-shut" => json!({"team": "shut", "models": "m"}),
        "good-nobody" => json!({"models": "m"}),
        "good-scopeless" => json!({"sub": "ada", "models": "m", "scope": "openid"}),
        "good-late" => json!({"sub": "ada", "models": "m", "exp": 1}),
        _ => return Script::json(200, &json!({"active": false})),
    };
    let mut said = json!({"active": true, "scope": "openid llm", "exp": 4_000_000_000_i64});
    said.as_object_mut().expect("an object").extend(claims.as_object().cloned().expect("an object"));
    Script::json(200, &said)
}

async fn ask(gateway: &Gateway, token: &str, model: &str) -> Answer {
    let body = json!({"model": model, "messages": [{"role": "user", "content": "hello"}]});
    read(client().post(gateway.url("/v1/chat/completions")).bearer_auth(token).json(&body)).await
}

#[tokio::test]
async fn introspection_as_a_key() {
    let (upstream, server) = (Upstream::start().await, Upstream::start().await);
    upstream.respond_with(|received| openai::answer(received, "hello"));
    server.respond_with(verdict);
    let gateway = Gateway::start(&config(&upstream.url(), &server.url(), "")).await;
    // Keys are nobody else's affair: those that there are, and those that look like ours.
    assert_eq!(ask(&gateway, KEY, "m").await.status, 200);
    for mistyped in ["gw_virt_0000000000000000000000000000000000000000000000000", "gw_virt_x"] {
        assert_eq!(ask(&gateway, mistyped, "m").await.status, 401);
    }
    assert!(server.requests().is_empty(), "nobody is asked about keys");
    for (token, model, expected) in [
        ("good-ada", "m", 200),
        ("good-ada", "n", 403),
        ("good-search", "n", 200),
        ("good-search", "m", 200),
        ("good-search", "m", 429),
        ("good-eve", "m", 401),
        ("good-shut", "m", 401),
        ("good-nobody", "m", 401),
        ("good-scopeless", "m", 401),
        ("good-late", "m", 401),
        ("made-up", "m", 401),
    ] {
        let answer = ask(&gateway, token, model).await;
        assert_eq!(answer.status, expected, "{token} {model}: {}", answer.text);
    }
    let asked: Vec<String> = server.requests().iter().map(token).collect();
    assert_eq!(asked.iter().filter(|token| *token == "good-ada").count(), 1, "what it said is remembered: {asked:?}");
    assert_eq!(asked.iter().filter(|token| *token == "good-search").count(), 1, "{asked:?}");
    let question = server.request(0).await;
    assert_eq!(question.header("authorization"), Some("Basic Z2F0ZXdheTpvZi10aGUtY2xpZW50LTAxMjM0NTY3ODk="));
    // Whose it was stands in the record, and not the token.
    let records = gateway.records_of(1, |record| record["key_id"] == "introspection:corp?user=ada").await;
    assert_eq!(records[0]["key_name"], "introspection:corp");
    assert!(!records.iter().any(|record| record.to_string().contains("good-ada")));
    gateway.stop().await;
}

/// 503 is not 401: a client that is told that its token is bad throws it away.
#[tokio::test]
async fn introspection_fails_closed() {
    let (upstream, server) = (Upstream::start().await, Upstream::start().await);
    upstream.respond_with(|received| openai::answer(received, "hello"));
    let is_down = Arc::new(AtomicBool::new(true));
    for trouble in [
        Script::json(401, &json!({"error": "invalid_client"})),
        Script::json(500, &json!({})),
        Script::text(200, "text/html", "<html>log in</html>"),
        Script::json(200, &json!({"active": "yes"})),
        Script::new().close(),
    ] {
        is_down.store(true, Ordering::SeqCst);
        let shown = Arc::clone(&is_down);
        server.respond_with(
            move |received| if shown.load(Ordering::SeqCst) { trouble.clone() } else { verdict(received) },
        );
        let gateway = Gateway::start(&config(&upstream.url(), &server.url(), "")).await;
        let answer = ask(&gateway, "good-ada", "m").await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text);
        assert_eq!(answer.json()["error"]["code"], "token_unverified", "{}", answer.text);
        assert_eq!(ask(&gateway, KEY, "m").await.status, 200, "keys need nobody");
        is_down.store(false, Ordering::SeqCst);
        let is_back = || async { (ask(&gateway, "good-ada", "m").await.status == 200).then_some(()) };
        within("it is asked again", is_back).await;
        is_down.store(true, Ordering::SeqCst);
        assert_eq!(ask(&gateway, "good-ada", "m").await.status, 200, "what is remembered serves on");
        gateway.stop().await;
    }
}

#[tokio::test]
async fn introspection_asks_once_for_many() {
    let (upstream, server) = (Upstream::start().await, Upstream::start().await);
    upstream.respond_with(|received| openai::answer(received, "hello"));
    let gate = Gate::new();
    let held = gate.clone();
    server.respond_with(move |_| {
        let said = json!({"active": true, "sub": "ada", "models": "m", "scope": "llm"}).to_string();
        let length = said.len().to_string();
        let head = [("content-type", "application/json"), ("content-length", length.as_str())];
        Script::new().wait(&held).head(200, &head).write(said)
    });
    let gateway = Gateway::start(&config(&upstream.url(), &server.url(), "      timeout: 30s")).await;
    let (answers, ()) = tokio::join!(join_all((0..50).map(|_| ask(&gateway, "good-ada", "m"))), async {
        gate.reached(1).await;
        gate.open();
    });
    let refused = answers.iter().find(|answer| answer.status != 200);
    assert!(refused.is_none(), "{:?}", refused.map(|answer| &answer.text));
    assert_eq!(server.requests().len(), 1, "fifty requests, one question");
    gateway.stop().await;
}

/// A server that takes the connection and says nothing.
#[tokio::test]
async fn introspection_waits_for_its_timeout_and_no_longer() {
    let (upstream, server) = (Upstream::start().await, Upstream::start().await);
    upstream.respond_with(|received| openai::answer(received, "hello"));
    server.respond_with(|_| Script::new().hang());
    let gateway = Gateway::start(&config(&upstream.url(), &server.url(), "      timeout: 200ms")).await;
    let answer = ask(&gateway, "good-ada", "m").await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(answer.text.contains("does not answer within 200ms"), "{}", answer.text);
    gateway.stop().await;
}

/// What a revoked token may still do ends with `max_age`, and a bad one is asked about again after `negative_age`.
#[tokio::test]
async fn introspection_forgets() {
    let (upstream, server) = (Upstream::start().await, Upstream::start().await);
    upstream.respond_with(|received| openai::answer(received, "hello"));
    let is_good = Arc::new(AtomicBool::new(true));
    let shown = Arc::clone(&is_good);
    server.respond_with(move |received| match shown.load(Ordering::SeqCst) {
        true => verdict(received),
        false => Script::json(200, &json!({"active": false})),
    });
    let ages = "      max_age: 100ms\n      negative_age: 100ms";
    let gateway = Gateway::start(&config(&upstream.url(), &server.url(), ages)).await;
    assert_eq!(ask(&gateway, "good-ada", "m").await.status, 200);
    is_good.store(false, Ordering::SeqCst);
    within("it was revoked", || async { (ask(&gateway, "good-ada", "m").await.status == 401).then_some(()) }).await;
    is_good.store(true, Ordering::SeqCst);
    within("it is good again", || async { (ask(&gateway, "good-ada", "m").await.status == 200).then_some(()) }).await;
    gateway.stop().await;
}

/// What was said of a token is said of no other that begins or ends as it does (CVE-2026-35030).
#[tokio::test]
async fn oidc_cache_key_collision() {
    const GOOD: &str = "0123456789abcdefghij0123456789abcdefghij0123456789abcdefghij";
    let (upstream, server) = (Upstream::start().await, Upstream::start().await);
    upstream.respond_with(|received| openai::answer(received, "hello"));
    server.respond_with(|received| {
        let is_good = token(received) == GOOD;
        Script::json(
            200,
            &json!({"active": is_good, "scope": "openid llm", "sub": "ada", "models": "m", "exp": 4_000_000_000_i64}),
        )
    });
    let gateway = Gateway::start(&config(&upstream.url(), &server.url(), "")).await;
    for _ in 0..2 {
        assert_eq!(ask(&gateway, GOOD, "m").await.status, 200);
    }
    let (before, last) = GOOD.split_at(GOOD.len() - 1);
    let others =
        [before.to_owned(), format!("{GOOD}0"), format!("{before}k"), format!("1{}", &GOOD[1..]), GOOD.to_uppercase()];
    for other in &others {
        assert_eq!(ask(&gateway, other, "m").await.status, 401, "{other}");
    }
    assert_eq!(ask(&gateway, &format!("{before}{last}"), "m").await.status, 200);
    let asked: Vec<String> = server.requests().iter().map(token).collect();
    assert_eq!(asked.len(), 1 + others.len(), "each was asked about by itself: {asked:?}");
    gateway.stop().await;
}
