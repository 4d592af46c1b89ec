//! Conversations: kept with their items, gone on from and added to by responses, each tenant's its own.

use gateway_fake::reply::anthropic;
use gateway_fake::{Gate, Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway, KEY, anthropic_at, provider_at, within};
use crate::pass::{OTHER, asked};
use crate::stored::{counting, texts, two_tenants};

const PATH: &str = "/v1/conversations";

async fn told(gateway: &Gateway, method: &str, path: &str, body: Option<Value>) -> Value {
    let answer = asked(gateway, KEY, method, path, body).await;
    assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text);
    answer.json()
}

fn refusal(answer: &Answer) -> (u16, Value) {
    (answer.status, answer.json()["error"]["param"].take())
}

/// The ids of a list, and whether there is more.
fn ids(list: &Value) -> (Vec<&str>, bool) {
    let ids = list["data"].as_array().expect("a list").iter().map(|item| item["id"].as_str().expect("an id"));
    (ids.collect(), list["has_more"] == true)
}

fn said(role: &str, text: &str) -> Value {
    json!({"role": role, "content": text})
}

#[tokio::test]
async fn conversations_are_kept_with_their_items() {
    let upstream = Upstream::start().await;
    let state = tempfile::tempdir().expect("a directory");
    let data_dir = state.path().join("node");
    let config = two_tenants(anthropic_at(&upstream.url()));
    let start = || Gateway::start_with(&config, |options| options.data_dir = Some(data_dir.clone()));
    let gateway = start().await;
    let made =
        told(&gateway, "POST", PATH, Some(json!({"metadata": {"a": "b"}, "items": [said("user", "one")]}))).await;
    assert_eq!((&made["object"], &made["metadata"]), (&json!("conversation"), &json!({"a": "b"})));
    let path = format!("{PATH}/{}", made["id"].as_str().expect("an id"));
    let items = format!("{path}/items");
    let more = json!({"items": [said("assistant", "two"), {"type": "reasoning", "id": "rs_1", "summary": []}]});
    let added = told(&gateway, "POST", &items, Some(more)).await;
    let (added, _) = ids(&added);
    assert_eq!((added.len(), added[1]), (2, "rs_1"));
    let all = told(&gateway, "GET", &format!("{items}?order=asc"), None).await;
    let (all, _) = ids(&all);
    assert_eq!(all[1..], added[..], "in the order in which they came");
    let last = told(&gateway, "GET", &format!("{items}?limit=1"), None).await;
    assert_eq!(ids(&last), (vec!["rs_1"], true));
    let page = told(&gateway, "GET", &format!("{items}?after=rs_1&limit=1"), None).await;
    assert_eq!(ids(&page), (vec![added[0]], true));
    let first = told(&gateway, "GET", &format!("{items}/{}", all[0]), None).await;
    assert_eq!(first["content"], json!([{"type": "input_text", "text": "one"}]), "{first}");
    assert_eq!(told(&gateway, "DELETE", &format!("{items}/rs_1"), None).await, made);
    let changed = told(&gateway, "POST", &path, Some(json!({"metadata": {"c": "d"}}))).await;
    assert_eq!((&changed["id"], &changed["metadata"]), (&made["id"], &json!({"c": "d"})));
    // Another's, and what is no response.
    let as_response = path.replace(PATH, "/v1/responses");
    for (key, method, path) in [
        (OTHER, "GET", path.as_str()),
        (OTHER, "DELETE", path.as_str()),
        (OTHER, "GET", items.as_str()),
        (KEY, "GET", as_response.as_str()),
        (KEY, "GET", &format!("{as_response}%00conversation")),
        (KEY, "GET", &format!("{items}/rs_1")),
        (KEY, "DELETE", &format!("{items}/rs_1")),
        (KEY, "GET", "/v1/conversations/conv_none"),
    ] {
        assert_eq!(asked(&gateway, key, method, path, None).await.status, 404, "{method} {path}");
    }
    assert_eq!(asked(&gateway, "sk-nobody", "GET", &path, None).await.status, 401);
    gateway.stop().await;
    let gateway = start().await;
    assert_eq!(told(&gateway, "GET", &path, None).await, changed, "it is there after a restart");
    let deleted = told(&gateway, "DELETE", &path, None).await;
    assert_eq!(deleted, json!({"id": made["id"], "object": "conversation.deleted", "deleted": true}));
    assert_eq!(asked(&gateway, KEY, "GET", &items, None).await.status, 404);
}

