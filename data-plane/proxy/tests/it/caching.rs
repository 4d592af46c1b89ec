//! Replies that are given again: to whom, in which form, for how long, and which are not.

mod coalescing;
mod reloading;

use gateway_fake::reply::{anthropic, openai};
use gateway_fake::{Received, Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway, KEY, anthropic_at, openai_at, provider_at, read, within};

pub(super) const ON: &str = "settings: {cache: {enabled: true}}\n";

/// A node with a cache before an upstream that answers.
pub(super) async fn caching(settings: &str) -> (Upstream, Gateway) {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "one two three"));
    let gateway = Gateway::start(&format!("{}{settings}", openai_at(&upstream.url()))).await;
    (upstream, gateway)
}

pub(super) fn question() -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]})
}

pub(super) fn status(answer: &Answer) -> Option<&str> {
    assert_eq!(answer.header("x-lunargate-cache-status"), answer.header("x-gateway-cache-status"));
    assert_eq!(answer.header("x-lunargate-cache-status"), answer.header("x-gateway-llm-cache"));
    answer.header("x-lunargate-cache-status")
}

#[tokio::test]
async fn exact_cache_hit_miss() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "one two three"));
    let price = "prices:\n  - {provider: up, model: own-name, input_per_1m: 1, output_per_1m: 1000}\n";
    let keys = format!("keys:\n  - {{name: test, secret: {KEY}, limits: {{rpm: 4}}}}\n");
    let gateway = Gateway::start(&format!("{}{price}{ON}{keys}", openai_at(&upstream.url()))).await;
    let made = gateway.chat(&question()).await;
    assert_eq!((made.status, status(&made), made.header("age")), (200, Some("MISS"), None), "{}", made.text);
    let spaced = "{\"messages\": [ {\"content\":\"h\\u0069\", \"role\":\"user\"} ], \"model\":\"m\", \"stream\":false}";
    let request = gateway.client().post(gateway.url("/v1/chat/completions")).bearer_auth(KEY);
    let again = read(request.header("content-type", "application/json").body(spaced)).await;
    assert_eq!((again.status, status(&again), &again.text), (200, Some("HIT"), &made.text));
    assert_eq!(upstream.requests().len(), 1);
    assert!(again.header("age").and_then(|age| age.parse::<u64>().ok()).is_some());
    for name in ["content-type", "x-lunargate-model", "x-gateway-provider", "x-gateway-llm-tokens-input"] {
        assert_eq!(again.header(name), made.header(name), "{name}");
    }
    // What it has cost once is saved, and nothing is charged.
    assert_eq!(again.header("x-gateway-cost-usd"), Some("0.000000"));
    assert_eq!(again.header("x-gateway-llm-cache-cost-saved"), made.header("x-gateway-cost-usd"));
    // The limit counts it like any other.
    assert_eq!(gateway.chat(&question()).await.header("x-ratelimit-remaining"), Some("1"));
    gateway.chat(&question()).await;
    assert_eq!(gateway.chat(&question()).await.status, 429);
    let records = gateway.records(5).await;
    let (miss, hit) = (&records[0], &records[1]);
    assert_eq!((&miss["cache"]["verdict"], &hit["cache"]["verdict"]), (&json!("miss"), &json!("hit")));
    assert_eq!((&hit["cost_nano_usd"], &hit["priced"]), (&json!(0), &json!(true)), "{hit}");
    assert_eq!((&hit["tokens"]["input"], &hit["tokens"]["output"]), (&json!(0), &json!(0)), "{hit}");
    assert_eq!((&hit["attempts"], &hit["ending"]), (&json!([]), &json!("finished")), "{hit}");
    assert_eq!((&hit["cache"]["tokens"], &hit["cache"]["saved_nano_usd"]), (&miss["tokens"], &miss["cost_nano_usd"]));
    assert_eq!((&hit["cache"]["provider"], &hit["cache"]["upstream_model"]), (&json!("up"), &json!("own-name")));
    let told = read(gateway.client().get(gateway.url("/statsz"))).await.json()["response_cache"].clone();
    assert_eq!((&told["hits"], &told["misses"], &told["stored"]), (&json!(3), &json!(1), &json!(1)), "{told}");
    assert!(told["bytes"].as_u64() > Some(made.text.len() as u64) && told["entries"] == 1, "{told}");
    let metrics = read(gateway.client().get(gateway.url("/metrics"))).await.text;
    for line in ["gateway_cache_hits_total 3", "gateway_cache_misses_total 1", "gateway_cache_entries 1"] {
        assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn nothing_is_kept_unless_asked_for() {
    for settings in ["", "settings: {cache: {ttl: 1h}}\n"] {
        let (upstream, gateway) = caching(settings).await;
        for _ in 0..2 {
            assert_eq!(status(&gateway.chat(&question()).await), None);
        }
        assert_eq!(upstream.requests().len(), 2);
        assert_eq!(gateway.records(2).await[1]["cache"], Value::Null);
        gateway.stop().await;
    }
}

#[tokio::test]
async fn key_covers_response_format_seed_tenant() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "one two three"));
    let other = "sk-other-0123456789abcdef";
    let keys = format!("keys:\n  - {{name: test, secret: {KEY}}}\n  - {{name: other, secret: {other}}}\n");
    let gateway = Gateway::start(&format!("{}{ON}{keys}", openai_at(&upstream.url()))).await;
    assert_eq!(status(&gateway.chat(&question()).await), Some("MISS"));
    for (name, value) in [
        ("response_format", json!({"type": "json_object"})),
        ("seed", json!(1)),
        ("seed", json!(2)),
        ("stop", json!("x")),
        ("user", json!("u")),
        ("temperature", json!(0)),
        ("top_k", json!(3)),
        ("reasoning_effort", json!("low")),
        ("tools", json!([{"type": "function", "function": {"name": "f"}}])),
    ] {
        let mut changed = question();
        changed[name] = value;
        for expected in ["MISS", "HIT"] {
            assert_eq!(status(&gateway.chat(&changed).await), Some(expected), "{changed}");
        }
    }
    for (name, value) in
        [("x-gateway-strict", "true"), ("x-lunargate-provider", "up"), ("x-lunargate-model", "up/own-name")]
    {
        let request = gateway.post("/v1/chat/completions", &question()).header(name, value);
        assert_eq!(status(&read(request).await), Some("MISS"), "{name}");
    }
    let request = || gateway.client().post(gateway.url("/v1/chat/completions")).bearer_auth(other).json(&question());
    for expected in ["MISS", "HIT"] {
        assert_eq!(status(&read(request()).await), Some(expected), "another tenant's is not there");
    }
    assert_eq!(status(&gateway.chat(&question()).await), Some("HIT"));
    gateway.stop().await;
}

