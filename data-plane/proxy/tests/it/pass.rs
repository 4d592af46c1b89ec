//! `/proxy/{provider}/…` and paths of OpenAI's that the gateway does not know: what passes, what does not, and what is written
//! down about it.

use futures_util::StreamExt as _;
use gateway_fake::{Gate, PATIENCE, Script, Upstream};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

use crate::gateway::{Answer, Gateway, KEY, UPSTREAM_KEY, read};

/// May not use any account as it is.
pub(crate) const PLAIN: &str = "sk-plain-0123456789abcdef";
/// Like [`PLAIN`], somebody else's.
pub(crate) const OTHER: &str = "sk-other-0123456789abcdef";
/// May use the account, and one model.
const NARROW: &str = "sk-narrow-0123456789abcdef";

/// A provider `up` of a kind at a URL, beside one that has no credential; [`KEY`] may use every account.
pub(crate) fn config(kind: &str, url: &str, more: &str) -> String {
    format!(
        "providers:\n  - {{name: up, kind: {kind}, base_url: \"{url}\", api_key: {UPSTREAM_KEY}, allow_private_networks: true}}\n  \
         - {{name: bare, kind: openai, base_url: \"https://api.example.com/v1\"}}\n\
         models:\n  - name: m\n    targets: [{{provider: up, model: own-name}}]\n\
         keys:\n  - {{name: owner, secret: {KEY}, passthrough: [\"*\"]}}\n  - {{name: plain, secret: {PLAIN}}}\n  \
         - {{name: other, secret: {OTHER}}}\n  \
         - {{name: narrow, secret: {NARROW}, passthrough: [up], models: [up/allowed]}}\n{more}"
    )
}

pub(crate) async fn asked(gateway: &Gateway, key: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
    let method: Method = method.parse().expect("a method");
    let request = gateway.client().request(method, gateway.url(path)).bearer_auth(key);
    read(body.into_iter().fold(request, |request, body| request.json(&body))).await
}

/// A request as it stands: clients tidy paths.
async fn raw(gateway: &Gateway, path: &str) -> u16 {
    let address = gateway.url("");
    let mut stream = tokio::net::TcpStream::connect(address.trim_start_matches("http://")).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("text");
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

#[tokio::test]
async fn passthrough_all_methods() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| match received.method.as_str() {
        "HEAD" => Script::new().head(200, &[("content-length", "7"), ("content-type", "a/b")]),
        _ => Script::json(201, &json!({"was": received.method})),
    });
    let gateway = Gateway::start(&config("openai", &format!("{}/v1", upstream.url()), "")).await;
    let methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "PROPFIND"];
    for (n, method) in methods.into_iter().enumerate() {
        let body = (!matches!(method, "GET" | "HEAD")).then(|| json!({"a": method}));
        let answer = asked(&gateway, KEY, method, "/proxy/up/v1/files/x?a=b%20c&d", body.clone()).await;
        let received = upstream.request(n).await;
        assert_eq!((received.method.as_str(), received.target.as_str()), (method, "/v1/files/x?a=b%20c&d"));
        let sent = body.map(|body| body.to_string()).unwrap_or_default();
        assert_eq!(received.body, sent, "{method}: a body passes whatever the method");
        match method {
            "HEAD" => assert_eq!((answer.status, answer.header("content-length")), (200, Some("7"))),
            _ => assert_eq!((answer.status, answer.json()), (201, json!({"was": method})), "{}", answer.text),
        }
        assert_eq!(answer.header("x-gateway-provider"), Some("up"));
    }
    let records = gateway.records(methods.len()).await;
    for (record, method) in records.iter().zip(methods) {
        let found = [&record["model"], &record["provider"], &record["method"], &record["lane"], &record["ending"]];
        assert_eq!(found, ["proxy:up", "up", method, "pass", "finished"], "{record}");
        assert_eq!((&record["tokens"]["input"], &record["cost_nano_usd"]), (&json!(0), &json!(0)), "{record}");
    }
}

