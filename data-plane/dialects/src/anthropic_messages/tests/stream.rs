//! Streams where no recording has the case: odd upstreams, block order, interleaved calls, cuts.

use bytes::{Bytes, BytesMut};
use gateway_ir::event::{Event, FinishReason};
use gateway_ir::failure::{Code, Failure};
use gateway_ir::fold::fold;
use gateway_ir::usage::Usage;
use serde_json::{Value, json};

use super::support::{Tapped, context, decode_pieces, encode_stream, gist_of, legal, tap_pieces};
use crate::anthropic_messages::AnthropicMessages;
use crate::dialect::{ClientDialect, TapOptions};

/// The bytes of events, as Anthropic frames them.
fn frames(events: &[Value]) -> String {
    events
        .iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default()))
        .collect()
}

fn message_start() -> Value {
    json!({"type": "message_start", "message": {"id": "m", "model": "c", "usage": {"input_tokens": 5, "output_tokens": 1}}})
}

fn block(index: u64, kind: Value, deltas: &[Value]) -> Vec<Value> {
    let mut events = vec![json!({"type": "content_block_start", "index": index, "content_block": kind})];
    events.extend(deltas.iter().map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta})));
    events.push(json!({"type": "content_block_stop", "index": index}));
    events
}

fn text(index: u64, text: &str) -> Vec<Value> {
    block(index, json!({"type": "text", "text": ""}), &[json!({"type": "text_delta", "text": text})])
}

fn over(reason: &str) -> Vec<Value> {
    let delta = json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null}, "usage": {"output_tokens": 9}});
    vec![delta, json!({"type": "message_stop"})]
}

#[test]
fn reads_odd_upstreams() {
    let tool = |deltas: &[Value]| block(0, json!({"type": "tool_use", "id": "t", "name": "f", "input": {}}), deltas);
    let whole_tool = block(0, json!({"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}), &[]);
    let server = block(
        0,
        json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}),
        &[
            json!({"type": "input_json_delta", "partial_json": "{\"q\":"}),
            json!({"type": "input_json_delta", "partial_json": "1}"}),
        ],
    );
    let call = |arguments: Value| json!([{"id": "t", "name": "f", "arguments": arguments}]);
    let cases = [
        // No delta at all, an empty one, everything in the start.
        (tool(&[]), "calls", call(json!({}))),
        (tool(&[json!({"type": "input_json_delta", "partial_json": ""})]), "calls", call(json!({}))),
        (tool(&[json!({"type": "input_json_delta", "partial_json": "{\"b\":2}"})]), "calls", call(json!({"b": 2}))),
        (whole_tool, "calls", call(json!({"a": 1}))),
        // A provider-run call is never the client's.
        (server.clone(), "calls", json!([])),
        (server, "opaque", json!([{"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": 1}}])),
        (
            block(
                0,
                json!({"type": "compaction", "content": "a"}),
                &[json!({"type": "compaction_delta", "content": "b"})],
            ),
            "opaque",
            json!([{"type": "compaction", "content": "ab"}]),
        ),
        // Events and deltas to come.
        (vec![json!({"type": "novelty", "x": 1}), json!({"type": "ping"})], "text", json!("")),
        (
            block(0, json!({"type": "text", "text": "pre"}), &[json!({"type": "novel_delta", "x": 1})]),
            "text",
            json!("pre"),
        ),
    ];
    for (blocks, member, expected) in cases {
        let events = [vec![message_start()], blocks, over("end_turn")].concat();
        let stream = frames(&events);
        let gist = gist_of(&decode_pieces([stream.as_bytes()]).unwrap_or_else(|failure| panic!("{stream}: {failure}")));
        assert_eq!(gist[member], expected, "{stream}");
        assert_eq!(gist["ended"], true, "{stream}");
    }
}

#[test]
fn later_usage_replaces_earlier_usage() {
    // OpenRouter: zeros first, the truth last, and OpenAI's mark behind.
    let start =
        json!({"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 0, "output_tokens": 0}}});
    let usage = json!({"input_tokens": 11, "cache_read_input_tokens": 3, "cache_creation_input_tokens": null, "output_tokens": 9});
    let delta = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage});
    let stream = frames(&[start, delta, json!({"type": "message_stop"})]) + "event: data\ndata: [DONE]\n\n";
    let expected = Some(Usage { input: 11, cache_read: 3, output: 9, ..Usage::default() });
    assert_eq!(fold(decode_pieces([stream.as_bytes()]).expect("a stream")).usage, expected);
    let tapped = tap_pieces([stream.as_bytes()]);
    assert_eq!((tapped.seen.usage, tapped.passed.as_slice()), (expected, stream.as_bytes()));
    // Anthropic: the input in the start, the output in the delta.
    let stream = frames(&[vec![message_start()], over("end_turn")].concat());
    assert_eq!(
        fold(decode_pieces([stream.as_bytes()]).expect("a stream")).usage.map(|usage| (usage.input, usage.output)),
        Some((5, 9))
    );
}