#[tokio::test]
async fn a_response_is_part_of_its_conversation() {
    let upstream = Upstream::start().await;
    counting(&upstream);
    let gateway = Gateway::start(&two_tenants(anthropic_at(&upstream.url()))).await;
    let begun = json!({"items": [said("user", "one"), said("assistant", "answer 0")]});
    let id = told(&gateway, "POST", PATH, Some(begun)).await["id"].clone();
    let ask = |text: &str, more: Value| {
        let mut body = json!({"model": "m", "input": text, "conversation": id});
        for (name, value) in more.as_object().expect("an object") {
            body[name] = value.clone();
        }
        body
    };
    let responses = "/v1/responses";
    let part_of = json!({"id": id});
    let made = told(&gateway, "POST", responses, Some(ask("two", json!({"conversation": part_of})))).await;
    assert_eq!(made["conversation"], part_of, "as the client said it or not, it is told as an object: {made}");
    let streamed = ask("three", json!({"stream": true, "store": false}));
    let streamed = asked(&gateway, KEY, "POST", responses, Some(streamed)).await;
    let told_so = format!("\"conversation\":{part_of}");
    assert_eq!((streamed.status, streamed.text.matches(&told_so).count()), (200, 3), "{}", streamed.text);
    let behind = told(&gateway, "POST", responses, Some(ask("four", json!({"background": true})))).await;
    assert_eq!(behind["conversation"], part_of, "{behind}");
    let behind = format!("{responses}/{}", behind["id"].as_str().expect("an id"));
    let over = within("the response in the background", || async {
        let made = told(&gateway, "GET", &behind, None).await;
        (made["status"] == "completed").then_some(made)
    });
    assert_eq!(over.await["conversation"], part_of);
    told(&gateway, "POST", responses, Some(ask("five", json!({})))).await;
    let expected = "user: one; assistant: answer 0; user: two; assistant: answer 1; user: three; assistant: answer 2; \
        user: four; assistant: answer 3; user: five";
    assert_eq!(texts(&upstream.request(3).await.json()["messages"]), expected);
    let items = format!("{PATH}/{}/items?limit=100", id.as_str().expect("an id"));
    assert_eq!(ids(&told(&gateway, "GET", &items, None).await).0.len(), 10);
    for (key, body, expected) in [
        (OTHER, ask("x", json!({})), (404, json!("conversation"))),
        (KEY, ask("x", json!({"conversation": "conv_none"})), (404, json!("conversation"))),
        (KEY, ask("x", json!({"conversation": 7})), (400, json!("conversation"))),
        (KEY, ask("x", json!({"previous_response_id": "resp_1"})), (400, json!("conversation"))),
    ] {
        assert_eq!(refusal(&asked(&gateway, key, "POST", responses, Some(body)).await), expected);
    }
    assert_eq!(upstream.requests().len(), 4, "nobody was asked for what was refused");
}

