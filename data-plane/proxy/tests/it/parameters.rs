//! What an upstream lacks: passed by, renamed, dropped with a note, or refused in strict mode.

use gateway_fake::reply::openai;
use gateway_fake::{Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Gateway, provider_at, read};

/// A gateway before an upstream that knows no seed, and whose model knows no penalties.
async fn gateway(upstream: &Upstream, settings: &str) -> Gateway {
    upstream.push(Script::json(200, &openai::reply("own-name", "hello", 7)));
    let config =
        provider_at("openai-compatible", &format!("{}/v1", upstream.url()), "quirks: [no_seed, max_tokens_name]")
            .replace("model: own-name}", "model: own-name, quirks: [no_penalties]}");
    Gateway::start(&format!("{settings}{config}")).await
}

fn asking(members: Value) -> Value {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().expect("an object").extend(members.as_object().expect("members").clone());
    body
}

#[tokio::test]
async fn a_lacking_upstream_is_told_the_rest_and_the_client_what_was_dropped() {
    // Members, those that arrive, what the header names, the lane.
    type Case = (Value, Value, Option<&'static str>, &'static str);
    let cases: [Case; 4] = [
        (json!({"top_p": 0.5, "max_tokens": 5}), json!({"top_p": 0.5, "max_tokens": 5}), None, "pass"),
        (json!({"max_completion_tokens": 5}), json!({"max_tokens": 5}), None, "translate"),
        (json!({"seed": 1, "top_p": 0.5}), json!({"top_p": 0.5}), Some("seed"), "translate"),
        (
            json!({"seed": 1, "presence_penalty": 1.5, "frequency_penalty": 1.5}),
            json!({}),
            Some("seed, presence_penalty, frequency_penalty"),
            "translate",
        ),
    ];
    for (members, arrive, dropped, lane) in cases {
        let upstream = Upstream::start().await;
        let gateway = gateway(&upstream, "").await;
        let answer = gateway.chat(&asking(members.clone())).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let mut received = upstream.request(0).await.json();
        for name in ["model", "messages"] {
            received.as_object_mut().expect("an object").remove(name);
        }
        assert_eq!(received, arrive, "{members}");
        assert_eq!(answer.header("x-gateway-dropped-parameters"), dropped, "{members}");
        assert_eq!(gateway.records(1).await[0]["lane"], lane, "{members}");
    }
}

#[tokio::test]
async fn strict_mode_refuses_once_and_names_all() {
    let lacking = asking(json!({"seed": 1, "presence_penalty": 1.5}));
    let cases = [
        ("", None, 200),
        ("", Some("true"), 400),
        ("settings: {chat: {strict: true}}\n", None, 400),
        ("settings: {chat: {strict: true}}\n", Some("false"), 200),
    ];
    for (settings, header, status) in cases {
        let upstream = Upstream::start().await;
        let gateway = gateway(&upstream, settings).await;
        let mut request = gateway.post("/v1/chat/completions", &lacking);
        if let Some(header) = header {
            request = request.header("x-gateway-strict", header);
        }
        let answer = read(request).await;
        assert_eq!(answer.status, status, "{settings}{header:?}: {}", answer.text);
        if status == 400 {
            let error = &answer.json()["error"];
            assert_eq!(error["code"], "unsupported_parameter", "{error}");
            let message = error["message"].as_str().expect("a message");
            assert!(
                ["`seed`", "`presence_penalty`", "up/own-name"].iter().all(|word| message.contains(word)),
                "{message}"
            );
            assert_eq!(gateway.chat(&asking(json!({"top_p": 0.5}))).await.status, 200, "what fits is served");
        }
    }
}