/// Of a reply, or of the events of a stream.
fn events(answer: &Answer) -> Vec<Value> {
    let is_stream = answer.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
    if !is_stream {
        let whole = answer.json();
        return if let Value::Array(all) = whole { all } else { vec![whole] };
    }
    let data = answer.text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).expect("JSON")).collect()
}

fn text(answer: &Answer) -> String {
    let places = [
        "/choices/0/delta/content",
        "/choices/0/message/content",
        "/choices/0/text",
        "/content/0/text",
        "/output/0/content/0/text",
        "/candidates/0/content/parts/0/text",
    ];
    let of = |event: &Value| match event["type"].as_str() {
        Some("content_block_delta") => event["delta"]["text"].as_str().map(str::to_owned),
        Some("response.output_text.delta") => event["delta"].as_str().map(str::to_owned),
        Some(kind) if kind.starts_with("response.") => None,
        _ => places.iter().find_map(|place| event.pointer(place)?.as_str()).map(str::to_owned),
    };
    events(answer).iter().filter_map(of).collect()
}

/// Without what differs from one reply to the next, and what says nothing.
fn lasting(mut value: Value) -> Value {
    const PASSING: [&str; 7] =
        ["id", "created", "created_at", "completed_at", "responseId", "item_id", "sequence_number"];
    match &mut value {
        Value::Object(members) => {
            members.values_mut().for_each(|value| *value = lasting(value.take()));
            let nothing = [Value::Null, json!(0), json!([]), json!({})];
            members.retain(|name, value| !nothing.contains(value) && !PASSING.contains(&name.as_str()));
        }
        Value::Array(elements) => elements.iter_mut().for_each(|value| *value = lasting(value.take())),
        _ => {}
    }
    value
}