#[tokio::test]
async fn one_at_a_time_adds_to_a_conversation() {
    let (upstream, gate) = (Upstream::start().await, Gate::new());
    upstream.push(Script::sse_gated(&anthropic::stream("own-name", "hello", 7), &gate));
    let gateway = Gateway::start(&anthropic_at(&upstream.url())).await;
    let id = told(&gateway, "POST", PATH, None).await["id"].clone();
    let body = json!({"model": "m", "input": "one", "conversation": id, "stream": true});
    let first = asked(&gateway, KEY, "POST", "/v1/responses", Some(body.clone()));
    let second = async {
        gate.reached(1).await;
        let items = format!("{PATH}/{}/items", id.as_str().expect("an id"));
        let more = json!({"items": [said("user", "two")]});
        for (path, body) in [("/v1/responses", &body), (items.as_str(), &more)] {
            let locked = asked(&gateway, KEY, "POST", path, Some(body.clone())).await;
            let found = (locked.status, locked.json()["error"]["code"].take());
            assert_eq!(found, (409, json!("conversation_locked")), "{path}");
        }
        gate.open();
        items
    };
    let (first, items) = tokio::join!(first, second);
    assert_eq!(first.status, 200);
    assert_eq!(ids(&told(&gateway, "GET", &items, None).await).0.len(), 2);
    told(&gateway, "POST", &items, Some(json!({"items": [said("user", "two")]}))).await;
}

#[tokio::test]
async fn what_makes_no_conversation_is_refused() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&anthropic_at(&upstream.url())).await;
    let many: Vec<Value> = (0..21).map(|_| said("user", "x")).collect();
    for (body, param) in [
        (json!([]), Value::Null),
        (json!({"metadata": {"a": 1}}), json!("metadata")),
        (json!({"items": "x"}), json!("items")),
        (json!({"items": []}), json!("items")),
        (json!({"items": many}), json!("items")),
        (json!({"items": ["x"]}), json!("items[0]")),
        (json!({"items": [{"type": "message", "content": "x"}]}), json!("items[0].role")),
        (json!({"items": [said("user", "x"), {"role": "user"}]}), json!("items[1].content")),
    ] {
        let refused = asked(&gateway, KEY, "POST", PATH, Some(body.clone())).await;
        assert_eq!(refusal(&refused), (400, param), "{body}");
    }
    let id = told(&gateway, "POST", PATH, None).await["id"].as_str().expect("an id").to_owned();
    for n in 0..2 {
        let large = json!({"items": [said("user", &"x".repeat(3 << 20))]});
        let answer = asked(&gateway, KEY, "POST", &format!("{PATH}/{id}/items"), Some(large)).await;
        assert_eq!(answer.status, if n == 0 { 200 } else { 413 }, "{:.200}", answer.text);
    }
    let off = format!("{}settings: {{responses: {{store_ttl: 0s}}}}\n", anthropic_at(&upstream.url()));
    assert_eq!(asked(&Gateway::start(&off).await, KEY, "POST", PATH, None).await.status, 404);
}

/// A vendor that has conversations of its own is asked with what is in ours.
#[tokio::test]
async fn a_conversation_over_a_provider_of_the_same_api() {
    let upstream = Upstream::start().await;
    let output = json!([{"type": "message", "id": "msg_v", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": "hi", "annotations": []}]}]);
    let reply = json!({"id": "resp_v", "object": "response", "status": "completed", "output": output, "model": "own-name",
        "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}});
    upstream.respond_with(move |_| Script::json(200, &reply));
    let gateway = Gateway::start(&provider_at("openai", &format!("{}/v1", upstream.url()), "")).await;
    let id = told(&gateway, "POST", PATH, None).await["id"].clone();
    for text in ["one", "two"] {
        let body = json!({"model": "m", "input": text, "conversation": id});
        let made = told(&gateway, "POST", "/v1/responses", Some(body)).await;
        assert_eq!(made["conversation"], json!({"id": id}), "the vendor does not know that it has been a part of one");
    }
    let sent = upstream.request(1).await.json();
    assert_eq!(sent["conversation"], Value::Null);
    let items = sent["input"].as_array().expect("items");
    let found: Vec<_> = items.iter().map(|item| (item["role"].as_str(), item["id"].as_str())).collect();
    let (user, assistant) = ((Some("user"), None), (Some("assistant"), Some("msg_v")));
    assert_eq!(found, [user, assistant, user], "{sent}");
    // One that the vendor may know and the node does not goes on to it for whoever may use the account.
    let unknown = json!({"model": "m", "input": "x", "conversation": "conv_theirs"});
    assert_eq!(asked(&gateway, KEY, "POST", "/v1/responses", Some(unknown)).await.status, 404);
}
