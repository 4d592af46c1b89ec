//! What the gateway answers out of what it keeps: through the same doors, and into the same log, as what goes upstream.

use gateway_fake::Upstream;
use serde_json::{Value, json};

use crate::gateway::{Gateway, KEY, anthropic_at};
use crate::pass::asked;
use crate::stored::{counting, two_tenants};

#[tokio::test]
async fn what_is_kept_here_is_asked_for_through_the_same_doors() {
    let upstream = Upstream::start().await;
    counting(&upstream);
    let gateway = Gateway::start(&two_tenants(anthropic_at(&upstream.url()))).await;
    let made = asked(&gateway, KEY, "POST", "/v1/responses", Some(json!({"model": "m", "input": "one"}))).await.json();
    let response = format!("/v1/responses/{}", made["id"].as_str().expect("an id"));
    let input_items = format!("{response}/input_items");
    let cancel = format!("{response}/cancel");
    let begun = asked(&gateway, KEY, "POST", "/v1/conversations", None).await;
    let conversation = format!("/v1/conversations/{}", begun.json()["id"].as_str().expect("an id"));
    let items = format!("{conversation}/items");
    let cases = [
        (KEY, "GET", &response, 200),
        (KEY, "GET", &input_items, 200),
        (KEY, "POST", &cancel, 400),
        (KEY, "DELETE", &response, 200),
        (KEY, "GET", &response, 404),
        ("sk-nobody", "GET", &response, 401),
        (KEY, "GET", &conversation, 200),
        (KEY, "GET", &items, 200),
        ("sk-nobody", "GET", &items, 401),
        (KEY, "DELETE", &conversation, 200),
        (KEY, "GET", &conversation, 404),
    ];
    for (index, (key, method, path, status)) in cases.into_iter().enumerate() {
        let answer = asked(&gateway, key, method, path, None).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
        let records = gateway.records(index + 3).await;
        let record = &records[index + 2];
        let found = (&record["method"], &record["path"], &record["status"], &record["model"]);
        assert_eq!(found, (&json!(method), &json!(path), &json!(status), &json!("gateway")), "{record}");
        assert_eq!(record["id"], json!(answer.header("x-gateway-request-id")), "{record}");
        assert_eq!(record["key_name"] == "test", key == KEY, "{record}");
        let ending = if status == 200 { "finished" } else { "refused" };
        assert_eq!(
            (&record["ending"], record["response_bytes"].as_u64() > Some(0)),
            (&json!(ending), status == 200),
            "{record}"
        );
        assert!(record["attempts"].as_array().is_none_or(Vec::is_empty), "nobody was asked: {record}");
        let used = |figure: &Value| figure.as_i64().unwrap_or_default();
        assert_eq!((used(&record["cost_nano_usd"]), used(&record["tokens"]["input"])), (0, 0), "{record}");
    }
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn what_is_kept_here_counts_towards_the_limits_of_its_key() {
    let upstream = Upstream::start().await;
    counting(&upstream);
    let limited =
        format!("{}keys:\n  - {{name: test, secret: {KEY}, limits: {{rpm: 3}}}}\n", anthropic_at(&upstream.url()));
    let gateway = Gateway::start(&limited).await;
    let made = asked(&gateway, KEY, "POST", "/v1/responses", Some(json!({"model": "m", "input": "one"}))).await.json();
    let response = format!("/v1/responses/{}", made["id"].as_str().expect("an id"));
    for (path, status) in [(response.as_str(), 200), ("/v1/conversations/conv_none", 404), (&response, 429)] {
        let answer = asked(&gateway, KEY, "GET", path, None).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
    }
}