#[tokio::test]
async fn passthrough_auth_injection_client_key_not_leaked() {
    for (kind, header, value) in [
        ("openai", "authorization", format!("Bearer {UPSTREAM_KEY}")),
        ("anthropic", "x-api-key", UPSTREAM_KEY.to_owned()),
        ("azure", "api-key", UPSTREAM_KEY.to_owned()),
        ("gemini", "x-goog-api-key", UPSTREAM_KEY.to_owned()),
    ] {
        let upstream = Upstream::start().await;
        let head = [("content-type", "text/plain"), ("set-cookie", "a=b"), ("x-vendor", "1"), ("content-length", "2")];
        upstream.push(Script::new().head(200, &head).write("ok"));
        let gateway = Gateway::start(&config(kind, &upstream.url(), "")).await;
        let request = gateway
            .client()
            .get(gateway.url(&format!("/proxy/up/some/path?key={KEY}&x=1")))
            .bearer_auth(KEY)
            .header("x-api-key", KEY)
            .header("cookie", "session=1")
            .header("x-forwarded-for", "10.0.0.1")
            .header("proxy-authorization", "Basic x")
            .header("x-own", "1")
            .header("accept-encoding", "gzip")
            .header("traceparent", "00-1-2-01")
            .header("x-correlation-id", "c-1");
        let answer = read(request).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, "ok"), "{kind}");
        assert!(answer.header("set-cookie").or(answer.header("x-vendor")).is_none(), "{:?}", answer.headers);
        let received = upstream.request(0).await;
        assert_eq!(received.header(header), Some(value.as_str()), "{kind}");
        assert_eq!(received.target, "/some/path?x=1");
        let passed = ["accept-encoding", "traceparent", "x-correlation-id"].map(|name| received.header(name));
        assert_eq!(passed, [Some("identity"), Some("00-1-2-01"), Some("c-1")]);
        let told = format!("{received:?}");
        for kept in [KEY, "cookie", "x-forwarded-for", "proxy-authorization", "x-own"] {
            assert!(!told.contains(kept), "{kind}: `{kept}` went on: {told}");
        }
    }
}

#[tokio::test]
async fn passthrough_traversal_refused() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &format!("{}/v1", upstream.url()), "")).await;
    for path in [
        "/proxy/up/../x",
        "/proxy/up/%2e%2e/x",
        "/proxy/up/%252e%252e/x",
        "/proxy/up/v1/..%2f..%2fx",
        "/proxy/up/v1/%5c..%5c",
        "//proxy/up/%2E./x",
        "/v1/vector_stores/%2e%2e/x",
        "/v1/files/%252e%252e",
    ] {
        assert_eq!(raw(&gateway, path).await, 400, "{path}");
    }
    assert_eq!(upstream.requests().len(), 0);
}

