//! Responses with `background`: made behind their requests, asked for meanwhile, streamed again, cancelled, and never left hanging.

use std::time::Duration;

use futures_util::StreamExt as _;
use gateway_fake::reply::anthropic;
use gateway_fake::{Ending, Gate, Script, Upstream};
use gateway_proxy::config::Drain;
use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway, KEY, anthropic_at, provider_at, within};
use crate::pass::{OTHER, asked};
use crate::stored::{texts, two_tenants};

const PATH: &str = "/v1/responses";

fn ask() -> Value {
    json!({"model": "m", "input": "one", "background": true})
}

/// An upstream whose answer comes event by event as the gate lets it.
async fn gated(text: &str) -> (Upstream, Gate) {
    let (upstream, gate) = (Upstream::start().await, Gate::new());
    upstream.push(Script::sse_gated(&anthropic::stream("own-name", text, 7), &gate));
    (upstream, gate)
}

/// The path of a response that has been queued.
async fn queued(gateway: &Gateway, body: Value) -> String {
    let answer = asked(gateway, KEY, "POST", PATH, Some(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let response = answer.json();
    let standing = (&response["status"], &response["background"], &response["output"], &response["usage"]);
    assert_eq!(standing, (&json!("queued"), &json!(true), &json!([]), &Value::Null), "{response}");
    assert_eq!(answer.header("x-gateway-store"), Some("node"));
    format!("{PATH}/{}", response["id"].as_str().expect("an id"))
}

async fn standing(gateway: &Gateway, path: &str) -> Value {
    let answer = asked(gateway, KEY, "GET", path, None).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

/// The response, once it has this status.
async fn once(gateway: &Gateway, path: &str, status: &str) -> Value {
    within(status, || async { Some(standing(gateway, path).await).filter(|response| response["status"] == status) })
        .await
}

fn events(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).expect("JSON")).collect()
}

/// The records of what asked for responses; what is asked about them has its own.
async fn settled(gateway: &Gateway, n: usize) -> Vec<Value> {
    gateway.records_of(n, |record| record["method"] == "POST" && record["path"] == PATH).await
}

#[tokio::test]
async fn a_response_is_made_behind_its_request() {
    let (upstream, gate) = gated("hello there").await;
    let gateway = Gateway::start(&two_tenants(anthropic_at(&upstream.url()))).await;
    let path = queued(&gateway, ask()).await;
    assert_eq!(upstream.request(0).await.json()["stream"], true, "the upstream answers while it is listened to");
    assert_eq!(standing(&gateway, &path).await["status"], "queued", "nobody has answered yet");
    gate.release(1);
    once(&gateway, &path, "in_progress").await;
    let early = json!({"model": "m", "input": "two", "previous_response_id": path[PATH.len() + 1..]});
    let refused = asked(&gateway, KEY, "POST", PATH, Some(early.clone())).await;
    assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!("previous_response_id")));
    assert_eq!(asked(&gateway, OTHER, "GET", &path, None).await.status, 404);
    assert_eq!(asked(&gateway, OTHER, "POST", &format!("{path}/cancel"), None).await.status, 404);
    gate.open();
    let made = once(&gateway, &path, "completed").await;
    assert_eq!(made["output"][0]["content"][0]["text"], "hello there", "{made}");
    assert_eq!((&made["background"], &made["usage"]["input_tokens"]), (&json!(true), &json!(7)));
    assert_eq!(format!("{PATH}/{}", made["id"].as_str().expect("an id")), path);
    let items = asked(&gateway, KEY, "GET", &format!("{path}/input_items"), None).await.json();
    assert_eq!(items["data"][0]["content"][0]["text"], "one");
    let cancelled = asked(&gateway, KEY, "POST", &format!("{path}/cancel"), None).await;
    assert_eq!((cancelled.status, cancelled.json()), (200, made), "it is over, and stays what it is");
    // The first record is of the refusal, the other of the response.
    let records = settled(&gateway, 2).await;
    let record = records.iter().find(|record| record["status"] == 200).expect("the response's");
    assert_eq!((&record["ending"], &record["settled_by"]), (&json!("finished"), &json!("exact")), "{record}");
    upstream.push(Script::json(200, &anthropic::reply("own-name", "again", 7)));
    assert_eq!(asked(&gateway, KEY, "POST", PATH, Some(early)).await.status, 200);
    let expected = "user: one; assistant: hello there; user: two";
    assert_eq!(texts(&upstream.request(1).await.json()["messages"]), expected);
}

