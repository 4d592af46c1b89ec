//! What a key may do and how much of it, and whose limits count beside its own.

use gateway_fake::reply::openai;
use gateway_fake::{Gate, Script, Upstream};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::gateway::{Answer, Gateway, client, openai_at, read};

/// A node whose keys are `keys`, each with a secret `sk-<name>-0123456789abcdef`, with `more` at the top.
async fn gateway(upstream: &Upstream, more: &str, keys: &[(&str, &str)]) -> Gateway {
    let keys: String = keys
        .iter()
        .map(|(name, fields)| format!("  - {{name: {name}, secret: sk-{name}-0123456789abcdef{fields}}}\n"))
        .collect();
    Gateway::start(&format!("{}{more}\nkeys:\n{keys}", openai_at(&upstream.url()))).await
}

async fn answering() -> Upstream {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| match received.target.as_str() {
        "/v1/embeddings" => Script::json(
            200,
            &json!({"object": "list", "model": "e", "data": [],
            "usage": {"prompt_tokens": 1, "total_tokens": 1}}),
        ),
        _ => openai::answer(received, "hello"),
    });
    upstream
}

async fn post(gateway: &Gateway, key: &str, path: &str, body: &Value) -> Answer {
    read(client().post(gateway.url(path)).bearer_auth(format!("sk-{key}-0123456789abcdef")).json(body)).await
}

async fn get(gateway: &Gateway, key: &str, path: &str) -> Answer {
    read(client().get(gateway.url(path)).bearer_auth(format!("sk-{key}-0123456789abcdef"))).await
}

fn chat(model: &str) -> Value {
    json!({"model": model, "max_tokens": 10, "messages": [{"role": "user", "content": "hello"}]})
}

const CHAT: &str = "/v1/chat/completions";

#[tokio::test]
async fn roles_admin_user_read_only() {
    let upstream = answering().await;
    let keys = [
        ("admin", ", roles: [admin], models: [none]"),
        ("user", ", roles: [user]"),
        ("reader", ", roles: [read-only]"),
    ];
    let gateway = gateway(&upstream, "", &keys).await;
    for (key, chats) in [("admin", 200), ("user", 200), ("reader", 403)] {
        let answer = post(&gateway, key, CHAT, &chat("m")).await;
        assert_eq!(answer.status, chats, "{key}: {}", answer.text);
        assert_eq!(get(&gateway, key, "/v1/models").await.status, 200, "{key}");
    }
    let refused = post(&gateway, "reader", CHAT, &chat("m")).await.json();
    assert_eq!(refused["error"]["code"], "not_allowed", "{refused}");
    gateway.stop().await;
}

#[tokio::test]
async fn endpoint_restrictions() {
    let upstream = answering().await;
    let keys = [("lists", ", endpoints: [\"GET /v1/models\"]"), ("chats", ", endpoints: [\"POST /v1/chat/*\"]")];
    let gateway = gateway(&upstream, "", &keys).await;
    assert_eq!(post(&gateway, "lists", CHAT, &chat("m")).await.status, 403);
    assert_eq!(get(&gateway, "lists", "/v1/models").await.status, 200);
    assert_eq!(get(&gateway, "chats", "/v1/models").await.status, 403);
    assert_eq!(post(&gateway, "chats", CHAT, &chat("m")).await.status, 200);
    for path in ["/v1/embeddings", "/v1/responses", "/v1/messages", "/v1/files", "/proxy/up/v1/models"] {
        assert_eq!(post(&gateway, "lists", path, &chat("m")).await.status, 403, "{path}");
    }
    assert_eq!(upstream.requests().len(), 1, "nothing that is refused goes anywhere");
    gateway.stop().await;
}