#[test]
fn a_cut_stream_never_ends() {
    let whole = frames(&[vec![message_start()], text(0, "a\"b"), over("end_turn")].concat());
    let finish = whole.find("event: message_delta").expect("there is one");
    let stop = whole.find("event: message_stop").expect("there is one");
    for at in 0..whole.len() - 1 {
        let events =
            decode_pieces([&whole.as_bytes()[..at]]).unwrap_or_else(|failure| panic!("cut at {at}: {failure}"));
        let ended = events.iter().any(|event| matches!(event, Event::End));
        // Without the last blank line the last event is still whole.
        assert_eq!(ended, at >= whole.len() - 2, "cut at {at}");
        let Tapped { passed, seen, ended } = tap_pieces([&whole.as_bytes()[..at]]);
        // Up to the finish it is a cut; between finish and stop the mark is added; half an event never passes.
        assert_eq!(!ended, at < stop - 2, "cut at {at}: {}", String::from_utf8_lossy(&passed));
        if ended {
            assert!(seen.finished && seen.ended, "cut at {at}");
            assert_eq!(String::from_utf8_lossy(&passed), whole, "cut at {at}");
        } else {
            assert!(
                whole.as_bytes().starts_with(&passed) && (passed.is_empty() || passed.ends_with(b"\n\n")),
                "cut at {at}"
            );
            assert!(passed.len() <= finish.max(at), "cut at {at}");
        }
    }
}

#[test]
fn an_error_in_the_stream_is_told_once() {
    let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    let stream = frames(&[vec![message_start()], text(0, "a"), vec![error]].concat());
    let events = decode_pieces([stream.as_bytes()]).expect("an error is an event");
    let Some(Event::Error(failure)) = events.last() else { panic!("{events:?}") };
    assert_eq!((failure.code, failure.status, failure.message.as_ref()), (Code::UpstreamOverloaded, 529, "Overloaded"));
    let tapped = tap_pieces([stream.as_bytes()]);
    assert_eq!((tapped.passed.as_slice(), tapped.ended), (stream.as_bytes(), true));
    assert!(tapped.seen.error.is_some() && !tapped.seen.ended);

    let mut encoder = AnthropicMessages.stream_encoder(&context());
    let mut out = BytesMut::new();
    for event in &events {
        encoder.push(event, &mut out);
    }
    let written = out.clone();
    encoder.fail(&Failure::new(Code::UpstreamCut, "again"), &mut out);
    encoder.push(&Event::Text { choice: 0, text: "late".to_owned() }, &mut out);
    encoder.end(&mut out);
    assert_eq!(out, written, "nothing follows an error");
    let told = legal(&written).expect("an error may end a stream anywhere");
    assert_eq!(told.last().map(|event| event["error"]["type"].clone()), Some(json!("overloaded_error")));
}

#[test]
fn broken_streams_are_garbage() {
    let many: Vec<Value> = (0..100)
        .map(|index| json!({"type": "content_block_start", "index": index, "content_block": {"type": "text"}}))
        .collect();
    let cases = [
        "data: no\n\n".to_owned(),
        "data: [1]\n\n".to_owned(),
        "data: {\"x\":1}\n\n".to_owned(),
        "data: {\"type\":\"message_start\"}\n\n".to_owned(),
        "data: {\"type\":\"content_block_start\",\"index\":0}\n\n".to_owned(),
        "data: {\"type\":\"content_block_delta\",\"index\":-1}\n\n".to_owned(),
        frames(&many),
    ];
    for stream in cases {
        let failure = decode_pieces([stream.as_bytes()]).expect_err(&stream);
        assert_eq!(failure.code, Code::UpstreamGarbage, "{stream}");
    }
}

/// Each event, then the types and texts written for it before the next is known.
fn check_steps(steps: &[(Event, &[&str])]) {
    let mut encoder = AnthropicMessages.stream_encoder(&context());
    let mut whole = BytesMut::new();
    for (event, expected) in steps {
        let mut out = BytesMut::new();
        encoder.push(event, &mut out);
        let text = String::from_utf8(out.to_vec()).expect("text");
        let told: Vec<String> = text.lines().filter_map(|line| line.strip_prefix("data: ")).map(short).collect();
        assert_eq!(told, *expected, "after {event:?}");
        whole.extend_from_slice(&out);
    }
    encoder.end(&mut whole);
    legal(&whole).expect("a legal stream");
}

/// `start text`, `+hello`, `stop` …
fn short(data: &str) -> String {
    let event: Value = serde_json::from_str(data).expect("JSON");
    let delta = &event["delta"];
    match event["type"].as_str().unwrap_or_default() {
        "content_block_start" => format!("start {} {}", event["content_block"]["type"], event["content_block"]["id"])
            .replace(['"'], "")
            .replace(" null", ""),
        "content_block_delta" => {
            let piece = ["text", "thinking", "partial_json", "signature"].iter().find_map(|name| delta[name].as_str());
            format!("+{}", piece.unwrap_or_default())
        }
        "content_block_stop" => "stop".to_owned(),
        other => other.to_owned(),
    }
}

fn says(text: &str) -> Event {
    Event::Text { choice: 0, text: text.to_owned() }
}

