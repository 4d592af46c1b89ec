//! Batches that the gateway runs itself, on providers that have none.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gateway_fake::reply::anthropic;
use gateway_fake::{Gate, Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway, KEY, read, within};
use crate::pass::{OTHER, PLAIN, asked, config};

const CHAT: &str = "/v1/chat/completions";

pub(crate) fn line(id: &str, text: &str) -> String {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": text}]});
    json!({"custom_id": id, "method": "POST", "url": CHAT, "body": body}).to_string()
}

/// An Anthropic upstream: says what it was told; refuses what says `no`; waits at the gate with what says `wait`.
pub(crate) fn echo(upstream: &Upstream, gate: &Gate) {
    let gate = gate.clone();
    upstream.respond_with(move |received| {
        let content = received.json()["messages"][0]["content"].to_string();
        if content.contains("no") {
            let error = json!({"type": "error", "error": {"type": "invalid_request_error", "message": "never"}});
            return Script::json(400, &error);
        }
        let reply = anthropic::reply("own-name", "said", 7).to_string();
        let length = reply.len().to_string();
        let head = [("content-type", "application/json"), ("content-length", length.as_str())];
        let script = if content.contains("wait") { Script::new().wait(&gate) } else { Script::new() };
        script.head(200, &head).write(reply)
    });
}

pub(crate) async fn uploaded(gateway: &Gateway, key: &str, purpose: &str, content: &str) -> Answer {
    let form = format!(
        "--x\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n{purpose}\r\n--x\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"in.jsonl\"\r\nContent-Type: application/jsonl\r\n\r\n\
         {content}\r\n--x--\r\n"
    );
    let request = gateway.client().post(gateway.url("/v1/files")).bearer_auth(key);
    read(request.header("content-type", "multipart/form-data; boundary=x").body(form)).await
}

/// A batch over these lines; its id.
pub(crate) async fn made(gateway: &Gateway, lines: &[String], window: &str) -> String {
    let file = uploaded(gateway, PLAIN, "batch", &lines.join("\n")).await;
    assert_eq!((file.status, &file.json()["object"]), (200, &json!("file")), "{}", file.text);
    let file = file.json()["id"].clone();
    let body = json!({"input_file_id": file, "endpoint": CHAT, "completion_window": window, "metadata": {"a": "b"}});
    let batch = asked(gateway, PLAIN, "POST", "/v1/batches", Some(body)).await;
    assert_eq!((batch.status, &batch.json()["status"]), (200, &json!("validating")), "{}", batch.text);
    batch.json()["id"].as_str().expect("an id").to_owned()
}

/// The batch, once it is `status`.
pub(crate) async fn when(gateway: &Gateway, id: &str, status: &str) -> Value {
    within(status, || async {
        let batch = asked(gateway, PLAIN, "GET", &format!("/v1/batches/{id}"), None).await.json();
        let is_over = ["completed", "failed", "expired", "cancelled"].map(Value::from).contains(&batch["status"]);
        assert!(!is_over || batch["status"] == status, "{batch}");
        (batch["status"] == status).then_some(batch)
    })
    .await
}

/// The lines of a file, by `custom_id`.
async fn lines(gateway: &Gateway, file: &Value) -> Vec<Value> {
    let path = format!("/v1/files/{}/content", file.as_str().unwrap_or_else(|| panic!("no file: {file}")));
    let content = asked(gateway, PLAIN, "GET", &path, None).await;
    assert_eq!(content.status, 200, "{}", content.text);
    let mut lines: Vec<Value> =
        content.text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    lines.sort_by_key(|line| line["custom_id"].to_string());
    lines
}

async fn started(upstream: &Upstream) -> Gateway {
    Gateway::start(&config("anthropic", &upstream.url(), "")).await
}

