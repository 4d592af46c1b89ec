//! The Responses API before upstreams that do not have it: items, events in their order, usage.

use bytes::Bytes;
use gateway_fake::reply::{anthropic, openai};
use gateway_fake::{Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway, anthropic_at, openai_at, read};
use crate::wires::{N_PROMPT, TEXT, Wire};

const PATH: &str = "/v1/responses";

fn question(stream: bool) -> Value {
    json!({"model": "m", "input": "hi", "stream": stream})
}

/// The answer to a question about each upstream's stream.
async fn on_every_upstream(stream: bool) -> Vec<(&'static str, Answer)> {
    let mut answers = Vec::new();
    for wire in Wire::all() {
        let upstream = Upstream::start().await;
        upstream.push(wire.script());
        let quirks = if stream { "[]" } else { "[stream_only]" };
        let gateway = Gateway::start(&wire.config(&upstream.url(), quirks)).await;
        let answer = read(gateway.post(PATH, &question(stream))).await;
        assert_eq!(answer.status, 200, "{}: {}", wire.kind, answer.text);
        answers.push((wire.kind, answer));
    }
    answers
}

/// The events of a stream, each held against its name and its number.
fn events(case: &str, text: &str) -> Vec<Value> {
    let mut events = Vec::new();
    for event in text.split_terminator("\n\n") {
        let (name, data) = event.split_once('\n').unwrap_or_else(|| panic!("{case}: no name on {event}"));
        let data: Value = serde_json::from_str(data.trim_start_matches("data: ")).expect("JSON");
        assert_eq!(name.strip_prefix("event: "), data["type"].as_str(), "{case}: {event}");
        assert_eq!(data["sequence_number"], events.len(), "{case}: {event}");
        events.push(data);
    }
    events
}

#[tokio::test]
async fn responses_json() {
    for (kind, answer) in on_every_upstream(false).await {
        let reply = answer.json();
        assert_eq!((&reply["object"], &reply["status"]), (&json!("response"), &json!("completed")), "{kind}");
        let part = &reply["output"][0]["content"][0];
        assert_eq!((&part["type"], &part["text"]), (&json!("output_text"), &json!(TEXT)), "{kind}: {reply}");
    }
}

#[tokio::test]
async fn responses_sse_order() {
    for (kind, answer) in on_every_upstream(true).await {
        let events = events(kind, &answer.text);
        let names = events.iter().filter_map(|event| event["type"].as_str()?.strip_prefix("response."));
        let mut names: Vec<&str> = names.collect();
        // A word may come in one piece or two.
        names.dedup_by(|a, b| a == b && *a == "output_text.delta");
        let expected = [
            "created",
            "in_progress",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "completed",
        ];
        assert_eq!(names, expected, "{kind}");
        let deltas = events.iter().filter(|event| event["type"] == "response.output_text.delta");
        let deltas: Vec<&str> = deltas.filter_map(|event| event["delta"].as_str()).collect();
        assert_eq!(deltas.concat(), TEXT, "{kind}");
        assert!(deltas.len() >= 3, "{kind}: a word is an event: {deltas:?}");
    }
}

#[tokio::test]
async fn responses_usage_in_completed_event() {
    for (kind, answer) in on_every_upstream(true).await {
        let events = events(kind, &answer.text);
        let usage = &events.last().expect("events")["response"]["usage"];
        assert_eq!((&usage["input_tokens"], &usage["output_tokens"]), (&json!(N_PROMPT), &json!(3)), "{kind}: {usage}");
        assert_eq!(usage["total_tokens"], N_PROMPT + 3, "{kind}");
    }
}

#[tokio::test]
async fn responses_to_a_non_openai_provider() {
    let tools = json!([{"type": "function", "name": "weather", "parameters": {"type": "object"}}]);
    for stream in [false, true] {
        let upstream = Upstream::start().await;
        let input = json!({"city": "Paris"});
        upstream.push(match stream {
            true => Script::sse(&anthropic::tool_stream("own-name", "weather", &input.to_string(), 7)),
            false => Script::json(200, &anthropic::tool_reply("own-name", "weather", &input, 7)),
        });
        let gateway = Gateway::start(&anthropic_at(&upstream.url())).await;
        let mut body = question(stream);
        body["tools"] = tools.clone();
        let answer = read(gateway.post(PATH, &body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let reply = match stream {
            true => events("stream", &answer.text).pop().expect("events")["response"].take(),
            false => answer.json(),
        };
        let call = &reply["output"][0];
        assert_eq!((&call["type"], &call["name"]), (&json!("function_call"), &json!("weather")), "{reply}");
        let arguments: Value = serde_json::from_str(call["arguments"].as_str().expect("text")).expect("JSON");
        assert_eq!(arguments, input);

        // The call and its result go back as items, and arrive as Anthropic's blocks.
        upstream.push(Script::json(200, &anthropic::reply("own-name", "rain", 7)));
        let result = json!({"type": "function_call_output", "call_id": call["call_id"], "output": "rain"});
        let again = json!({"model": "m", "tools": tools, "input": [{"role": "user", "content": "hi"}, call, result]});
        assert_eq!(read(gateway.post(PATH, &again)).await.status, 200);
        let sent = upstream.request(1).await.json();
        assert_eq!(sent["messages"][1]["content"][0]["type"], "tool_use", "{sent}");
        assert_eq!(sent["messages"][1]["content"][0]["input"], input, "{sent}");
        let result = &sent["messages"][2]["content"][0];
        assert_eq!((&result["type"], &result["tool_use_id"]), (&json!("tool_result"), &call["call_id"]), "{sent}");
    }
}

#[tokio::test]
async fn repeated_delta_text_kept() {
    // A laugh, and a piece that begins as the one before it ended.
    let pieces = ["ha", "ha", "ha!", "!", " a", "a"];
    let chat = |piece: &&str| {
        let choice = json!({"index": 0, "delta": {"content": piece}, "finish_reason": null});
        Bytes::from(format!(
            "data: {}\n\n",
            json!({"id": "c", "object": "chat.completion.chunk", "created": 1,
            "model": "own-name", "choices": [choice]})
        ))
    };
    let block = |piece: &&str| {
        let delta = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}});
        Bytes::from(format!("event: content_block_delta\ndata: {delta}\n\n"))
    };
    let spliced = |mut events: Vec<Bytes>, words: std::ops::Range<usize>, pieces: Vec<Bytes>| {
        events.splice(words, pieces);
        events
    };
    let cases = [
        (
            openai_at as fn(&str) -> String,
            spliced(openai::stream("x", "one", 7), 1..2, pieces.iter().map(chat).collect()),
        ),
        (anthropic_at, spliced(anthropic::stream("x", "one", 7), 3..4, pieces.iter().map(block).collect())),
    ];
    for (config, events_of_upstream) in cases {
        let upstream = Upstream::start().await;
        upstream.respond_with(move |_| Script::sse(&events_of_upstream));
        let gateway = Gateway::start(&config(&upstream.url())).await;
        let streamed = events("stream", &read(gateway.post(PATH, &question(true))).await.text);
        let deltas: Vec<&str> = streamed.iter().filter_map(|event| event["delta"].as_str()).collect();
        assert_eq!(deltas, pieces);
        let whole = &streamed.last().expect("events")["response"];
        assert_eq!(whole["output"][0]["content"][0]["text"], pieces.concat(), "{whole}");
    }
}