fn calls(call: u32) -> Event {
    Event::ToolCallStart { choice: 0, call, id: format!("c{call}"), name: "f".to_owned() }
}

fn argues(call: u32, json: &str) -> Event {
    Event::ToolCallArguments { choice: 0, call, json: json.to_owned() }
}

fn finishes(reason: FinishReason) -> Event {
    Event::Finish { choice: 0, reason, stop_sequence: None }
}

#[test]
fn each_event_leaves_at_once() {
    check_steps(&[
        (Event::Start { id: String::new(), model: String::new(), created: None }, &["message_start"]),
        (Event::Reasoning { choice: 0, text: "hm".to_owned() }, &["start thinking", "+hm"]),
        (Event::Reasoning { choice: 0, text: "m".to_owned() }, &["+m"]),
        (Event::ReasoningSignature { choice: 0, signature: "sig".to_owned() }, &["+sig", "stop"]),
        (Event::RedactedReasoning { choice: 0, data: "x".to_owned() }, &["start redacted_thinking", "stop"]),
        (says("a"), &["start text", "+a"]),
        (says("b"), &["+b"]),
        (says(""), &[]),
        (calls(0), &["stop", "start tool_use c0"]),
        (argues(0, "{\"x\":"), &["+{\"x\":"]),
        (argues(0, "\"}\"}"), &["+\"}\"}"]),
        (calls(1), &["stop", "start tool_use c1"]),
        (argues(1, "{}"), &["+{}"]),
        (says("c"), &["stop", "start text", "+c"]),
        (Event::Text { choice: 1, text: "another choice".to_owned() }, &[]),
        (finishes(FinishReason::ToolCalls), &["stop"]),
        (Event::Usage(Usage::default()), &[]),
        (Event::End, &[]),
    ]);
}

#[test]
fn interleaved_calls_become_one_after_the_other() {
    check_steps(&[
        (calls(0), &["message_start", "start tool_use c0"]),
        (calls(1), &[]),
        (argues(1, "{\"b\":"), &[]),
        (argues(0, "{\"a\":"), &["+{\"a\":"]),
        (calls(2), &[]),
        (argues(0, "1}"), &["+1}", "stop", "start tool_use c1", "+{\"b\":"]),
        (argues(2, "{}"), &[]),
        (says("between"), &[]),
        (argues(1, "2}"), &["+2}", "stop", "start tool_use c2", "+{}", "stop", "start text", "+between"]),
        (finishes(FinishReason::ToolCalls), &["stop"]),
    ]);
    // A call without arguments is known to have none only when all is said.
    check_steps(&[
        (calls(0), &["message_start", "start tool_use c0"]),
        (calls(1), &[]),
        (argues(1, "{}"), &[]),
        (finishes(FinishReason::ToolCalls), &["stop", "start tool_use c1", "+{}", "stop"]),
    ]);
}

#[test]
fn arguments_that_cannot_be_placed_are_an_error() {
    let events = [calls(0), argues(0, "{}"), says("a"), argues(0, "{}"), finishes(FinishReason::ToolCalls)];
    let told = legal(&encode_stream(&events)).expect("an error may end a stream anywhere");
    assert_eq!(told.last().map(|event| event["type"].clone()), Some(json!("error")));
}

#[test]
fn the_finish_waits_for_its_usage() {
    let usage = Usage { input: 3, cache_write: 1, cache_write_1h: 2, output: 4, reasoning: 1, ..Usage::default() };
    let stop = Event::Finish { choice: 0, reason: FinishReason::StopSequence, stop_sequence: Some("\n".to_owned()) };
    let told = legal(&encode_stream(&[says("a"), stop, Event::Usage(usage), Event::End])).expect("a legal stream");
    let delta = &told[told.len() - 2];
    assert_eq!(delta["delta"], json!({"stop_reason": "stop_sequence", "stop_sequence": "\n"}));
    let expected = json!({
        "input_tokens": 3, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 2}, "output_tokens": 4,
        "output_tokens_details": {"thinking_tokens": 1},
    });
    assert_eq!(delta["usage"], expected);
}

#[test]
fn a_passing_chunk_is_not_copied() {
    let stream = Bytes::from(frames(&[vec![message_start()], text(0, "Größe"), over("end_turn")].concat()));
    let mut tap = AnthropicMessages.stream_tap(TapOptions::default());
    let passed = tap.push(stream.clone()).expect("small events");
    assert_eq!((passed.as_ptr(), passed.len()), (stream.as_ptr(), stream.len()));
    assert!(tap.finish().expect("it ended").is_empty());
    assert_eq!((tap.seen().content_events, tap.seen().content_bytes), (1, "Größe".len() as u64));
    let unnamed = "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"a\\\"\"}}\n\n";
    let mut tap = AnthropicMessages.stream_tap(TapOptions::default());
    tap.push(Bytes::from_static(unnamed.as_bytes())).expect("small events");
    assert_eq!((tap.seen().content_events, tap.seen().content_bytes), (1, 6));
    let cut = Failure::new(Code::UpstreamCut, "cut");
    assert!(tap.finish().is_err());
    assert!(legal(&tap.fail(&cut)).is_ok(), "an error is a whole event");
}
