//! Bad input: each gives one clear error with the right status, and the node serves on.

use gateway_fake::reply::openai;
use gateway_fake::{Script, Upstream};
use serde_json::json;

use crate::gateway::{Gateway, KEY, openai_at, read};

#[tokio::test]
async fn each_fault_has_its_status_code_and_param() {
    let gateway = Gateway::start(&openai_at("http://127.0.0.1:1")).await;
    let cases = [
        ("{", 400, "invalid_request", None),
        (r#"{"messages":[]}"#, 400, "invalid_request", Some("model")),
        (r#"{"model":7,"messages":[]}"#, 400, "invalid_request", Some("model")),
        (r#"{"model":"m","model":"m","messages":[]}"#, 400, "invalid_request", Some("model")),
        (r#"{"model":"m","stream":"yes"}"#, 400, "invalid_request", Some("stream")),
        (r#"{"model":"nobody-offers-this","messages":[]}"#, 404, "model_not_found", Some("model")),
        (r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#, 502, "upstream_unreachable", None),
    ];
    for (body, status, code, param) in cases {
        let answer = read(gateway.client().post(gateway.url("/v1/chat/completions")).bearer_auth(KEY).body(body)).await;
        let error = &answer.json()["error"];
        assert_eq!((answer.status, error["code"].as_str()), (status, Some(code)), "{body}: {}", answer.text);
        assert_eq!(error["param"].as_str(), param, "{body}: {}", answer.text);
        assert!(error["message"].as_str().is_some_and(|message| message.len() > 10));
        assert!(answer.header("x-gateway-request-id").is_some(), "{body}");
    }
    let bad_utf8 =
        gateway.client().post(gateway.url("/v1/chat/completions")).bearer_auth(KEY).body(&b"{\"model\":\"\xff\"}"[..]);
    assert_eq!(read(bad_utf8).await.status, 400);
}

#[tokio::test]
async fn credentials_are_read_from_three_places_and_must_agree() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "hello"));
    let gateway = Gateway::start(&openai_at(&upstream.url())).await;
    let bearer = format!("Bearer {KEY}");
    let cases: [(&[(&str, &str)], u16); 9] = [
        (&[("authorization", &bearer)], 200),
        (&[("x-api-key", KEY)], 200),
        (&[("api-key", KEY)], 200),
        (&[("authorization", &bearer), ("x-api-key", KEY)], 200),
        (&[("authorization", &bearer), ("x-api-key", "another-key-0123456789")], 400),
        (&[], 401),
        (&[("authorization", "Bearer unknown-key-0123456789")], 401),
        (&[("authorization", "Basic abc")], 401),
        (&[("x-api-key", "gw_virt_typo")], 401),
    ];
    for (headers, status) in cases {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        let mut request = gateway.client().post(gateway.url("/v1/chat/completions")).json(&body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = read(request).await;
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_key_may_do_what_it_may() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "hello"));
    let config = format!(
        "{}keys:\n  - {{name: narrow, secret: {KEY}, models: [\"other-*\"]}}\n  - {{name: gone, secret: gone-key-0123456789abc, expires_at: \"2020-01-01T00:00:00Z\"}}\n  \
         - {{name: off, secret: off-key-0123456789abcd, enabled: false}}\n  - {{name: slow, secret: slow-key-0123456789abc, limits: {{rpm: 1}}}}\n",
        openai_at(&upstream.url())
    );
    let gateway = Gateway::start(&config).await;
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    let ask = |key: &'static str| {
        read(gateway.client().post(gateway.url("/v1/chat/completions")).bearer_auth(key).json(&body))
    };
    assert_eq!(ask(KEY).await.status, 403);
    assert_eq!(ask("gone-key-0123456789abc").await.status, 401);
    assert_eq!(ask("off-key-0123456789abcd").await.status, 401);
    assert_eq!(ask("slow-key-0123456789abc").await.status, 200);
    let limited = ask("slow-key-0123456789abc").await;
    assert_eq!(limited.status, 429);
    let error = &limited.json()["error"];
    assert_eq!(
        (error["type"].as_str(), error["kind"].as_str()),
        (Some("rate_limit_exceeded"), Some("rpm")),
        "{}",
        limited.text
    );
    let after: u64 = limited.header("retry-after").and_then(|after| after.parse().ok()).expect("a true Retry-After");
    assert!((1..=60).contains(&after) && error["retry_after_seconds"].as_u64() == Some(after), "{}", limited.text);
    assert_eq!(limited.header("x-gateway-limit-kind"), Some("rpm"));
}

#[tokio::test]
async fn anthropic_callers_get_anthropic_errors() {
    let gateway = Gateway::start(&openai_at("http://127.0.0.1:1")).await;
    let answer = read(gateway.post("/v1/messages", &json!({"model": "nobody", "max_tokens": 1, "messages": []}))).await;
    assert_eq!((answer.status, answer.json()["type"].as_str()), (404, Some("error")));
    assert_eq!(answer.json()["error"]["type"], "not_found_error");
}

#[tokio::test]
async fn bodies_and_heads_have_bounds() {
    let config = format!("settings: {{server: {{max_body: 4KiB}}}}\n{}", openai_at("http://127.0.0.1:1"));
    let gateway = Gateway::start(&config).await;
    let large = json!({"model": "m", "messages": [{"role": "user", "content": "x".repeat(5000)}]});
    assert_eq!(gateway.chat(&large).await.status, 413);
    let zipped = gateway.post("/v1/chat/completions", &json!({})).header("content-encoding", "gzip");
    assert_eq!(read(zipped).await.status, 415);
    let form = gateway.client().post(gateway.url("/v1/chat/completions")).bearer_auth(KEY);
    assert_eq!(read(form.header("content-type", "multipart/form-data; boundary=x").body("x")).await.status, 415);
    let large_head = gateway.client().get(gateway.url("/health")).header("x-filler", "x".repeat(70_000));
    assert_eq!(read(large_head).await.status, 431);
    // A head beyond every buffer may also be answered by closing the connection.
    let huge_head = gateway.client().get(gateway.url("/health")).header("x-filler", "x".repeat(2_000_000));
    assert!(huge_head.send().await.map_or(true, |refused| refused.status().as_u16() == 431));
    assert_eq!(read(gateway.client().get(gateway.url("/health"))).await.status, 200, "the node serves on");
}

#[tokio::test]
async fn upstream_errors_reach_the_caller_with_their_words() {
    for (status, retry_after) in
        [(400, None), (401, None), (404, None), (429, Some("7")), (500, None), (529, Some("7"))]
    {
        let upstream = Upstream::start().await;
        let error = openai::error("some_type", "the upstream's own words");
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(retry_after.map(|after| ("retry-after", after)));
        let text = error.to_string();
        let length = text.len().to_string();
        headers.push(("content-length", &length));
        upstream.push(Script::new().head(status, &headers).write(text));
        let gateway = Gateway::start(&openai_at(&upstream.url())).await;
        let answer = gateway.chat(&json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]})).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert!(answer.text.contains("the upstream's own words"), "{}", answer.text);
        assert_eq!(answer.header("retry-after"), retry_after);
    }
}

#[tokio::test]
async fn auth_off_lets_everybody_in_on_loopback() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "hello"));
    let gateway = Gateway::start(&format!("settings: {{auth: off}}\n{}", openai_at(&upstream.url()))).await;
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    let bare = read(gateway.client().post(gateway.url("/v1/chat/completions")).json(&body)).await;
    assert_eq!(bare.status, 200, "{}", bare.text);
    // Clients that must send something do.
    let placeholder = gateway.client().post(gateway.url("/v1/chat/completions")).bearer_auth("none").json(&body);
    assert_eq!(read(placeholder).await.status, 200);
}
