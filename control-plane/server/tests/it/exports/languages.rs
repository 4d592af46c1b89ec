//! What arrives, in the form that each vendor documents.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slack_is_told_in_lines_that_call_nobody() {
    let (world, upstream) = (World::new().await, Upstream::start().await);
    upstream.respond_with(|_| Script::text(200, "text/plain", "ok"));
    make(
        &world,
        json!({"name": "people", "type": "slack", "url": format!("{}/slack/hidden", upstream.url()),
            "filter": {"min_cost_usd": 1.25}, "allow_private_networks": true}),
    )
    .await;
    let cheap = LogRecord { cost_nano_usd: 1_249_999_999, ..record(1) };
    let hostile = LogRecord { model: "<!channel>\n& <https://a.example|b>".to_owned(), ..record(2) };
    store(&world.control, &[cheap, hostile]).await;
    health(&world, "people", |health| health["delivered"] == 1).await;
    let sent = at(&upstream, "/slack");
    let text = "Request r0002 cost $1.25: model &lt;!channel&gt;&amp; &lt;https://a.example|b&gt;, key demo of team search, \
                status 200, 120 tokens in, 7 out, 900 ms";
    assert_eq!((sent.len(), sent[0].json()), (1, json!({"text": text})));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datadog_takes_a_compressed_array_with_its_key() {
    let (world, upstream) = (World::new().await, Upstream::start().await);
    upstream.respond_with(|_| Script::text(202, "application/json", "{}"));
    make(
        &world,
        json!({"name": "dd", "type": "datadog", "url": format!("{}/", upstream.url()), "api_key": "hidden",
            "allow_private_networks": true}),
    )
    .await;
    let failed = LogRecord { status: 429, error_code: "rate_limited".to_owned(), team: "a, b".to_owned(), ..record(2) };
    store(&world.control, &[record(1), failed]).await;
    health(&world, "dd", |health| health["delivered"] == 2).await;
    let sent = &at(&upstream, "/")[0];
    assert_eq!((sent.method.as_str(), sent.target.as_str()), ("POST", "/api/v2/logs"));
    let headers = ["dd-api-key", "content-encoding", "content-type"].map(|name| sent.header(name).unwrap_or_default());
    assert_eq!(headers, ["hidden", "gzip", "application/json"]);
    let logs: Value = serde_json::from_str(&gunzip(&sent.body)).unwrap();
    let logs = logs.as_array().expect("an array");
    assert_eq!(logs.len(), 2);
    assert_eq!(logs[0]["ddtags"], "model:smart,provider:up,status_code:200,team:search");
    assert_eq!(logs[1]["ddtags"], "model:smart,provider:up,status_code:429,team:a__b");
    assert_eq!((&logs[0]["status"], &logs[1]["status"]), (&json!("info"), &json!("warn")));
    assert_eq!((&logs[0]["hostname"], &logs[0]["timestamp"]), (&json!("node_1"), &json!(1_800_000_000_123_i64)));
    assert_eq!(logs[0]["message"], "/v1/chat/completions smart 200 finished");
    assert_eq!(logs[1]["gateway"]["error"]["code"], "rate_limited");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn splunk_takes_events_one_after_the_other() {
    let (world, upstream) = (World::new().await, Upstream::start().await);
    upstream.respond_with(|_| Script::text(200, "application/json", r#"{"text":"Success","code":0}"#));
    make(
        &world,
        json!({"name": "hec", "type": "splunk", "url": upstream.url(), "api_key": "hidden", "allow_private_networks": true}),
    )
    .await;
    store(&world.control, &[record(1), record(2)]).await;
    health(&world, "hec", |health| health["delivered"] == 2).await;
    let sent = &at(&upstream, "/services/collector/event")[0];
    assert_eq!(sent.header("authorization"), Some("Splunk hidden"));
    let events: Vec<Value> = serde_json::Deserializer::from_slice(&sent.body)
        .into_iter()
        .collect::<Result<_, _>>()
        .expect("one after the other");
    assert_eq!(events.len(), 2);
    assert_eq!((&events[0]["time"], &events[0]["host"]), (&json!(1_800_000_000.123), &json!("node_1")));
    assert_eq!((&events[0]["sourcetype"], &events[1]["event"]["id"]), (&json!("_json"), &json!("r0002")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn langfuse_takes_a_trace_and_a_generation_and_says_what_it_does_not() {
    let (world, upstream) = (World::new().await, Upstream::start().await);
    let answer = json!({"successes": [{"id": "r0001-trace-create", "status": 201}],
        "errors": [{"id": "r0002-generation-create", "status": 400, "message": "bad usage"}]});
    upstream.respond_with(move |_| Script::json(207, &answer));
    make(
        &world,
        json!({"name": "lf", "type": "langfuse", "url": upstream.url(), "public_key": "pk-lf-1", "api_key": "hidden",
            "allow_private_networks": true}),
    )
    .await;
    let failed =
        LogRecord { status: 502, error_message: "no answer".to_owned(), trace_id: "ab".repeat(16), ..record(2) };
    store(&world.control, &[record(1), failed]).await;
    let told = health(&world, "lf", |health| health["delivered"] == 1 && health["failed"] == 1).await;
    assert_eq!(told["last_error"], "it refuses events: 400 \"bad usage\"", "{told}");
    let sent = &at(&upstream, "/api/public/ingestion")[0];
    let basic = format!("Basic {}", BASE64.encode("pk-lf-1:hidden"));
    assert_eq!(sent.header("authorization"), Some(basic.as_str()));
    let batch = sent.json()["batch"].as_array().unwrap().clone();
    let types: Vec<&str> = batch.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["trace-create", "generation-create", "trace-create", "generation-create"]);
    assert_eq!((&batch[0]["body"]["id"], &batch[0]["body"]["sessionId"]), (&json!("r0001"), &json!("s1")));
    let generation = &batch[1]["body"];
    assert_eq!((&generation["traceId"], &generation["model"]), (&json!("r0001"), &json!("gpt-x")));
    assert_eq!(generation["startTime"], "2027-01-15T08:00:00.123Z");
    assert_eq!(generation["completionStartTime"], "2027-01-15T08:00:00.423Z");
    assert_eq!(generation["endTime"], "2027-01-15T08:00:01.023Z");
    let usage = json!({"input": 100, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 0, "output": 7, "total": 127});
    assert_eq!((&generation["usageDetails"], &generation["costDetails"]), (&usage, &json!({"total": 1.25})));
    let generation = &batch[3]["body"];
    assert_eq!((&generation["traceId"], &generation["level"]), (&json!("ab".repeat(16)), &json!("ERROR")));
}