/// A dialect of clients: its path for whole replies, for streams, and what it asks in both.
fn dialects() -> Vec<(&'static str, &'static str, Value)> {
    let gemini = "/v1beta/models/m:generateContent";
    let google = json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]});
    let mut messages = question();
    messages["max_tokens"] = 9.into();
    vec![
        ("/v1/chat/completions", "/v1/chat/completions", question()),
        ("/v1/completions", "/v1/completions", json!({"model": "m", "prompt": "hi"})),
        ("/v1/responses", "/v1/responses", json!({"model": "m", "input": "hi", "store": false})),
        ("/v1/messages", "/v1/messages", messages),
        (gemini, "/v1beta/models/m:streamGenerateContent?alt=sse", google.clone()),
        (gemini, "/v1beta/models/m:streamGenerateContent", google),
    ]
}

#[tokio::test]
async fn stream_and_json_share_cache() {
    type Answers = fn(&Received, &str) -> Script;
    let upstreams = [(anthropic_at as fn(&str) -> String, anthropic::answer as Answers), (openai_at, openai::answer)];
    for (config, answers) in upstreams {
        for (whole, streamed, body) in dialects() {
            if whole == "/v1/completions" && answers as usize == openai::answer as Answers as usize {
                // It has completions of its own, which the script does not play.
                continue;
            }
            let mut streaming = body.clone();
            if whole == streamed {
                streaming["stream"] = true.into();
            }
            for (first, then) in [((whole, &body), (streamed, &streaming)), ((streamed, &streaming), (whole, &body))] {
                let upstream = Upstream::start().await;
                upstream.respond_with(move |received| answers(received, "one two three"));
                let gateway = Gateway::start(&format!("{}{ON}", config(&upstream.url()))).await;
                let made = read(gateway.post(first.0, first.1)).await;
                assert_eq!((made.status, status(&made)), (200, Some("MISS")), "{first:?}: {}", made.text);
                let replayed = read(gateway.post(then.0, then.1)).await;
                assert_eq!((replayed.status, status(&replayed)), (200, Some("HIT")), "{then:?}: {}", replayed.text);
                let same = read(gateway.post(first.0, first.1)).await;
                assert_eq!((status(&same), &same.text), (Some("HIT"), &made.text), "the same bytes in the same form");
                // It is what the upstream's own answer in that form would have been.
                let fresh = read(gateway.post(then.0, then.1).header("x-gateway-no-cache", "true")).await;
                assert_eq!(upstream.requests().len(), 2);
                assert_eq!(replayed.header("content-type"), fresh.header("content-type"), "{then:?}");
                assert_eq!(
                    (text(&made).as_str(), text(&replayed).as_str()),
                    ("one two three", "one two three"),
                    "{then:?}"
                );
                let last = |answer: &Answer| lasting(events(answer).pop().expect("an event"));
                assert_eq!(last(&replayed), last(&fresh), "{then:?}: {}\n{}", replayed.text, fresh.text);
                let ends = |answer: &Answer| answer.text.ends_with("data: [DONE]\n\n");
                assert_eq!(ends(&replayed), ends(&fresh), "{then:?}");
                gateway.stop().await;
            }
        }
    }
}

/// Whoever asked for usage in a stream is told it, whoever did not is not.
#[tokio::test]
async fn usage_is_told_to_whom_it_may_concern() {
    let (upstream, gateway) = caching(ON).await;
    let mut plain = question();
    plain["stream"] = true.into();
    let mut telling = plain.clone();
    telling["stream_options"] = json!({"include_usage": true});
    let told = |answer: &Answer| events(answer).iter().any(|event| event["usage"]["prompt_tokens"].is_u64());
    for (body, expected, is_told) in
        [(&plain, "MISS", false), (&telling, "HIT", true), (&plain, "HIT", false), (&telling, "HIT", true)]
    {
        let answer = gateway.chat(body).await;
        assert_eq!((status(&answer), told(&answer)), (Some(expected), is_told), "{}", answer.text);
        assert_eq!(text(&answer), "one two three");
    }
    let whole = gateway.chat(&question()).await;
    assert_eq!((status(&whole), told(&whole)), (Some("HIT"), true), "{}", whole.text);
    assert_eq!(upstream.requests().len(), 1);
    gateway.stop().await;
}

