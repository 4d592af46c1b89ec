//! Streams that break off and are gone on with by another target: one legal stream for every client, whoever tells it.

mod bounds;
mod money;

use gateway_dialects::legal::{self, Ending as Told};
use gateway_fake::reply::{anthropic, openai};
use gateway_fake::{Ending, Script, Upstream};
use gateway_ir::dialect::Dialect;
use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway, KEY, read};
use crate::wires::{TEXT, Wire};

const ON: &str = "{enabled: true}";
const MARK: &str = ": x-gateway-continued-by: b/up";
const OPENAI: &str = "kind: openai-compatible";

/// A model `m` on `a`, and on `b` where that fails. Breakers are off: one target is to fail all the time.
fn config((first, a): (&str, &Upstream), (second, b): (&str, &Upstream), continuation: &str) -> String {
    let provider = |name: &str, kind: &str, upstream: &Upstream| {
        let v1 = if kind.contains("openai") { "/v1" } else { "" };
        let url = upstream.url();
        format!(
            "  - {{name: {name}, {kind}, base_url: \"{url}{v1}\", api_key: k, allow_private_networks: true, \
             breaker: {{enabled: false}}}}\n"
        )
    };
    format!(
        "providers:\n{}{}prices:\n  - {{provider: a, model: up, input_per_1m: 1000, output_per_1m: 2000}}\n  \
         - {{provider: b, model: up, input_per_1m: 3000, output_per_1m: 5000}}\n\
         models:\n  - {{name: m, strategy: priority, continuation: {continuation}, \
         targets: [{{provider: a, model: up}}, {{provider: b, model: up}}]}}\n\
         keys:\n  - {{name: test, secret: {KEY}}}\n",
        provider("a", first, a),
        provider("b", second, b)
    )
}

async fn pair() -> (Upstream, Upstream) {
    (Upstream::start().await, Upstream::start().await)
}

fn ask() -> Value {
    json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "hello"}]})
}

fn ask_with_usage() -> Value {
    let mut question = ask();
    question["stream_options"] = json!({"include_usage": true});
    question
}

/// The first events of a stream, as far as `text`, and then the end of the connection.
fn cut(text: &str) -> Script {
    let events = openai::stream("up", text, 7);
    let n_said = text.split_inclusive(' ').count();
    events[..=n_said].iter().fold(Script::sse_head(), |script, event| script.chunk(event)).reset()
}

fn whole(text: &str) -> Script {
    Script::sse(&openai::stream("up", text, 11))
}

/// What a client of a dialect has read.
fn text(dialect: Dialect, events: &[Value]) -> String {
    let of = |event: &Value| match dialect {
        Dialect::OpenAiChat => event["choices"][0]["delta"]["content"].as_str().map(str::to_owned),
        Dialect::OpenAiCompletions => event["choices"][0]["text"].as_str().map(str::to_owned),
        Dialect::AnthropicMessages => event["delta"]["text"].as_str().map(str::to_owned),
        Dialect::OpenAiResponses if event["type"] == "response.output_text.delta" => {
            event["delta"].as_str().map(str::to_owned)
        }
        Dialect::GeminiGenerate => event["candidates"][0]["content"]["parts"][0]["text"].as_str().map(str::to_owned),
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

fn checked(dialect: Dialect, answer: &Answer, case: &str) -> (String, Told) {
    let wants_usage = dialect == Dialect::OpenAiChat && answer.text.contains("\"usage\":null");
    let told = legal::check(dialect, answer.text.as_bytes(), wants_usage)
        .unwrap_or_else(|why| panic!("{case}: {why} in {}", answer.text));
    (text(dialect, &told.events), told.ending)
}

fn questions() -> [(Dialect, &'static str, Value); 5] {
    let messages = json!([{"role": "user", "content": "hi"}]);
    [
        (Dialect::OpenAiChat, "/v1/chat/completions", json!({"messages": messages})),
        (Dialect::OpenAiCompletions, "/v1/completions", json!({"prompt": "hi"})),
        (Dialect::AnthropicMessages, "/v1/messages", json!({"messages": messages, "max_tokens": 99})),
        (Dialect::OpenAiResponses, "/v1/responses", json!({"input": "hi"})),
        (Dialect::GeminiGenerate, "", json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]})),
    ]
}

