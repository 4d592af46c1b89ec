//! Signing in with an identity provider: one that is scripted, with a real key, over HTTP.

use std::sync::{Arc, Mutex};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use http::StatusCode;
use serde_json::{Value, json};

use crate::world::World;

const HOST: (&str, &str) = ("host", "localhost:8081");
const CODE: &str = "code-of-this-sign-in";

/// What the provider is about to say.
struct Script {
    url: String,
    key: EcdsaKeyPair,
    key_id: u32,
    /// As the authorization endpoint was given it.
    challenge: String,
    claims: Value,
    header: Value,
}

#[derive(Clone)]
struct Provider(Arc<Mutex<Script>>);

// === impl Provider ===

impl Provider {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let script = Script { url, key, key_id: 1, challenge: String::new(), claims: json!({}), header: json!({}) };
        let provider = Self(Arc::new(Mutex::new(script)));
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/jwks", get(jwks))
            .route("/token", post(token))
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        provider
    }

    fn url(&self) -> String {
        self.0.lock().unwrap().url.clone()
    }

    fn rotate(&self) {
        let mut script = self.0.lock().unwrap();
        script.key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        script.key_id += 1;
    }
}

async fn discovery(State(provider): State<Provider>) -> Json<Value> {
    let url = provider.url();
    Json(json!({
        "issuer": url, "authorization_endpoint": format!("{url}/authorize"), "token_endpoint": format!("{url}/token"),
        "jwks_uri": format!("{url}/jwks"),
    }))
}

async fn jwks(State(provider): State<Provider>) -> Json<Value> {
    let script = provider.0.lock().unwrap();
    let point = script.key.public_key().as_ref();
    let [x, y] = [&point[1..33], &point[33..]].map(|half| BASE64.encode(half));
    Json(json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": script.key_id.to_string(), "x": x, "y": y}]}))
}

/// Checks the verifier as RFC 7636 has it.
async fn token(State(provider): State<Provider>, form: String) -> (StatusCode, Json<Value>) {
    let script = provider.0.lock().unwrap();
    let field = |name: &str| form.split('&').find_map(|pair| pair.strip_prefix(name)).unwrap_or_default().to_owned();
    let challenge = BASE64.encode(digest(&SHA256, field("code_verifier=").as_bytes()));
    if field("code=") != CODE || challenge != script.challenge {
        return (StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_grant"})));
    }
    let mut header = json!({"alg": "ES256", "kid": script.key_id.to_string()});
    header.as_object_mut().unwrap().extend(script.header.as_object().unwrap().clone());
    let part = |value: &Value| BASE64.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&script.claims));
    let signature = script.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    let id_token = format!("{signed}.{}", BASE64.encode(signature));
    (StatusCode::OK, Json(json!({"token_type": "Bearer", "access_token": "x", "id_token": id_token})))
}

/// A browser that has been sent to the provider: its cookie, and what the provider was told.
async fn begin(world: &World) -> (String, Vec<(String, String)>) {
    let response = world.open("GET", "/admin/oidc/begin", &[HOST], Vec::new()).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    let to = response.headers()["location"].to_str().unwrap();
    let asked = to.split_once('?').unwrap().1.split('&').filter_map(|pair| pair.split_once('='));
    let asked = asked.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    (cookie.split(';').next().unwrap().to_owned(), asked)
}

fn asked(all: &[(String, String)], name: &str) -> String {
    all.iter().find(|(one, _)| one == name).map(|(_, value)| value.clone()).unwrap_or_default()
}

