//! Tokens of other systems as keys: verified here, on the account of who they say, until they end.

use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use gateway_fake::reply::{anthropic, openai};
use gateway_fake::{Gate, Script, Upstream};
use serde_json::{Value, json};

use crate::batches::{echo, line, uploaded};
use crate::gateway::{Answer, Gateway, KEY, client, read, within};
use crate::pass::asked;

/// An issuer whose keys are at an address.
struct Issuer {
    server: Upstream,
    pair: Arc<Mutex<(u32, EcdsaKeyPair)>>,
}

fn pair() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("random numbers")
}

// === impl Issuer ===

impl Issuer {
    async fn start() -> Self {
        let (server, pair) = (Upstream::start().await, Arc::new(Mutex::new((1, pair()))));
        let shown = Arc::clone(&pair);
        server.respond_with(move |_| {
            let (id, pair) = &*shown.lock().expect("no panic");
            let point = pair.public_key().as_ref();
            let [x, y] = [&point[1..33], &point[33..]].map(|half| BASE64.encode(half));
            Script::json(200, &json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": id.to_string(), "x": x, "y": y}]}))
        });
        Self { server, pair }
    }

    fn rotate(&self) {
        let mut held = self.pair.lock().expect("no panic");
        *held = (held.0 + 1, pair());
    }

    fn token(&self, claims: Value) -> String {
        self.signed(&json!({}), claims)
    }

    fn signed(&self, header: &Value, claims: Value) -> String {
        let (id, pair) = &*self.pair.lock().expect("no panic");
        let mut all = json!({"iss": "https://id.example.com", "aud": "gateway", "exp": 4_000_000_000_i64});
        all.as_object_mut().expect("an object").extend(claims.as_object().cloned().unwrap_or_default());
        let mut head = json!({"alg": "ES256", "kid": id.to_string()});
        head.as_object_mut().expect("an object").extend(header.as_object().cloned().unwrap_or_default());
        let part = |value: &Value| BASE64.encode(value.to_string());
        let signed = format!("{}.{}", part(&head), part(&all));
        let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("random numbers");
        format!("{signed}.{}", BASE64.encode(signature))
    }
}

fn config(upstream: &str, issuer: &str) -> String {
    format!(
        "settings:
  jwt:
    - name: id
      issuer: https://id.example.com
      audience: [gateway]
      jwks_url: \"{issuer}/keys\"
      allow_private_networks: true
      claims: {{key: gateway_key, team: team, user: sub, models: models}}
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
  - {{name: test, secret: {KEY}, models: [m], tags: [of-the-key]}}
"
    )
}

async fn ask(gateway: &Gateway, token: &str, model: &str) -> Answer {
    let body = json!({"model": model, "messages": [{"role": "user", "content": "hello"}]});
    read(client().post(gateway.url("/v1/chat/completions")).bearer_auth(token).json(&body)).await
}

#[tokio::test]
async fn jwt_as_a_key() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::start().await);
    upstream.respond_with(|received| openai::answer(received, "hello"));
    let gateway = Gateway::start(&config(&upstream.url(), &issuer.server.url())).await;
    assert_eq!(ask(&gateway, KEY, "m").await.status, 200, "keys work as ever");
    assert!(issuer.server.requests().is_empty(), "and nobody is asked for them");
    let log = gateway.records(1).await.remove(0);
    let key_id = log["key_id"].as_str().expect("an id").to_owned();

    let all = json!("m n");
    for (claims, model, expected) in [
        (json!({"sub": "ada", "models": ["m"]}), "m", 200),
        (json!({"sub": "ada", "models": ["m"]}), "n", 403),
        (json!({"sub": "ada", "models": all}), "n", 200),
        (json!({"sub": "ada"}), "m", 403),
        (json!({"sub": "eve", "models": all}), "m", 401),
        (json!({"team": "shut", "models": all}), "m", 401),
        (json!({"models": all}), "m", 401),
        (json!({"gateway_key": key_id}), "m", 200),
        (json!({"gateway_key": key_id}), "n", 403),
        (json!({"gateway_key": "vk_unknown"}), "m", 401),
        (json!({"sub": "ada", "models": all, "exp": 1}), "m", 401),
        (json!({"sub": "ada", "models": all, "exp": null}), "m", 401),
        (json!({"sub": "ada", "models": all, "nbf": 3_999_999_999_i64}), "m", 401),
        (json!({"sub": "ada", "models": all, "aud": "another"}), "m", 401),
        (json!({"sub": "ada", "models": all, "iss": "https://evil.example.com"}), "m", 401),
    ] {
        let answer = ask(&gateway, &issuer.token(claims.clone()), model).await;
        assert_eq!(answer.status, expected, "{claims} {model}: {}", answer.text);
    }
    for header in [json!({"alg": "none"}), json!({"alg": "HS256"}), json!({"alg": "ES384"}), json!({"kid": "unknown"})]
    {
        let token = issuer.signed(&header, json!({"sub": "ada", "models": all}));
        assert_eq!(ask(&gateway, &token, "m").await.status, 401, "{header}");
        let unsigned = format!("{}.", token.rsplit_once('.').expect("three parts").0);
        assert_eq!(ask(&gateway, &unsigned, "m").await.status, 401, "{header}");
    }
    // Limits are those of whom it belongs to, whoever signs how many tokens.
    for (n_asked, expected) in [200, 200, 429].into_iter().enumerate() {
        let token = issuer.token(json!({"team": "search", "models": all, "jti": n_asked}));
        let answer = ask(&gateway, &token, "m").await;
        assert_eq!(answer.status, expected, "{n_asked}: {}", answer.text);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn jwks_rotation() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::start().await);
    upstream.respond_with(|received| openai::answer(received, "hello"));
    let gateway =
        Gateway::start_with(&config(&upstream.url(), &issuer.server.url()), |options| options.workers = Some(1)).await;
    let token = || issuer.token(json!({"sub": "ada", "models": "m"}));
    let first = token();
    assert_eq!(ask(&gateway, &first, "m").await.status, 200);
    assert_eq!(ask(&gateway, &token(), "m").await.status, 200);
    assert_eq!(issuer.server.requests().len(), 1, "the keys are fetched once");
    issuer.rotate();
    assert_eq!(ask(&gateway, &token(), "m").await.status, 200, "a key that nobody knows is asked for");
    issuer.rotate();
    for n_asked in 0..20 {
        let token = issuer.token(json!({"sub": "ada", "models": "m", "jti": n_asked}));
        assert_eq!(ask(&gateway, &token, "m").await.status, 401);
    }
    assert_eq!(issuer.server.requests().len(), 2, "and those who show such do not have it asked for all the time");
    assert_eq!(ask(&gateway, &first, "m").await.status, 200, "what is known is known");
    gateway.stop().await;
}