/// Every client on every pair of upstreams.
#[tokio::test]
async fn a_continued_stream_is_one_legal_stream() {
    let (mut providers, mut models, mut upstreams) = (String::new(), String::new(), Vec::new());
    for (at, wire) in Wire::all().iter().enumerate() {
        let (first, second) = pair().await;
        first.respond_with({
            let cut = wire.cut_behind("beta");
            move |_| cut.clone()
        });
        second.respond_with({
            let whole = wire.script();
            move |_| whole.clone()
        });
        let more = if wire.speaks_chat() {
            "breaker: {enabled: false}, quirks: [no_completions]"
        } else {
            "breaker: {enabled: false}"
        };
        providers += &wire.provider(&format!("a{at}"), &first.url(), more);
        providers += &wire.provider(&format!("b{at}"), &second.url(), more);
        upstreams.push((first, second));
    }
    let pairs: Vec<(usize, usize)> =
        (0..upstreams.len()).flat_map(|first| (0..upstreams.len()).map(move |second| (first, second))).collect();
    for (first, second) in &pairs {
        models += &format!(
            "  - {{name: m{first}{second}, strategy: priority, continuation: {ON}, \
             targets: [{{provider: a{first}, model: up}}, {{provider: b{second}, model: up}}]}}\n"
        );
    }
    let gateway = Gateway::start(&format!("providers:\n{providers}models:\n{models}")).await;
    for (dialect, path, question) in questions() {
        for (first, second) in &pairs {
            let (case, mut question) = (format!("{dialect} on {first} and {second}"), question.clone());
            let mut path = path.to_owned();
            if path.is_empty() {
                path = format!("/v1beta/models/m{first}{second}:streamGenerateContent?alt=sse");
            } else {
                question["model"] = format!("m{first}{second}").into();
                question["stream"] = true.into();
            }
            let answer = read(gateway.post(&path, &question)).await;
            assert_eq!(answer.status, 200, "{case}: {}", answer.text);
            let (text, ending) = checked(dialect, &answer, &case);
            assert_eq!((text.as_str(), ending), (format!("alpha beta {TEXT}").as_str(), Told::Finished), "{case}");
            let is_marked = match dialect {
                Dialect::GeminiGenerate => answer.text.contains(&format!("\"modelVersion\":\"b{second}/up\"")),
                _ => answer.text.matches(&format!(": x-gateway-continued-by: b{second}/up\n\n")).count() == 1,
            };
            assert!(is_marked, "{case}: {}", answer.text);
        }
    }
    gateway.stop().await;
}

/// The elements of an array know no comments.
#[tokio::test]
async fn an_array_goes_on_as_an_array() {
    let (first, second) = pair().await;
    first.push(cut("one two "));
    second.push(whole("three"));
    let gateway = Gateway::start(&config((OPENAI, &first), (OPENAI, &second), ON)).await;
    let question = json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]});
    let answer = read(gateway.post("/v1beta/models/m:streamGenerateContent", &question)).await;
    let elements = answer.json();
    let elements = elements.as_array().expect("an array");
    assert_eq!(text(Dialect::GeminiGenerate, elements), "one two three");
    assert_eq!(elements.last().map(|last| &last["modelVersion"]), Some(&json!("b/up")), "{}", answer.text);
    gateway.stop().await;
}