#[tokio::test]
async fn tool_calls_come_again_in_both_forms() {
    let (upstream, gateway) = caching(ON).await;
    let mut body = question();
    body["tools"] = json!([{"type": "function", "function": {"name": "f"}}]);
    let mut streaming = body.clone();
    streaming["stream"] = true.into();
    let made = gateway.chat(&streaming).await;
    let whole = gateway.chat(&body).await;
    assert_eq!((status(&made), status(&whole)), (Some("MISS"), Some("HIT")));
    let call = &whole.json()["choices"][0]["message"]["tool_calls"][0];
    assert_eq!((&call["id"], &call["function"]["name"]), (&json!("call_fake"), &json!("f")), "{}", whole.text);
    assert_eq!(call["function"]["arguments"], r#"{"city":"Paris"}"#);
    assert_eq!(whole.json()["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(upstream.requests().len(), 1);
    gateway.stop().await;
}

#[tokio::test]
async fn cache_ttl() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "hello"));
    let models = "  - {name: brief, cache: {ttl: 30ms}, targets: [{provider: up, model: x}]}\n";
    let gateway = Gateway::start(&format!("{}{models}{ON}", openai_at(&upstream.url()))).await;
    let mut brief = question();
    brief["model"] = "brief".into();
    assert_eq!(status(&gateway.chat(&brief).await), Some("MISS"));
    assert_eq!(status(&gateway.chat(&question()).await), Some("MISS"));
    within("the end of the reply's time", || async {
        (status(&gateway.chat(&brief).await) == Some("MISS")).then_some(())
    })
    .await;
    assert_eq!(status(&gateway.chat(&question()).await), Some("HIT"), "which lives for an hour");
    assert_eq!(upstream.requests().len(), 3);
    gateway.stop().await;
}

#[tokio::test]
async fn x_lunargate_no_cache() {
    let (upstream, gateway) = caching(ON).await;
    for (n, name) in [(1, "x-lunargate-no-cache"), (2, "x-gateway-no-cache")] {
        let answer = read(gateway.post("/v1/chat/completions", &question()).header(name, "True")).await;
        assert_eq!((answer.status, status(&answer), upstream.requests().len()), (200, None, n), "{name}");
    }
    // Nor has it been kept.
    assert_eq!(status(&gateway.chat(&question()).await), Some("MISS"));
    let other = gateway.post("/v1/chat/completions", &question()).header("x-lunargate-no-cache", "1");
    assert_eq!(status(&read(other).await), Some("HIT"), "only `true` is true");
    assert_eq!(gateway.records(4).await[0]["cache"]["verdict"], "bypass");
    gateway.stop().await;
}

/// An answer of `finish`, with a text and perhaps a refusal.
fn ended(finish: &str, refusal: Option<&str>) -> Script {
    let mut reply = openai::reply("own-name", "hello", 7);
    reply["choices"][0]["finish_reason"] = finish.into();
    reply["choices"][0]["message"]["refusal"] = refusal.into();
    Script::json(200, &reply)
}

fn cut(reset: bool) -> Script {
    let events = openai::stream("x", "one two three", 7);
    let script = events[..3].iter().fold(Script::sse_head(), |script, event| script.chunk(event));
    if reset { script.reset() } else { script.end() }
}

