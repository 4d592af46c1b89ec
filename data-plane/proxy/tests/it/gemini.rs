//! Google's clients: any upstream behind their paths, streams in both forms, their errors, their count, their key.

use futures_util::StreamExt as _;
use gateway_fake::reply::{anthropic, gemini, openai};
use gateway_fake::{Gate, Script, Step, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway, KEY, UPSTREAM_KEY, anthropic_at, openai_at, read};

const STREAM: &str = "/v1beta/models/m:streamGenerateContent";

fn question() -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "generation_config": {"max_output_tokens": 9}})
}

/// A Gemini provider `up` and a model `m` on it.
fn gemini_at(url: &str) -> String {
    anthropic_at(url).replace("kind: anthropic", "kind: gemini")
}

async fn asked(gateway: &Gateway, path: &str) -> Answer {
    read(gateway.client().post(gateway.url(path)).header("x-goog-api-key", KEY).json(&question())).await
}

fn chunks(answer: &Answer) -> Vec<Value> {
    let events = answer.text.split("\r\n\r\n").filter_map(|event| event.trim().strip_prefix("data: "));
    events.map(|data| serde_json::from_str(data).expect("JSON")).collect()
}

fn text(chunks: &[Value]) -> String {
    chunks.iter().filter_map(|chunk| chunk["candidates"][0]["content"]["parts"][0]["text"].as_str()).collect()
}