#[tokio::test]
async fn a_batch_runs_on_a_provider_that_has_none() {
    let (upstream, gate) = (Upstream::start().await, Gate::new());
    echo(&upstream, &gate);
    let gateway = started(&upstream).await;
    let lines_in = [line("a", "hello"), String::new(), line("b", "no"), line("c", "hello")];
    let id = made(&gateway, &lines_in, "24h").await;
    let batch = when(&gateway, &id, "completed").await;
    assert_eq!(batch["request_counts"], json!({"total": 3, "completed": 2, "failed": 1}), "{batch}");
    assert_eq!((&batch["errors"], &batch["metadata"]), (&Value::Null, &json!({"a": "b"})));
    for at in ["in_progress_at", "finalizing_at", "completed_at", "created_at", "expires_at"] {
        assert!(batch[at].is_i64(), "{at}: {batch}");
    }
    let answers = lines(&gateway, &batch["output_file_id"]).await;
    let ids: Vec<&Value> = answers.iter().map(|line| &line["custom_id"]).collect();
    assert_eq!(ids, ["a", "c"]);
    let response = &answers[0]["response"];
    assert_eq!((&response["status_code"], &answers[0]["error"]), (&json!(200), &Value::Null));
    assert_eq!(response["body"]["choices"][0]["message"]["content"], "said", "in the words that were asked in");
    let errors = lines(&gateway, &batch["error_file_id"]).await;
    assert_eq!((errors.len(), &errors[0]["response"]["status_code"]), (1, &json!(400)), "{errors:?}");
    assert_eq!(errors[0]["response"]["body"]["error"]["message"], "never");
    // Each line is a request of that key, recorded and charged as any.
    let records = gateway.records(5).await;
    let chats: Vec<&Value> = records.iter().filter(|record| record["path"] == CHAT).collect();
    assert_eq!(chats.len(), 3, "{records:?}");
    for record in chats {
        assert_eq!([&record["key_name"], &record["provider"], &record["model"]], ["plain", "up", "m"], "{record}");
        assert_eq!(record["id"].as_str().map(str::len), Some(36));
    }
    assert!(records.iter().any(|record| record["tokens"]["input"] == 7), "{records:?}");
    // What is listed, and who is told.
    let listed = asked(&gateway, PLAIN, "GET", "/v1/batches?limit=1", None).await.json();
    assert_eq!((&listed["data"][0]["id"], &listed["has_more"]), (&json!(id), &json!(false)));
    let files = asked(&gateway, PLAIN, "GET", "/v1/files?purpose=batch_output", None).await.json();
    assert_eq!(files["data"].as_array().map(Vec::len), Some(2), "{files}");
    let output = format!("/v1/files/{}", batch["output_file_id"].as_str().expect("an id"));
    for path in [format!("/v1/batches/{id}"), output.clone(), format!("{output}/content")] {
        let foreign = asked(&gateway, OTHER, "GET", &path, None).await;
        assert!(foreign.status == 404 && foreign.text.contains("local to the node"), "{path}: {}", foreign.text);
    }
    assert_eq!(asked(&gateway, OTHER, "GET", "/v1/batches", None).await.json()["data"], json!([]));
    let late = asked(&gateway, PLAIN, "POST", &format!("/v1/batches/{id}/cancel"), None).await;
    assert!(late.status == 409 && late.text.contains("completed"), "{}", late.text);
    assert_eq!(asked(&gateway, PLAIN, "DELETE", &output, None).await.json()["deleted"], true);
    assert_eq!(asked(&gateway, PLAIN, "GET", &output, None).await.status, 404);
    assert_eq!(upstream.requests().len(), 3);
}