/// Both have answered and both are charged: the first by what it told, the second by its own word.
#[tokio::test]
async fn both_are_in_the_record() {
    let (first, second) = pair().await;
    first.push(cut("one two "));
    second.push(whole("three four"));
    let gateway = Gateway::start(&config((OPENAI, &first), (OPENAI, &second), ON)).await;
    let request = gateway.post("/v1/chat/completions", &ask_with_usage()).header("te", "trailers");
    let answer = read(request).await;
    let (text, ending) = checked(Dialect::OpenAiChat, &answer, "");
    assert_eq!((text.as_str(), ending), ("one two three four", Told::Finished));
    let (before, after) = answer.text.split_once(MARK).expect("a mark");
    assert!(before.contains("two ") && !before.contains("three") && !after.contains("two "), "{}", answer.text);
    assert_eq!(answer.text.matches("\"role\"").count(), 1, "{}", answer.text);
    let log = gateway.records(1).await.remove(0);
    let (cut, rest) = (&log["attempts"][0], &log["attempts"][1]);
    assert_eq!((&cut["provider"], &cut["error_code"]), (&json!("a"), &json!("upstream_stream_error")), "{log}");
    assert_eq!((&rest["provider"], &rest["continuation"]), (&json!("b"), &json!(true)), "{log}");
    assert_eq!(
        (&log["provider"], &log["ending"], &log["error_code"]),
        (&json!("b"), &json!("finished"), &json!("")),
        "{log}"
    );
    // Two tokens for eight bytes, and what the vendor says.
    assert_eq!(cut["tokens"]["output"], 2, "{log}");
    assert_eq!((&rest["tokens"]["input"], &rest["tokens"]["output"]), (&json!(11), &json!(2)), "{log}");
    assert_eq!(log["tokens"], rest["tokens"], "{log}");
    let input = cut["tokens"]["input"].as_u64().expect("an estimate");
    assert_eq!(cut["cost_nano_usd"], (input * 1000 + 2 * 2000) * 1000, "{log}");
    assert_eq!(
        (&log["cost_nano_usd"], &log["settled_by"]),
        (&json!((11 * 3000 + 2 * 5000) * 1000), &json!("exact")),
        "{log}"
    );
    // The client is told the sum.
    let usage = format!("\"usage\":{{\"prompt_tokens\":{},\"completion_tokens\":4", input + 11);
    assert!(answer.text.contains(&usage), "{usage} in {}", answer.text);
    gateway.stop().await;
}

/// What a vendor has said of its usage behind all of its words is exact; what it said before them is not all.
#[tokio::test]
async fn usage_is_the_vendors_where_it_covers_what_was_told() {
    let (first, second) = pair().await;
    let events = anthropic::stream("up", "one two three", 23);
    first.push(events[..4].iter().fold(Script::sse_head(), |script, event| script.chunk(event)).reset());
    second.push(whole("four"));
    let gateway = Gateway::start(&config(("kind: anthropic", &first), (OPENAI, &second), ON)).await;
    let answer = gateway.chat(&ask_with_usage()).await;
    assert_eq!(checked(Dialect::OpenAiChat, &answer, "").0, "one four");
    let log = gateway.records(1).await.remove(0);
    let tokens = &log["attempts"][0]["tokens"];
    assert_eq!((&tokens["input"], &tokens["output"]), (&json!(23), &json!(1)), "{log}");
    assert!(answer.text.contains("\"prompt_tokens\":34,\"completion_tokens\":2"), "{}", answer.text);
    gateway.stop().await;
}