type Case = (fn(&str) -> String, fn() -> Script, &'static str);

fn cases() -> [Case; 3] {
    [
        (openai_at, || Script::sse(&openai::stream("x", "one two three", 7)), "translate"),
        (anthropic_at, || Script::sse(&anthropic::stream("x", "one two three", 7)), "translate"),
        (
            gemini_at,
            || {
                let parts = "one two three".split_inclusive(' ').map(|word| json!({"text": word}));
                Script::sse(&gemini::stream(parts.collect(), 7))
            },
            "pass",
        ),
    ]
}

#[tokio::test]
async fn gemini_in() {
    for (config, script, lane) in cases() {
        let upstream = Upstream::start().await;
        upstream.push(script());
        upstream.push(script());
        let gateway = Gateway::start(&config(&upstream.url())).await;
        let events = asked(&gateway, &format!("{STREAM}?alt=sse")).await;
        assert_eq!(events.status, 200, "{}", events.text);
        assert!(events.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")));
        let array = asked(&gateway, "/v1/models/models/m:streamGenerateContent").await;
        assert!(array.header("content-type").is_some_and(|kind| kind.starts_with("application/json")));
        let elements: Vec<Value> = serde_json::from_str(&array.text).expect("one array");
        for chunks in [chunks(&events), elements] {
            assert!(chunks.len() >= 3, "{chunks:?}");
            assert_eq!(text(&chunks), "one two three");
            let last = chunks.last().expect("a chunk");
            assert_eq!(
                (&last["candidates"][0]["finishReason"], &last["usageMetadata"]["promptTokenCount"]),
                (&json!("STOP"), &json!(7))
            );
        }
        for record in gateway.records(2).await {
            assert_eq!(
                (&record["lane"], &record["ending"], &record["tokens"]["input"]),
                (&json!(lane), &json!("finished"), &json!(7))
            );
        }
    }
}

#[tokio::test]
async fn each_element_leaves_before_the_next_arrives() {
    for path in [STREAM.to_owned(), format!("{STREAM}?alt=sse")] {
        let (upstream, gate) = (Upstream::start().await, Gate::new());
        upstream.push(Script::sse_gated(&openai::stream("x", "one two three", 7), &gate));
        let gateway = Gateway::start(&openai_at(&upstream.url())).await;
        gate.release(2);
        let response = gateway.post(&path, &question()).send().await.expect("it answers");
        let mut body = response.bytes_stream();
        let mut seen = String::new();
        while !seen.contains("one") {
            seen.push_str(std::str::from_utf8(&body.next().await.expect("more").expect("bytes")).expect("text"));
        }
        assert!(!seen.contains("two"), "{seen}");
        gate.open();
        while let Some(bytes) = body.next().await {
            seen.push_str(std::str::from_utf8(&bytes.expect("bytes")).expect("text"));
        }
        assert!(seen.contains("three") && seen.contains("STOP"), "{seen}");
    }
}

fn has(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

#[tokio::test]
async fn a_cut_is_one_error_and_no_finish() {
    for (config, script, _) in cases() {
        for query in ["", "?alt=sse"] {
            let upstream = Upstream::start().await;
            let mut whole = script();
            // A cut before the first word is a failure like any other.
            let is_word = |step: &Step| matches!(step, Step::Write(bytes) if has(bytes, "one"));
            let word = whole.steps.iter().position(is_word).expect("the first word");
            whole.steps.truncate(word + 1);
            upstream.push(whole.close());
            let gateway = Gateway::start(&config(&upstream.url())).await;
            let answer = asked(&gateway, &format!("{STREAM}{query}")).await;
            assert_eq!(
                (answer.text.matches("\"error\"").count(), answer.text.matches("\"STOP\"").count()),
                (1, 0),
                "{}",
                answer.text
            );
            assert!(!query.is_empty() || serde_json::from_str::<Vec<Value>>(&answer.text).is_ok(), "{}", answer.text);
            assert_eq!(gateway.records(1).await[0]["ending"], "upstream_cut");
        }
    }
}

#[tokio::test]
async fn bytes_pass_to_google_and_the_model_stands_in_the_path() {
    let upstream = Upstream::start().await;
    upstream.push(Script::json(200, &json!({"candidates": [], "odd": 1, "usageMetadata": {"promptTokenCount": 4}})));
    upstream.push(Script::json(200, &json!({"totalTokens": 31, "odd": 1})));
    let gateway = Gateway::start(&gemini_at(&upstream.url())).await;
    let body = r#"{ "contents":[{"parts":[{"text":"h\u00e9"}]}], "odd": 1.0e0 }"#;
    for (method, reply) in [("generateContent", "\"odd\":1"), ("countTokens", "31")] {
        let path = format!("/v1beta/models/m:{method}?key={KEY}&alt=json");
        let answer = read(gateway.client().post(gateway.url(&path)).body(body)).await;
        assert!(answer.status == 200 && answer.text.contains(reply), "{}", answer.text);
    }
    for (index, method) in ["generateContent", "countTokens"].iter().enumerate() {
        let received = upstream.request(index).await;
        assert_eq!(received.target, format!("/v1beta/models/own-name:{method}"));
        assert_eq!(received.body, body.as_bytes());
        assert_eq!(received.header("x-goog-api-key"), Some(UPSTREAM_KEY));
    }
    let records = gateway.records(2).await;
    assert_eq!((&records[0]["lane"], &records[0]["tokens"]["input"]), (&json!("pass"), &json!(4)));
    assert!(records.iter().all(|record| !record.to_string().contains(KEY)), "the key of the query is in the log");
}

/// A conversation that went to Anthropic and goes on at Google, which takes no signatures but its own.
#[tokio::test]
async fn thoughts_of_another_vendor_do_not_pass_to_google() {
    let (anthropic, google) = (Upstream::start().await, Upstream::start().await);
    let mut reply = anthropic::reply("x", "an answer", 7);
    reply["content"] = json!([
        {"type": "thinking", "thinking": "hm", "signature": "foreign+signature="},
        {"type": "redacted_thinking", "data": "foreign-data"},
        {"type": "text", "text": "an answer"}
    ]);
    anthropic.push(Script::json(200, &reply));
    google.respond_with(|received| match received.target.contains("countTokens") {
        true => Script::json(200, &json!({"totalTokens": 5})),
        false => gemini::answer(received, "more"),
    });
    let first = Gateway::start(&anthropic_at(&anthropic.url())).await;
    let answer = read(first.post("/v1beta/models/m:generateContent", &question())).await.json();
    let mut turn = answer["candidates"][0]["content"].clone();
    assert_eq!(turn["parts"].as_array().map(Vec::len), Some(3), "{turn}");
    turn["parts"][2]["thoughtSignature"] = json!("QQ==");

    let second = Gateway::start(&gemini_at(&google.url())).await;
    let mut body = question();
    body["contents"].as_array_mut().expect("a list").extend([turn, question()["contents"][0].clone()]);
    for method in ["generateContent", "countTokens"] {
        let told = read(second.post(&format!("/v1beta/models/m:{method}"), &body)).await;
        assert_eq!(told.status, 200, "{}", told.text);
        let sent = google.requests().last().expect("it was asked").json();
        let sent = sent.get("generateContentRequest").unwrap_or(&sent);
        assert_eq!(sent["contents"][1]["parts"], json!([{"text": "an answer", "thoughtSignature": "QQ=="}]));
    }
    assert_eq!(second.records(2).await[0]["lane"], "translate");
}

#[tokio::test]
async fn errors_are_googles_and_a_count_is_an_estimate_elsewhere() {
    let upstream = Upstream::start().await;
    upstream.push(Script::json(429, &openai::error("rate_limit_exceeded", "slow down")));
    let gateway = Gateway::start(&openai_at(&upstream.url())).await;
    let cases = [
        ("/v1beta/models/m:generateContent", KEY, 429, "RESOURCE_EXHAUSTED"),
        ("/v1beta/models/nobody:generateContent", KEY, 404, "NOT_FOUND"),
        ("/v1beta/models/m:generateContent", "sk-wrong", 401, "UNAUTHENTICATED"),
        ("/v1beta/models/m:bidiGenerateContent", KEY, 404, "NOT_FOUND"),
    ];
    for (path, key, code, status) in cases {
        let answer =
            read(gateway.client().post(gateway.url(path)).header("x-goog-api-key", key).json(&question())).await;
        let error = &answer.json()["error"];
        assert_eq!((answer.status, &error["code"], &error["status"]), (code, &json!(code), &json!(status)), "{path}");
    }
    let count = asked(&gateway, "/v1beta/models/m:countTokens").await;
    assert_eq!(count.header("x-gateway-token-count"), Some("estimate"));
    assert!(count.json()["totalTokens"].as_u64().is_some_and(|count| count > 0), "{}", count.text);
    let other = gateway.client().post(gateway.url(&format!("/v1beta/models/m:countTokens?key={KEY}x")));
    assert_eq!(read(other.header("x-goog-api-key", KEY).json(&question())).await.status, 400, "two keys that differ");
}

/// As google-genai asks for vectors.
#[tokio::test]
async fn embeddings_in_googles_words_from_any_provider() {
    let upstream = Upstream::start().await;
    let data = json!([{"object": "embedding", "index": 0, "embedding": [0.5]}]);
    let reply = json!({"object": "list", "data": data, "model": "e", "usage": {"prompt_tokens": 2, "total_tokens": 2}});
    upstream.respond_with(move |_| Script::json(200, &reply));
    let gateway = Gateway::start(&openai_at(&upstream.url())).await;
    let content = json!({"parts": [{"text": "a"}], "role": "user"});
    let ask = async |method: &str, body: Value, key: &str| {
        let path = gateway.url(&format!("/v1beta/models/m:{method}"));
        read(gateway.client().post(path).header("x-goog-api-key", key).json(&body)).await
    };
    let batch = json!({"requests": [{"model": "models/m", "content": content}]});
    let answer = ask("batchEmbedContents", batch.clone(), KEY).await;
    let usage = json!({"promptTokenCount": 2, "totalTokenCount": 2});
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({"embeddings": [{"values": [0.5]}], "usageMetadata": usage}))
    );
    let answer = ask("embedContent", json!({"content": content}), KEY).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"embedding": {"values": [0.5]}, "usageMetadata": usage})));
    let sent = upstream.request(1).await;
    assert_eq!((sent.target.as_str(), &sent.json()["input"]), ("/v1/embeddings", &json!(["a"])));
    for (body, key, status, word) in
        [(json!({"requests": 7}), KEY, 400, "INVALID_ARGUMENT"), (batch, "sk-nobody", 401, "UNAUTHENTICATED")]
    {
        let refused = ask("batchEmbedContents", body, key).await;
        assert_eq!((refused.status, &refused.json()["error"]["status"]), (status, &json!(word)), "{}", refused.text);
    }
    let records = gateway.records(4).await;
    let found = ["dialect", "lane", "settled_by"].map(|member| records[0][member].as_str());
    assert_eq!(found, [Some("gemini-embed"), Some("translate"), Some("exact")], "{}", records[0]);
}