#[tokio::test]
async fn what_is_wrong_with_a_batch_is_told_line_by_line() {
    let (upstream, gate) = (Upstream::start().await, Gate::new());
    echo(&upstream, &gate);
    let narrow = "  - {name: some, secret: sk-some-0123456789abcdef, models: [m]}\n";
    let gateway = Gateway::start(&config("anthropic", &upstream.url(), narrow)).await;
    let edited = |from: &str, to: &str| line("x", "hello").replace(from, to);
    let cases = [
        ("{".to_owned(), "invalid_json_line", None),
        ("[]".to_owned(), "invalid_json_line", None),
        ("\u{0}".to_owned(), "invalid_json_line", None),
        (edited("\"custom_id\":\"x\",", ""), "missing_required_parameter", Some("custom_id")),
        (edited("\"custom_id\":\"x\",", "\"custom_id\":3,"), "invalid_json_line", None),
        (edited("\"x\"", "\"first\""), "duplicate_custom_id", Some("custom_id")),
        (edited("POST", "GET"), "invalid_method", Some("method")),
        (edited("/v1/chat", "/v1/files"), "invalid_url", Some("url")),
        (edited("\"model\":\"m\"", "\"model\":\"nobody\""), "model_not_found", Some("body")),
        (edited("\"model\":\"m\"", "\"n\":1"), "invalid_request", Some("body")),
        (edited("\"model\"", "\"stream\":true,\"model\""), "invalid_request", Some("body")),
        (edited("\"model\"", "\"background\":true,\"model\""), "invalid_request", Some("body")),
    ];
    let mut input = vec![line("first", "hello")];
    input.extend(cases.iter().enumerate().map(|(n, (line, ..))| line.replace("\"x\"", &format!("\"x{n}\""))));
    let id = made(&gateway, &input, "24h").await;
    let batch = when(&gateway, &id, "failed").await;
    let errors = batch["errors"]["data"].as_array().expect("errors");
    assert_eq!(errors.len(), cases.len(), "{batch}");
    for (n, ((line, code, param), error)) in cases.iter().zip(errors).enumerate() {
        assert_eq!((&error["code"], &error["line"]), (&json!(code), &json!(n + 2)), "{line}: {error}");
        assert_eq!((error["param"].as_str(), error["message"].is_string()), (*param, true), "{error}");
    }
    let empty = made(&gateway, &["\n".to_owned()], "24h").await;
    assert_eq!(when(&gateway, &empty, "failed").await["errors"]["data"][0]["code"], "empty_file");
    assert_eq!(upstream.requests().len(), 0, "nothing was asked");

    // What is no batch at all is refused at once.
    let file = uploaded(&gateway, PLAIN, "batch", "{}").await.json()["id"].clone();
    let batch = |file: &Value, endpoint: &str, window: &str| json!({"input_file_id": file, "endpoint": endpoint, "completion_window": window});
    for (key, body, status) in [
        (PLAIN, json!({}), 400),
        (PLAIN, json!([]), 400),
        (PLAIN, batch(&file, "/v1/files", "24h"), 400),
        (PLAIN, batch(&file, "/v1/audio/speech", "24h"), 400),
        (PLAIN, batch(&file, CHAT, "8d"), 400),
        (PLAIN, batch(&file, CHAT, "soon"), 400),
        (PLAIN, batch(&json!("file-gw-none"), CHAT, "24h"), 404),
        (OTHER, batch(&file, CHAT, "24h"), 404),
    ] {
        let refused = asked(&gateway, key, "POST", "/v1/batches", Some(body.clone())).await;
        assert_eq!(refused.status, status, "{body}: {}", refused.text);
    }
    let other_purpose = uploaded(&gateway, PLAIN, "assistants", "{}").await;
    assert!(other_purpose.status == 400 && other_purpose.text.contains("purpose"), "{}", other_purpose.text);
    for (kind, body, status) in [
        ("multipart/form-data; boundary=x", "--x\r\n", 400),
        ("multipart/form-data", "--x--", 400),
        ("application/octet-stream", "{}", 415),
        (
            "multipart/form-data; boundary=x",
            "--x\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--x--",
            400,
        ),
    ] {
        let request = gateway.client().post(gateway.url("/v1/files")).bearer_auth(PLAIN);
        let refused = read(request.header("content-type", kind).body(body)).await;
        assert_eq!(refused.status, status, "{kind} {body}: {}", refused.text);
    }
    // A key with some models has batches of those.
    let some = uploaded(&gateway, "sk-some-0123456789abcdef", "batch", "{}").await;
    assert_eq!(some.status, 200, "{}", some.text);
    for path in ["/v1/batches?limit=0", "/v1/files?limit=x", "/v1/files?order=up"] {
        assert_eq!(asked(&gateway, PLAIN, "GET", path, None).await.status, 400, "{path}");
    }
}