#[tokio::test]
async fn passthrough_sse_auto_detect() {
    let event = |n: u32| bytes::Bytes::from(format!("event: message\ndata: {{\"n\":{n}}}\n\n"));
    let (upstream, gate) = (Upstream::start().await, Gate::new());
    upstream.push(Script::sse_gated(&[event(1), event(2), event(3)], &gate));
    let gateway = Gateway::start(&config("openai", &format!("{}/v1", upstream.url()), "")).await;
    let reading = async {
        let request = gateway.client().get(gateway.url("/proxy/up/v1/some/events")).bearer_auth(KEY);
        let response = request.send().await.expect("a head");
        assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
        let mut stream = response.bytes_stream();
        for n in 1..=3 {
            gate.release(1);
            // Nothing more leaves the upstream before this one is here.
            assert_eq!(stream.next().await.expect("an event").expect("bytes"), event(n));
        }
        assert!(stream.next().await.is_none());
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("an event was held back");
    // What is cut, or says nothing for too long, is told inside.
    let idle = "settings: {timeouts: {idle: 50ms}}\n";
    let gateway = Gateway::start(&config("openai", &format!("{}/v1", upstream.url()), idle)).await;
    upstream.push(Script::sse_head().chunk(event(1)).hang());
    let answer = asked(&gateway, KEY, "GET", "/proxy/up/v1/some/events", None).await;
    assert!(answer.text.starts_with("event: message") && answer.text.contains("idle_timeout"), "{}", answer.text);
    let record = &gateway.records(1).await[0];
    assert_eq!([&record["ending"], &record["error_code"]], ["timeout", "idle_timeout"], "{record}");
}

/// One dialect's answer, and what was used for it.
#[tokio::test]
async fn passthrough_usage_of_known_dialects() {
    let anthropic = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":5,\"output_tokens\":1}}}\n\n\
        event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":7}}\n\n\
        event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let openai = json!({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7}}).to_string();
    let bedrock =
        json!({"output": {"message": {"role": "assistant", "content": [{"text": "hi"}]}}, "stopReason": "end_turn",
        "usage": {"inputTokens": 5, "outputTokens": 7}})
        .to_string();
    let prices = "prices:\n  - {provider: up, model: own, input_per_1m: 1000000, output_per_1m: 2000000}\n";
    let cases = [
        ("anthropic", "/v1/messages", "text/event-stream", anthropic.to_owned(), "own"),
        ("openai", "/v1/chat/completions", "application/json", openai.clone(), "own"),
        ("openai", "/v1//chat/%63ompletions/", "application/json", openai, "own"),
        ("openai", "/model/own/converse", "application/json", bedrock, "other"),
    ];
    for (kind, path, media_type, reply, model) in cases {
        let upstream = Upstream::start().await;
        upstream.push(Script::text(200, media_type, reply.clone()));
        let gateway = Gateway::start(&config(kind, &upstream.url(), prices)).await;
        let path = format!("/proxy/up{path}");
        let answer = asked(&gateway, KEY, "POST", &path, Some(json!({"messages": [], "model": model}))).await;
        assert_eq!((answer.status, &answer.text), (200, &reply), "{path}");
        let record = &gateway.records(1).await[0];
        let found = [&record["upstream_model"], &record["settled_by"], &record["model"]];
        assert_eq!(found, ["own", "exact", "proxy:up"], "{path}: {record}");
        let used = [&record["tokens"]["input"], &record["tokens"]["output"], &record["cost_nano_usd"]];
        assert_eq!(used, [&json!(5), &json!(7), &json!(19_000_000_000_u64)], "{path}: {record}");
    }
}

/// What is charged by the piece or by time is counted on the side door as on the others.
#[tokio::test]
async fn passthrough_usage_of_what_is_no_conversation() {
    let prices = "prices:\n  - {provider: up, model: own, per_image: 0.04, per_input_image: 0.0001, \
        per_1m_characters: 15, per_1k_searches: 2}\n";
    let searched = json!({"results": [], "meta": {"billed_units": {"search_units": 3}}});
    let seen = json!({"embeddings": {"float": [[0.5]]}, "meta": {"billed_units": {"images": 2}}});
    let drawn = json!({"data": [{"url": "https://x"}, {"url": "https://y"}]});
    let cases = [
        ("/v1/audio/speech", "audio/mpeg", "sound".to_owned(), ("characters", 5, 75_000)),
        ("/v2/rerank", "application/json", searched.to_string(), ("searches", 3, 6_000_000)),
        ("/v2/embed", "application/json", seen.to_string(), ("pictures_read", 2, 200_000)),
        ("/v1/images/generations", "application/json", drawn.to_string(), ("pictures_made", 2, 80_000_000)),
    ];
    for (path, media_type, reply, (unit, n_units, cost)) in cases {
        let upstream = Upstream::start().await;
        upstream.push(Script::text(200, media_type, reply.clone()));
        let gateway = Gateway::start(&config("openai", &upstream.url(), prices)).await;
        let path = format!("/proxy/up{path}");
        let answer = asked(&gateway, KEY, "POST", &path, Some(json!({"input": "hello", "model": "own"}))).await;
        assert_eq!((answer.status, &answer.text), (200, &reply), "{path}");
        let record = &gateway.records(1).await[0];
        let used = (&record["units"][unit], &record["settled_by"], &record["cost_nano_usd"]);
        assert_eq!(used, (&json!(n_units), &json!("exact"), &json!(cost)), "{path}: {record}");
    }
}