#[tokio::test]
async fn a_cancelled_response_lets_its_upstream_go() {
    let (upstream, gate) = gated("one two three four").await;
    let gateway = Gateway::start(&anthropic_at(&upstream.url())).await;
    let path = queued(&gateway, ask()).await;
    gate.release(3);
    once(&gateway, &path, "in_progress").await;
    let cancel = format!("{path}/cancel");
    let cancelled = asked(&gateway, KEY, "POST", &cancel, None).await;
    assert_eq!((cancelled.status, &cancelled.json()["status"]), (200, &json!("cancelled")), "{}", cancelled.text);
    assert!(matches!(upstream.ending(0).await, Ending::ClientLeft), "the upstream is let go");
    assert_eq!(asked(&gateway, KEY, "POST", &cancel, None).await.json(), cancelled.json(), "once is as good as twice");
    assert_eq!(standing(&gateway, &path).await, cancelled.json());
    asked(&gateway, KEY, "POST", PATH, Some(json!({"model": "none", "input": "x"}))).await;
    let records = settled(&gateway, 2).await;
    assert_eq!(records.len(), 2, "it is settled once: {records:?}");
    assert_eq!(records[0]["settled_by"], "exact", "{}", records[0]);
}

#[tokio::test]
async fn a_stream_survives_its_client_and_is_taken_up_again() {
    let (upstream, gate) = gated("one two three").await;
    let gateway = Gateway::start(&two_tenants(anthropic_at(&upstream.url()))).await;
    let mut body = ask();
    body["stream"] = true.into();
    let response = gateway.post(PATH, &body).send().await.expect("a head");
    let mut stream = response.bytes_stream();
    let first = stream.next().await.expect("a chunk").expect("bytes");
    let first = events(std::str::from_utf8(&first).expect("text"));
    assert_eq!((&first[0]["type"], &first[1]["type"]), (&json!("response.created"), &json!("response.queued")));
    let path = format!("{PATH}/{}", first[0]["response"]["id"].as_str().expect("an id"));
    drop(stream);
    gate.release(3);
    once(&gateway, &path, "in_progress").await;
    let follow = format!("{path}?stream=true&starting_after=1");
    let (rest, ()) = tokio::join!(asked(&gateway, KEY, "GET", &follow, None), async { gate.open() });
    assert_eq!(rest.header("content-type"), Some("text/event-stream"));
    let rest = events(&rest.text);
    let all = asked(&gateway, KEY, "GET", &format!("{path}?stream=true"), None).await;
    let all = events(&all.text);
    assert_eq!(all[2..], rest, "what was said before, and what was said meanwhile");
    for (number, event) in all.iter().enumerate() {
        assert_eq!(event["sequence_number"], number, "{event}");
    }
    let last = all.last().expect("an end");
    assert_eq!((&last["type"], &last["response"]), (&json!("response.completed"), &standing(&gateway, &path).await));
    for (query, status) in [("stream=true&starting_after=x", 400), ("stream=false&starting_after=1", 200)] {
        assert_eq!(asked(&gateway, KEY, "GET", &format!("{path}?{query}"), None).await.status, status, "{query}");
    }
    assert_eq!(asked(&gateway, OTHER, "GET", &follow, None).await.status, 404);
    assert_eq!(asked(&gateway, KEY, "DELETE", &path, None).await.status, 200);
    assert_eq!(asked(&gateway, KEY, "GET", &follow, None).await.status, 404, "its events are gone with it");
}

#[tokio::test]
async fn what_cannot_be_made_in_the_background_is_refused() {
    let (upstream, gate) = gated("one").await;
    let settings = |more: &str| format!("{}settings: {{responses: {more}}}\n", anthropic_at(&upstream.url()));
    let told = |answer: Answer| (answer.status, answer.json()["error"]["param"].clone(), answer.text);
    for (more, body, status, param) in [
        ("{}", json!({"store": false}), 400, "store"),
        ("{}", json!({"background": "yes"}), 400, "background"),
        ("{store_ttl: 0s}", json!({}), 400, "background"),
        ("{background: {max_running: 0}}", json!({}), 429, "background"),
        ("{}", json!({"model": "none"}), 404, "model"),
    ] {
        let gateway = Gateway::start(&settings(more)).await;
        let mut asking = ask();
        for (name, value) in body.as_object().expect("an object") {
            asking[name] = value.clone();
        }
        let (found, at, text) = told(asked(&gateway, KEY, "POST", PATH, Some(asking)).await);
        assert_eq!((found, at.as_str().unwrap_or_default()), (status, param), "{more} {body}: {text}");
    }
    let gateway =
        Gateway::start(&two_tenants(settings("{background: {max_running: 2, max_running_per_key: 1}}"))).await;
    upstream.push(Script::new().hang());
    let path = queued(&gateway, ask()).await;
    let (status, _, text) = told(asked(&gateway, KEY, "POST", PATH, Some(ask())).await);
    assert!(status == 429 && text.contains("this key"), "{text}");
    let other = asked(&gateway, OTHER, "POST", PATH, Some(ask())).await;
    assert_eq!(other.status, 200, "{}", other.text);
    asked(&gateway, KEY, "POST", &format!("{path}/cancel"), None).await;
    queued(&gateway, ask()).await;
    gate.open();
}