#[tokio::test]
async fn a_cancelled_batch_keeps_what_was_answered() {
    let (upstream, gate) = (Upstream::start().await, Gate::new());
    echo(&upstream, &gate);
    // A request that says nothing of streams is not streamed, whatever that means elsewhere.
    let streams = "settings: {chat: {default_stream: true}}\n";
    let gateway = Gateway::start(&config("anthropic", &upstream.url(), streams)).await;
    let input: Vec<String> = (0..12).map(|n| line(&format!("{n:02}"), "wait")).collect();
    let id = made(&gateway, &input, "24h").await;
    gate.reached(8).await;
    let cancelling = asked(&gateway, PLAIN, "POST", &format!("/v1/batches/{id}/cancel"), None).await;
    assert_eq!((cancelling.status, &cancelling.json()["status"]), (200, &json!("cancelling")), "{}", cancelling.text);
    gate.open();
    let batch = when(&gateway, &id, "cancelled").await;
    assert_eq!(batch["request_counts"], json!({"total": 12, "completed": 8, "failed": 4}), "{batch}");
    assert!(batch["cancelled_at"].is_i64() && batch["cancelling_at"].is_i64() && batch["completed_at"].is_null());
    assert_eq!(lines(&gateway, &batch["output_file_id"]).await.len(), 8);
    let errors = lines(&gateway, &batch["error_file_id"]).await;
    assert!(errors.iter().all(|line| line["error"]["code"] == "batch_cancelled"), "{errors:?}");
    assert_eq!(upstream.requests().len(), 8, "no more was asked");
}

#[tokio::test]
async fn a_batch_ends_with_its_window() {
    let (upstream, gate) = (Upstream::start().await, Gate::new());
    echo(&upstream, &gate);
    let gateway = started(&upstream).await;
    let input: Vec<String> = (0..10).map(|n| line(&n.to_string(), "wait")).collect();
    let id = made(&gateway, &input, "1s").await;
    gate.reached(8).await;
    let expires_at = when(&gateway, &id, "in_progress").await["expires_at"].as_i64().expect("a time");
    within("the end of the window", || async {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
        (i64::try_from(now).expect("small") >= expires_at).then_some(())
    })
    .await;
    gate.open();
    let batch = when(&gateway, &id, "expired").await;
    assert_eq!(batch["request_counts"], json!({"total": 10, "completed": 8, "failed": 2}), "{batch}");
    let errors = lines(&gateway, &batch["error_file_id"]).await;
    assert!(errors.iter().all(|line| line["error"]["code"] == "batch_expired"), "{errors:?}");
}

async fn started_in(upstream: &Upstream, dir: &Path) -> Gateway {
    let config = config("anthropic", &upstream.url(), "");
    Gateway::start_with(&config, |options| options.data_dir = Some(dir.to_owned())).await
}