#[tokio::test]
async fn who_may_pass() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|_| Script::json(200, &json!({})));
    let limited = "  - {name: limited, secret: sk-limited-0123456789abcdef, passthrough: [up], limits: {rpm: 1}}\n";
    let gateway = Gateway::start(&config("openai", &format!("{}/v1", upstream.url()), limited)).await;
    let chat = |model: &str| Some(json!({"model": model, "messages": []}));
    let cases = [
        (KEY, "GET", "/proxy/up/v1/models", None, 200),
        (KEY, "GET", "/proxy/none/v1/models", None, 404),
        (KEY, "GET", "/proxy/bare/v1/models", None, 503),
        (PLAIN, "GET", "/proxy/up/v1/models", None, 403),
        (PLAIN, "GET", "/proxy/none/v1/models", None, 403),
        ("sk-nobody-0123456789abcdef", "GET", "/proxy/up/v1/models", None, 401),
        (NARROW, "GET", "/proxy/up/v1/models", None, 200),
        (NARROW, "GET", "/proxy/bare/v1/models", None, 403),
        (NARROW, "POST", "/proxy/up/v1/chat/completions", chat("allowed"), 200),
        (NARROW, "POST", "/proxy/up/v1/chat/completions", chat("other"), 403),
        (NARROW, "POST", "/proxy/up/v1/other", chat("other"), 403),
        (NARROW, "POST", "/proxy/up/model/other/invoke", None, 403),
        (NARROW, "POST", "/proxy/up/openai/deployments/other/chat/completions", Some(json!({})), 403),
        (KEY, "POST", "/proxy/up/v1/chat/completions", Some(json!([])), 400),
        ("sk-limited-0123456789abcdef", "GET", "/proxy/up/v1/models", None, 200),
        ("sk-limited-0123456789abcdef", "GET", "/proxy/up/v1/models", None, 429),
    ];
    for (key, method, path, body, status) in cases {
        let answer = asked(&gateway, key, method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path} with {key}: {}", answer.text);
        if status >= 400 {
            let error = &answer.json()["error"];
            assert!(error["message"].is_string() && error["type"].is_string(), "{}", answer.text);
        }
    }
    assert_eq!(upstream.requests().len(), 4, "what was refused was not asked");
}

#[tokio::test]
async fn upstream_errors_pass_with_their_status() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &format!("{}/v1", upstream.url()), "")).await;
    let statuses = [400, 401, 403, 404, 409, 413, 422, 429, 500, 502, 503, 529];
    for status in statuses {
        let said = json!({"error": {"message": "theirs", "n": status}});
        let length = said.to_string().len().to_string();
        let head = [("content-type", "application/json"), ("content-length", &length), ("retry-after", "7")];
        upstream.push(Script::new().head(status, &head).write(said.to_string()));
        let answer = asked(&gateway, KEY, "POST", "/proxy/up/v1/things", Some(json!({}))).await;
        assert_eq!((answer.status, answer.json()), (status, said));
        assert_eq!(answer.header("retry-after"), Some("7"));
    }
    assert_eq!(upstream.requests().len(), statuses.len(), "each was asked once");
    for record in gateway.records(statuses.len()).await {
        assert_eq!((&record["ending"], &record["settled_by"]), (&json!("failed"), &json!("nothing")), "{record}");
    }
    // Asked again where the operator wants that.
    let again = "settings: {passthrough: {max_attempts: 2}}\n";
    let gateway = Gateway::start(&config("openai", &format!("{}/v1", upstream.url()), again)).await;
    upstream.push(Script::json(500, &json!({})));
    upstream.push(Script::json(200, &json!({"second": true})));
    let answer = asked(&gateway, KEY, "POST", "/proxy/up/v1/things", Some(json!({}))).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"second": true})));
    assert_eq!(answer.header("x-gateway-retries"), Some("1"));
}