/// What is no answer is nothing to give to somebody else.
#[tokio::test]
async fn what_did_not_end_well_is_asked_again() {
    let error = || Script::json(400, &openai::error("invalid_request_error", "no"));
    let said = b"data: {\"error\":{\"message\":\"gone wrong\"}}\n\n".as_slice();
    let failing = || {
        let events = openai::stream("x", "one two three", 7);
        events[..3].iter().fold(Script::sse_head(), |script, event| script.chunk(event)).chunk(said).end()
    };
    let cases: Vec<(&str, bool, Script, bool)> = vec![
        ("stop", false, ended("stop", None), true),
        ("length", false, ended("length", None), true),
        ("a filter", false, ended("content_filter", None), false),
        ("an unknown end", false, ended("mystery", None), false),
        ("a refusal", false, ended("stop", Some("I cannot")), false),
        ("an error", false, error(), false),
        ("a cut stream", true, cut(false), false),
        ("a reset stream", true, cut(true), false),
        ("an error in a stream", true, failing(), false),
    ];
    for (case, stream, script, is_kept) in cases {
        let upstream = Upstream::start().await;
        upstream.push(script);
        upstream.respond_with(|received| openai::answer(received, "again"));
        let gateway = Gateway::start(&format!("{}{ON}", openai_at(&upstream.url()))).await;
        let mut body = question();
        body["stream"] = stream.into();
        let first = gateway.chat(&body).await;
        let second = gateway.chat(&body).await;
        let told = format!("{case}: {} then {}", first.text, second.text);
        assert_eq!(second.status, 200, "{told}");
        assert_eq!(status(&second) == Some("HIT"), is_kept, "{told}");
        assert_eq!(upstream.requests().len(), if is_kept { 1 } else { 2 }, "{told}");
        assert_eq!(status(&gateway.chat(&body).await), Some("HIT"), "{told}");
        gateway.stop().await;
    }
}

/// A request of an operation, and what its upstream answers.
type Case = (&'static str, Value, Value, Option<&'static str>);

#[tokio::test]
async fn only_what_has_no_memory_is_kept() {
    let vectors = json!({"object": "list", "model": "x", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
        "usage": {"prompt_tokens": 2, "total_tokens": 2}});
    let ranked = json!({"model": "x", "results": [{"index": 0, "relevance_score": 0.5}], "usage": {"total_tokens": 7}});
    let judged = json!({"id": "modr-1", "model": "x", "results": [{"flagged": false}]});
    let whole = || openai::reply("own-name", "hello", 7);
    let with = |name: &str, value: Value| {
        let mut body = question();
        body[name] = value;
        body
    };
    let picture = json!({"created": 1, "data": [{"b64_json": "aGk="}]});
    let cases: Vec<Case> = vec![
        ("/v1/embeddings", json!({"model": "m", "input": "a"}), vectors, Some("HIT")),
        ("/v1/rerank", json!({"model": "m", "query": "q", "documents": ["a"]}), ranked, Some("HIT")),
        ("/v1/moderations", json!({"model": "m", "input": "a"}), judged, Some("HIT")),
        ("/v1/images/generations", json!({"model": "m", "prompt": "a"}), picture, None),
        ("/v1/chat/completions", with("store", true.into()), whole(), None),
        ("/v1/chat/completions", with("audio", json!({"voice": "alloy", "format": "mp3"})), whole(), None),
        ("/v1/responses", json!({"model": "m", "input": "hi"}), whole(), None),
    ];
    for (path, body, said, expected) in cases {
        let upstream = Upstream::start().await;
        upstream.respond_with(move |_| Script::json(200, &said));
        let base = format!("{}/v1", upstream.url());
        let gateway = Gateway::start(&format!("{}{ON}", provider_at("openai-compatible", &base, ""))).await;
        let (first, second) = (read(gateway.post(path, &body)).await, read(gateway.post(path, &body)).await);
        assert_eq!((first.status, second.status), (200, 200), "{path} {body}: {} {}", first.text, second.text);
        assert_eq!(status(&second), expected, "{path} {body}");
        assert_eq!(upstream.requests().len(), if expected.is_some() { 1 } else { 2 }, "{path} {body}");
        if expected.is_some() {
            assert_eq!(second.text, first.text);
            assert_eq!(second.header("content-type"), Some("application/json"));
        } else {
            assert_eq!(gateway.records(2).await[1]["cache"]["verdict"], "unfit", "{path}");
        }
        gateway.stop().await;
    }
}