/// Lines that were answered are not asked again; those in flight are.
#[tokio::test]
async fn a_batch_goes_on_after_a_restart() {
    let (upstream, gate) = (Upstream::start().await, Gate::new());
    echo(&upstream, &gate);
    let dir = tempfile::tempdir().expect("a directory");
    let first = started_in(&upstream, dir.path()).await;
    let id = made(&first, &[line("a", "hello"), line("b", "no"), line("c", "wait"), line("d", "wait")], "24h").await;
    within("two lines", || async {
        let counts =
            asked(&first, PLAIN, "GET", &format!("/v1/batches/{id}"), None).await.json()["request_counts"].clone();
        (counts == json!({"total": 4, "completed": 1, "failed": 1})).then_some(())
    })
    .await;
    gate.reached(2).await;
    first.stop().await;
    gate.open();
    let second = started_in(&upstream, dir.path()).await;
    let batch = when(&second, &id, "completed").await;
    assert_eq!(batch["request_counts"], json!({"total": 4, "completed": 3, "failed": 1}), "{batch}");
    let answers = lines(&second, &batch["output_file_id"]).await;
    let ids: Vec<&Value> = answers.iter().map(|line| &line["custom_id"]).collect();
    assert_eq!(ids, ["a", "c", "d"], "each once");
    let n_asked = |text: &str| {
        let content = |received: &gateway_fake::Received| received.json()["messages"][0]["content"].to_string();
        upstream.requests().iter().filter(|received| content(received).contains(text)).count()
    };
    assert_eq!([n_asked("hello"), n_asked("no"), n_asked("wait")], [1, 1, 4]);
    let left = std::fs::read_dir(dir.path().join("batches")).expect("the folder").filter_map(Result::ok);
    let left =
        left.filter(|entry| entry.path().extension().is_some_and(|suffix| suffix == "notes" || suffix == "answers"));
    assert_eq!(left.count(), 0, "what is done with is gone");
}

/// Who runs it: whoever the file was given to.
#[tokio::test]
async fn the_file_decides_who_runs_a_batch() {
    let upstream = Upstream::start().await;
    let n_files = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&n_files);
    upstream.respond_with(move |received| match received.target.as_str() {
        "/v1/files" => {
            counted.fetch_add(1, Ordering::SeqCst);
            Script::json(200, &json!({"id": "file-1", "object": "file"}))
        }
        _ => Script::json(
            200,
            &json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "x",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}),
        ),
    });
    let gateway = Gateway::start(&config("openai", &format!("{}/v1", upstream.url()), "")).await;
    assert!(uploaded(&gateway, KEY, "batch", "{}").await.json()["id"] == "file-1");
    let form = "--x\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--x\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"in.jsonl\"\r\n\r\nLINE\r\n--x--\r\n";
    let form = form.replace("LINE", &line("a", "hello"));
    let request = gateway.client().post(gateway.url("/v1/files")).bearer_auth(PLAIN);
    let request = request.header("x-gateway-provider", "gateway");
    let ours = read(request.header("content-type", "multipart/form-data; boundary=x").body(form)).await.json();
    assert!(ours["id"].as_str().expect("an id").starts_with("file-gw-"), "{ours}");
    assert_eq!(n_files.load(Ordering::SeqCst), 1);
    let body = json!({"input_file_id": ours["id"], "endpoint": CHAT, "completion_window": "24h"});
    let batch = asked(&gateway, PLAIN, "POST", "/v1/batches", Some(body)).await.json();
    let batch = when(&gateway, batch["id"].as_str().expect("an id"), "completed").await;
    assert_eq!(batch["request_counts"]["completed"], 1, "{batch}");
    // A node that did not take it says who may know.
    let other = Gateway::start(&config("openai", &format!("{}/v1", upstream.url()), "")).await;
    let path = format!("/v1/batches/{}", batch["id"].as_str().expect("an id"));
    let elsewhere = asked(&other, PLAIN, "GET", &path, None).await;
    assert!(elsewhere.status == 404 && elsewhere.text.contains("local to the node"), "{}", elsewhere.text);
    // Without a disk there is nothing to keep them on.
    let bare = Gateway::start_with(&config("anthropic", &upstream.url(), ""), |options| options.data_dir = None).await;
    let refused = uploaded(&bare, PLAIN, "batch", "{}").await;
    assert!(refused.status == 404 && refused.text.contains("--data-dir"), "{}", refused.text);
}