/// The client sends on only what the upstream has nearly caught up with: whoever held the body would wait for ever.
#[tokio::test]
async fn large_bodies_pass_while_they_come() {
    const PIECE: usize = 1024 * 1024;
    const N_PIECES: usize = 72;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let (arrived, seen) = watch::channel(0_usize);
    let upstream = async {
        let (mut stream, _) = listener.accept().await.expect("the gateway");
        let mut buffer = vec![0; 256 * 1024];
        while *arrived.borrow() < N_PIECES * PIECE {
            let n_bytes = stream.read(&mut buffer).await.expect("bytes");
            assert!(n_bytes > 0, "the gateway left");
            arrived.send_modify(|n_arrived| *n_arrived += n_bytes);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.expect("the gateway reads");
        stream
    };
    let gateway = Gateway::start(&config("openai", &format!("{url}/v1"), "")).await;
    let pieces = async_stream(
        move |n| {
            let mut seen = seen.clone();
            async move {
                let caught_up = n.saturating_sub(16) * PIECE;
                seen.wait_for(|n_arrived| *n_arrived >= caught_up).await.expect("the upstream");
                bytes::Bytes::from(vec![b'x'; PIECE])
            }
        },
        N_PIECES,
    );
    let request = gateway
        .client()
        .put(gateway.url("/proxy/up/v1/blob"))
        .bearer_auth(KEY)
        .header("content-length", N_PIECES * PIECE)
        .body(reqwest::Body::wrap_stream(pieces));
    let sending = async { tokio::join!(read(request), upstream).0 };
    let answer = tokio::time::timeout(PATIENCE * 4, sending).await.expect("the body was held");
    assert_eq!((answer.status, answer.text.as_str()), (200, "ok"));
}

fn async_stream<F, P>(
    piece: F,
    n_pieces: usize,
) -> impl futures_util::Stream<Item = Result<bytes::Bytes, std::io::Error>>
where
    F: Fn(usize) -> P,
    P: Future<Output = bytes::Bytes>,
{
    futures_util::stream::iter(0..n_pieces).then(piece).map(Ok)
}

#[tokio::test]
async fn catch_all_v1() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| Script::json(200, &json!({"was": received.target})));
    let url = format!("{}/v1", upstream.url());
    let policy = "settings: {passthrough: {default_provider: up, blocked_prefixes: [organization]}}\n";
    let gateway = Gateway::start(&config("openai", &url, policy)).await;
    let answer = asked(&gateway, KEY, "GET", "/v1/vector_stores?limit=2", None).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"was": "/v1/vector_stores?limit=2"})), "{}", answer.text);
    let body = json!({"model": "m", "name": "x"});
    let answer = asked(&gateway, KEY, "POST", "/v1/assistants", Some(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(upstream.request(1).await.json(), json!({"model": "own-name", "name": "x"}));
    for (key, path, body, status) in [
        (KEY, "/v1/organization/users", None, 404),
        (KEY, "/v1/chat/other", None, 404),
        (PLAIN, "/v1/vector_stores", None, 404),
        (KEY, "/v1/assistants", Some(json!({"model": "nobody"})), 404),
        (NARROW, "/v1/assistants", Some(json!({"model": "m"})), 403),
        (KEY, "/v1/assistants", Some(json!({"model": "m", "m\u{6f}del": "m"})), 200),
    ] {
        let method = if body.is_some() { "POST" } else { "GET" };
        let answer = asked(&gateway, key, method, path, body).await;
        assert_eq!(answer.status, status, "{path} with {key}: {}", answer.text);
    }
    let gateway = Gateway::start(&config("openai", &url, "")).await;
    let nowhere = asked(&gateway, KEY, "GET", "/v1/vector_stores", None).await;
    assert!(nowhere.status == 400 && nowhere.text.contains("default_provider"), "{}", nowhere.text);
    let named =
        gateway.client().get(gateway.url("/v1/vector_stores")).bearer_auth(KEY).header("x-gateway-provider", "up");
    assert_eq!(read(named).await.status, 200);
    let off = "settings: {passthrough: {enabled: false, default_provider: up}}\n";
    let gateway = Gateway::start(&config("openai", &url, off)).await;
    assert_eq!(asked(&gateway, KEY, "GET", "/v1/vector_stores", None).await.status, 404);
}