/// An issuer that cannot be asked for its keys says nothing of any token: that is no fault of whoever shows one.
#[tokio::test]
async fn a_token_is_unverified_while_no_keys_are_there() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::start().await);
    upstream.respond_with(|received| openai::answer(received, "hello"));
    let broken = Upstream::start().await;
    broken.respond_with(|_| Script::text(500, "text/plain", "out of order"));
    let gateway =
        Gateway::start_with(&config(&upstream.url(), &broken.url()), |options| options.workers = Some(1)).await;
    for n_asked in 0..3 {
        let token = issuer.token(json!({"sub": "ada", "models": "m", "jti": n_asked}));
        let answer = ask(&gateway, &token, "m").await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (503, &json!("token_unverified")));
        assert_eq!(answer.header("retry-after"), Some("10"));
        assert!(answer.text.contains("the keys of `id` cannot be fetched: it answers 500"), "{}", answer.text);
    }
    assert_eq!(broken.requests().len(), 1, "it is not asked for every token");
    assert_eq!(ask(&gateway, KEY, "m").await.status, 200, "keys work as ever");
    let metrics = read(client().get(gateway.url("/metrics"))).await.text;
    for line in [
        "gateway_foreign_tokens_refused_total{issuer=\"id\",code=\"token_unverified\"} 3",
        "gateway_key_set_fetches_total{issuer=\"id\",outcome=\"failed\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    gateway.stop().await;
}

/// One issuer speaks for many: what is kept for one of them is not there for another, and is for the same one with another token.
#[tokio::test]
async fn callers_of_one_issuer_are_apart() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::start().await);
    upstream.respond_with(|received| anthropic::answer(received, "hello"));
    let config =
        config(&upstream.url(), &issuer.server.url()).replace("kind: openai", "kind: anthropic").replace("/v1\"", "\"");
    let gateway = Gateway::start(&config.replace("users:\n", "users:\n  - {name: bob}\n")).await;
    let token = |user: &str, n: u32| issuer.token(json!({"sub": user, "models": ["m"], "jti": n}));
    let said = json!({"model": "m", "input": "hi"});
    let made = asked(&gateway, &token("ada", 1), "POST", "/v1/responses", Some(said)).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let path = format!("/v1/responses/{}", made.json()["id"].as_str().expect("an id"));
    for (token, expected) in
        [(token("ada", 1), 200), (token("ada", 2), 200), (token("bob", 1), 404), (KEY.to_owned(), 404)]
    {
        assert_eq!(asked(&gateway, &token, "GET", &path, None).await.status, expected);
    }
    let records = gateway.records_of(1, |record| record["key_id"] == "jwt:id?user=ada").await;
    assert_eq!(records[0]["key_name"], "jwt:id", "who it was stands in the record");
    gateway.stop().await;
}