#[tokio::test]
async fn a_response_that_cannot_be_finished_says_why() {
    let cut = |text: &str| {
        let events = anthropic::stream("own-name", text, 7);
        events[..3].iter().fold(Script::sse_head(), |script, event| script.chunk(event))
    };
    let refused = Script::json(400, &anthropic::error("invalid_request_error", "no such thing"));
    for (script, max_time, code) in [
        (refused, "1h", "upstream_refused"),
        (cut("one two").reset(), "1h", "upstream_stream_error"),
        (cut("one two").hang(), "300ms", "total_timeout"),
        (Script::new().hang(), "300ms", "total_timeout"),
    ] {
        let upstream = Upstream::start().await;
        upstream.push(script);
        let config = anthropic_at(&upstream.url());
        let settings = format!("{config}settings: {{responses: {{background: {{max_time: {max_time}}}}}}}\n");
        let gateway = Gateway::start(&settings).await;
        let path = queued(&gateway, ask()).await;
        let failed = once(&gateway, &path, "failed").await;
        assert_eq!(failed["error"]["code"], code, "{failed}");
        let streamed = asked(&gateway, KEY, "GET", &format!("{path}?stream=true"), None).await;
        let last = events(&streamed.text).pop().expect("an event");
        assert_eq!((&last["type"], &last["response"]), (&json!("response.failed"), &failed));
    }
}

#[tokio::test]
async fn a_node_that_ends_leaves_nothing_in_progress() {
    let upstream = Upstream::start().await;
    let state = tempfile::tempdir().expect("a directory");
    let (data_dir, copy) = (state.path().join("node"), state.path().join("copy"));
    let config = anthropic_at(&upstream.url());
    let start = |data_dir: std::path::PathBuf| {
        Gateway::start_with(&config, |options| {
            options.data_dir = Some(data_dir);
            options.drain = Drain { delay: Duration::ZERO, timeout: Duration::ZERO };
        })
    };
    upstream.push(Script::new().hang());
    let gateway = start(data_dir.clone()).await;
    let path = queued(&gateway, ask()).await;
    upstream.request(0).await;
    // What a node leaves that is killed now.
    let kept = within("the file", || async {
        let files: Vec<_> = std::fs::read_dir(data_dir.join("responses")).ok()?.flatten().collect();
        files.into_iter().find(|file| file.path().extension().is_some_and(|end| end == "response"))
    })
    .await;
    std::fs::create_dir_all(copy.join("responses")).expect("a folder");
    std::fs::copy(kept.path(), copy.join("responses").join(kept.file_name())).expect("copied");
    let next = start(copy).await;
    for _ in 0..2 {
        let left = standing(&next, &path).await;
        assert_eq!((&left["status"], &left["error"]["code"]), (&json!("failed"), &json!("node_ended")), "{left}");
    }
    // One that drains says so itself.
    gateway.stop().await;
    let left = standing(&start(data_dir).await, &path).await;
    assert_eq!((&left["status"], &left["error"]["code"]), (&json!("failed"), &json!("shutting_down")), "{left}");
}

/// A vendor that has made `resp_v` when it has been asked twice how that stands.
fn vendor(upstream: &Upstream, gate: &Gate) {
    let object = |status: &str| {
        let usage = (status == "completed").then(|| json!({"input_tokens": 3, "output_tokens": 5, "total_tokens": 8}));
        json!({"id": "resp_v", "object": "response", "status": status, "output": [], "background": true, "usage": usage})
    };
    let n_asked = std::sync::atomic::AtomicUsize::new(0);
    let event = move |name: &str, status: &str| {
        let data = json!({"type": name, "response": object(status)});
        bytes::Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
    };
    let gate = gate.clone();
    upstream.respond_with(move |received| match (received.method.as_str(), received.target.as_str()) {
        ("POST", "/v1/responses") if received.json()["stream"] == true => {
            let events = [event("response.queued", "queued"), event("response.completed", "completed")];
            Script::sse_gated(&events, &gate)
        }
        ("POST", "/v1/responses") => Script::json(200, &object("queued")),
        ("GET", "/v1/responses/resp_v") => {
            let n_before = n_asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Script::json(200, &object(if n_before < 2 { "in_progress" } else { "completed" }))
        }
        ("POST", "/v1/responses/resp_v/cancel") => Script::json(200, &object("cancelled")),
        _ => Script::json(404, &json!({"error": {"message": "no such object"}})),
    });
}