/// How the second target is asked is declared of it.
#[tokio::test]
async fn who_goes_on_is_asked_by_what_it_can() {
    let said = "one two ";
    let marked = |member: &str| json!({"role": "assistant", "content": "one two", member: true});
    let plain = json!({"role": "assistant", "content": "one two"});
    let cases: [(&str, &str, Vec<Value>, &str); 5] = [
        ("kind: openai-compatible, quirks: [prefill]", " three", vec![plain.clone()], "three"),
        (
            "kind: openai-compatible, quirks: [prefill_prefix, prefill_echo]",
            "one two three",
            vec![marked("prefix")],
            "three",
        ),
        ("kind: openai-compatible, quirks: [prefill_partial]", "three", vec![marked("partial")], "three"),
        ("kind: anthropic, quirks: [prefill]", "three", vec![plain], "three"),
        (OPENAI, "three", vec![json!({"role": "assistant", "content": said}), Value::Null], "three"),
    ];
    for (kind, rest, turns, expected) in cases {
        let (first, second) = pair().await;
        first.push(cut(said));
        let speaks_openai = kind.contains("openai");
        second.push(if speaks_openai { whole(rest) } else { Script::sse(&anthropic::stream("up", rest, 7)) });
        let gateway = Gateway::start(&config((OPENAI, &first), (kind, &second), ON)).await;
        let question =
            json!({"model": "m", "stream": true, "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]});
        let answer = gateway.chat(&question).await;
        assert_eq!(checked(Dialect::OpenAiChat, &answer, kind).0, format!("{said}{expected}"), "{kind}");
        let sent = second.request(0).await.json();
        let messages = sent["messages"].as_array().expect("messages");
        assert_eq!(messages.len(), 1 + turns.len(), "{kind}: {sent}");
        for (turn, expected) in messages[1..].iter().zip(&turns) {
            match expected {
                Value::Null => {
                    assert!(turn["role"] == "user" && turn["content"].to_string().contains("Go on exactly"), "{sent}")
                }
                _ if speaks_openai => assert_eq!(turn, expected, "{kind}"),
                _ => assert!(turn["role"] == "assistant" && turn.to_string().contains("one two"), "{kind}: {sent}"),
            }
        }
        let limit = if speaks_openai { "max_completion_tokens" } else { "max_tokens" };
        assert_eq!(sent[limit], 48, "what was said is taken off: {sent}");
        gateway.stop().await;
    }
}

/// One that falls silent is let go.
#[tokio::test]
async fn a_silent_one_is_gone_on_from() {
    let (first, second) = pair().await;
    first.push(Script { steps: [cut("one ").steps[..3].to_vec(), Script::new().hang().steps].concat() });
    second.push(whole("two"));
    let yaml =
        config((OPENAI, &first), (OPENAI, &second), ON).replace("strategy:", "timeouts: {idle: 200ms}, strategy:");
    let gateway = Gateway::start(&yaml).await;
    let answer = gateway.chat(&ask()).await;
    assert_eq!(checked(Dialect::OpenAiChat, &answer, ""), ("one two".to_owned(), Told::Finished), "{}", answer.text);
    assert_eq!(first.ending(0).await, Ending::ClientLeft);
    assert_eq!(gateway.records(1).await[0]["attempts"][0]["error_code"], "idle_timeout");
    gateway.stop().await;
}

/// Where the first breaks off does not matter: what came whole was told, the rest was not.
#[tokio::test]
async fn half_an_event_and_half_a_character_are_nothing() {
    let whole_event = &openai::stream("up", "größer ", 7)[1];
    let at = whole_event.windows(2).position(|pair| pair == "ö".as_bytes()).expect("two bytes");
    for n_bytes in [1, 10, at + 1, whole_event.len() - 1] {
        let (first, second) = pair().await;
        first.push(Script::sse_head().chunk(whole_event).chunk(&whole_event[..n_bytes]).reset());
        second.push(whole("als"));
        let gateway = Gateway::start(&config((OPENAI, &first), (OPENAI, &second), ON)).await;
        let answer = gateway.chat(&ask()).await;
        let case = format!("{n_bytes} bytes");
        assert_eq!(checked(Dialect::OpenAiChat, &answer, &case), ("größer als".to_owned(), Told::Finished), "{case}");
        gateway.stop().await;
    }
}

/// An error inside the stream is as good as a cut, if trying again makes sense.
#[tokio::test]
async fn an_error_event_is_gone_on_from_and_a_refusal_is_not() {
    for (kind, goes_on) in [("overloaded_error", true), ("invalid_request_error", false)] {
        let (first, second) = pair().await;
        let events = anthropic::stream("up", "one two", 7);
        let error = format!("event: error\ndata: {}\n\n", anthropic::error(kind, "no"));
        // In one piece with the last word: that is told all the same.
        let last = [events[4].as_ref(), error.as_bytes()].concat();
        first.push(events[..4].iter().fold(Script::sse_head(), |script, event| script.chunk(event)).chunk(last).end());
        second.push(whole(" three"));
        let gateway = Gateway::start(&config(("kind: anthropic", &first), (OPENAI, &second), ON)).await;
        let answer = gateway.chat(&ask()).await;
        let (text, ending) = checked(Dialect::OpenAiChat, &answer, kind);
        let expected = if goes_on { ("one two three", Told::Finished) } else { ("one two", Told::Failed) };
        let log = gateway.records(1).await.remove(0);
        assert_eq!((text.as_str(), ending), expected, "{kind}: {log}");
        gateway.stop().await;
    }
}