/// Work that goes on behind a request is its caller's, also when the token has ended; and it may no more than the token allowed.
#[tokio::test]
async fn batches_and_background_of_a_token() {
    let (upstream, issuer, gate) = (Upstream::start().await, Issuer::start().await, Gate::new());
    echo(&upstream, &gate);
    let config =
        config(&upstream.url(), &issuer.server.url()).replace("kind: openai", "kind: anthropic").replace("/v1\"", "\"");
    let gateway = Gateway::start(&config).await;
    let token = issuer.token(json!({"sub": "ada", "models": ["m"]}));
    let forbidden = line("b", "hello").replace("\"m\"", "\"n\"");
    let file = uploaded(&gateway, &token, "batch", &[line("a", "wait"), line("c", "hello")].join("\n")).await;
    assert_eq!(file.status, 200, "{}", file.text);
    let batch = |file: &Answer| json!({"input_file_id": file.json()["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"});
    let made = asked(&gateway, &token, "POST", "/v1/batches", Some(batch(&file))).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let path = format!("/v1/batches/{}", made.json()["id"].as_str().expect("an id"));
    let again = issuer.token(json!({"sub": "ada", "models": ["m"], "jti": "another"}));
    gate.reached(1).await;
    gate.open();
    let done = within("the batch to be completed", || async {
        let batch = asked(&gateway, &again, "GET", &path, None).await.json();
        (batch["status"] == "completed").then_some(batch)
    })
    .await;
    assert_eq!(done["request_counts"], json!({"total": 2, "completed": 2, "failed": 0}), "{done}");
    let records = gateway.records_of(2, |record| record["path"] == "/v1/chat/completions").await;
    assert!(records.iter().all(|record| record["key_id"] == "jwt:id?user=ada"), "{records:?}");
    // What the token did not allow its batch may not either.
    let file = uploaded(&gateway, &token, "batch", &forbidden).await;
    let made = asked(&gateway, &token, "POST", "/v1/batches", Some(batch(&file))).await;
    let path = format!("/v1/batches/{}", made.json()["id"].as_str().expect("an id"));
    within("the batch to be refused", || async {
        let batch = asked(&gateway, &token, "GET", &path, None).await.json();
        (batch["status"] == "failed").then_some(())
    })
    .await;
    assert_eq!(asked(&gateway, KEY, "GET", &path, None).await.status, 404, "it is nobody else's");

    let said = json!({"model": "m", "input": "hi", "background": true});
    let made = asked(&gateway, &token, "POST", "/v1/responses", Some(said)).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let path = format!("/v1/responses/{}", made.json()["id"].as_str().expect("an id"));
    within("the response to be made", || async {
        let response = asked(&gateway, &again, "GET", &path, None).await.json();
        (response["status"] == "completed").then_some(())
    })
    .await;
    gateway.stop().await;
}

/// A token is remembered by all of it: one that begins as a good one does, has its claims or its signature, is another one
/// (CVE-2026-35030).
#[tokio::test]
async fn oidc_cache_key_collision() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::start().await);
    upstream.respond_with(|received| openai::answer(received, "hello"));
    let gateway = Gateway::start(&config(&upstream.url(), &issuer.server.url())).await;
    let good = issuer.token(json!({"sub": "ada", "models": ["m"]}));
    let more = issuer.token(json!({"sub": "ada", "models": ["m", "n"]}));
    let [head, claims, signature]: [&str; 3] =
        good.split('.').collect::<Vec<_>>().try_into().expect("three parts of a token");
    let [_, wider, of_wider]: [&str; 3] =
        more.split('.').collect::<Vec<_>>().try_into().expect("three parts of a token");
    assert!(more.starts_with(&good[..head.len() + 20]), "they begin alike");
    for _ in 0..2 {
        assert_eq!(ask(&gateway, &good, "m").await.status, 200);
    }
    let forged = [
        format!("{head}.{wider}.{signature}"),
        format!("{head}.{claims}.{of_wider}"),
        format!("{head}.{claims}."),
        format!("{good}A"),
        good[..good.len() - 1].to_owned(),
        good[..head.len() + 20].to_owned(),
    ];
    for token in &forged {
        for model in ["m", "n"] {
            assert_eq!(ask(&gateway, token, model).await.status, 401, "{token}");
        }
    }
    assert_eq!(ask(&gateway, &good, "n").await.status, 403, "nothing was added to it");
    assert_eq!(ask(&gateway, &more, "n").await.status, 200, "and each good one is what it is");
    gateway.stop().await;
}
