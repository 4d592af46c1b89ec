//! Files and batches: kept by the vendor, each tenant's its own.

use gateway_fake::{Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway, KEY, UPSTREAM_KEY, read};
use crate::pass::{OTHER, PLAIN, asked, config};

const FILE: &[u8] = b"{\"custom_id\":\"a\"}\n";

async fn uploaded(gateway: &Gateway, key: &str) -> Answer {
    let part = |headers: &str, value: &[u8]| [b"--x\r\n", headers.as_bytes(), b"\r\n\r\n", value, b"\r\n"].concat();
    let form = [
        part("Content-Disposition: form-data; name=\"purpose\"", b"batch"),
        part("Content-Disposition: form-data; name=\"file\"; filename=\"b.jsonl\"", FILE),
        b"--x--\r\n".to_vec(),
    ];
    let request = gateway.client().post(gateway.url("/v1/files")).bearer_auth(key);
    read(request.header("content-type", "multipart/form-data; boundary=x").body(form.concat())).await
}

/// A vendor that keeps one file and one batch.
fn vendor(upstream: &Upstream) {
    upstream.respond_with(|received| {
        let path = received.target.split('?').next().unwrap_or_default();
        let file = json!({"id": "file-1", "object": "file", "filename": "b.jsonl"});
        let batch = json!({"id": "batch_1", "object": "batch", "input_file_id": "file-1", "output_file_id": "file-2",
            "error_file_id": null});
        let list = |item: Value| json!({"object": "list", "data": [item], "has_more": false});
        match (received.method.as_str(), path) {
            ("POST", "/v1/files") | ("GET", "/v1/files/file-1") => Script::json(200, &file),
            ("GET", "/v1/files") => Script::json(200, &list(file)),
            ("DELETE", "/v1/files/file-1") => Script::json(200, &json!({"id": "file-1", "deleted": true})),
            ("GET", "/v1/files/file-1/content" | "/v1/files/file-2/content") => {
                Script::text(200, "application/octet-stream", FILE)
            }
            ("POST", "/v1/batches" | "/v1/batches/batch_1/cancel") | ("GET", "/v1/batches/batch_1") => {
                Script::json(200, &batch)
            }
            ("GET", "/v1/batches") => Script::json(200, &list(batch)),
            _ => Script::json(404, &json!({"error": {"message": "no such object"}})),
        }
    });
}

fn id(answer: &Answer, member: &str) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()[member].as_str().unwrap_or_else(|| panic!("no `{member}`: {}", answer.text)).to_owned()
}

#[tokio::test]
async fn files_crud() {
    let upstream = Upstream::start().await;
    vendor(&upstream);
    let gateway = Gateway::start(&config("openai", &format!("{}/v1", upstream.url()), "")).await;
    // Whoever may use the account as it is sees it as it is.
    assert_eq!(id(&uploaded(&gateway, KEY).await, "id"), "file-1");
    let received = upstream.request(0).await;
    assert!(received.body.windows(FILE.len()).any(|window| window == FILE), "{received:?}");
    assert_eq!(received.header("content-type"), Some("multipart/form-data; boundary=x"));
    assert_eq!(received.header("authorization"), Some(format!("Bearer {UPSTREAM_KEY}").as_str()));
    assert_eq!(asked(&gateway, KEY, "GET", "/v1/files?limit=1", None).await.json()["data"][0]["id"], "file-1");
    assert_eq!(upstream.request(1).await.target, "/v1/files?limit=1");
    assert_eq!(asked(&gateway, KEY, "GET", "/v1/files/file-1/content", None).await.text.as_bytes(), FILE);
    assert_eq!(asked(&gateway, KEY, "GET", "/v1/files/file-9", None).await.status, 404);
    // Anybody else sees what it made.
    let own = id(&uploaded(&gateway, PLAIN).await, "id");
    assert!(own.starts_with("file-1~up~"), "{own}");
    let path = format!("/v1/files/{own}");
    assert_eq!(id(&asked(&gateway, PLAIN, "GET", &path, None).await, "id"), own);
    assert_eq!(asked(&gateway, PLAIN, "GET", &format!("{path}/content"), None).await.text.as_bytes(), FILE);
    let n_before = upstream.requests().len();
    for (key, path, status) in [
        (OTHER, path.as_str(), 404),
        (OTHER, &format!("{path}/content"), 404),
        (OTHER, "/v1/files/file-1", 404),
        (PLAIN, "/v1/files/file-1", 404),
        (KEY, &path, 404),
        (PLAIN, "/v1/files", 403),
        (PLAIN, &path.replace("file-1", "file-2"), 404),
    ] {
        for method in if status == 404 { &["GET", "DELETE"][..] } else { &["GET"] } {
            if path.ends_with("content") && *method == "DELETE" {
                continue;
            }
            let refused = asked(&gateway, key, method, path, None).await;
            assert_eq!(refused.status, status, "{method} {path}: {}", refused.text);
        }
    }
    assert_eq!(upstream.requests().len(), n_before, "nobody was asked for what is another's");
    let deleted = asked(&gateway, PLAIN, "DELETE", &path, None).await;
    assert_eq!((deleted.json()["deleted"].as_bool(), id(&deleted, "id")), (Some(true), own));
    let record = &gateway.records(1).await[0];
    assert_eq!([&record["model"], &record["path"]], ["proxy:up", "/v1/files"], "{record}");
}