#[tokio::test]
async fn agent_scoping_on_every_endpoint() {
    let upstream = answering().await;
    let gateway = gateway(&upstream, "", &[("scoped", ", models: [other], passthrough: []")]).await;
    let responses = json!({"model": "m", "input": "hello"});
    let gemini = json!({"contents": [{"role": "user", "parts": [{"text": "hello"}]}]});
    let cases = [
        (CHAT, &chat("m")),
        ("/v1/completions", &json!({"model": "m", "prompt": "hello"})),
        ("/v1/messages", &chat("m")),
        ("/anthropic/v1/messages", &chat("m")),
        ("/v1/messages/count_tokens", &chat("m")),
        ("/v1/responses", &responses),
        ("/v1beta/models/m:generateContent", &gemini),
        ("/v1beta/models/m:streamGenerateContent", &gemini),
        ("/v1/embeddings", &responses),
        ("/v1/rerank", &json!({"model": "m", "query": "q", "documents": ["d"]})),
        ("/v1/moderations", &responses),
        ("/v1/images/generations", &json!({"model": "m", "prompt": "p"})),
        ("/v1/audio/speech", &json!({"model": "m", "input": "t", "voice": "v"})),
        ("/proxy/up/chat/completions", &chat("own-name")),
        (CHAT, &chat("up/own-name")),
    ];
    for (path, body) in cases {
        let answer = post(&gateway, "scoped", path, body).await;
        assert_eq!(answer.status, 403, "{path}: {}", answer.text);
        assert!(answer.text.contains("error"), "{path}: a refusal says so: {}", answer.text);
    }
    assert_eq!(upstream.requests().len(), 0);
    gateway.stop().await;
}

#[tokio::test]
async fn a_key_works_from_its_addresses_only() {
    let upstream = answering().await;
    let more = "settings: {server: {trusted_proxies: [127.0.0.0/8]}}";
    let gateway =
        gateway(&upstream, more, &[("near", ", ips: [127.0.0.1]"), ("far", ", ips: [\"203.0.113.0/24\"]")]).await;
    assert_eq!(post(&gateway, "near", CHAT, &chat("m")).await.status, 200);
    let refused = post(&gateway, "far", CHAT, &chat("m")).await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    assert!(refused.text.contains("127.0.0.1"), "it says where it came from: {}", refused.text);
    // Behind a balancer of ours.
    let behind = |address: &'static str| {
        let request = client().post(gateway.url(CHAT)).bearer_auth("sk-far-0123456789abcdef").json(&chat("m"));
        read(request.header("x-forwarded-for", address))
    };
    assert_eq!(behind("203.0.113.7").await.status, 200);
    assert_eq!(behind("203.0.113.7, 198.51.100.1").await.status, 403, "what a client writes itself is not believed");
    gateway.stop().await;
}

