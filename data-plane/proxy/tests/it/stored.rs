//! Responses that are kept: asked for again, gone on from, each tenant's its own.

use gateway_fake::reply::anthropic;
use gateway_fake::{Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway, KEY, anthropic_at, provider_at};
use crate::pass::{OTHER, asked};

const PATH: &str = "/v1/responses";

pub(crate) fn two_tenants(config: String) -> String {
    format!("{config}keys:\n  - {{name: test, secret: {KEY}}}\n  - {{name: other, secret: {OTHER}}}\n")
}

/// An Anthropic upstream that says each time how often it has been asked.
pub(crate) fn counting(upstream: &Upstream) {
    let n_asked = std::sync::atomic::AtomicUsize::new(0);
    upstream.respond_with(move |received| {
        let n = n_asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        let text = format!("answer {n}");
        match received.json()["stream"] == true {
            true => Script::sse(&anthropic::stream("own-name", &text, 7)),
            false => Script::json(200, &anthropic::reply("own-name", &text, 7)),
        }
    });
}

async fn told(gateway: &Gateway, body: Value) -> Answer {
    let answer = asked(gateway, KEY, "POST", PATH, Some(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer
}

/// The response object of a whole reply, or the last one of a stream.
fn response(answer: &Answer) -> Value {
    match answer.text.rsplit_once("\ndata: ") {
        Some((_, last)) => serde_json::from_str::<Value>(last).expect("JSON")["response"].take(),
        None => answer.json(),
    }
}

pub(crate) fn texts(messages: &Value) -> String {
    let messages = messages.as_array().expect("messages").iter();
    let text = |message: &Value| {
        let content = &message["content"];
        let parts = content.as_array().into_iter().flatten().filter_map(|part| part["text"].as_str());
        content.as_str().map_or_else(|| parts.collect::<Vec<_>>().join(" "), str::to_owned)
    };
    messages
        .map(|message| format!("{}: {}", message["role"].as_str().unwrap_or_default(), text(message)))
        .collect::<Vec<_>>()
        .join("; ")
}

#[tokio::test]
async fn get_delete_stored_response() {
    for stream in [false, true] {
        let upstream = Upstream::start().await;
        counting(&upstream);
        let gateway = Gateway::start(&two_tenants(anthropic_at(&upstream.url()))).await;
        let answer = told(&gateway, json!({"model": "m", "input": "one", "stream": stream})).await;
        assert_eq!(answer.header("x-gateway-store"), Some("node"));
        let made = response(&answer);
        assert_eq!((&made["store"], &made["previous_response_id"]), (&json!(true), &Value::Null), "{made}");
        let path = format!("{PATH}/{}", made["id"].as_str().expect("an id"));
        let got = asked(&gateway, KEY, "GET", &path, None).await;
        assert_eq!((got.status, got.json()), (200, made.clone()));
        let items = asked(&gateway, KEY, "GET", &format!("{path}/input_items?limit=1&order=asc"), None).await.json();
        assert_eq!(items["data"][0]["content"], json!([{"type": "input_text", "text": "one"}]), "{items}");
        let cancelled = asked(&gateway, KEY, "POST", &format!("{path}/cancel"), None).await;
        assert_eq!(cancelled.status, 400, "{}", cancelled.text);
        // Another's, and nobody's.
        for (key, path) in [(OTHER, path.as_str()), (OTHER, &format!("{path}/input_items")), (KEY, "/v1/responses/r")] {
            let refused = asked(&gateway, key, "GET", path, None).await;
            assert_eq!((refused.status, &refused.json()["error"]["type"]), (404, &json!("not_found_error")), "{path}");
        }
        assert_eq!(asked(&gateway, OTHER, "DELETE", &path, None).await.status, 404);
        assert_eq!(asked(&gateway, "sk-nobody", "GET", &path, None).await.status, 401);
        let deleted = asked(&gateway, KEY, "DELETE", &path, None).await;
        let expected = json!({"id": made["id"], "object": "response.deleted", "deleted": true});
        assert_eq!((deleted.status, deleted.json()), (200, expected));
        let gone = asked(&gateway, KEY, "GET", &path, None).await;
        assert!(gone.status == 404 && gone.text.contains("`store` is local to the gateway node"), "{}", gone.text);
        // Nothing of this one is kept.
        let answer = told(&gateway, json!({"model": "m", "input": "two", "stream": stream, "store": false})).await;
        let made = response(&answer);
        assert_eq!((answer.header("x-gateway-store"), &made["store"]), (None, &json!(false)));
        let path = format!("{PATH}/{}", made["id"].as_str().expect("an id"));
        assert_eq!(asked(&gateway, KEY, "GET", &path, None).await.status, 404);
    }
}

#[tokio::test]
async fn a_chain_over_a_translated_provider() {
    let upstream = Upstream::start().await;
    counting(&upstream);
    let gateway = Gateway::start(&two_tenants(anthropic_at(&upstream.url()))).await;
    let first = response(&told(&gateway, json!({"model": "m", "input": "one"})).await);
    let second = response(
        &told(&gateway, json!({"model": "m", "input": "two", "stream": true, "previous_response_id": first["id"]}))
            .await,
    );
    assert_eq!(second["previous_response_id"], first["id"]);
    let third = json!({"model": "m", "input": [{"role": "user", "content": "three"}], "store": false,
        "previous_response_id": second["id"]});
    told(&gateway, third).await;
    let sent = upstream.request(2).await.json();
    let expected = "user: one; assistant: answer 1; user: two; assistant: answer 2; user: three";
    assert_eq!(texts(&sent["messages"]), expected, "{sent}");
    let unknown = json!({"model": "m", "input": "x", "previous_response_id": "resp_none"});
    let foreign = json!({"model": "m", "input": "x", "previous_response_id": first["id"]});
    for (key, body) in [(KEY, unknown), (OTHER, foreign)] {
        let refused = asked(&gateway, key, "POST", PATH, Some(body)).await;
        let error = &refused.json()["error"];
        let found = (refused.status, &error["code"], &error["param"]);
        assert_eq!(found, (400, &json!("previous_response_not_found"), &json!("previous_response_id")), "{error}");
    }
    assert_eq!(upstream.requests().len(), 3);
}

#[tokio::test]
async fn a_restart_keeps_stored_responses() {
    let upstream = Upstream::start().await;
    counting(&upstream);
    let state = tempfile::tempdir().expect("a directory");
    let data_dir = state.path().join("node");
    let config = two_tenants(anthropic_at(&upstream.url()));
    let start = || Gateway::start_with(&config, |options| options.data_dir = Some(data_dir.clone()));
    let gateway = start().await;
    let made = response(&told(&gateway, json!({"model": "m", "input": "one"})).await);
    gateway.stop().await;
    let gateway = start().await;
    let path = format!("{PATH}/{}", made["id"].as_str().expect("an id"));
    assert_eq!(asked(&gateway, KEY, "GET", &path, None).await.json(), made);
    assert_eq!(asked(&gateway, OTHER, "GET", &path, None).await.status, 404);
    told(&gateway, json!({"model": "m", "input": "two", "previous_response_id": made["id"]})).await;
    assert_eq!(texts(&upstream.request(1).await.json()["messages"]), "user: one; assistant: answer 1; user: two");
    assert_eq!(asked(&gateway, KEY, "DELETE", &path, None).await.status, 200);
    gateway.stop().await;
    assert_eq!(asked(&start().await, KEY, "GET", &path, None).await.status, 404, "deleted for good");
}

/// What a vendor keeps stays with it: its own id goes on, to it alone, for whom it was made.
#[tokio::test]
async fn a_vendor_keeps_its_own() {
    let upstream = Upstream::start().await;
    let object = |id: &str| {
        json!({"id": id, "object": "response", "status": "completed", "output": [], "model": "own-name",
        "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}})
    };
    upstream.respond_with(move |received| match (received.method.as_str(), received.target.as_str()) {
        ("POST", "/v1/responses") if received.json()["stream"] == true => {
            let event = |name: &str| {
                bytes::Bytes::from(format!(
                    "event: {name}\ndata: {}\n\n",
                    json!({"type": name, "response": object("resp_s")})
                ))
            };
            Script::sse(&[event("response.created"), event("response.completed")])
        }
        ("POST", "/v1/responses") | ("GET", "/v1/responses/resp_v") => Script::json(200, &object("resp_v")),
        ("DELETE", "/v1/responses/resp_v") => Script::json(200, &json!({"id": "resp_v", "deleted": true})),
        _ => Script::json(404, &json!({"error": {"message": "no such object"}})),
    });
    let config = provider_at("openai", &format!("{}/v1", upstream.url()), "");
    let config = two_tenants(config);
    let state = tempfile::tempdir().expect("a directory");
    let data_dir = state.path().join("node");
    let start = || Gateway::start_with(&config, |options| options.data_dir = Some(data_dir.clone()));
    let gateway = start().await;
    for (stream, id) in [(false, "resp_v"), (true, "resp_s")] {
        let answer = told(&gateway, json!({"model": "m", "input": "one", "stream": stream})).await;
        assert_eq!((answer.header("x-gateway-store"), response(&answer)["id"].as_str()), (Some("provider"), Some(id)));
        let next = json!({"model": "m", "input": "two", "store": false, "previous_response_id": id});
        let n_asked = upstream.requests().len();
        assert_eq!(told(&gateway, next.clone()).await.header("x-gateway-store"), None);
        assert_eq!(upstream.request(n_asked).await.json()["previous_response_id"], id, "the vendor's own");
        assert_eq!(asked(&gateway, OTHER, "POST", PATH, Some(next)).await.status, 400);
        assert_eq!(upstream.requests().len(), n_asked + 1, "nobody was asked for what is another's");
    }
    // Whose they are is known to the node that comes after, too.
    gateway.stop().await;
    let gateway = start().await;
    let path = format!("{PATH}/resp_v");
    assert_eq!(asked(&gateway, OTHER, "GET", &path, None).await.status, 404);
    assert_eq!(asked(&gateway, KEY, "GET", &path, None).await.json()["id"], "resp_v");
    assert_eq!(asked(&gateway, KEY, "DELETE", &path, None).await.json()["deleted"], true);
    assert_eq!(asked(&gateway, KEY, "GET", &path, None).await.status, 404);
}
