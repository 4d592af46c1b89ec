//! Vertex AI with tokens from a scripted server: one fetch for many requests, renewed while the old one holds, refusals told.

use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use gateway_fake::reply::gemini;
use gateway_fake::{Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Gateway, read, within};

/// A provider with the given members of `gcp`, and a model `m` on it.
fn vertex_at(url: &str, gcp: &str) -> String {
    format!(
        "providers:\n  - {{name: up, kind: vertex, base_url: \"{url}\", allow_private_networks: true, \
         retry: {{max_attempts: 1}}, gcp: {{project: my-project, location: us-central1, {gcp}}}}}\n\
         models:\n  - name: m\n    targets: [{{provider: up, model: own-name}}]\n"
    )
}

/// A server that hands out `token-1`, `token-2` …, each for `lifetime` seconds.
async fn token_server(lifetime: u64) -> Upstream {
    let (server, count) = (Upstream::start().await, AtomicUsize::new(0));
    server.respond_with(move |_| {
        let token = format!("token-{}", count.fetch_add(1, Ordering::Relaxed) + 1);
        Script::json(200, &json!({"access_token": token, "expires_in": lifetime, "token_type": "Bearer"}))
    });
    server
}

fn service_account(token_uri: &str) -> String {
    let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let der: Pkcs8V1Der<'_> = key.as_der().expect("a key in PKCS #8");
    let body = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
    let [begin, end] = ["BEGIN", "END"].map(|word| format!("-----{word} {}-----", "PRIVATE KEY"));
    let pem = format!("{begin}\n{body}\n{end}\n");
    json!({"type": "service_account", "client_email": "a@p.test", "private_key_id": "k1", "private_key": pem, "token_uri": token_uri})
        .to_string()
}

fn question(stream: bool) -> Value {
    json!({
        "model": "m", "stream": stream, "messages": [{"role": "user", "content": "How is the weather in Paris?"}],
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}],
    })
}

#[tokio::test]
async fn vertex_stream_tools() {
    let (upstream, tokens) = (Upstream::start().await, token_server(3600).await);
    upstream.respond_with(|received| gemini::answer(received, "rain and more rain"));
    let account = service_account(&format!("{}/token", tokens.url()));
    let gcp = format!("service_account_json: {}", json!(account));
    let gateway = Gateway::start(&vertex_at(&upstream.url(), &gcp)).await;
    let called = gateway.chat(&question(true)).await;
    assert_eq!(called.status, 200, "{}", called.text);
    let chunks: Vec<Value> =
        called.text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect();
    let call = chunks.iter().find_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"][0]["id"].as_str());
    let call = call.unwrap_or_else(|| panic!("no call in {}", called.text));
    assert!(called.text.contains(r#""finish_reason":"tool_calls""#) && called.text.ends_with("[DONE]\n\n"));

    let mut second = question(true);
    let answers = [
        json!({"role": "assistant", "tool_calls": [{"id": call, "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Paris\"}"}}]}),
        json!({"role": "tool", "tool_call_id": call, "content": "rain"}),
    ];
    second["messages"].as_array_mut().expect("a list").extend(answers);
    let told = gateway.chat(&second).await;
    assert!(told.text.contains("more "), "{}", told.text);

    let received = upstream.request(1).await;
    let path =
        "/v1/projects/my-project/locations/us-central1/publishers/google/models/own-name:streamGenerateContent?alt=sse";
    assert_eq!((received.target.as_str(), received.header("authorization")), (path, Some("Bearer token-1")));
    let part = &received.json()["contents"][1]["parts"][0];
    assert_eq!(
        (&part["thoughtSignature"], &part["functionCall"]["name"]),
        (&json!(gemini::SIGNATURE), &json!("weather"))
    );
    assert_eq!(tokens.requests().len(), 1, "one token serves both");
    let asked = tokens.request(0).await;
    let body = String::from_utf8_lossy(&asked.body).into_owned();
    assert!(body.starts_with("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion="), "{body}");
}

#[tokio::test]
async fn a_token_of_the_machine_is_renewed_in_the_background() {
    let (upstream, tokens) = (Upstream::start().await, token_server(4).await);
    upstream.respond_with(|received| gemini::answer(received, "hello"));
    let gcp = format!("metadata_url: \"{}\"", tokens.url());
    let gateway = Gateway::start(&vertex_at(&upstream.url(), &gcp)).await;
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    within("a second token", || async {
        assert_eq!(gateway.chat(&body).await.status, 200);
        let last = upstream.requests().last().and_then(|received| received.header("authorization").map(str::to_owned));
        (last.as_deref() == Some("Bearer token-2")).then_some(())
    })
    .await;
    let asked = tokens.request(0).await;
    assert_eq!(asked.target, "/computeMetadata/v1/instance/service-accounts/default/token");
    assert_eq!((asked.method.as_str(), asked.header("metadata-flavor")), ("GET", Some("Google")));
}

#[tokio::test]
async fn many_requests_share_the_first_fetch_and_a_refusal_is_told() {
    let (upstream, tokens) = (Upstream::start().await, Upstream::start().await);
    upstream.respond_with(|received| gemini::answer(received, "hello"));
    tokens.push(Script::json(400, &json!({"error": "invalid_grant", "error_description": "no such account"})));
    tokens.push(Script::json(200, &json!({"access_token": "t", "expires_in": 3600})));
    let gcp = format!("metadata_url: \"{}\"", tokens.url());
    let gateway = Gateway::start(&vertex_at(&upstream.url(), &gcp)).await;
    let body = json!({"contents": [{"parts": [{"text": "hi"}]}]});
    let path = "/v1beta/models/m:generateContent";
    let refused = read(gateway.post(path, &body)).await;
    assert_eq!((refused.status, &refused.json()["error"]["status"]), (401, &json!("UNAUTHENTICATED")));
    assert!(refused.text.contains("invalid_grant: no such account"), "{}", refused.text);
    assert_eq!(upstream.requests().len(), 0, "nothing is sent without a token");
    let all = futures_util::future::join_all((0..8).map(|_| read(gateway.post(path, &body)))).await;
    assert!(all.iter().all(|answer| answer.status == 200), "{}", all[0].text);
    assert_eq!((tokens.requests().len(), upstream.requests().len()), (2, 8));
}
