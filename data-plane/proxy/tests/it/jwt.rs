//! Tokens of other systems as keys: verified here, on the account of who they say, until they end.

use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use gateway_fake::reply::openai;
use gateway_fake::{Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway, KEY, client, read};

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