/// Where the vendor does so itself, it is left to it, its id stays its own, and it is charged when it is over.
#[tokio::test]
async fn a_vendor_makes_its_own_in_the_background() {
    for stream in [false, true] {
        let (upstream, gate) = (Upstream::start().await, Gate::new());
        vendor(&upstream, &gate);
        let gateway = Gateway::start(&two_tenants(provider_at("openai", &format!("{}/v1", upstream.url()), ""))).await;
        let mut body = ask();
        body["stream"] = stream.into();
        gate.release(1);
        let response = gateway.post(PATH, &body).send().await.expect("a head");
        assert_eq!(response.headers()["x-gateway-store"], "provider");
        if stream {
            let mut events = response.bytes_stream();
            events.next().await.expect("a chunk").expect("bytes");
            drop(events);
            gate.open();
        } else {
            assert_eq!(response.json::<Value>().await.expect("JSON")["status"], "queued");
        }
        assert_eq!(upstream.request(0).await.json()["background"], true);
        let records = settled(&gateway, 1).await;
        let (tokens, settled) = (&records[0]["tokens"], &records[0]["settled_by"]);
        let found = (tokens["input"].as_u64(), tokens["output"].as_u64(), settled.as_str());
        assert_eq!(found, (Some(3), Some(5), Some("exact")), "stream: {stream}, {}", records[0]);
        let path = format!("{PATH}/resp_v");
        if !stream {
            assert_eq!(standing(&gateway, &path).await["status"], "completed");
        }
        for (key, status) in [(OTHER, 404), (KEY, 200)] {
            assert_eq!(asked(&gateway, key, "POST", &format!("{path}/cancel"), None).await.status, status);
        }
    }
}

/// Nodes that share a Redis share what is made: each tells how it stands, and each can have it cancelled.
#[tokio::test]
async fn a_fleet_knows_what_one_of_its_nodes_makes() {
    let Some(mut redis) = gateway_testing::Redis::launch() else { return };
    let upstream = Upstream::start().await;
    let config = two_tenants(anthropic_at(&upstream.url()));
    let start = || {
        Gateway::start_with(&config, |options| {
            options.redis_url = Some(gateway_model::secret::Secret::new(redis.url()));
            options.drain = Drain { delay: Duration::ZERO, timeout: Duration::ZERO };
        })
    };
    let (maker, other) = (start().await, start().await);
    upstream.push(Script::new().hang());
    let answer = asked(&maker, KEY, "POST", PATH, Some(ask())).await;
    assert_eq!((answer.status, answer.header("x-gateway-store")), (200, Some("shared")), "{}", answer.text);
    let path = format!("{PATH}/{}", answer.json()["id"].as_str().expect("an id"));
    within("the other node to see it", || async {
        let found = asked(&other, KEY, "GET", &path, None).await;
        (found.status == 200 && found.json()["status"] == "queued").then_some(())
    })
    .await;
    assert_eq!(asked(&other, OTHER, "POST", &format!("{path}/cancel"), None).await.status, 404);
    let streamed = asked(&other, KEY, "GET", &format!("{path}?stream=true"), None).await;
    assert_eq!((streamed.status, &streamed.json()["error"]["param"]), (400, &json!("stream")));
    let cancelled = asked(&other, KEY, "POST", &format!("{path}/cancel"), None).await;
    assert_eq!((cancelled.status, &cancelled.json()["status"]), (200, &json!("cancelled")), "{}", cancelled.text);
    assert!(matches!(upstream.ending(0).await, Ending::ClientLeft), "the upstream is let go");
    assert_eq!(standing(&maker, &path).await, cancelled.json());
    // While nobody can be asked, nobody says that it is not there.
    redis.stop();
    let previous = json!({"model": "m", "input": "two", "previous_response_id": path[PATH.len() + 1..]});
    for (method, path, body) in [("GET", path.as_str(), None), ("POST", PATH, Some(previous))] {
        let away = asked(&other, KEY, method, path, body).await;
        let error = away.json()["error"].take();
        assert_eq!((away.status, error["code"].as_str()), (503, Some("store_unavailable")), "{error}");
    }
    redis.start();
}