#[tokio::test]
async fn batches() {
    let upstream = Upstream::start().await;
    vendor(&upstream);
    let gateway = Gateway::start(&config("openai", &format!("{}/v1", upstream.url()), "")).await;
    let batch = |file: &str| {
        Some(json!({"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}))
    };
    let whole = asked(&gateway, KEY, "POST", "/v1/batches", batch("file-1")).await;
    assert_eq!((id(&whole, "id"), id(&whole, "output_file_id")), ("batch_1".to_owned(), "file-2".to_owned()));
    assert_eq!(asked(&gateway, KEY, "GET", "/v1/batches", None).await.json()["data"][0]["id"], "batch_1");
    let file = id(&uploaded(&gateway, PLAIN).await, "id");
    let made = asked(&gateway, PLAIN, "POST", "/v1/batches", batch(&file)).await;
    assert_eq!(id(&made, "input_file_id"), file);
    let asked_last = upstream.requests().pop().expect("a request");
    assert_eq!(asked_last.json()["input_file_id"], "file-1", "the vendor's own");
    let own = id(&made, "id");
    for (method, path) in [("GET", format!("/v1/batches/{own}")), ("POST", format!("/v1/batches/{own}/cancel"))] {
        assert_eq!(id(&asked(&gateway, PLAIN, method, &path, None).await, "id"), own);
        assert_eq!(asked(&gateway, OTHER, method, &path, None).await.status, 404);
    }
    let output = id(&made, "output_file_id");
    let content = asked(&gateway, PLAIN, "GET", &format!("/v1/files/{output}/content"), None).await;
    assert_eq!((content.status, content.text.as_bytes()), (200, FILE));
    // A file of another, or of nobody.
    for foreign in [file.as_str(), "file-1"] {
        assert_eq!(asked(&gateway, OTHER, "POST", "/v1/batches", batch(foreign)).await.status, 404, "{foreign}");
    }
    assert_eq!(asked(&gateway, PLAIN, "GET", "/v1/batches", None).await.status, 403);
}

/// A batch at a provider may ask any model, so that a key with some of them has none there; and only who keeps files is asked to.
/// What nobody keeps, the gateway does.
#[tokio::test]
async fn who_may_keep_what_where() {
    let upstream = Upstream::start().await;
    vendor(&upstream);
    let narrow = "  - {name: some, secret: sk-some-0123456789abcdef, models: [up/gpt-4o, m]}\n";
    let gateway = Gateway::start(&config("openai", &format!("{}/v1", upstream.url()), narrow)).await;
    assert!(id(&uploaded(&gateway, "sk-some-0123456789abcdef").await, "id").starts_with("file-gw-"));
    let request = gateway.client().post(gateway.url("/v1/files")).bearer_auth("sk-some-0123456789abcdef");
    assert_eq!(read(request.header("x-gateway-provider", "up").body("x")).await.status, 403);
    let gateway = Gateway::start(&config("anthropic", &upstream.url(), "")).await;
    assert!(id(&uploaded(&gateway, PLAIN).await, "id").starts_with("file-gw-"));
    assert_eq!(upstream.requests().len(), 0);
    for (method, path, status) in
        [("PUT", "/v1/files", 405), ("DELETE", "/v1/batches/b", 405), ("GET", "/v1/files/a/b", 404)]
    {
        assert_eq!(asked(&gateway, KEY, method, path, None).await.status, status, "{method} {path}");
    }
}