#[tokio::test]
async fn tpm_per_key() {
    let upstream = answering().await;
    let gateway = gateway(&upstream, "", &[("small", ", limits: {tpm: 100, rpm: 100}")]).await;
    let large = json!({"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "word ".repeat(200)}]});
    let first = post(&gateway, "small", CHAT, &chat("m")).await;
    assert_eq!(first.status, 200, "{}", first.text);
    assert_eq!(first.header("x-ratelimit-limit-tokens"), Some("100"));
    assert_eq!(first.header("x-ratelimit-remaining-requests"), Some("99"));
    assert!(first.header("x-ratelimit-reset-requests").is_some_and(|reset| reset.ends_with('s')));
    let refused = post(&gateway, "small", CHAT, &large).await;
    assert_eq!((refused.status, refused.header("x-gateway-limit-kind")), (429, Some("tpm")), "{}", refused.text);
    let error = &refused.json()["error"];
    assert_eq!((&error["type"], &error["kind"]), (&json!("rate_limit_exceeded"), &json!("tpm")), "{error}");
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.ends_with("exceeded its 100 tokens/min limit."), "{message}");
    let after: u64 = refused.header("retry-after").and_then(|after| after.parse().ok()).expect("a number");
    assert_eq!(error["retry_after_seconds"], after, "{error}");
    assert!((1..=60).contains(&after));
    gateway.stop().await;
}

#[tokio::test]
async fn retry_after_is_true() {
    let upstream = answering().await;
    let gateway = gateway(&upstream, "", &[("slow", ", limits: {rps: 1}")]).await;
    assert_eq!(post(&gateway, "slow", CHAT, &chat("m")).await.status, 200);
    let refused = post(&gateway, "slow", CHAT, &chat("m")).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")), "{}", refused.text);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(post(&gateway, "slow", CHAT, &chat("m")).await.status, 200, "after what it said");
    gateway.stop().await;
}

#[tokio::test]
async fn so_many_at_once_and_no_more() {
    let (upstream, gate) = (Upstream::start().await, Gate::new());
    let at_upstream = gate.clone();
    upstream.respond_with(move |received| Script {
        steps: [Script::new().wait(&at_upstream).steps, openai::answer(received, "hello").steps].concat(),
    });
    let gateway = gateway(&upstream, "", &[("two", ", limits: {concurrency: 2}")]).await;
    let question = chat("m");
    let asked: Vec<_> = (0..2).map(|_| Box::pin(post(&gateway, "two", CHAT, &question))).collect();
    let refused = async {
        gate.reached(2).await;
        let refused = post(&gateway, "two", CHAT, &question).await;
        gate.open();
        refused
    };
    let (answers, refused) = tokio::join!(futures_util::future::join_all(asked), refused);
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!((refused.status, refused.header("x-gateway-limit-kind")), (429, Some("parallel")), "{}", refused.text);
    assert_eq!(post(&gateway, "two", CHAT, &question).await.status, 200, "places come back");
    gateway.stop().await;
}

#[tokio::test]
async fn keys_of_a_team_share_its_limits() {
    let upstream = answering().await;
    let more = "organizations:\n  - {name: acme}\nteams:\n  - {name: search, organization: acme, limits: {rpm: 2}}\n  - \
        {name: shut, enabled: false}\n";
    let keys = [("one", ", team: search"), ("two", ", team: search"), ("off", ", team: shut")];
    let gateway = gateway(&upstream, more, &keys).await;
    assert_eq!(post(&gateway, "one", CHAT, &chat("m")).await.status, 200);
    assert_eq!(post(&gateway, "two", CHAT, &chat("m")).await.status, 200);
    let refused = post(&gateway, "one", CHAT, &chat("m")).await;
    assert_eq!(refused.json()["error"]["message"], "Team search exceeded its 2 req/min limit.");
    assert_eq!(post(&gateway, "off", CHAT, &chat("m")).await.status, 401, "a team that is shut shuts its keys");
    let records = gateway.records(4).await;
    assert_eq!((&records[0]["team"], &records[0]["organization"]), (&json!("search"), &json!("acme")));
    gateway.stop().await;
}

#[tokio::test]
async fn one_request_may_be_so_large() {
    let upstream = answering().await;
    let gateway = gateway(&upstream, "", &[("small", ", limits: {max_tokens: 100}")]).await;
    assert_eq!(post(&gateway, "small", CHAT, &chat("m")).await.status, 200);
    let large = json!({"model": "m", "max_tokens": 500, "messages": [{"role": "user", "content": "hello"}]});
    let refused = post(&gateway, "small", CHAT, &large).await;
    assert_eq!((refused.status, refused.header("x-gateway-limit-kind")), (400, Some("max_tokens")), "{}", refused.text);
    gateway.stop().await;
}

#[tokio::test]
async fn whatever_is_selected_shares_a_limit() {
    let upstream = answering().await;
    let more = "limits:\n  - {name: of-m, match: {models: [m], tags: [batch]}, limits: {rpm: 2}}\n";
    let keys = [("one", ", tags: [batch]"), ("two", ", tags: [batch, other]"), ("free", "")];
    let gateway = gateway(&upstream, more, &keys).await;
    let status = async |key: &str, model: &str| post(&gateway, key, CHAT, &chat(model)).await.status;
    assert_eq!((status("one", "m").await, status("two", "m").await), (200, 200));
    let refused = post(&gateway, "one", CHAT, &chat("m")).await;
    assert_eq!(refused.json()["error"]["message"], "Limit of-m exceeded its 2 req/min limit.");
    assert_eq!((status("one", "up/own-name").await, status("free", "m").await), (200, 200), "what is not selected");
    gateway.stop().await;
}

#[tokio::test]
async fn each_user_has_a_limit_and_those_without_share_one() {
    let upstream = answering().await;
    let more = "users:\n  - {name: ada}\n  - {name: bob}\n\
        limits:\n  - {name: of-m, match: {models: [m]}, per: user, limits: {rpm: 1}}\n";
    let keys = [("a", ", user: ada"), ("b", ", user: bob"), ("again", ", user: ada"), ("c", ""), ("d", "")];
    let gateway = gateway(&upstream, more, &keys).await;
    let ask = async |key: &str, model: &str| post(&gateway, key, CHAT, &chat(model)).await;
    for key in ["a", "b", "c"] {
        assert_eq!(ask(key, "m").await.status, 200, "{key}");
    }
    for (key, whose) in [("again", "for user ada"), ("b", "for user bob"), ("d", "for no user")] {
        let refused = ask(key, "m").await;
        assert_eq!((refused.status, refused.header("x-gateway-limit-kind")), (429, Some("rpm")), "{key}");
        assert!(refused.header("retry-after").is_some_and(|wait| wait.parse::<u64>().is_ok_and(|wait| wait > 50)));
        let error = &refused.json()["error"];
        assert_eq!((&error["type"], &error["kind"]), (&json!("rate_limit_exceeded"), &json!("rpm")));
        assert_eq!(error["message"], format!("Limit of-m {whose} exceeded its 1 req/min limit."));
    }
    assert_eq!(ask("a", "up/own-name").await.status, 200, "what is not selected");
    assert_eq!(upstream.requests().len(), 4);
    let told = read(client().get(gateway.url("/statsz"))).await.json();
    assert_eq!(told["limits_apart"], json!({"of-m": {"per": "user", "parts": 2, "requests_beyond": 0}}), "{told}");
    gateway.stop().await;
}

#[tokio::test]
async fn what_nobody_could_charge_is_refused_where_that_is_wanted() {
    let upstream = answering().await;
    let settings = "settings: {unpriced: refuse}\n";
    let node = gateway(&upstream, settings, &[("one", "")]).await;
    let refused = post(&node, "one", CHAT, &chat("m")).await;
    assert_eq!((refused.status, upstream.requests().len()), (403, 0), "{}", refused.text);
    assert!(refused.text.contains("up/own-name"), "it says which: {}", refused.text);
    node.stop().await;
    let priced = format!("{settings}{PRICE}");
    let node = gateway(&upstream, &priced, &[("one", "")]).await;
    assert_eq!(post(&node, "one", CHAT, &chat("m")).await.status, 200);
    node.stop().await;
}

#[tokio::test]
async fn the_key_says_first_what_is_done_without_a_price_then_the_route() {
    let upstream = answering().await;
    let more = "settings: {unpriced: refuse}\nroutes:\n  - {name: flagged, match: {keys: [\"flag*\", served]}, unpriced: flag}\n";
    let keys = [("plain", ""), ("flagged", ""), ("served", ", unpriced: allow"), ("flag-not", ", unpriced: refuse")];
    let node = gateway(&upstream, more, &keys).await;
    for (key, status, flag) in
        [("plain", 403, None), ("flagged", 200, Some("true")), ("served", 200, None), ("flag-not", 403, None)]
    {
        let answer = post(&node, key, CHAT, &chat("m")).await;
        assert_eq!((answer.status, answer.header("x-gateway-unpriced")), (status, flag), "{key}: {}", answer.text);
    }
    assert_eq!(upstream.requests().len(), 2);
    node.stop().await;
}

const PRICE: &str = "prices:\n  - {provider: up, model: own-name, input_per_1m: 10, output_per_1m: 30}\n";

/// The head has gone before anybody knows what it costs: a trailer says it (RFC 9110, section 6.5).
#[tokio::test]
async fn cost_on_streams() {
    let upstream = answering().await;
    let gateway = gateway(&upstream, PRICE, &[("one", "")]).await;
    let mut question = chat("m");
    question["stream"] = json!(true);
    let (body, addr) = (question.to_string(), gateway.url(""));
    let mut stream = TcpStream::connect(addr.trim_start_matches("http://")).await.expect("a connection");
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: gateway\r\nconnection: close, te\r\nte: trailers\r\ncontent-type: application/json\r\n\
         authorization: Bearer sk-one-0123456789abcdef\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("the gateway reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("a whole answer");
    let (_, trailers) = answer.rsplit_once("\r\n0\r\n").expect("chunks that end");
    let log = gateway.records(1).await.remove(0);
    let nano = log["cost_nano_usd"].as_u64().filter(|nano| *nano > 0).expect("a cost");
    let cost = format!("x-gateway-cost-usd: {:.6}", nano as f64 / 1e9);
    assert!(trailers.to_lowercase().contains(&cost), "{cost} is not in {trailers:?}");
    gateway.stop().await;
}