/// Comes back with what the provider says; the status, and the session's cookie.
async fn come_back(world: &World, provider: &Provider, with: Value) -> (u16, Option<String>, String) {
    let (cookie, told) = begin(world).await;
    let (state, issuer) = (asked(&told, "state"), provider.url());
    {
        let mut script = provider.0.lock().unwrap();
        script.challenge = asked(&told, "code_challenge");
        script.claims = json!({
            "iss": issuer, "aud": "gateway", "sub": "u-1", "exp": 4_000_000_000_i64, "nonce": asked(&told, "nonce"),
            "email": "ada@example.com", "email_verified": true, "groups": ["staff", "ops"],
        });
        script.claims.as_object_mut().unwrap().extend(with["claims"].as_object().cloned().unwrap_or_default());
        script.header = with.get("header").cloned().unwrap_or_else(|| json!({}));
    }
    let cookie = with["cookie"].as_str().map_or(cookie, str::to_owned);
    let state = with["state"].as_str().map_or(state, str::to_owned);
    let query = with["query"].as_str().map_or(format!("code={CODE}"), str::to_owned);
    let path = format!("/admin/oidc/callback?{query}&state={state}");
    let response = world.open("GET", &path, &[HOST, ("cookie", &cookie)], Vec::new()).await;
    let status = response.status().as_u16();
    let cookies = response.headers().get_all("set-cookie").iter().filter_map(|value| value.to_str().ok());
    let session = cookies.filter(|cookie| cookie.contains("gateway_session=")).map(str::to_owned).next();
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    (status, session, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn oidc_sign_in() {
    let (world, provider) = (World::new().await, Provider::start().await);
    world.send("GET", "/admin/oidc/begin", &[HOST], Vec::new()).await.refused(404, "not_found");
    let oidc = json!({
        "issuer": provider.url(), "client_id": "gateway", "redirect_url": "http://localhost:8081/admin/oidc/callback",
        "roles": [{"value": "ops", "role": "operator"}],
    });
    world.call("PATCH", "/admin/settings", json!({"oidc": oidc})).await.expect(201);
    let (_, told) = begin(&world).await;
    for (name, expected) in [("response_type", "code"), ("code_challenge_method", "S256"), ("client_id", "gateway")] {
        assert_eq!(asked(&told, name), expected);
    }
    let (status, session, text) = come_back(&world, &provider, json!({})).await;
    assert_eq!(status, 200, "{text}");
    let cookie = session.expect("a session").split(';').next().unwrap().to_owned();
    let shown = world.send("GET", "/admin/session", &[HOST, ("cookie", &cookie)], Vec::new()).await.expect(200);
    assert_eq!((&shown["actor"], &shown["role"]), (&json!("oidc:ada@example.com"), &json!("operator")));
    world.send("GET", "/admin/keys", &[HOST, ("cookie", &cookie)], Vec::new()).await.expect(200);
    let headers = [HOST, ("cookie", cookie.as_str()), ("x-gateway-csrf", "1")];
    world.send("POST", "/admin/keys", &headers, b"{\"name\": \"k\"}".to_vec()).await.refused(403, "forbidden");

    for (with, expected) in [
        (json!({"claims": {"groups": ["staff"]}}), 403),
        (json!({"claims": {"groups": null}}), 403),
        (json!({"claims": {"nonce": "of another sign-in"}}), 400),
        (json!({"claims": {"aud": "another-client"}}), 400),
        (json!({"claims": {"iss": "https://evil.example.com"}}), 400),
        (json!({"claims": {"exp": 1}}), 400),
        (json!({"header": {"alg": "none"}}), 400),
        (json!({"header": {"alg": "HS256"}}), 400),
        (json!({"header": {"kid": "nobody's"}}), 400),
        (json!({"state": "forged"}), 400),
        (json!({"cookie": "gateway_oidc=a.b.c.d"}), 400),
        (json!({"cookie": "a=b"}), 400),
        (json!({"query": "code=another"}), 400),
        (json!({"query": "error=access_denied"}), 403),
        (json!({"query": "code=code-of-this-sign-in&iss=https%3A%2F%2Fevil.example.com"}), 400),
    ] {
        let (status, session, text) = come_back(&world, &provider, with.clone()).await;
        assert_eq!((status, session), (expected, None), "{with}: {text}");
    }
}

#[tokio::test]
async fn oidc_keys_rotate() {
    let (world, provider) = (World::new().await, Provider::start().await);
    let oidc = json!({
        "issuer": provider.url(), "client_id": "gateway", "redirect_url": "http://localhost:8081/admin/oidc/callback",
        "roles": [{"value": "ops", "role": "viewer"}],
    });
    world.call("PATCH", "/admin/settings", json!({"oidc": oidc})).await.expect(201);
    assert_eq!(come_back(&world, &provider, json!({})).await.0, 200);
    provider.rotate();
    assert_eq!(come_back(&world, &provider, json!({})).await.0, 200, "a key that nobody knew is asked for");
    provider.rotate();
    assert_eq!(come_back(&world, &provider, json!({})).await.0, 400, "but not all the time");
}
